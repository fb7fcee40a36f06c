// SPDX-License-Identifier: Apache-2.0
// Idle and hard timeouts. A heap of deadlines, put right only when one is reached: traffic costs it nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <queue>
#include <vector>

#include "flow_table.h"

namespace sluice::core {

class Ageing {
 public:
  // Plugins report use with a delay; a flow that one of them executes is not idle before that has passed on top.
  Ageing(FlowTable& table, uint64_t report_delay_ns) : table_(table), report_delay_ns_(report_delay_ns) {}

  // To be called when a flow was added or modified.
  void Arm(Flow& flow);
  // Deletes what has expired, at most `limit` flows. Returns how many deadlines were looked at.
  size_t Expire(uint64_t now_ns, size_t limit);
  [[nodiscard]] std::optional<uint64_t> NextDeadline() const;

 private:
  struct Deadline {
    uint64_t at_ns;
    Ufid ufid;
    uint64_t instance;
    uint32_t armed;
    bool operator>(const Deadline& other) const { return at_ns > other.at_ns; }
  };
  [[nodiscard]] uint64_t IdleAt(const Flow& flow) const;
  [[nodiscard]] static uint64_t HardAt(const Flow& flow);

  FlowTable& table_;
  uint64_t report_delay_ns_;
  std::priority_queue<Deadline, std::vector<Deadline>, std::greater<>> heap_;
};

}  // namespace sluice::core
