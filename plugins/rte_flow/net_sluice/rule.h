// SPDX-License-Identifier: Apache-2.0
// A flow rule as the device keeps it: what an application's rte_flow pointer points to.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "sluice/action.h"
#include "sluice/match.h"

namespace sluice::netsluice {

class Device;
class RuleTable;
class Subtable;

// What a rule does to a packet, in order. An edit of a header that the packet does not have does nothing.
struct SetStep {
  std::unique_ptr<const Match> fields;
};
struct PushStep {
  PushVlan tag;
};
struct PopStep {};
struct DecTtlStep {};
struct StripStep {  // bytes off the front
  size_t size;
};
struct DecapStep {};  // the frame that is inside VXLAN
struct EncapStep {    // bytes in front, whose IP and UDP lengths and IPv4 checksum are made to fit
  std::vector<uint8_t> headers;
};
struct WireStep {  // a copy, as it is by then, out of a device's wire
  std::shared_ptr<Device> device;
};
struct QueueStep {  // a copy to a receive queue of a device; of several the packet's hash chooses
  std::shared_ptr<Device> device;
  std::vector<uint16_t> queues;  // empty: as a packet that no rule takes
};
using Step = std::variant<SetStep, PushStep, PopStep, DecTtlStep, StripStep, DecapStep, EncapStep, WireStep, QueueStep>;

struct Program {
  std::vector<Step> steps;
  std::optional<uint32_t> mark;
  bool flag = false;
  bool count = false;
  bool drop = false;
  bool passthru = false;  // the next rule, of lower priority, gets the packet, too
};

class Rule {
 public:
  Rule(uint32_t priority, Program program) : priority_(priority), program_(std::move(program)) {}
  Rule(const Rule&) = delete;
  Rule& operator=(const Rule&) = delete;

  [[nodiscard]] uint32_t priority() const { return priority_; }  // 0 is the highest
  [[nodiscard]] const Program& program() const { return program_; }

  // By matching threads.
  void Count(size_t frame_size) const {
    packets_.fetch_add(1, std::memory_order_relaxed);
    bytes_.fetch_add(frame_size, std::memory_order_relaxed);
  }
  [[nodiscard]] uint64_t packets() const { return packets_.load(std::memory_order_relaxed); }
  [[nodiscard]] uint64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

  // Of who made it, under the lock of the device that it was made on.
  size_t place = 0;              // among that device's rules
  uint64_t queried_packets = 0;  // what a query with reset has seen
  uint64_t queried_bytes = 0;

 private:
  friend class RuleTable;
  friend class Subtable;

  const uint32_t priority_;
  const Program program_;
  mutable std::atomic<uint64_t> packets_{0};
  mutable std::atomic<uint64_t> bytes_{0};
  // RuleTable's.
  std::vector<uint64_t> key_;  // the masked words of its subtable
  uint32_t hash_ = 0;
  Subtable* subtable_ = nullptr;
  std::shared_ptr<RuleTable> table_;
};

}  // namespace sluice::netsluice
