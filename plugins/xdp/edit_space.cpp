// SPDX-License-Identifier: Apache-2.0
#include "edit_space.h"

#include <iterator>

namespace sluice::xdp {

EditSpace::EditSpace(uint32_t entries) {
  if (entries != 0) AddGap(0, entries);
}

void EditSpace::AddGap(uint32_t first, uint32_t count) {
  gaps_[first] = count;
  by_length_.emplace(count, first);
}

std::optional<uint32_t> EditSpace::Take(uint32_t count) {
  const auto smallest = by_length_.lower_bound({count, 0});
  if (smallest == by_length_.end()) return std::nullopt;
  const auto [length, first] = *smallest;
  by_length_.erase(smallest);
  gaps_.erase(first);
  if (length > count) AddGap(first + count, length - count);
  return first;
}

void EditSpace::Give(uint32_t first, uint32_t count) {
  const auto after = gaps_.lower_bound(first);
  if (after != gaps_.end() && first + count == after->first) {
    count += after->second;
    by_length_.erase({after->second, after->first});
    gaps_.erase(after);
  }
  const auto next = gaps_.lower_bound(first);
  if (next != gaps_.begin()) {
    const auto before = std::prev(next);
    if (before->first + before->second == first) {
      first = before->first;
      count += before->second;
      by_length_.erase({before->second, before->first});
      gaps_.erase(before);
    }
  }
  AddGap(first, count);
}

}  // namespace sluice::xdp
