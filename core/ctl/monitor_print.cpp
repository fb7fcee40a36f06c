// SPDX-License-Identifier: Apache-2.0
#include "monitor_print.h"

#include <chrono>

#include "flow_print.h"

namespace sluice::ctl {
namespace {

using Json = nlohmann::ordered_json;

template <typename... Functions>
struct Overloaded : Functions... {
  using Functions::operator()...;
};
template <typename... Functions>
Overloaded(Functions...) -> Overloaded<Functions...>;

std::string Tenths(std::chrono::milliseconds time) {
  return std::to_string(time.count() / 1000) + '.' + std::to_string(time.count() / 100 % 10);
}

}  // namespace

std::string MonitorText(const MonitorItem& item) {
  return std::visit(
      Overloaded{
          [](const EventReceived& received) { return EventText(received.event); },
          [](const SnapshotStarted&) { return std::string("-- snapshot: the table from its beginning"); },
          [](const SnapshotFlow& flow) { return "snapshot " + FlowLineText(flow.flow); },
          [](const SnapshotDeleted& gone) { return "-- snapshot: flow " + gone.ufid + " has gone"; },
          [](const Synced& synced) { return "-- snapshot: complete as of #" + std::to_string(synced.seq); },
          [](const GapDetected& gap) {
            return "-- gap: " + std::to_string(gap.missed) + " events of " + gap.topic + " were missed";
          },
          [](const EpochChanged& epoch) {
            return "-- restart: the daemon is another one now, epoch " + epoch.to + " after " + epoch.from;
          },
          [](const Silent& silent) {
            return "-- silence: nothing from the daemon for " + Tenths(silent.quiet) + " s; waiting";
          },
          [](const Problem& problem) { return "-- problem: " + problem.error.detail; },
          [](const UpcallsReceived&) { return std::string(); },  // only for who asks for them
      },
      item);
}

nlohmann::ordered_json MonitorJson::Line(const char* topic) const {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return {{"node", node_},
          {"epoch", epoch_},
          {"seq", seq_},
          {"time_ns", std::chrono::duration_cast<std::chrono::nanoseconds>(now).count()},
          {"topic", topic}};
}

nlohmann::ordered_json MonitorJson::operator()(const MonitorItem& item) {
  const auto notice = [this](const char* topic, Json body) {
    Json line = Line(topic);
    line["notice"] = std::move(body);
    return line;
  };
  return std::visit(
      Overloaded{
          [&](const EventReceived& received) {
            node_ = received.node;
            epoch_ = received.epoch;
            seq_ = received.event.seq();
            return EventJson(received.node, received.epoch, received.event);
          },
          [&](const SnapshotStarted& started) {
            epoch_ = started.epoch;
            return Line("snapshot.start");
          },
          [&](const SnapshotFlow& flow) {
            seq_ = flow.as_of;
            Json line = Line("snapshot.flow");
            line["flow"] = FlowJson(flow.flow);
            return line;
          },
          [&](const SnapshotDeleted& gone) {
            seq_ = gone.as_of;
            Json line = Line("snapshot.del");
            line["ufid"] = gone.ufid;
            return line;
          },
          [&](const Synced& synced) {
            seq_ = synced.seq;
            return Line("snapshot.done");
          },
          [&](const GapDetected& gap) {
            return notice("monitor.gap", {{"topic", gap.topic}, {"missed", gap.missed}});
          },
          [&](const EpochChanged& epoch) {
            epoch_ = epoch.to;
            seq_ = 0;
            return notice("monitor.epoch", {{"from", epoch.from}, {"to", epoch.to}});
          },
          [&](const Silent& silent) {
            return notice("monitor.silent", {{"quiet_ms", silent.quiet.count()}});
          },
          [&](const Problem& problem) {
            return notice("monitor.problem", {{"reason", problem.error.reason}, {"detail", problem.error.detail}});
          },
          [&](const UpcallsReceived&) { return Json(); },
      },
      item);
}

}  // namespace sluice::ctl
