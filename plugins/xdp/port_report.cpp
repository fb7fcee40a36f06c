// SPDX-License-Identifier: Apache-2.0
// Port: what it says of itself.
#include "port.h"

#include <bpf/bpf.h>

#include <algorithm>
#include <string>

namespace sluice::xdp {

void Port::FillInfo(v1::Port& port) const {
  auto& info = *port.mutable_info();
  info["mode"] = xdp::ToString(attachment_->mode());
  info["miss"] = PolicyName(settings_.miss);
  info["ifindex"] = std::to_string(device_.ifindex);
  info["driver"] = device_.driver.empty() ? device_.kind : device_.driver;
  info["mtu"] = std::to_string(device_.mtu);
  info["queues"] = std::to_string(device_.rx_queues);
  info["max_flows"] = std::to_string(settings_.max_flows);
  info["upcall_rate"] = std::to_string(settings_.upcall_rate);
  info["software"] = settings_.software ? "yes" : "no";
  if (!settings_.object.empty()) info["object"] = settings_.object;
  info["upcall_match"] = settings_.upcall_match ? "yes" : "no";
  info["program"] = std::to_string(ProgramId(object_->program_fd()));
  info["frags"] = frags_ ? "yes" : "no";
  if (device_.xdp_features) info["features"] = DescribeFeatures(*device_.xdp_features);
  if (!replaced_.empty()) info["replaced"] = replaced_;
  if (taking_over_) info["taking_over"] = "the program of an earlier run forwards until all flows are in";
  if (!preparation_.peer.empty()) info["peer"] = preparation_.peer;
  if (!preparation_.changes.empty()) info["changed"] = preparation_.Changed();
  std::string warning;
  for (const auto* warnings : {&warnings_, &preparation_.warnings}) {
    for (const auto& each : *warnings) warning += (warning.empty() ? "" : "; ") + each;
  }
  if (!warning.empty()) info["warning"] = warning;
}

void Port::FillCounters(v1::Port& port) const {
  auto& counters = *port.mutable_counters();
  const auto set = [&](const std::string& name, uint64_t value) { counters[name] = value; };
  auto values = object_->ReadCounters();
  for (size_t i = 0; i < SLUICE_COUNTER_SLOTS; ++i) values.values[i] += soft_counts_.values[i];
  const auto& names = Object::CounterNames();
  for (size_t i = 0; i < names.size(); ++i) counters[names[i]] = values.values[i];
  set("rx_packets", values.rx_packets());
  AddPasses(counters);
  XskSocket::Statistics sum;
  for (const auto& socket : sockets_) {
    const auto one = socket->ReadStatistics();
    sum.received += one.received;
    sum.dropped += one.dropped;
  }
  set("upcall_received", sum.received);
  set("upcall_dropped", sum.dropped);
  // A device that has just vanished has none any more.
  const uint64_t dropped = ReadDropped(device_.ifindex);
  set("device_dropped", dropped - std::min(dropped, dropped_before_));
  set("packet_out", packet_out_);
  set("packet_out_failed", packet_out_failed_);
  const auto usage = table_->usage();
  set("flows", usage.flows);
  set("masks", usage.masks);
}

// What became of packets is one count for all passes; how they were found is told apart.
void Port::AddPasses(google::protobuf::Map<std::string, uint64_t>& counters) const {
  if (pass_slot_ == nullptr) return;
  const auto values = context_.passes.CountersOf(pass_slot_->index());
  const auto& names = PassObject::CounterNames();
  for (size_t i = 0; i < names.size(); ++i) {
    const uint64_t value = values.values[i] - passes_before_.values[i];
    const bool lookup = i == SLUICE_COUNT_hit_cache || i == SLUICE_COUNT_hit_table || i == SLUICE_COUNT_miss ||
                        (i >= SLUICE_COUNT_malformed_eth && i <= SLUICE_COUNT_malformed_l4);
    if (i == SLUICE_COUNT_rx_bytes || names[i].empty()) continue;
    counters[lookup ? "pass_" + names[i] : names[i]] += value;
  }
  const PassGeneration* passes = context_.passes.current();
  const auto usage = passes == nullptr ? FlowTable::Usage{} : passes->table->usage();
  counters["pass_flows"] = usage.flows;
  counters["pass_masks"] = usage.masks;
}

}  // namespace sluice::xdp
