// SPDX-License-Identifier: Apache-2.0
#include "marks.h"

#include <algorithm>
#include <functional>

namespace sluice::rteflow {

uint32_t Marks::Take() {
  if (free_.empty()) return next_++;
  std::pop_heap(free_.begin(), free_.end(), std::greater<>());
  const uint32_t mark = free_.back();
  free_.pop_back();
  return mark;
}

void Marks::Rest(uint64_t drained, uint64_t now_ns) {
  while (!resting_.empty()) {
    const Resting& first = resting_.front();
    if (first.fence > drained || now_ns - first.since_ns < kDeviceNs) return;
    free_.push_back(first.mark);
    std::push_heap(free_.begin(), free_.end(), std::greater<>());
    resting_.pop_front();
  }
}

}  // namespace sluice::rteflow
