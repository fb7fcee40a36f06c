// SPDX-License-Identifier: Apache-2.0
#include "compare/subject.h"

#include <bpf/bpf.h>
#include <linux/if_link.h>

#include <cstring>
#include <stdexcept>
#include <utility>

#include "packet_out.h"

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
  auto match = xdp::CompileMatch(flow.match, ports_.begin()->second.object->key_layout());
  if (!match) return match.error();
  auto actions = xdp::CompileActions(flow.actions, *groups_);
  if (!actions) return actions.error();
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
  auto ran = xdp::RunLive(port.object->program_fd(), static_cast<int>(rig_.IfIndex(number)), bytes, std::nullopt);
  if (!ran) throw std::runtime_error("live run: " + ran.error().detail);
  Observed observed;
  observed.emissions = rig_.Take();
  TakeUpcalls(port, observed);
  Count(port, observed);
  return observed;
}

void Subject::TakeUpcalls(Port& port, Observed& observed) {
  port.socket->Receive(xdp::XskSocket::kFrames, [&](std::span<const uint8_t> packet, const uint8_t* end_of_metadata) {
    sluice_upcall_meta meta{};
    std::memcpy(&meta, end_of_metadata - sizeof meta, sizeof meta);
    UpcallSeen seen;
    seen.reason = (meta.magic_reason & 0xffff0000U) == SLUICE_UPCALL_MAGIC ? meta.magic_reason & 0xffff : 0;
    seen.record = meta.record;
    uint64_t cookie = 0;
    if (seen.reason == SLUICE_UPCALL_ACTION && port.table->FindRecord(meta.record, cookie)) seen.cookie = cookie;
    seen.frame.assign(packet.begin(), packet.end());
    observed.upcalls.push_back(std::move(seen));
  });
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
