// SPDX-License-Identifier: Apache-2.0
// Everything of the daemon but sockets, processes and signals: what is said to it goes in by method, what it says goes
// out through Outlet. One thread.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "ageing.h"
#include "counters.h"
#include "event_stream.h"
#include "flow_events.h"
#include "flow_service.h"
#include "flow_table.h"
#include "plugin_paths.h"
#include "plugins.h"
#include "port_service.h"
#include "publishers.h"
#include "rates.h"
#include "snapshots.h"
#include "timers.h"

namespace sluice::core {

struct CoreSettings {
  std::string node;
  std::string epoch;
  std::string version;
  FlowLimits flows;
  FeedLimits feed;
  SnapshotLimits snapshots;
  PluginTimes plugins;
  uint64_t port_ms = 10'000;
  uint64_t heartbeat_ms = 1'000;
  uint64_t idle_grace_ms = 800;
  size_t publishers = 1'024;
  size_t max_message = size_t{4} << 20;
  std::map<std::string, std::string> endpoints;
  std::map<std::string, uint64_t> socket_queues;  // how many messages may wait, by endpoint; for status
};

struct Outlet {
  EventStream::Send publish;
  Plugins::Send to_plugin;
  std::function<std::map<std::string, uint64_t>()> connections;  // open ones, by endpoint
};

class Core {
 public:
  // Called once, maybe later.
  using Reply = std::function<void(v1::Reply)>;

  Core(CoreSettings settings, Outlet outlet, Launcher& launcher, PluginPaths paths, Clock clock = MonotonicNs);
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  // A request on the control endpoint: its payload, whatever that is.
  void OnControl(std::string_view payload, Reply reply);
  void OnRequest(const v1::Request& request, Reply reply);
  void OnIngress(std::string_view topic, std::string_view payload);
  void OnPlugin(const std::string& identity, std::string_view payload);
  void OnSubscription(std::string_view prefix, bool on);

  // Timeouts, then what there is to send. To be called when what came has been taken in.
  void Turn();
  // CLOCK_MONOTONIC; Turn() has to be called then at the latest.
  [[nodiscard]] std::optional<uint64_t> NextDeadline() const;

  // Errors: "bad_request", "no_such_plugin", "bad_plugin_name".
  [[nodiscard]] Result<PluginSpec> SpecOf(const std::string& name, const std::string& isolation,
                                          const std::string& orphan,
                                          const std::map<std::string, std::string>& options) const;
  // From the configuration: failures are logged and shown, no more. One that is there already stays.
  void LoadConfigured(const std::string& name, Result<PluginSpec> spec);
  void AddConfigured(const std::string& name, const std::string& plugin,
                     const std::map<std::string, std::string>& options);

  [[nodiscard]] Plugins& plugins() { return plugins_; }
  [[nodiscard]] Counters& counters() { return counters_; }
  [[nodiscard]] FlowTable& table() { return table_; }

 private:
  void Finish(v1::Reply& reply, uint64_t id) const;
  void OnPluginRequest(const v1::Request& request, const Reply& finish);
  void OnPortRequest(const v1::Request& request, const Reply& finish);
  void OnFlowRequest(const v1::Request& request, v1::Reply& reply);
  void OnQuery(const v1::Request& request, v1::Reply& reply);
  void Status(v1::Status& status) const;
  void RefuseMessage(std::string_view topic, const Error& error);
  void TellOfPublishers();
  void TellOfPublishersSoon();
  void ShowQueues(v1::Status& status) const;
  void ShowDrops(v1::Status& status) const;
  void ShowRates(v1::Status& status) const;
  enum Rated : uint8_t { kEvents, kEventsSent, kRecords, kUpcalls, kRated };
  [[nodiscard]] Rates<kRated>::Counts RatedNow() const;
  void SampleRates();
  void Beat();

  const CoreSettings settings_;
  const std::function<std::map<std::string, uint64_t>()> connections_;
  const uint64_t started_ns_;
  Clock clock_;
  Sequence sequence_;
  Counters counters_;
  Timers timers_;
  PluginPaths paths_;
  Journal journal_{sequence_};
  EventStream events_;
  Ports ports_{journal_};
  FlowEvents flow_events_;
  FlowTable table_;
  Ageing ageing_;
  PortService port_service_;
  Plugins plugins_;
  Publishers publishers_;
  Snapshots snapshots_;
  FlowService flow_service_;
  Rates<kRated> rates_;
  v1::FromPlugin from_plugin_;
  uint64_t bad_plugin_told_ns_ = 0;
  bool publishers_timer_ = false;
  bool beat_now_ = false;
};

}  // namespace sluice::core
