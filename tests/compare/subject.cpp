// SPDX-License-Identifier: Apache-2.0
#include "compare/subject.h"

#include <bpf/bpf.h>
#include <linux/if_link.h>

#include <cstring>
#include <stdexcept>
#include <utility>

#include "flow_compiler.h"
#include "packet_out.h"
#include "soft/execute.h"

namespace sluice::compare {
namespace {

template <typename T>
T OrThrow(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().reason + ": " + result.error().detail);
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

}  // namespace

Subject::Subject(Rig& rig, sluice_miss_policy miss_policy) : rig_(rig) {
  reclaimer_ = OrThrow(xdp::Reclaimer::Start());
  groups_ = OrThrow(xdp::Groups::Create(*reclaimer_));
  for (uint32_t number : Rig::ports()) OrThrow(groups_->SetPort(number, rig.IfIndex(number)));
  for (uint32_t number = 1; number <= kIngressPorts; ++number) {
    Port& port = ports_[number];
    xdp::ObjectOptions options;
    options.path = std::string(SLUICE_BPF_DIR) + "/" + std::string(xdp::kDefaultObject);
    // Small, so that slots and cache entries are used again soon.
    options.max_flows = 256;
    options.cache_entries = 64;
    options.subtable_entries = 64;
    options.miss_policy = miss_policy;
    options.upcall_rate = 0;
    options.ports_fd = groups_->ports_fd();
    options.groups_fd = groups_->groups_fd();
    port.object = OrThrow(xdp::Object::Load(options));
    port.table = OrThrow(xdp::MakeFlowTable(*port.object, *reclaimer_, *this, {.spare_subtables = 64}));
    port.socket = OrThrow(xdp::XskSocket::Open(Rig::Device(number), 0));
    OrThrow(port.socket->Register(port.object->xsks_fd()));
    // A live run wants a device with an XDP receive queue.
    if (bpf_xdp_attach(static_cast<int>(rig.IfIndex(number)), port.object->program_fd(), XDP_FLAGS_DRV_MODE, nullptr)) {
      throw std::runtime_error("cannot attach to " + Rig::Device(number));
    }
  }
}

Subject::~Subject() {
  for (auto& [number, port] : ports_)
    bpf_xdp_detach(static_cast<int>(rig_.IfIndex(number)), XDP_FLAGS_DRV_MODE, nullptr);
}

void Subject::OnReclaimed(uint64_t cookie, const xdp::FlowStatsDelta& rest) {
  if (rest.packets == 0) return;
  stray_packets_ += "flow " + std::to_string(cookie) + ": " + std::to_string(rest.packets) + " packets; ";
}

Result<xdp::FlowSpec> Subject::Compile(const reference::Flow& flow, uint64_t cookie, std::optional<uint32_t>& in_port) {
  const xdp::ObjectMeta& meta = ports_.begin()->second.object->meta();
  auto match = xdp::CompileMatch(flow.match, meta.key);
  if (!match) return match.error();
  auto actions = xdp::CompileActions(flow.actions, meta, *groups_);
  software_.erase(cookie);
  if (!actions) {
    if (actions.error().reason != "unsupported_action" || !soft::Check(flow.actions)) return actions.error();
    actions = xdp::CompiledActions{};
    actions->terminal.type = SLUICE_ACTION_SOFTWARE;
    software_[cookie] = flow.actions;
  }
  in_port = match->in_port;
  return xdp::FlowSpec{match->key, match->mask, flow.priority, *std::move(actions), cookie};
}

Result<void> Subject::Put(const reference::Flow& flow, uint64_t cookie) {
  std::optional<uint32_t> in_port;
  auto spec = Compile(flow, cookie, in_port);
  if (!spec) return spec.error();
  for (auto& [number, port] : ports_) {
    if (in_port && *in_port != number) continue;
    auto id = port.table->Put(*spec);
    if (!id) return id.error();
    port.flows[cookie] = *id;
  }
  return {};
}

Result<void> Subject::Modify(const reference::Flow& flow, uint64_t cookie) {
  std::optional<uint32_t> in_port;
  auto spec = Compile(flow, cookie, in_port);
  if (!spec) return spec.error();
  for (auto& [number, port] : ports_) {
    auto at = port.flows.find(cookie);
    if (at == port.flows.end()) continue;
    if (auto modified = port.table->Modify(at->second, *spec); !modified) return modified;
  }
  return {};
}

void Subject::Delete(uint64_t cookie) {
  for (auto& [number, port] : ports_) {
    if (auto at = port.flows.find(cookie); at != port.flows.end()) {
      port.table->Delete(at->second);
      port.flows.erase(at);
    }
  }
  reclaimer_->Poll();
}

void Subject::Clear() {
  for (auto& [number, port] : ports_) {
    port.table->Flush();
    port.flows.clear();
  }
}

Observed Subject::RunDry(uint32_t number, const reference::Bytes& frame) {
  Port& port = ports_.at(number);
  reference::Bytes out(4096);
  xdp_md in{};
  in.data_end = static_cast<uint32_t>(frame.size());
  in.ingress_ifindex = rig_.IfIndex(number);
  xdp_md after{};
  LIBBPF_OPTS(bpf_test_run_opts, run);
  run.data_in = frame.data();
  run.data_size_in = static_cast<uint32_t>(frame.size());
  run.data_out = out.data();
  run.data_size_out = static_cast<uint32_t>(out.size());
  run.ctx_in = &in;
  run.ctx_size_in = sizeof in;
  run.ctx_out = &after;
  run.ctx_size_out = sizeof after;
  run.repeat = 1;
  if (int failed = bpf_prog_test_run_opts(port.object->program_fd(), &run); failed != 0) {
    throw std::runtime_error(std::string("BPF_PROG_TEST_RUN: ") + std::strerror(-failed));
  }
  Observed observed;
  observed.verdict = run.retval;
  observed.data = reference::Bytes(out.begin() + after.data, out.begin() + run.data_size_out);
  Count(port, observed);
  return observed;
}

Observed Subject::RunLive(uint32_t number, const reference::Bytes& frame) {
  Port& port = ports_.at(number);
  const std::string_view bytes(reinterpret_cast<const char*>(frame.data()), frame.size());
  auto ran = xdp::RunLive(port.object->program_fd(), static_cast<int>(rig_.IfIndex(number)), bytes);
  if (!ran) throw std::runtime_error("live run: " + ran.error().detail);
  Observed observed;
  const soft::Parsed parsed = soft::Parse(frame, number);
  uint64_t cookie = 0;
  if (parsed.malformed == soft::Malformed::kNo &&
      port.table->Lookup(
          xdp::PacketKey(parsed.key, parsed.present, port.object->key_layout()), [](uint64_t) { return true; },
          cookie)) {
    observed.looked_up = cookie;
  }
  observed.emissions = rig_.Take();
  TakeUpcalls(number, port, observed);
  Count(port, observed);
  return observed;
}

void Subject::TakeUpcalls(uint32_t number, Port& port, Observed& observed) {
  port.socket->Receive(xdp::XskSocket::kFrames, [&](std::span<const uint8_t> packet, const uint8_t* end_of_metadata) {
    sluice_upcall_meta meta{};
    std::memcpy(&meta, end_of_metadata - sizeof meta, sizeof meta);
    UpcallSeen seen;
    seen.reason = (meta.magic_reason & 0xffff0000U) == SLUICE_UPCALL_MAGIC ? meta.magic_reason & 0xffff : 0;
    seen.record = meta.record;
    uint64_t cookie = 0;
    seen.frame.assign(packet.begin(), packet.end());
    const bool found = port.table->FindRecord(meta.record, meta.gen, cookie);
    if (seen.reason == SLUICE_UPCALL_SOFTWARE && found) return Execute(number, cookie, seen.frame, observed);
    if (seen.reason == SLUICE_UPCALL_ACTION && found) seen.cookie = cookie;
    observed.upcalls.push_back(std::move(seen));
  });
}

class Subject::SoftSink : public soft::Sink {
 public:
  SoftSink(uint32_t in_port, uint64_t cookie, Observed& observed)
      : in_port_(in_port), cookie_(cookie), observed_(observed) {}

  void Output(uint32_t port, std::span<const uint8_t> frame) override {
    observed_.emissions.push_back({port, {frame.begin(), frame.end()}});
  }
  void Flood(std::span<const uint8_t> frame) override {
    for (const uint32_t port : Rig::ports()) {
      if (port != in_port_) Output(port, frame);
    }
  }
  void ToController(const sluice::ToController& action, std::span<const uint8_t> frame, size_t /*length*/) override {
    UpcallSeen seen;
    seen.cookie = cookie_;
    const size_t length = action.max_len == 0 ? frame.size() : std::min<size_t>(frame.size(), action.max_len);
    seen.frame.assign(frame.begin(), frame.begin() + static_cast<ptrdiff_t>(length));
    observed_.upcalls.push_back(std::move(seen));
  }

 private:
  uint32_t in_port_;
  uint64_t cookie_;
  Observed& observed_;
};

void Subject::Execute(uint32_t number, uint64_t cookie, const reference::Bytes& frame, Observed& observed) {
  soft::Frame packet;
  packet.Assign(frame);
  SoftSink sink(number, cookie, observed);
  soft::Execute(software_.at(cookie), packet, soft::Parse(frame, number).headers, sink);
}

void Subject::Count(Port& port, Observed& observed) {
  const xdp::Object::Counters now = port.object->ReadCounters();
  const auto& names = xdp::Object::CounterNames();
  for (size_t i = 0; i < names.size(); ++i) {
    const uint64_t grown = now.values[i] - port.counters.values[i];
    if (grown != 0) observed.counters[names[i]] = grown;
  }
  port.counters = now;
  // Of all tables: a packet on one port must not count on another.
  for (auto& [number, each] : ports_) {
    each.table->ForEachChangedStats([&](uint64_t cookie, const xdp::FlowStatsDelta& delta) {
      auto& sum = observed.flows[cookie];
      sum.packets += delta.packets;
      sum.bytes += delta.bytes;
      sum.used_ns = delta.used_ns;
      sum.tcp_flags = static_cast<uint16_t>(sum.tcp_flags | delta.tcp_flags);
    });
  }
}

}  // namespace sluice::compare
