// SPDX-License-Identifier: Apache-2.0
// Frames for tests: what a frame says (PacketSpec, plain data), its bytes (Build), random ones, and damaged ones.
//
// All numbers in a spec are in host order; Build puts them on the wire with lengths and checksums as they must be,
// where the spec does not ask for others. Frames begin with the Ethernet destination and have no FCS.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "reference/rng.h"

namespace sluice::reference {

using Bytes = std::vector<uint8_t>;
using Mac = std::array<uint8_t, 6>;
using Ipv6Address = std::array<uint8_t, 16>;

struct VlanTag {
  uint16_t tpid = 0x8100;
  uint16_t tci = 0;  // on the wire: PCP, DEI, VID
};

struct ArpSpec {
  uint16_t htype = 1;
  uint16_t ptype = 0x0800;
  uint8_t hlen = 6;
  uint8_t plen = 4;
  uint16_t op = 1;
  Mac sha{}, tha{};
  uint32_t sip = 0, tip = 0;
};

struct Ipv4Spec {
  uint32_t src = 0, dst = 0;
  uint8_t tos = 0, ttl = 64;
  uint8_t option_words = 0;      // of 4 bytes, filled with no-operation
  uint16_t fragment_offset = 0;  // in units of 8 bytes
  bool more_fragments = false;
  std::optional<uint8_t> protocol;       // where it should not follow from the layer above
  std::optional<uint16_t> total_length;  // where it should lie
};

// One extension header of IPv6. `words` is how many units of 8 bytes it has beyond the first (fragment: none).
struct Ipv6Extension {
  uint8_t type = 0;  // 0 hop-by-hop, 43 routing, 44 fragment, 51 authentication, 60 destination options
  uint8_t words = 0;
  uint16_t fragment_offset = 0;
  bool more_fragments = false;
  uint8_t segments_left = 0;  // routing
};

struct Ipv6Spec {
  Ipv6Address src{}, dst{};
  uint8_t tclass = 0, hlimit = 64;
  uint32_t label = 0;
  std::vector<Ipv6Extension> extensions;
  // Where the packet ends up in the end, if a routing header has segments left: checksums are over this one. It is in
  // no header here (as in a compressed routing header), so that any number of bytes will do.
  Ipv6Address final_dst{};
  std::optional<uint8_t> protocol;
  std::optional<uint16_t> payload_length;  // where it should lie
};

struct TcpSpec {
  uint16_t src = 0, dst = 0;
  uint16_t flags = 0x10;  // 12 bits, the reserved ones too
  uint8_t option_words = 0;
};
struct UdpSpec {
  uint16_t src = 0, dst = 0;
  bool checksum = true;  // else 0, which says that there is none
};
struct SctpSpec {
  uint16_t src = 0, dst = 0;
};
struct IcmpSpec {  // ICMP in IPv4, ICMPv6 in IPv6
  uint8_t type = 8, code = 0;
};

struct PacketSpec {
  Mac dst{}, src{};
  std::vector<VlanTag> tags;
  std::optional<uint16_t> eth_type;  // where it should not follow from the layer above
  std::variant<std::monostate, ArpSpec, Ipv4Spec, Ipv6Spec> l3;
  std::variant<std::monostate, TcpSpec, UdpSpec, SctpSpec, IcmpSpec> l4;
  uint16_t payload = 26;  // bytes after the last header
  uint8_t padding = 0;    // bytes after the IP packet, as Ethernet fills up short frames
};

Bytes Build(const PacketSpec& spec);

// One of each kind that the datapath tells apart, with a name.
std::vector<std::pair<std::string, PacketSpec>> NamedPackets();

// A frame of any kind. Addresses, ports, tags and the like come from pools of a few values, so that two frames often
// agree in a field.
PacketSpec RandomPacket(Rng& rng);

// Cuts it, or overwrites lengths, versions, header lengths or any byte.
Bytes Damage(const Bytes& frame, Rng& rng);

std::string Hex(std::span<const uint8_t> bytes);

}  // namespace sluice::reference
