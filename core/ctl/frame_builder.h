// SPDX-License-Identifier: Apache-2.0
// Frames made of fields.
#pragma once

#include <cstdint>
#include <vector>

#include "sluice/match.h"

namespace sluice::ctl {

// The frame of a packet with these values (masks are not looked at, but for which fields are there at all). Ethernet
// types and protocols must be said as far as the frame shall go: eth_type, and proto in IP. Of TCP, UDP, SCTP, ICMP and
// ICMPv6 a later fragment has nothing. Lengths and checksums are right; 60 bytes at least.
std::vector<uint8_t> BuildFrame(const Match& fields);

}  // namespace sluice::ctl
