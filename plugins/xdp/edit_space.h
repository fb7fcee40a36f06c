// SPDX-License-Identifier: Apache-2.0
// Which entries of map `edits` are free. A flow's edits are neighbours.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>

namespace sluice::xdp {

// One thread at a time.
class EditSpace {
 public:
  explicit EditSpace(uint32_t entries);

  // The first of `count` (at least 1) entries next to each other, from the smallest gap that has room.
  std::optional<uint32_t> Take(uint32_t count);
  void Give(uint32_t first, uint32_t count);

 private:
  void AddGap(uint32_t first, uint32_t count);

  std::map<uint32_t, uint32_t> gaps_;                  // first to count
  std::set<std::pair<uint32_t, uint32_t>> by_length_;  // the same: count, first
};

}  // namespace sluice::xdp
