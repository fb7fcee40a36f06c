// SPDX-License-Identifier: Apache-2.0
// From the bytes of a frame to the exact values of the match fields. Written from the RFCs, for reading.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "sluice/match.h"

namespace sluice::reference {

// Why a frame is malformed: the header that is cut short or contradicts itself. A malformed frame matches no flow.
enum class Malformed { kNo, kEthernet, kVlan, kArp, kIpv4, kIpv6, kLayer4 };
std::string_view Name(Malformed malformed);

struct Parsed {
  Malformed malformed = Malformed::kNo;
  // Exact in every field that the frame has; the others are 0 without a mask. in_port is not in it.
  Match key;
};

// How far a datapath follows IPv6 extension headers. What is after that counts as the protocol.
inline constexpr int kMaxIpv6Extensions = 6;

Parsed Parse(std::span<const uint8_t> frame);

}  // namespace sluice::reference
