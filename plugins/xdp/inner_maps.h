// SPDX-License-Identifier: Apache-2.0
// Elements of BPF maps of maps.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "sluice/error.h"
#include "sluice/unique_fd.h"

namespace sluice::xdp {

struct InnerMap {
  uint32_t key = 0;  // in the outer map
  UniqueFd fd;
};

// Enters them into the outer map, and waits for the programs that are running (8 to 50 ms, however many they are).
// After an error, some may be in. Any thread.
Result<void> InsertInnerMaps(int outer, std::span<const InnerMap> maps);

// The same with maps that others share. Tells of each whether it is in. Any thread.
std::vector<bool> ReplaceInnerMaps(int outer, std::span<const uint32_t> keys,
                                   std::span<const std::shared_ptr<UniqueFd>> maps);

}  // namespace sluice::xdp
