// SPDX-License-Identifier: Apache-2.0
// What Core tells of itself.
#include <utility>

#include "core.h"

namespace sluice::core {

Rates<Core::kRated>::Counts Core::RatedNow() const {
  Rates<kRated>::Counts counts{};
  counts[kEvents] = events_.happened();
  counts[kEventsSent] = counters_.Of("events_sent");
  counts[kRecords] = publishers_.total().accepted + publishers_.total().refused;
  counts[kUpcalls] = counters_.Of("upcalls");
  return counts;
}

void Core::ShowRates(v1::Status& status) const {
  const auto rates = rates_.PerSecond(RatedNow(), clock_());
  const auto show = [&](const std::string& what, uint64_t rate) { (*status.mutable_rates())[what] = rate; };
  show("events", rates[kEvents]);
  show("events_sent", rates[kEventsSent]);
  show("records", rates[kRecords]);
  show("upcalls", rates[kUpcalls]);
}

// Everything that holds something for later, with its limit.
void Core::ShowQueues(v1::Status& status) const {
  const auto show = [&](const std::string& name, uint64_t limit) -> v1::Queue& {
    v1::Queue& queue = *status.add_queues();
    queue.set_name(name);
    queue.set_limit(limit);
    return queue;
  };
  for (const auto& [name, limit] : settings_.socket_queues) show("socket." + name, limit);  // a peer; depth unknown
  show("flows", settings_.flows.max_flows).set_depth(table_.size());
  show("journal", 0).set_depth(journal_.size());
  show("tombstones", 0).set_depth(table_.tombstones());
  show("snapshots", snapshots_.limits().walks).set_depth(snapshots_.size());
  show("snapshot_deletes", snapshots_.limits().held).set_depth(table_.held_for_snapshots());
  show("publishers", publishers_.limit()).set_depth(publishers_.size());
  plugins_.ShowQueues(*status.mutable_queues());
}

// Whatever was lost or thrown away. All places are named, also those where nothing was.
void Core::ShowDrops(v1::Status& status) const {
  const auto add = [&](const std::string& place, uint64_t lost) { (*status.mutable_drops())[place] += lost; };
  add("ingress.records", publishers_.total().dropped);
  add("ingress.messages", publishers_.total().missed);
  add("events", counters_.Of("events_dropped"));
  add("replies", counters_.Of("replies_dropped"));
  add("upcalls.unheard", counters_.Of("upcall_unheard"));
  add("plugins.packets", counters_.Of("packet_out_dropped"));
  add("plugins.batches", counters_.Of("plugin_batches_dropped"));
  // What plugins tell of their ports.
  static const std::pair<std::string, std::string> kPlaces[] = {{"upcall_dropped", "ports.upcalls"},
                                                                {"upcall_limited", "ports.upcalls_limited"},
                                                                {"packet_out_failed", "ports.packets_out"},
                                                                {"device_dropped", "ports.device"}};
  for (const auto& [counter, place] : kPlaces) {
    add(place, 0);
    for (const PortEntry* port : ports_.All()) {
      const auto counted = port->port.counters().find(counter);
      if (counted != port->port.counters().end()) add(place, counted->second);
    }
  }
}

void Core::Status(v1::Status& status) const {
  status.set_node(settings_.node);
  status.set_epoch(settings_.epoch);
  status.set_version(settings_.version);
  status.set_seq(sequence_.last);
  status.set_uptime_ms((clock_() - started_ns_) / 1'000'000);
  status.set_flows(table_.size());
  for (const PortEntry* port : ports_.All()) *status.add_ports() = port->port;
  plugins_.Show(*status.mutable_plugins());
  status.mutable_counters()->insert(counters_.values().begin(), counters_.values().end());
  (*status.mutable_counters())["tombstones"] = table_.tombstones();
  status.mutable_endpoints()->insert(settings_.endpoints.begin(), settings_.endpoints.end());
  publishers_.ShowAll(*status.mutable_publishers());
  ShowQueues(status);
  ShowDrops(status);
  ShowRates(status);
  for (const std::string& prefix : events_.prefixes()) status.add_subscriptions(prefix);
  if (!connections_) return;
  const auto open = connections_();
  status.mutable_connections()->insert(open.begin(), open.end());
}

}  // namespace sluice::core
