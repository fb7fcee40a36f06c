// SPDX-License-Identifier: Apache-2.0
// The loop's ports by number, and in the order in which they are polled.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "loop_port.h"

namespace sluice::rteflow {

class PortTable {
 public:
  // nullptr: there is none.
  [[nodiscard]] LoopPort* Find(uint32_t number) const {
    return number < kDirect ? (number < direct_.size() ? direct_[number] : nullptr) : FindLarge(number);
  }
  // No other may have its number.
  LoopPort& Add(std::unique_ptr<LoopPort> port);
  void Remove(const LoopPort& port);

  [[nodiscard]] const std::vector<std::unique_ptr<LoopPort>>& all() const { return ports_; }

 private:
  static constexpr uint32_t kDirect = 4096;  // numbers below are indexes; the others, which nobody has, are searched

  [[nodiscard]] LoopPort* FindLarge(uint32_t number) const;

  std::vector<std::unique_ptr<LoopPort>> ports_;
  std::vector<LoopPort*> direct_;
};

}  // namespace sluice::rteflow
