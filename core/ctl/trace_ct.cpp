// SPDX-License-Identifier: Apache-2.0
#include "trace_ct.h"

#include <netinet/in.h>

#include "soft/packet.h"

namespace sluice::ctl {
namespace {

using soft::Layer3;
using soft::Layer4;
using soft::Malformed;

constexpr uint32_t kInvalid = kCtTracked | kCtInvalid;
enum TcpFlags : uint16_t { kFin = 0x01, kSyn = 0x02, kRst = 0x04, kAck = 0x10, kUrg = 0x20 };

uint16_t ValueOf(const soft::Parsed& packet, Field field) {
  const uint8_t* at = packet.key.data() + Info(field).offset;
  return Info(field).size == 1 ? at[0] : static_cast<uint16_t>(at[0] << 8 | at[1]);
}

FirstOfItsKind Tcp(uint16_t flags) {
  flags &= kFin | kSyn | kRst | kAck | kUrg;
  const uint16_t plain = flags & static_cast<uint16_t>(~kUrg);
  const bool urgent = (flags & kUrg) != 0;
  if (plain == kSyn || plain == kAck) return {kCtTracked | kCtNew, false, nullptr};
  const bool possible = plain == (kSyn | kAck) || plain == kRst || plain == (kRst | kAck) || plain == (kFin | kAck);
  if (!possible || (urgent && plain != (kFin | kAck))) return {kInvalid, true, "no packet of TCP has such flags"};
  return {kInvalid, false, "no connection begins with such flags"};
}

FirstOfItsKind Icmp(uint16_t type, bool ipv6) {
  const bool error = ipv6 ? type < 128 : type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
  if (error) return {kInvalid, false, "it is an error of no connection"};
  if (type == (ipv6 ? 128 : 8)) return {kCtTracked | kCtNew, false, nullptr};
  if (type == (ipv6 ? 129 : 0)) return {kInvalid, false, "it answers no echo request"};
  return {kInvalid, true, "of ICMP only echo and errors are tracked"};
}

}  // namespace

FirstOfItsKind WithoutConnection(std::span<const uint8_t> frame) {
  const soft::Parsed packet = soft::Parse(frame, uint32_t{0});
  const auto malformed = packet.malformed;
  if (malformed == Malformed::kIpv4 || malformed == Malformed::kIpv6 || malformed == Malformed::kLayer4) {
    return {kInvalid, true, "a header is cut short or contradicts itself"};
  }
  const bool ipv6 = packet.headers.l3 == Layer3::kIpv6;
  if (malformed != Malformed::kNo || (!ipv6 && packet.headers.l3 != Layer3::kIpv4)) {
    return {0, true, "only IP is tracked"};
  }
  if (packet.headers.later) return {kInvalid, true, "a later fragment has no header of layer 4"};
  switch (packet.headers.l4) {
    case Layer4::kTcp:
      return Tcp(ValueOf(packet, Field::tcp_flags));
    case Layer4::kUdp:
      return {kCtTracked | kCtNew, false, nullptr};
    case Layer4::kIcmp:
    case Layer4::kIcmpv6:
      return Icmp(ValueOf(packet, ipv6 ? Field::icmpv6_type : Field::icmp_type), ipv6);
    default:
      return {kInvalid, true, "only TCP, UDP and ICMP are tracked"};
  }
}

}  // namespace sluice::ctl
