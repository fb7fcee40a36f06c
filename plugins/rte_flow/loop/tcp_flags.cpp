// SPDX-License-Identifier: Apache-2.0
#include "tcp_flags.h"

#include <linux/if_ether.h>
#include <netinet/in.h>

#include <cstddef>

#include "soft/packet.h"

namespace sluice::rteflow {
namespace {

constexpr size_t kTagSize = 4;
constexpr size_t kIpv4Size = 20;
constexpr size_t kIpv6Size = 40;
constexpr size_t kTcpSize = 20;
constexpr uint16_t kFragmentOffset = 0x1fff;

uint32_t Word(const uint8_t* at) { return uint32_t{at[0]} << 8 | at[1]; }
bool IsTag(uint32_t type) { return type == ETH_P_8021Q || type == ETH_P_8021AD; }

uint32_t FlagsAt(std::span<const uint8_t> frame, size_t at) {
  return frame.size() < at + kTcpSize ? 0 : Word(frame.data() + at + 12) & 0xfff;
}

// RFC 791.
uint32_t InIpv4(std::span<const uint8_t> frame, size_t at) {
  if (frame.size() < at + kIpv4Size) return 0;
  const uint8_t* ip = frame.data() + at;
  if (ip[9] != IPPROTO_TCP || (Word(ip + 6) & kFragmentOffset) != 0) return 0;
  return FlagsAt(frame, at + size_t{4} * (ip[0] & 0xf));
}

// Behind extension headers (RFC 8200), which are rare, only the parser finds anything.
uint32_t InIpv6(std::span<const uint8_t> frame, size_t at) {
  if (frame.size() < at + kIpv6Size) return 0;
  switch (frame[at + 6]) {
    case IPPROTO_TCP:
      return FlagsAt(frame, at + kIpv6Size);
    case IPPROTO_UDP:
    case IPPROTO_ICMPV6:
      return 0;
    default:
      return static_cast<uint32_t>(Word(soft::Parse(frame, 0).key.data() + Info(Field::tcp_flags).offset));
  }
}

}  // namespace

uint32_t TcpFlags(std::span<const uint8_t> frame) {
  if (frame.size() < ETH_HLEN) return 0;
  size_t at = ETH_HLEN;
  uint32_t type = Word(frame.data() + at - 2);
  for (int tags = 0; tags < 2 && IsTag(type); ++tags) {
    at += kTagSize;
    if (frame.size() < at) return 0;
    type = Word(frame.data() + at - 2);
  }
  if (type == ETH_P_IP) return InIpv4(frame, at);
  if (type == ETH_P_IPV6) return InIpv6(frame, at);
  return 0;
}

bool MayBeTcp(const Match& match) {
  if (match.IsExact(Field::ipv4_proto)) return match.ValueOf(Field::ipv4_proto) == IPPROTO_TCP;
  if (match.IsExact(Field::ipv6_proto)) return match.ValueOf(Field::ipv6_proto) == IPPROTO_TCP;
  if (!match.IsExact(Field::eth_type)) return true;
  const auto type = static_cast<uint32_t>(match.ValueOf(Field::eth_type));
  return type == ETH_P_IP || type == ETH_P_IPV6 || IsTag(type);
}

}  // namespace sluice::rteflow
