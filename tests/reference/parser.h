// SPDX-License-Identifier: Apache-2.0
// From the bytes of a frame to the exact values of the match fields. Written from the RFCs, for reading.
#pragma once

#include <cstddef>
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
  // Where IP or ARP (of Ethernet and IPv4) begins, in bytes of the frame, and where TCP, UDP, SCTP, ICMP or ICMPv6
  // does. 0: nowhere; later fragments have no transport.
  size_t network = 0;
  size_t transport = 0;
  // There is a routing header with segments left: the IPv6 destination is not the last one (RFC 8200 section 4.4).
  bool routed = false;
};

// How far a datapath follows IPv6 extension headers. What is after that counts as the protocol.
inline constexpr int kMaxIpv6Extensions = 6;

Parsed Parse(std::span<const uint8_t> frame);

}  // namespace sluice::reference
