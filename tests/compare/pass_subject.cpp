// SPDX-License-Identifier: Apache-2.0
#include "compare/pass_subject.h"

#include <bpf/bpf.h>
#include <linux/if_link.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <cstring>
#include <stdexcept>
#include <utility>

#include "flow_compiler.h"
#include "packet_out.h"
#include "pass_packet.h"
#include "sluice/unique_fd.h"

namespace sluice::compare {
namespace {

constexpr uint32_t kQueues = 1;

template <typename T>
T OrThrow(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().reason + ": " + result.error().detail);
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

std::string InBpfDir(const char* name) { return std::string(SLUICE_BPF_DIR) + "/" + name; }

xdp::TunnelPort Tunnel(const Rig& rig, uint32_t number, const reference::TunnelPort& port) {
  using Kind = reference::TunnelPort::Kind;
  using Checksum = reference::TunnelPort::Checksum;
  xdp::TunnelPort tunnel;
  tunnel.number = number;
  tunnel.settings.type = port.kind == Kind::kVxlan    ? SLUICE_TUNNEL_VXLAN
                         : port.kind == Kind::kGeneve ? SLUICE_TUNNEL_GENEVE
                                                      : SLUICE_TUNNEL_GRE;
  tunnel.settings.dst_port = port.udp_port;
  if (port.checksum != Checksum::kIgnore) tunnel.settings.csum |= SLUICE_STEP_CSUM_VERIFY;
  if (port.checksum == Checksum::kRequire) tunnel.settings.csum |= SLUICE_STEP_CSUM_REQUIRE;
  tunnel.underlay = port.underlay;
  tunnel.ifindex = rig.IfIndex(port.underlay);
  tunnel.mtu = kTunnelMtu;
  return tunnel;
}

// Of this network namespace, all that the kernel tracks.
void FlushConnections() {
  const UniqueFd fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER));
  struct {
    nlmsghdr header;
    nfgenmsg message;
  } request{};
  request.header.nlmsg_len = sizeof request;
  request.header.nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  char answer[256];
  if (!fd || send(fd.get(), &request, sizeof request, 0) < 0 || recv(fd.get(), answer, sizeof answer, 0) < 0) {
    throw std::runtime_error(std::string("flushing the kernel's connections: ") + std::strerror(errno));
  }
  nlmsgerr error{};
  std::memcpy(&error, answer + sizeof(nlmsghdr), sizeof error);
  if (error.error != 0) {
    throw std::runtime_error(std::string("flushing the kernel's connections: ") + std::strerror(-error.error));
  }
}

}  // namespace

PassSubject::PassSubject(Rig& rig, sluice_miss_policy miss_policy) : rig_(rig) {
  reclaimer_ = OrThrow(xdp::Reclaimer::Start());
  groups_ = OrThrow(xdp::Groups::Create(*reclaimer_));
  for (const uint32_t number : Rig::ports()) OrThrow(groups_->SetPort(number, rig.IfIndex(number)));
  for (const auto& [number, port] : TunnelPorts()) tunnels_[number] = Tunnel(rig, number, port);
  maps_ = OrThrow(xdp::PassMaps::Create());
  steps_ = std::make_unique<xdp::StepTable>(maps_->steps());
  LoadPasses();
  for (uint32_t number = 1; number <= kIngressPorts; ++number) LoadPort(number, miss_policy);
  FlushConnections();
}

PassSubject::~PassSubject() {
  for (auto& [number, port] : ports_)
    bpf_xdp_detach(static_cast<int>(rig_.IfIndex(number)), XDP_FLAGS_DRV_MODE, nullptr);
}

void PassSubject::LoadPasses() {
  xdp::PassOptions options;
  options.path = InBpfDir("sluice_passes.bpf.o");
  // Small, so that slots and cache entries are used again soon.
  options.max_flows = 256;
  options.cache_entries = 64;
  options.ports_fd = groups_->ports_fd();
  options.frags_ports_fd = groups_->ports_fd(true);
  options.groups_fd = groups_->groups_fd();
  auto passes = OrThrow(xdp::PassObject::Load(*maps_, options));
  auto table = OrThrow(xdp::MakeFlowTable(passes->object(), *reclaimer_, *this, {.spare_subtables = 64}));
  pass_flows_.clear();
  for (auto& [number, port] : ports_) port.pass_counters = {};
  std::swap(pass_table_, table);
  std::swap(passes_, passes);
  // The table goes before its object.
  OrThrow(passes_->Enter());
  table.reset();
}

void PassSubject::LoadPort(uint32_t number, sluice_miss_policy miss_policy) {
  Port& port = ports_[number];
  xdp::ObjectOptions options;
  options.path = InBpfDir("sluice_xdp.bpf.o");
  options.max_flows = 256;
  options.cache_entries = 64;
  options.subtable_entries = 64;
  options.miss_policy = miss_policy;
  options.upcall_rate = 0;
  options.ports_fd = groups_->ports_fd();
  options.groups_fd = groups_->groups_fd();
  options.programs_fd = maps_->programs_fd(false);
  options.state_fd = maps_->state_fd();
  port.object = OrThrow(xdp::Object::Load(options));
  port.object->SetPassPort(number, number);
  port.table = OrThrow(xdp::MakeFlowTable(*port.object, *reclaimer_, *this, {.spare_subtables = 64}));
  port.socket = OrThrow(xdp::XskSocket::Open(Rig::Device(number), 0));
  OrThrow(port.socket->Register(port.object->xsks_fd()));
  const uint32_t base = number * kQueues;
  OrThrow(port.socket->Register(maps_->xsks_fd(), base));
  maps_->ports()[number] = {miss_policy, 0, base, kQueues, 0, 0};
  if (bpf_xdp_attach(static_cast<int>(rig_.IfIndex(number)), port.object->program_fd(), XDP_FLAGS_DRV_MODE, nullptr)) {
    throw std::runtime_error("cannot attach to " + Rig::Device(number));
  }
}

Result<void> PassSubject::PutInto(const xdp::ObjectMeta& meta, xdp::FlowTable& table,
                                  std::map<uint64_t, xdp::FlowId>& flows, const Match& match,
                                  const reference::Flow& flow, uint64_t cookie) {
  xdp::PassContext context;
  context.steps = steps_.get();
  context.programs = &passes_->meta();
  context.why_no_ct = passes_->why_no_ct();
  context.zones = passes_->HasZones();
  context.tunnel = [this](uint32_t port) {
    const auto at = tunnels_.find(port);
    return at == tunnels_.end() ? nullptr : &at->second;
  };
  context.mtu = [](uint32_t /*port*/) { return static_cast<uint32_t>(kTunnelMtu); };
  auto compiled = xdp::CompileMatch(match, meta.key);
  if (!compiled) return compiled.error();
  if (compiled->wider) return *compiled->wider;
  auto actions = xdp::CompileActions(flow.actions, meta, *groups_, xdp::Wait::kAllowed, &context);
  if (!actions) return actions.error();
  auto id = table.Put({compiled->key, compiled->mask, flow.priority, *std::move(actions), cookie});
  if (!id) return id.error();
  flows[cookie] = *id;
  return {};
}

// As the plugin sorts flows into tables (flow_plan.cpp).
Result<void> PassSubject::Put(const reference::Flow& flow, uint64_t cookie) {
  const auto in_port = static_cast<uint32_t>(flow.match.ValueOf(Field::in_port));
  const bool any = !flow.match.Has(Field::in_port);
  const bool later = flow.match.ValueOf(Field::recirc_id) != 0;
  flows_[cookie] = flow;
  if (!later) {
    for (auto& [number, port] : ports_) {
      if (!any && in_port != number) continue;
      if (auto put = PutInto(port.object->meta(), *port.table, port.flows, flow.match, flow, cookie); !put) return put;
    }
  }
  if (!later && !any && !tunnels_.contains(in_port)) return {};
  Match match = flow.match;
  if (!match.Has(Field::recirc_id)) match.SetExact(Field::recirc_id, 0);
  return PutInto(passes_->meta(), *pass_table_, pass_flows_, match, flow, cookie);
}

void PassSubject::Delete(uint64_t cookie) {
  flows_.erase(cookie);
  const auto erase = [&](xdp::FlowTable& table, std::map<uint64_t, xdp::FlowId>& flows) {
    const auto at = flows.find(cookie);
    if (at == flows.end()) return;
    table.Delete(at->second);
    flows.erase(at);
  };
  for (auto& [number, port] : ports_) erase(*port.table, port.flows);
  erase(*pass_table_, pass_flows_);
  reclaimer_->Poll();
}

void PassSubject::Clear() {
  for (auto& [number, port] : ports_) {
    port.table->Flush();
    port.flows.clear();
  }
  pass_table_->Flush();
  pass_flows_.clear();
  flows_.clear();
  FlushConnections();
  ForgetEchoes();
}

Result<void> PassSubject::Reload() {
  LoadPasses();
  for (const auto& [cookie, flow] : flows_) {
    const auto in_port = static_cast<uint32_t>(flow.match.ValueOf(Field::in_port));
    const bool tunnel = tunnels_.contains(in_port) || !flow.match.Has(Field::in_port);
    if (!tunnel && flow.match.ValueOf(Field::recirc_id) == 0) continue;
    Match match = flow.match;
    if (!match.Has(Field::recirc_id)) match.SetExact(Field::recirc_id, 0);
    if (auto put = PutInto(passes_->meta(), *pass_table_, pass_flows_, match, flow, cookie); !put) return put;
  }
  return {};
}

// The map is the programs' own: it is found by its name among those that they have.
void PassSubject::ForgetEchoes() const {
  const int program = passes_->object().ProgramFd("sluice_ct");
  if (program < 0) return;
  std::vector<uint32_t> ids(64);
  bpf_prog_info info{};
  info.nr_map_ids = static_cast<uint32_t>(ids.size());
  info.map_ids = reinterpret_cast<uint64_t>(ids.data());
  uint32_t size = sizeof info;
  if (bpf_obj_get_info_by_fd(program, &info, &size) != 0) throw std::runtime_error("no information on sluice_ct");
  for (uint32_t i = 0; i < info.nr_map_ids; ++i) {
    const UniqueFd map(bpf_map_get_fd_by_id(ids[i]));
    bpf_map_info map_info{};
    size = sizeof map_info;
    if (!map || bpf_obj_get_info_by_fd(map.get(), &map_info, &size) != 0) continue;
    if (std::string_view(map_info.name) != "ct_echoes") continue;
    std::vector<uint8_t> key(map_info.key_size);
    while (bpf_map_get_next_key(map.get(), nullptr, key.data()) == 0) bpf_map_delete_elem(map.get(), key.data());
  }
}

PassObserved PassSubject::Run(uint32_t number, const reference::Bytes& frame) {
  Port& port = ports_.at(number);
  const std::string_view bytes(reinterpret_cast<const char*>(frame.data()), frame.size());
  auto ran = xdp::RunLive(port.object->program_fd(), static_cast<int>(rig_.IfIndex(number)), bytes);
  if (!ran) throw std::runtime_error("live run: " + ran.error().detail);
  PassObserved observed;
  observed.emissions = rig_.Take();
  TakeUpcalls(port, observed);
  Count(port, number, observed);
  return observed;
}

void PassSubject::TakeUpcalls(Port& port, PassObserved& observed) {
  port.socket->Receive(xdp::XskSocket::kFrames, [&](std::span<const uint8_t> packet, const uint8_t* end_of_metadata) {
    sluice_upcall_meta meta{};
    std::memcpy(&meta, end_of_metadata - sizeof meta, sizeof meta);
    const bool ours = (meta.magic_reason & 0xffff0000U) == SLUICE_UPCALL_MAGIC;
    const bool later = ours && (meta.magic_reason & SLUICE_UPCALL_PASS) != 0;
    PassUpcall seen;
    seen.reason = ours ? meta.magic_reason & 0xff : 0;
    bool first_table = !later;
    if (later) {
      const auto taken = xdp::TakePass(packet);
      if (!taken) throw std::runtime_error("an upcall of a later pass is cut short");
      // What is no field of the frame.
      const Match all = soft::ToMatch(xdp::Parse(*taken, 0));
      Match& beside = seen.beside.emplace();
      for (const FieldInfo& info : kFields) {
        if (info.id <= Field::in_port && all.Has(info.id)) beside.Set(info.id, all.Value(info.id), all.Mask(info.id));
      }
      seen.frame.assign(taken->bytes.begin(), taken->bytes.end());
      first_table = taken->pass->depth == 0;
    } else {
      seen.frame.assign(packet.begin(), packet.end());
    }
    uint64_t cookie = 0;
    const xdp::FlowTable& table = first_table ? *port.table : *pass_table_;
    if (seen.reason == SLUICE_UPCALL_ACTION && table.FindRecord(meta.record, meta.gen, cookie)) seen.cookie = cookie;
    observed.upcalls.push_back(std::move(seen));
  });
}

void PassSubject::Count(Port& port, uint32_t number, PassObserved& observed) {
  const auto now = port.object->ReadCounters();
  const auto& names = xdp::Object::CounterNames();
  for (size_t i = 0; i < names.size(); ++i) {
    const uint64_t grown = now.values[i] - port.counters.values[i];
    if (grown != 0) observed.counters[names[i]] += grown;
  }
  port.counters = now;
  const auto passes = passes_->ReadCounters(number);
  const auto& pass_names = xdp::PassObject::CounterNames();
  for (size_t i = 0; i < pass_names.size(); ++i) {
    const uint64_t grown = passes.values[i] - port.pass_counters.values[i];
    if (grown == 0) continue;
    const bool lookup = i <= SLUICE_COUNT_malformed_l4;
    observed.counters[(lookup ? "pass_" : "") + pass_names[i]] += grown;
  }
  port.pass_counters = passes;
  const auto add = [&](uint64_t cookie, const xdp::FlowStatsDelta& delta) { observed.flows[cookie] += delta.packets; };
  for (auto& [of, each] : ports_) each.table->ForEachChangedStats(add);
  pass_table_->ForEachChangedStats(add);
}

}  // namespace sluice::compare
