// SPDX-License-Identifier: Apache-2.0
#include "packet_match.h"

#include <linux/if_ether.h>
#include <netinet/in.h>

#include <array>
#include <cstring>
#include <optional>

namespace sluice::xdp {
namespace {

using Bytes = std::span<const uint8_t>;

constexpr int kIpv6Extensions = 6;  // SLUICE_IPV6_EXTENSIONS of bpf/key.h
constexpr uint16_t kNotEthernetII = 0x05ff;
constexpr uint16_t kCfi = 0x1000;
enum Frag : uint8_t { kFragNone = 0, kFragFirst = 1, kFragLater = 2 };

uint16_t Word(Bytes bytes, size_t at) { return static_cast<uint16_t>(bytes[at] << 8 | bytes[at + 1]); }

// The packet's rest, from which headers are taken off the front.
class Rest {
 public:
  explicit Rest(Bytes bytes) : bytes_(bytes) {}

  // The next `size` bytes; nullopt, and nothing taken, where the packet ends before.
  std::optional<Bytes> Take(size_t size) {
    if (bytes_.size() < size) return std::nullopt;
    const Bytes taken = bytes_.first(size);
    bytes_ = bytes_.subspan(size);
    return taken;
  }
  // The same without taking them.
  [[nodiscard]] std::optional<Bytes> See(size_t size) const {
    return bytes_.size() < size ? std::nullopt : std::optional(bytes_.first(size));
  }

 private:
  Bytes bytes_;
};

void SetBytes(Match& match, Field field, Bytes value) {
  std::array<uint8_t, 16> ones{};
  ones.fill(0xff);
  match.Set(field, value, Bytes(ones).first(value.size()));
}

bool IsTag(uint16_t type) { return type == ETH_P_8021Q || type == ETH_P_8021AD; }

// The Ethernet header and up to two tags. Returns what follows them; nullopt where the frame is cut off.
std::optional<uint16_t> Ethernet(Rest& rest, Match& match) {
  const auto header = rest.Take(ETH_HLEN);
  if (!header) return std::nullopt;
  SetBytes(match, Field::eth_dst, header->first(ETH_ALEN));
  SetBytes(match, Field::eth_src, header->subspan(ETH_ALEN, ETH_ALEN));
  const auto known = [](uint16_t type) { return type < ETH_P_802_3_MIN ? kNotEthernetII : type; };
  uint16_t type = known(Word(*header, size_t{2} * ETH_ALEN));
  match.SetExact(Field::eth_type, type);
  constexpr std::array kTags = {std::pair{Field::vlan_tci, Field::vlan_eth_type},
                                std::pair{Field::cvlan_tci, Field::cvlan_eth_type}};
  for (const auto& [tci, inner] : kTags) {
    if (!IsTag(type)) break;
    const auto tag = rest.Take(4);
    if (!tag) return std::nullopt;
    type = known(Word(*tag, 2));
    match.SetExact(tci, Word(*tag, 0) | kCfi);
    match.SetExact(inner, type);
  }
  return type;
}

void Arp(Rest& rest, Match& match) {
  const auto arp = rest.Take(28);
  if (!arp) return;
  // Of Ethernet and IPv4, else it has none of these fields.
  if (Word(*arp, 0) != 1 || Word(*arp, 2) != ETH_P_IP || (*arp)[4] != ETH_ALEN || (*arp)[5] != 4) return;
  match.SetExact(Field::arp_op, Word(*arp, 6));
  SetBytes(match, Field::arp_sha, arp->subspan(8, 6));
  SetBytes(match, Field::arp_sip, arp->subspan(14, 4));
  SetBytes(match, Field::arp_tha, arp->subspan(18, 6));
  SetBytes(match, Field::arp_tip, arp->subspan(24, 4));
}

struct Payload {
  uint8_t proto;
  bool ipv6;
};

std::optional<Payload> Ipv4(Rest& rest, Match& match) {
  const auto seen = rest.See(20);
  if (!seen || (*seen)[0] >> 4 != 4 || ((*seen)[0] & 0xf) < 5) return std::nullopt;
  const auto header = rest.Take(size_t{4} * ((*seen)[0] & 0xf));
  if (!header) return std::nullopt;
  const uint16_t fragment = Word(*header, 6) & 0x3fff;  // more fragments, offset
  const Frag frag = fragment == 0 ? kFragNone : (fragment & 0x1fff) == 0 ? kFragFirst : kFragLater;
  const uint8_t proto = (*header)[9];
  match.SetExact(Field::ipv4_tos, (*header)[1]);
  match.SetExact(Field::ipv4_ttl, (*header)[8]);
  match.SetExact(Field::ipv4_proto, proto);
  match.SetExact(Field::ipv4_frag, frag);
  SetBytes(match, Field::ipv4_src, header->subspan(12, 4));
  SetBytes(match, Field::ipv4_dst, header->subspan(16, 4));
  if (frag == kFragLater) return std::nullopt;
  return Payload{proto, false};
}

struct Extensions {
  uint8_t proto;
  Frag frag = kFragNone;
};

// RFC 8200, 4. nullopt: cut off.
std::optional<Extensions> SkipExtensions(Rest& rest, uint8_t proto) {
  Extensions result{proto};
  for (int i = 0; i < kIpv6Extensions; ++i) {
    size_t size = 0;
    const auto header = rest.See(8);
    switch (result.proto) {
      case IPPROTO_HOPOPTS:
      case IPPROTO_ROUTING:
      case IPPROTO_DSTOPTS:
        if (header) size = ((*header)[1] + size_t{1}) * 8;
        break;
      case IPPROTO_AH:
        if (header) size = ((*header)[1] + size_t{2}) * 4;
        break;
      case IPPROTO_FRAGMENT:
        size = 8;
        break;
      default:
        return result;
    }
    if (!header || !rest.Take(size)) return std::nullopt;
    if (result.proto == IPPROTO_FRAGMENT) {
      const uint16_t fragment = Word(*header, 2);
      if ((fragment & 0xfff8) != 0) {
        result.frag = kFragLater;
        return result;
      }
      if ((fragment & 1) != 0) result.frag = kFragFirst;
    }
    result.proto = (*header)[0];
  }
  return result;
}

std::optional<Payload> Ipv6(Rest& rest, Match& match) {
  const auto header = rest.Take(40);
  if (!header || (*header)[0] >> 4 != 6) return std::nullopt;
  SetBytes(match, Field::ipv6_src, header->subspan(8, 16));
  SetBytes(match, Field::ipv6_dst, header->subspan(24, 16));
  match.SetExact(Field::ipv6_tclass, Word(*header, 0) >> 4 & 0xff);
  match.SetExact(Field::ipv6_hlimit, (*header)[7]);
  const std::array<uint8_t, 3> label = {static_cast<uint8_t>((*header)[1] & 0xf), (*header)[2], (*header)[3]};
  constexpr std::array<uint8_t, 3> kLabelBits = {0x0f, 0xff, 0xff};
  match.Set(Field::ipv6_label, label, kLabelBits);
  const auto extensions = SkipExtensions(rest, (*header)[6]);
  if (!extensions) return std::nullopt;
  match.SetExact(Field::ipv6_proto, extensions->proto);
  match.SetExact(Field::ipv6_frag, extensions->frag);
  if (extensions->frag == kFragLater) return std::nullopt;
  return Payload{extensions->proto, true};
}

void Transport(Rest& rest, Payload payload, Match& match) {
  const auto pair = [&](size_t size, Field source, Field destination) {
    const auto header = rest.Take(size);
    if (!header) return std::optional<Bytes>{};
    match.SetExact(source, Word(*header, 0));
    match.SetExact(destination, Word(*header, 2));
    return header;
  };
  switch (payload.proto) {
    case IPPROTO_TCP:
      if (const auto tcp = pair(20, Field::tcp_src, Field::tcp_dst)) {
        match.SetExact(Field::tcp_flags, Word(*tcp, 12) & 0xfff);
      }
      return;
    case IPPROTO_UDP:
      pair(8, Field::udp_src, Field::udp_dst);
      return;
    case IPPROTO_SCTP:
      pair(12, Field::sctp_src, Field::sctp_dst);
      return;
    case IPPROTO_ICMP:
    case IPPROTO_ICMPV6: {
      if (payload.ipv6 != (payload.proto == IPPROTO_ICMPV6)) return;
      const auto icmp = rest.Take(8);
      if (!icmp) return;
      match.SetExact(payload.ipv6 ? Field::icmpv6_type : Field::icmp_type, (*icmp)[0]);
      match.SetExact(payload.ipv6 ? Field::icmpv6_code : Field::icmp_code, (*icmp)[1]);
      return;
    }
    default:
      return;
  }
}

}  // namespace

Match PacketMatch(std::span<const uint8_t> frame, uint32_t in_port) {
  Match match;
  match.SetExact(Field::in_port, in_port);
  Rest rest(frame);
  const auto type = Ethernet(rest, match);
  if (!type) return match;
  std::optional<Payload> payload;
  if (*type == ETH_P_ARP || *type == ETH_P_RARP) Arp(rest, match);
  if (*type == ETH_P_IP) payload = Ipv4(rest, match);
  if (*type == ETH_P_IPV6) payload = Ipv6(rest, match);
  if (payload) Transport(rest, *payload, match);
  return match;
}

}  // namespace sluice::xdp
