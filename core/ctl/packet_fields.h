// SPDX-License-Identifier: Apache-2.0
// A packet given as fields, in the text of a match: the frame that they describe.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "sluice/error.h"
#include "sluice/flow_text.h"

namespace sluice::ctl {

struct FieldsPacket {
  std::optional<uint32_t> in_port;
  Match beside;                // what passes before have left: recirc_id, tun_*, ct_*
  std::vector<uint8_t> frame;  // from the Ethernet destination on, without FCS; padded to 60 bytes
};

// What is not said follows from what is (eth_type from ipv4(...), proto from udp(...)), or is a default: addresses,
// ports and the like 0, TTL and hop limit 64, flags of TCP syn, op of ARP 1; a packet of no protocol has Ethernet type
// 0x88b5 (IEEE 802's for experiments) or IP protocol 253 (RFC 3692's). Lengths and checksums are right.
//
// Errors have line and column: those of ParseMatch, and "bad_packet", naming the field, where fields contradict each
// other, where one has a mask (of tags and flags parts may be left out), and where no packet has it.
Result<FieldsPacket> ReadFields(std::string_view text, const PortNames& ports);

}  // namespace sluice::ctl
