// SPDX-License-Identifier: Apache-2.0
// What a frame says, read once: the values of the match fields, and where its headers are.
//
// Frames begin with the Ethernet destination and have no FCS. The rules are those of bpf/key.h (RFC 791, 826, 8200,
// 9293, 768, 9260, 792, 4443, IEEE 802.1Q), so that a packet meets the same flow here and in XDP. Plain data and pure
// functions: any thread, no allocation but where said.
#pragma once

#include <cstdint>
#include <span>

#include "sluice/field.h"
#include "sluice/match.h"

namespace sluice::soft {

// The header that is cut short or contradicts itself. A malformed frame matches no flow.
enum class Malformed : uint8_t { kNo, kEthernet, kVlan, kArp, kIpv4, kIpv6, kLayer4 };

enum class Layer3 : uint8_t {
  kNone,
  kArp,  // ARP or RARP, of Ethernet and IPv4 addresses only
  kIpv4,
  kIpv6,
};

enum class Layer4 : uint8_t {
  kNone,  // also in later fragments, which have no header of it
  kTcp,
  kUdp,
  kSctp,
  kIcmp,    // in IPv4
  kIcmpv6,  // in IPv6
};

// Where the headers are that can be edited. Each is whole: of a malformed frame those before the damage.
struct Headers {
  Layer3 l3 = Layer3::kNone;
  Layer4 l4 = Layer4::kNone;
  uint16_t l3_offset = 0;  // from the frame's first byte; 0 where there is no such header
  uint16_t l4_offset = 0;
  uint16_t payload_offset = 0;  // of IP: behind its options or extension headers, whatever is there; 0: it is no IP
  bool fragment = false;        // IPv4 or IPv6, first or later
  bool later = false;           // a fragment that is not the first
  bool routed = false;          // IPv6: a routing header has segments left, the destination is not the final one
};

struct Parsed {
  Malformed malformed = Malformed::kNo;
  // Values in the flow model's layout (Info(field).offset), network byte order; 0 where the frame has no such field.
  FlowKeyBytes key{};
  uint64_t present = 0;  // bit n: the frame has Field n. Fields cut in half are not there
  Headers headers;
};

Parsed Parse(std::span<const uint8_t> frame, uint32_t in_port);
// With `beside`, the fields that stand in no frame and come from the passes before: in_port, recirc_id, tun_*, ct_*.
Parsed Parse(std::span<const uint8_t> frame, const Match& beside);

// Exact in every field present: the match of packets like this one, which a controller can put into a flow as it is. Of
// a malformed packet: what stands before the damage.
Match ToMatch(const Parsed& packet);

// Fields that the packet does not have count as 0, as in the BPF program. A malformed packet matches nothing.
bool Matches(const Match& match, const Parsed& packet);

}  // namespace sluice::soft
