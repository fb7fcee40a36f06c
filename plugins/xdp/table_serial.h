// SPDX-License-Identifier: Apache-2.0
// Names for flow tables: unlike any other's that was or will be in this process.
#pragma once

#include <atomic>
#include <cstdint>

namespace sluice::xdp {

inline uint64_t NextTableSerial() {
  static std::atomic<uint64_t> last = 0;
  return ++last;
}

}  // namespace sluice::xdp
