// SPDX-License-Identifier: Apache-2.0
// Flows of scenarios have numbers, and flows of the reference have ufids.
#pragma once

#include <cstddef>
#include <cstdint>

#include "sluice/ufid.h"

namespace sluice::compare {

inline Ufid UfidOf(uint64_t flow) {
  Ufid ufid;
  for (size_t i = 0; i < 8; ++i) ufid.bytes[15 - i] = static_cast<uint8_t>(flow >> (8 * i));
  return ufid;
}

inline uint64_t NumberOf(const Ufid& ufid) {
  uint64_t flow = 0;
  for (size_t i = 8; i < 16; ++i) flow = flow << 8 | ufid.bytes[i];
  return flow;
}

}  // namespace sluice::compare
