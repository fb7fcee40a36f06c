// SPDX-License-Identifier: Apache-2.0
// The numbers that MARKed packets bear. One is free again when no packet can bear it any more: the device's queues have
// been seen empty since its rules went, and some time has passed for what the device itself still held.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

namespace sluice::rteflow {

class Marks {
 public:
  // What a device may take between matching a packet and having it in a receive queue.
  static constexpr uint64_t kDeviceNs = 1'000'000'000;

  // The lowest that is free, from 1 on: devices have few bits for it.
  uint32_t Take();
  // No rule bears `mark` since `fence` was set, at `now_ns`.
  void Release(uint32_t mark, uint64_t fence, uint64_t now_ns) { resting_.push_back({mark, fence, now_ns}); }
  // Frees what may be used again. `drained`: Datapath::drained_fence().
  void Rest(uint64_t drained, uint64_t now_ns);
  [[nodiscard]] size_t resting() const { return resting_.size(); }

 private:
  struct Resting {
    uint32_t mark;
    uint64_t fence;
    uint64_t since_ns;
  };
  uint32_t next_ = 1;
  std::vector<uint32_t> free_;  // a heap, the lowest on top
  std::deque<Resting> resting_;
};

}  // namespace sluice::rteflow
