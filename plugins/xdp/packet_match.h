// SPDX-License-Identifier: Apache-2.0
// A packet's own fields as an exact match: what a controller needs to see to write a flow for it.
#pragma once

#include <cstdint>
#include <span>

#include "sluice/match.h"

namespace sluice::xdp {

// Every field that the XDP programs know (bpf/key.h: the values are those of its key), as far as the packet has it, and
// in_port. Of a malformed packet: what stands before the damage. `frame` begins at the Ethernet destination.
Match PacketMatch(std::span<const uint8_t> frame, uint32_t in_port);

}  // namespace sluice::xdp
