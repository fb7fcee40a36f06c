// SPDX-License-Identifier: Apache-2.0
// What a Monitor tells, as lines.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "sluice/monitor.h"

namespace sluice::ctl {

// An event as EventText(); everything else as a sentence behind "-- ", but flows of the snapshot: "snapshot FLOW".
std::string MonitorText(const MonitorItem& item);

// An event as EventJson(). Everything else has the same first keys and a topic that no event has: snapshot.start,
// snapshot.flow (with "flow"), snapshot.del (with "ufid"), snapshot.done, and, with a body under "notice":
// monitor.gap, monitor.epoch, monitor.silent, monitor.problem.
class MonitorJson {
 public:
  explicit MonitorJson(std::string node, std::string epoch) : node_(std::move(node)), epoch_(std::move(epoch)) {}
  nlohmann::ordered_json operator()(const MonitorItem& item);

 private:
  nlohmann::ordered_json Line(const char* topic) const;

  std::string node_;  // of the last event
  std::string epoch_;
  uint64_t seq_ = 0;
};

}  // namespace sluice::ctl
