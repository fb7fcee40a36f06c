// SPDX-License-Identifier: Apache-2.0
// Flows that match the packets of generate.h, under as many masks as wanted.
#pragma once

#include <cstdint>

#include "reference/packet.h"
#include "sluice/match.h"

namespace sluice::bench {

inline constexpr uint32_t kMaxMasks = 128;

// Flow `flow` of generate.h under mask `mask` (0 to kMaxMasks - 1): prefixes of the addresses, the port exact. Two
// flows never overlap.
Match BenchMatch(uint32_t flow, uint32_t mask);

// The frame that generate.h rewrites.
reference::Bytes BenchFrame();

}  // namespace sluice::bench
