// SPDX-License-Identifier: Apache-2.0
// Frames in tunnels, made here from what the standards say, apart from the programs under test.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "pass.h"
#include "reference/packet.h"

namespace sluice::xdp {

using Bytes = std::vector<uint8_t>;

struct Outer {
  int type = SLUICE_TUNNEL_VXLAN;
  bool ipv6 = false;
  uint32_t id = 0x123456;
  bool csum = false;         // of UDP or GRE
  bool key = true;           // GRE
  bool sequence = false;     // GRE
  uint8_t option_words = 0;  // Geneve's, or (ip_options) none
  uint8_t ip_options = 0;    // words of IPv4 options
  std::vector<reference::Ipv6Extension> extensions;
  std::vector<reference::VlanTag> tags;
  uint8_t tos = 0x14, ttl = 63;
  uint16_t tp_src = 50000, tp_dst = 4789;
  bool df = false;      // IPv4
  uint8_t padding = 0;  // behind the outer packet
};

// `inner` in `outer`, from 192.168.0.1 to 192.168.0.2, or fd00::1 to fd00::2.
Bytes Encapsulate(const Bytes& inner, const Outer& outer);
// The headers as a step of tnl_push has them: what depends on the packet is 0.
Bytes HeaderOf(const Outer& outer);
// Whether the outer checksums of `frame` (no tags, no options) are right, a UDP checksum of 0 too. Throws where it is
// no IP.
bool ChecksumsAreRight(const Bytes& frame);

uint16_t Load16(const Bytes& frame, size_t at);
void Store16(Bytes& frame, size_t at, uint16_t value);

}  // namespace sluice::xdp
