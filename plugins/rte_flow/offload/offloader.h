// SPDX-License-Identifier: Apache-2.0
// Puts megaflows into one device: says a flow as rte_flow items and actions, tries the ways to have it from the most
// that the device could do to the least, and remembers what this device took.
//
// One thread at a time. README.md tells the order and what is remembered.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "flow_api.h"
#include "sluice/action.h"
#include "sluice/error.h"
#include "sluice/match.h"

namespace sluice::rteflow {

// What the device does for a flow.
enum class Extent : uint8_t {
  kFull,            // forwards, edits and counts; no packet comes up
  kMarkCount,       // the others: classifies; packets come up with the flow's mark
  kMarkCountQueue,  // with QUEUE or RSS, which some devices want beside MARK
  kMarkQueue,       // and does not count
};

struct OffloadRequest {
  const Match& match;      // in_port is not looked at: the caller chose the device by it
  const Actions& actions;  // ports by number
  uint32_t priority;       // the higher wins
  uint32_t mark;           // for all extents but kFull
  // Whether the rule may be one of the device's switch, which sees packets before the rules of its ports do.
  bool transfer = true;
};

// A rule in the device.
struct OffloadRule {
  rte_flow* handle = nullptr;
  Extent extent = Extent::kFull;
  bool counts = false;  // Query answers
  // The device takes exactly the packets that the flow matches. Else it takes fewer, and software has to see to the
  // rest: for instance IPv6 behind extension headers, which rte_flow's items do not see through.
  bool exact = true;
  // In the embedded switch, where it comes before all rules that are not, whatever their priority.
  bool transfer = false;
  uint64_t packets = 0;  // as last read, where the device cannot reset
  uint64_t bytes = 0;
};

struct OffloadCounts {
  uint64_t packets = 0;
  uint64_t bytes = 0;  // 0 where the device counts none
};

// How a port that shares its device with others is told apart in the pattern.
enum class PortItem : uint8_t { kNone, kPortRepresentor, kRepresentedPort, kPortId };

class Offloader {
 public:
  struct Settings {
    uint16_t ethdev = 0;                   // the port whose packets are meant
    PortItem port_item = PortItem::kNone;  // how the pattern names it
    uint16_t queues = 1;                   // receive queues: more than one is said by RSS, one by QUEUE
    bool full = true;                      // whether full offload is tried at all
    bool rss = true;                       // whether RSS may be said at all; some drivers crash on it
    bool uncounted = false;                // whether packets may be dropped by a rule that does not count them
    bool tag_type = true;                  // whether 0x8100 may be said beside a VLAN item; some drivers refuse it
    // The ethdev of a port of this plugin, by its number; nullopt: none that this device could send to.
    std::function<std::optional<uint16_t>(uint32_t port)> ethdev_of;
  };

  // `api` outlives it.
  Offloader(Settings settings, FlowApi& api);
  ~Offloader();
  Offloader(const Offloader&) = delete;
  Offloader& operator=(const Offloader&) = delete;

  // Errors, with what is to be told people:
  //   "unsupported_field", "unsupported_action": it cannot be said exactly in rte_flow; names the field or action
  //   "unsupported_priority": the device has fewer priorities
  //   "device_refused": no way of saying it was accepted; driver's error type and message of the least that was tried
  //   "table_full": ENOSPC; "device_failed": the driver failed otherwise (EIO, ENODEV, ...)
  Result<OffloadRule> Create(const OffloadRequest& request);
  // Errors: "device_failed"; the rule may still be there.
  Result<void> Destroy(OffloadRule& rule);
  // What was counted since the last call. Errors: "not_counted", "device_failed".
  Result<OffloadCounts> Query(OffloadRule& rule);
  // After a reset of the device: everything is tried anew.
  void Forget();

  // For people, of `port list`: the extent of each shape of actions as learnt ("output" -> "mark, count; full was
  // refused: ..."), the number of priorities, whether counters can be reset.
  [[nodiscard]] std::map<std::string, std::string> Learnt() const;
  // Attempts that the device refused since the start.
  [[nodiscard]] uint64_t refused_attempts() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice::rteflow
