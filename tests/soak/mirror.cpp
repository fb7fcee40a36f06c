// SPDX-License-Identifier: Apache-2.0
// A FlowMirror for the soak: mirror RUN_DIR follows the daemon's events; for each line "SEQ" on its standard input it
// waits until it has heard of everything up to that sequence number, and prints its flows in JSON, one a line, and then
// an object with what it has seen of gaps.
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <variant>

#include "sluice/endpoints.h"
#include "sluice/flow_mirror.h"
#include "sluice/monitor.h"
#include "sluice/wire.h"

namespace {

using std::chrono::milliseconds;

// The newest sequence number that the item says is behind us.
uint64_t Seen(const sluice::MonitorItem& item) {
  if (const auto* synced = std::get_if<sluice::Synced>(&item)) return synced->seq;
  const auto* received = std::get_if<sluice::EventReceived>(&item);
  if (received == nullptr || !received->event.has_heartbeat()) return 0;
  return received->event.heartbeat().seq();
}

constexpr uint64_t kNothing = UINT64_MAX;

// The number in the next line of standard input; kNothing if none has come. `ended` at its end.
uint64_t Asked(bool& ended) {
  pollfd input{STDIN_FILENO, POLLIN, 0};
  if (poll(&input, 1, 0) <= 0) return kNothing;
  std::string line;
  if (std::getline(std::cin, line)) return std::stoull(line);
  ended = true;
  return kNothing;
}

void Print(const sluice::FlowMirror& mirror, const sluice::Monitor& monitor) {
  mirror.ForEach([](const sluice::v1::Flow& flow) { std::cout << sluice::ToJson(flow).dump() << '\n'; });
  const auto& counters = monitor.counters();
  std::cout << nlohmann::json{{"missed", counters.missed}, {"walks", counters.walks}}.dump() << std::endl;
}

int Run(const std::string& run_dir) {
  sluice::Monitor::Settings settings;
  settings.endpoints = sluice::EndpointsIn(run_dir);
  settings.topics = {"flow.", "heartbeat"};
  settings.snapshot = true;
  auto monitor = sluice::Monitor::Open(std::move(settings));
  if (!monitor) {
    std::cerr << "mirror: " << monitor.error().detail << '\n';
    return 1;
  }
  sluice::FlowMirror mirror;
  uint64_t asked = kNothing;
  uint64_t seen = 0;
  for (bool ended = false; !ended;) {
    if (const auto item = monitor->Next(milliseconds(50))) {
      mirror.Apply(*item);
      seen = std::holds_alternative<sluice::EpochChanged>(*item) ? 0 : std::max(seen, Seen(*item));
    }
    if (asked == kNothing) asked = Asked(ended);
    if (asked == kNothing || seen < asked || !mirror.synced()) continue;
    Print(mirror, *monitor);
    asked = kNothing;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: soak_mirror RUN_DIR\n";
    return 2;
  }
  return Run(argv[1]);
}
