// SPDX-License-Identifier: Apache-2.0
#include <poll.h>
#include <unistd.h>

#include <csignal>

#include "commands.h"
#include "daemon.h"
#include "monitor_print.h"
#include "sluice/monitor.h"
#include "sluice/wire.h"

namespace sluice::ctl {
namespace {

// How soon a signal or a closed reader is noticed while there are no events.
constexpr std::chrono::milliseconds kTick{100};

volatile std::sig_atomic_t stopped = 0;

void Stop(int) { stopped = 1; }

struct MonitorArguments {
  std::vector<std::string> topics;
  uint64_t count = 0;
  bool snapshot = false;
};

void StopOnSignals() {
  struct sigaction action {};
  action.sa_handler = Stop;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

// The other end of a pipe was closed: nothing would tell before the next event.
bool ReaderIsGone() {
  pollfd out{STDOUT_FILENO, 0, 0};
  return poll(&out, 1, 0) > 0 && (out.revents & (POLLERR | POLLNVAL)) != 0;
}

std::vector<std::string> Topics(const MonitorArguments& arguments, bool json) {
  std::vector<std::string> topics;
  for (const std::string& prefix : arguments.topics) {
    if (!prefix.empty()) topics.push_back(prefix);
  }
  // Programs want the whole stream, people not a line a second that says nothing.
  if (topics.empty() && json) {
    topics = {"flow.",
              "port.",
              "plugin.",
              std::string(topic::kUpcall),
              std::string(topic::kRefused),
              "publisher.",
              std::string(topic::kHeartbeat)};
  }
  return topics;
}

int Watch(const Global& global, const MonitorArguments& arguments) {
  auto daemon = Daemon::Open(global);
  if (!daemon) return Fail(daemon.error());
  auto monitor = Monitor::Open(
      {.endpoints = daemon->endpoints(), .topics = Topics(arguments, global.json), .snapshot = arguments.snapshot});
  if (!monitor) return Fail(Error{kUsage, monitor.error().detail});
  MonitorJson json(daemon->status().node(), daemon->status().epoch());
  StopOnSignals();
  uint64_t seen = 0;
  while (stopped == 0 && (arguments.count == 0 || seen < arguments.count)) {
    const auto item = monitor->Next(kTick);
    if (!item) {
      if (ReaderIsGone()) break;
      continue;
    }
    if (std::holds_alternative<EventReceived>(*item)) ++seen;
    const bool printed = global.json ? PrintJson(json(*item)) : Print(MonitorText(*item));
    if (!printed || !Flush()) break;
  }
  return kExitOk;
}

}  // namespace

void AddMonitorCommand(const Cli& cli) {
  CLI::App* monitor = AddCommand(cli.app, "monitor", "Show the event stream as it happens, one event a line",
                                 "  sluicectl monitor\n"
                                 "  sluicectl monitor flow. upcall\n"
                                 "  sluicectl monitor --json flow.del | jq .flow.packets");
  monitor->footer(
      "It runs until it is interrupted or nobody reads it any more. Missed events are announced.\n"
      "Topics: flow.add, flow.mod, flow.del, flow.stats, flow.offload, port.add, port.mod, port.del, port.stats,\n"
      "plugin.load, plugin.unload, plugin.fail, upcall, refused, publisher.gap, heartbeat.\n\n" +
      monitor->get_footer());
  auto arguments = std::make_shared<MonitorArguments>();
  monitor->add_option("TOPIC-PREFIX", arguments->topics,
                      "Only topics that begin so (default: all; without --json all but heartbeat)");
  monitor->add_option("--count", arguments->count, "End after so many events")
      ->type_name("N")
      ->check(CLI::PositiveNumber);
  monitor->add_flag("--snapshot", arguments->snapshot, "Show the flows that there are first, and again after a gap");
  monitor->callback(
      [cli, arguments] { cli.run = [&global = cli.global, arguments] { return Watch(global, *arguments); }; });
}

}  // namespace sluice::ctl
