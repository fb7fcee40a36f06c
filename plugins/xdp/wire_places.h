// SPDX-License-Identifier: Apache-2.0
// Where the fields that can be set stand in their headers.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "action.h"
#include "sluice/error.h"
#include "sluice/match.h"

namespace sluice::xdp {

struct WirePlace {
  Field field;
  sluice_header header;
  uint8_t offset;  // of the field's first byte in the header
  sluice_sums sums;
  uint8_t shift = 0;  // bits that the field's value stands above the end of its last byte
};

// RFC 791, 8200, 826, 9293, 768, 792, 4443; IEEE 802.3, 802.1Q.
inline constexpr std::array<WirePlace, 25> kWirePlaces = {{
    {Field::eth_dst, SLUICE_HEADER_ETH, 0, SLUICE_SUM_NONE},
    {Field::eth_src, SLUICE_HEADER_ETH, 6, SLUICE_SUM_NONE},
    {Field::vlan_tci, SLUICE_HEADER_VLAN, 2, SLUICE_SUM_NONE},
    {Field::arp_op, SLUICE_HEADER_ARP, 6, SLUICE_SUM_NONE},
    {Field::arp_sha, SLUICE_HEADER_ARP, 8, SLUICE_SUM_NONE},
    {Field::arp_sip, SLUICE_HEADER_ARP, 14, SLUICE_SUM_NONE},
    {Field::arp_tha, SLUICE_HEADER_ARP, 18, SLUICE_SUM_NONE},
    {Field::arp_tip, SLUICE_HEADER_ARP, 24, SLUICE_SUM_NONE},
    {Field::ipv4_tos, SLUICE_HEADER_IPV4, 1, SLUICE_SUM_IPV4},
    {Field::ipv4_ttl, SLUICE_HEADER_IPV4, 8, SLUICE_SUM_IPV4},
    {Field::ipv4_src, SLUICE_HEADER_IPV4, 12, SLUICE_SUM_IPV4_ADDRESS},
    {Field::ipv4_dst, SLUICE_HEADER_IPV4, 16, SLUICE_SUM_IPV4_ADDRESS},
    {Field::ipv6_tclass, SLUICE_HEADER_IPV6, 1, SLUICE_SUM_NONE, 4},
    {Field::ipv6_label, SLUICE_HEADER_IPV6, 1, SLUICE_SUM_NONE},
    {Field::ipv6_hlimit, SLUICE_HEADER_IPV6, 7, SLUICE_SUM_NONE},
    {Field::ipv6_src, SLUICE_HEADER_IPV6, 8, SLUICE_SUM_IPV6_SRC},
    {Field::ipv6_dst, SLUICE_HEADER_IPV6, 24, SLUICE_SUM_IPV6_DST},
    {Field::tcp_src, SLUICE_HEADER_TCP, 0, SLUICE_SUM_L4},
    {Field::tcp_dst, SLUICE_HEADER_TCP, 2, SLUICE_SUM_L4},
    {Field::udp_src, SLUICE_HEADER_UDP, 0, SLUICE_SUM_L4},
    {Field::udp_dst, SLUICE_HEADER_UDP, 2, SLUICE_SUM_L4},
    {Field::icmp_type, SLUICE_HEADER_ICMP, 0, SLUICE_SUM_L4},
    {Field::icmp_code, SLUICE_HEADER_ICMP, 1, SLUICE_SUM_L4},
    {Field::icmpv6_type, SLUICE_HEADER_ICMPV6, 0, SLUICE_SUM_L4},
    {Field::icmpv6_code, SLUICE_HEADER_ICMPV6, 1, SLUICE_SUM_L4},
}};

// The edits that set `fields` where their masks say so, one for each four bytes. Errors: "unsupported_action", with the
// field that has no place here.
Result<std::vector<sluice_edit>> SetEdits(const Match& fields);

}  // namespace sluice::xdp
