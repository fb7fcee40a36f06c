// SPDX-License-Identifier: Apache-2.0
// An offloader before a device that is none, with flows as text.
#pragma once

#include <optional>
#include <string>

#include "fake_device.h"
#include "offload/offloader.h"
#include "sluice/flow_text.h"

namespace sluice::rteflow {

// The port is ethdev 3; port n is ethdev 10 + n.
inline Offloader::Settings Settings() {
  Offloader::Settings settings;
  settings.ethdev = 3;
  settings.ethdev_of = [](uint32_t port) { return std::optional<uint16_t>(static_cast<uint16_t>(10 + port)); };
  return settings;
}

class Rig {
 public:
  explicit Rig(const FakeDevice::Abilities& abilities = {}, const Offloader::Settings& settings = Settings())
      : device(abilities), offloader(settings, device) {}

  Result<OffloadRule> Put(const std::string& match, const std::string& actions, uint32_t priority = 0,
                          uint32_t mark = 7) {
    const auto parsed = ParseMatch(match);
    const auto list = ParseActions(actions);
    if (!parsed) return parsed.error();
    if (!list) return list.error();
    return offloader.Create({*parsed, *list, priority, mark});
  }
  // "full", "mark, count", ..., or the error.
  std::string Extent(const std::string& match, const std::string& actions, uint32_t priority = 0, uint32_t mark = 7) {
    const auto rule = Put(match, actions, priority, mark);
    if (!rule) return rule.error().reason + ": " + rule.error().detail;
    switch (rule->extent) {
      case Extent::kFull:
        return rule->counts ? "full" : "full, not counted";
      case Extent::kMarkCount:
        return "mark, count";
      case Extent::kMarkCountQueue:
        return "mark, count, queue";
      case Extent::kMarkQueue:
        return "mark, queue";
    }
    return "?";
  }

  FakeDevice device;
  Offloader offloader;
};

}  // namespace sluice::rteflow
