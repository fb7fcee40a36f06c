// SPDX-License-Identifier: Apache-2.0
// The TCP flags of a packet that nothing else is to be known of.
#pragma once

#include <cstdint>
#include <span>

#include "sluice/match.h"

namespace sluice::rteflow {

// The 12 bits of field tcp_flags that soft::Parse finds in `frame`, at a tenth of its cost; 0 where there is no TCP
// header. Of a malformed frame: any value.
uint32_t TcpFlags(std::span<const uint8_t> frame);

// Whether packets that `match` takes may be TCP at all.
bool MayBeTcp(const Match& match);

}  // namespace sluice::rteflow
