// SPDX-License-Identifier: Apache-2.0
#include "masked_key.h"

#include <algorithm>

namespace sluice::soft {

// As few words as cover the mask. They begin where there is something to see, aligned to nothing, and do not overlap
// but at the end of the key.
KeyMask::KeyMask(const FlowKeyBytes& mask, uint64_t seed) : seed_(seed) {
  constexpr size_t kWordSize = sizeof(uint64_t);
  for (size_t at = 0; at < kFlowKeySize;) {
    if (mask[at] == 0) {
      ++at;
      continue;
    }
    const size_t offset = std::min(at, kFlowKeySize - kWordSize);
    words_.push_back({offset, Load(mask.data() + offset)});
    at = offset + kWordSize;
  }
}

}  // namespace sluice::soft
