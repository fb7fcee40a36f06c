// SPDX-License-Identifier: Apache-2.0
#include "reference/packet.h"

#include <algorithm>
#include <cstdlib>

#include "reference/checksum.h"

namespace sluice::reference {
namespace {

void Put8(Bytes& out, uint64_t value) { out.push_back(static_cast<uint8_t>(value)); }
void Put16(Bytes& out, uint64_t value) {
  Put8(out, value >> 8);
  Put8(out, value);
}
void Put32(Bytes& out, uint64_t value) {
  Put16(out, value >> 16);
  Put16(out, value);
}
void PutAll(Bytes& out, std::span<const uint8_t> bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); }
void Store16(Bytes& out, size_t at, uint16_t value) {
  out[at] = static_cast<uint8_t>(value >> 8);
  out[at + 1] = static_cast<uint8_t>(value);
}

uint8_t ProtocolNumber(const PacketSpec& spec) {
  switch (spec.l4.index()) {
    case 1:
      return 6;
    case 2:
      return 17;
    case 3:
      return 132;
    case 4:
      return std::holds_alternative<Ipv6Spec>(spec.l3) ? 58 : 1;
    default:
      return 59;  // nothing follows
  }
}

// RFC 8200 section 4.4: on its way to where a routing header sends it.
bool Routed(const Ipv6Spec& ip) {
  return std::ranges::any_of(ip.extensions, [](const Ipv6Extension& extension) {
    return extension.type == 43 && extension.segments_left > 0;
  });
}

// What TCP, UDP and ICMPv6 sum besides themselves (RFC 9293, 768, 8200 section 8.1).
Bytes PseudoHeader(const PacketSpec& spec, uint8_t protocol, size_t length) {
  Bytes out;
  if (const auto* v4 = std::get_if<Ipv4Spec>(&spec.l3)) {
    Put32(out, v4->src);
    Put32(out, v4->dst);
    Put16(out, protocol);
    Put16(out, length);
  } else if (const auto* v6 = std::get_if<Ipv6Spec>(&spec.l3)) {
    PutAll(out, v6->src);
    PutAll(out, Routed(*v6) ? v6->final_dst : v6->dst);
    Put32(out, length);
    Put32(out, protocol);
  }
  return out;
}

// Headers of layer 4 and payload, checksum where `checksum_at` says, over a pseudo header if `pseudo`.
struct Layer4 {
  Bytes bytes;
  std::optional<size_t> checksum_at;
  bool pseudo = true;
};

Layer4 Headers(const PacketSpec& spec) {
  Layer4 l4;
  Bytes& out = l4.bytes;
  if (const auto* tcp = std::get_if<TcpSpec>(&spec.l4)) {
    Put16(out, tcp->src);
    Put16(out, tcp->dst);
    Put32(out, 1000);
    Put32(out, 2000);
    Put16(out, (5U + tcp->option_words) << 12 | (tcp->flags & 0xfff));
    Put16(out, 512);
    Put32(out, 0);
    out.insert(out.end(), tcp->option_words * 4UL, 1);
    l4.checksum_at = 16;
  } else if (const auto* udp = std::get_if<UdpSpec>(&spec.l4)) {
    Put16(out, udp->src);
    Put16(out, udp->dst);
    Put16(out, 8U + spec.payload);
    Put16(out, 0);
    if (udp->checksum) l4.checksum_at = 6;
  } else if (const auto* sctp = std::get_if<SctpSpec>(&spec.l4)) {
    Put16(out, sctp->src);
    Put16(out, sctp->dst);
    Put32(out, 1);
    Put32(out, 0);
  } else if (const auto* icmp = std::get_if<IcmpSpec>(&spec.l4)) {
    Put8(out, icmp->type);
    Put8(out, icmp->code);
    Put16(out, 0);
    Put32(out, 0x00010001);
    l4.checksum_at = 2;
    l4.pseudo = std::holds_alternative<Ipv6Spec>(spec.l3);
  }
  for (uint16_t i = 0; i < spec.payload; ++i) Put8(out, i);
  return l4;
}

Bytes BuildLayer4(const PacketSpec& spec) {
  Layer4 l4 = Headers(spec);
  if (l4.checksum_at) {
    Bytes summed = l4.pseudo ? PseudoHeader(spec, ProtocolNumber(spec), l4.bytes.size()) : Bytes{};
    PutAll(summed, l4.bytes);
    uint16_t sum = Checksum(summed);
    // UDP says "no checksum" with 0 (RFC 768).
    if (std::holds_alternative<UdpSpec>(spec.l4) && sum == 0) sum = 0xffff;
    Store16(l4.bytes, *l4.checksum_at, sum);
  }
  if (std::holds_alternative<SctpSpec>(spec.l4)) {
    uint32_t crc = Crc32c(l4.bytes);
    for (size_t i = 0; i < 4; ++i) l4.bytes[8 + i] = static_cast<uint8_t>(crc >> (8 * i));
  }
  return std::move(l4.bytes);
}

Bytes BuildArp(const ArpSpec& arp) {
  Bytes out;
  Put16(out, arp.htype);
  Put16(out, arp.ptype);
  Put8(out, arp.hlen);
  Put8(out, arp.plen);
  Put16(out, arp.op);
  PutAll(out, arp.sha);
  Put32(out, arp.sip);
  PutAll(out, arp.tha);
  Put32(out, arp.tip);
  return out;
}

Bytes BuildIpv4(const Ipv4Spec& ip, uint8_t protocol, size_t length) {
  Bytes out;
  Put8(out, 0x40 | (5 + ip.option_words));
  Put8(out, ip.tos);
  Put16(out, ip.total_length.value_or(20U + ip.option_words * 4U + length));
  Put16(out, 0x1234);
  Put16(out, (ip.more_fragments ? 0x2000U : 0U) | (ip.fragment_offset & 0x1fff));
  Put8(out, ip.ttl);
  Put8(out, ip.protocol.value_or(protocol));
  Put16(out, 0);
  Put32(out, ip.src);
  Put32(out, ip.dst);
  out.insert(out.end(), ip.option_words * 4UL, 1);
  Store16(out, 10, Checksum(out));
  return out;
}

Bytes BuildIpv6(const Ipv6Spec& ip, uint8_t protocol, size_t length) {
  const uint8_t last = ip.protocol.value_or(protocol);
  Bytes chain;
  for (size_t i = 0; i < ip.extensions.size(); ++i) {
    const Ipv6Extension& extension = ip.extensions[i];
    Put8(chain, i + 1 < ip.extensions.size() ? ip.extensions[i + 1].type : last);
    if (extension.type == 44) {
      Put8(chain, 0);
      Put16(chain, static_cast<unsigned>(extension.fragment_offset << 3) | (extension.more_fragments ? 1U : 0U));
      Put32(chain, 0x11223344);
    } else if (extension.type == 51) {
      Put8(chain, extension.words * 2U);  // in units of 4 bytes, two not counted (RFC 4302)
      chain.insert(chain.end(), extension.words * 8UL + 6, 0);
    } else {
      Put8(chain, extension.words);
      // One PadN option over the whole of it (RFC 8200 section 4.2); in a routing header: type 1, segments left.
      Put8(chain, 1);
      Put8(chain, extension.type == 43 ? extension.segments_left : extension.words * 8U + 4);
      chain.insert(chain.end(), extension.words * 8UL + 4, 0);
    }
  }
  Bytes out;
  Put32(out, 0x60000000U | static_cast<uint32_t>(ip.tclass) << 20 | (ip.label & 0xfffff));
  Put16(out, ip.payload_length.value_or(chain.size() + length));
  Put8(out, ip.extensions.empty() ? last : ip.extensions.front().type);
  Put8(out, ip.hlimit);
  PutAll(out, ip.src);
  PutAll(out, ip.dst);
  PutAll(out, chain);
  return out;
}

}  // namespace

Bytes Build(const PacketSpec& spec) {
  Bytes out;
  PutAll(out, spec.dst);
  PutAll(out, spec.src);
  for (const VlanTag& tag : spec.tags) {
    Put16(out, tag.tpid);
    Put16(out, tag.tci);
  }
  constexpr std::array<uint16_t, 4> kTypes{0x88b5, 0x0806, 0x0800, 0x86dd};  // the first: IEEE 802 local experimental
  Put16(out, spec.eth_type.value_or(kTypes[spec.l3.index()]));
  const Bytes l4 = BuildLayer4(spec);
  if (const auto* arp = std::get_if<ArpSpec>(&spec.l3)) PutAll(out, BuildArp(*arp));
  if (const auto* v4 = std::get_if<Ipv4Spec>(&spec.l3)) PutAll(out, BuildIpv4(*v4, ProtocolNumber(spec), l4.size()));
  if (const auto* v6 = std::get_if<Ipv6Spec>(&spec.l3)) PutAll(out, BuildIpv6(*v6, ProtocolNumber(spec), l4.size()));
  PutAll(out, l4);
  out.insert(out.end(), spec.padding, 0xee);
  return out;
}

std::string Hex(std::span<const uint8_t> bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  for (uint8_t byte : bytes) {
    out += kDigits[byte >> 4];
    out += kDigits[byte & 15];
  }
  return out;
}

uint64_t SeedFromEnvironment() {
  const char* seed = std::getenv("SLUICE_SEED");
  return seed != nullptr ? std::strtoull(seed, nullptr, 0) : std::random_device{}();
}

}  // namespace sluice::reference
