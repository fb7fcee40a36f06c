// SPDX-License-Identifier: Apache-2.0
#include "packet.h"

#include <linux/if_ether.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstring>

namespace sluice::soft {
namespace {

constexpr int kMostIpv6Extensions = 6;  // SLUICE_IPV6_EXTENSIONS of bpf/key.h
constexpr uint16_t kNotEthernetII = 0x05ff;
constexpr uint16_t kCfi = 0x1000;
constexpr size_t kTagSize = 4;
constexpr size_t kArpSize = 28;  // with Ethernet and IPv4 addresses
constexpr size_t kIpv4Size = 20;
constexpr size_t kIpv6Size = 40;
constexpr uint16_t kMoreFragments = 0x2000;  // of an IPv4 header's flags and offset
constexpr uint16_t kFragmentOffset = 0x1fff;
enum Frag : uint8_t { kFragNone = 0, kFragFirst = 1, kFragLater = 2 };

uint16_t Word(const uint8_t* at) { return static_cast<uint16_t>(at[0] << 8 | at[1]); }
bool IsTag(uint16_t type) { return type == ETH_P_8021Q || type == ETH_P_8021AD; }
uint16_t TypeOrLength(uint16_t type) { return type < ETH_P_802_3_MIN ? kNotEthernetII : type; }

class Parser {
 public:
  Parser(std::span<const uint8_t> frame, Parsed& out) : frame_(frame), out_(out) {}

  Malformed Ethernet();

  template <Field F>
  void Put(uint32_t value) {
    static_assert(Info(F).size <= sizeof(value));
    for (size_t i = 0; i < Info(F).size; ++i) {
      out_.key[Info(F).offset + i] = static_cast<uint8_t>(value >> 8 * (Info(F).size - 1 - i));
    }
    out_.present |= uint64_t{1} << static_cast<size_t>(F);
  }

 private:
  Malformed Network(uint16_t type);
  Malformed Arp();
  Malformed Ipv4();
  Malformed Ipv6();
  Malformed Ipv6Extensions(uint8_t& proto, Frag& frag);
  Malformed Transport(uint8_t proto);

  template <Field F>
  void Copy(const uint8_t* from) {
    std::memcpy(out_.key.data() + Info(F).offset, from, Info(F).size);
    out_.present |= uint64_t{1} << static_cast<size_t>(F);
  }
  [[nodiscard]] bool Has(size_t size) const { return frame_.size() - at_ >= size; }
  [[nodiscard]] const uint8_t* Here() const { return frame_.data() + at_; }
  void FoundLayer3(Layer3 l3) {
    out_.headers.l3 = l3;
    out_.headers.l3_offset = static_cast<uint16_t>(at_);
  }
  void FoundLayer4(Layer4 l4) {
    out_.headers.l4 = l4;
    out_.headers.l4_offset = static_cast<uint16_t>(at_);
  }
  void FoundFragment(Frag frag) {
    out_.headers.fragment = frag != kFragNone;
    out_.headers.later = frag == kFragLater;
  }

  std::span<const uint8_t> frame_;
  size_t at_ = 0;  // what comes next; never behind the end
  Parsed& out_;
};

// The Ethernet header and up to two tags; a third is payload.
Malformed Parser::Ethernet() {
  if (!Has(ETH_HLEN)) return Malformed::kEthernet;
  Copy<Field::eth_dst>(Here());
  Copy<Field::eth_src>(Here() + ETH_ALEN);
  uint16_t type = TypeOrLength(Word(Here() + size_t{2} * ETH_ALEN));
  Put<Field::eth_type>(type);
  at_ += ETH_HLEN;
  if (!IsTag(type)) return Network(type);

  if (!Has(kTagSize)) return Malformed::kVlan;
  Put<Field::vlan_tci>(Word(Here()) | kCfi);
  type = TypeOrLength(Word(Here() + 2));
  Put<Field::vlan_eth_type>(type);
  at_ += kTagSize;
  if (!IsTag(type)) return Network(type);

  if (!Has(kTagSize)) return Malformed::kVlan;
  Put<Field::cvlan_tci>(Word(Here()) | kCfi);
  type = TypeOrLength(Word(Here() + 2));
  Put<Field::cvlan_eth_type>(type);
  at_ += kTagSize;
  return Network(type);
}

Malformed Parser::Network(uint16_t type) {
  switch (type) {
    case ETH_P_ARP:
    case ETH_P_RARP:
      return Arp();
    case ETH_P_IP:
      return Ipv4();
    case ETH_P_IPV6:
      return Ipv6();
    default:
      return Malformed::kNo;
  }
}

// RFC 826 and 903. With other kinds of addresses the fields lie elsewhere: such a packet has none of them.
Malformed Parser::Arp() {
  if (!Has(kArpSize)) return Malformed::kArp;
  const uint8_t* arp = Here();
  if (Word(arp) != 1 || Word(arp + 2) != ETH_P_IP || arp[4] != ETH_ALEN || arp[5] != 4) return Malformed::kNo;
  FoundLayer3(Layer3::kArp);
  Copy<Field::arp_op>(arp + 6);
  Copy<Field::arp_sha>(arp + 8);
  Copy<Field::arp_sip>(arp + 14);
  Copy<Field::arp_tha>(arp + 18);
  Copy<Field::arp_tip>(arp + 24);
  return Malformed::kNo;
}

// RFC 791. The total length is not looked at.
Malformed Parser::Ipv4() {
  if (!Has(kIpv4Size)) return Malformed::kIpv4;
  const uint8_t* ip = Here();
  const size_t size = size_t{4} * (ip[0] & 0xf);
  if (ip[0] >> 4 != 4 || size < kIpv4Size || !Has(size)) return Malformed::kIpv4;
  const uint16_t fragment = Word(ip + 6) & (kMoreFragments | kFragmentOffset);
  const Frag frag = fragment == 0 ? kFragNone : (fragment & kFragmentOffset) == 0 ? kFragFirst : kFragLater;
  FoundLayer3(Layer3::kIpv4);
  FoundFragment(frag);
  Copy<Field::ipv4_tos>(ip + 1);
  Copy<Field::ipv4_ttl>(ip + 8);
  Copy<Field::ipv4_proto>(ip + 9);
  Put<Field::ipv4_frag>(frag);
  Copy<Field::ipv4_src>(ip + 12);
  Copy<Field::ipv4_dst>(ip + 16);
  at_ += size;
  out_.headers.payload_offset = static_cast<uint16_t>(at_);
  return frag == kFragLater ? Malformed::kNo : Transport(ip[9]);
}

// RFC 8200. The payload length is not looked at.
Malformed Parser::Ipv6() {
  if (!Has(kIpv6Size) || Here()[0] >> 4 != 6) return Malformed::kIpv6;
  const uint8_t* ip = Here();
  FoundLayer3(Layer3::kIpv6);
  Copy<Field::ipv6_src>(ip + 8);
  Copy<Field::ipv6_dst>(ip + 24);
  Put<Field::ipv6_tclass>(Word(ip) >> 4 & 0xff);
  Put<Field::ipv6_label>(static_cast<uint32_t>(ip[1] & 0xf) << 16 | Word(ip + 2));
  Copy<Field::ipv6_hlimit>(ip + 7);
  at_ += kIpv6Size;

  uint8_t proto = ip[6];
  Frag frag = kFragNone;
  const Malformed malformed = Ipv6Extensions(proto, frag);
  if (malformed != Malformed::kNo) return malformed;
  out_.headers.payload_offset = static_cast<uint16_t>(at_);
  FoundFragment(frag);
  Put<Field::ipv6_proto>(proto);
  Put<Field::ipv6_frag>(frag);
  return frag == kFragLater ? Malformed::kNo : Transport(proto);
}

// RFC 8200, section 4: walks over the extension headers. An authentication header (RFC 4302) tells its length in other
// units. What is left in `proto` follows the last of them, or is one that is not walked over any more.
Malformed Parser::Ipv6Extensions(uint8_t& proto, Frag& frag) {
  for (int i = 0; i < kMostIpv6Extensions; ++i) {
    const bool options = proto == IPPROTO_HOPOPTS || proto == IPPROTO_ROUTING || proto == IPPROTO_DSTOPTS;
    if (!options && proto != IPPROTO_AH && proto != IPPROTO_FRAGMENT) break;
    if (!Has(8)) return Malformed::kIpv6;
    const uint8_t* header = Here();
    size_t size = 8;
    if (options) size = (size_t{header[1]} + 1) * 8;
    if (proto == IPPROTO_AH) size = (size_t{header[1]} + 2) * 4;
    if (!Has(size)) return Malformed::kIpv6;
    if (proto == IPPROTO_ROUTING && header[3] > 0) out_.headers.routed = true;
    if (proto == IPPROTO_FRAGMENT) {
      if ((Word(header + 2) & 0xfff8) != 0) {
        frag = kFragLater;
        break;
      }
      if ((header[3] & 1) != 0) frag = kFragFirst;
    }
    proto = header[0];
    at_ += size;
  }
  return Malformed::kNo;
}

Malformed Parser::Transport(uint8_t proto) {
  const bool ipv6 = out_.headers.l3 == Layer3::kIpv6;
  const uint8_t* header = Here();
  switch (proto) {
    case IPPROTO_TCP:
      if (!Has(20)) return Malformed::kLayer4;
      FoundLayer4(Layer4::kTcp);
      Copy<Field::tcp_src>(header);
      Copy<Field::tcp_dst>(header + 2);
      Put<Field::tcp_flags>(Word(header + 12) & 0xfff);
      break;
    case IPPROTO_UDP:
      if (!Has(8)) return Malformed::kLayer4;
      FoundLayer4(Layer4::kUdp);
      Copy<Field::udp_src>(header);
      Copy<Field::udp_dst>(header + 2);
      break;
    case IPPROTO_SCTP:
      if (!Has(12)) return Malformed::kLayer4;
      FoundLayer4(Layer4::kSctp);
      Copy<Field::sctp_src>(header);
      Copy<Field::sctp_dst>(header + 2);
      break;
    case IPPROTO_ICMP:
      if (ipv6) break;
      if (!Has(8)) return Malformed::kLayer4;
      FoundLayer4(Layer4::kIcmp);
      Copy<Field::icmp_type>(header);
      Copy<Field::icmp_code>(header + 1);
      break;
    case IPPROTO_ICMPV6:
      if (!ipv6) break;
      if (!Has(8)) return Malformed::kLayer4;
      FoundLayer4(Layer4::kIcmpv6);
      Copy<Field::icmpv6_type>(header);
      Copy<Field::icmpv6_code>(header + 1);
      break;
    default:
      break;
  }
  return Malformed::kNo;
}

uint64_t Load64(const uint8_t* at) {
  uint64_t value = 0;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

}  // namespace

Parsed Parse(std::span<const uint8_t> frame, uint32_t in_port) {
  Parsed parsed;
  Parser parser(frame, parsed);
  parser.Put<Field::in_port>(in_port);
  parsed.malformed = parser.Ethernet();
  return parsed;
}

Parsed Parse(std::span<const uint8_t> frame, const Match& beside) {
  Parsed parsed;
  parsed.malformed = Parser(frame, parsed).Ethernet();
  parsed.present |= beside.FieldBits();
  for (uint64_t left = beside.FieldBits(); left != 0; left &= left - 1) {
    const FieldInfo& field = kFields[static_cast<size_t>(std::countr_zero(left))];
    const auto value = beside.Value(field.id);
    std::copy(value.begin(), value.end(), parsed.key.begin() + field.offset);
  }
  return parsed;
}

Match ToMatch(const Parsed& packet) {
  constexpr std::array<uint8_t, 16> kOnes = [] {
    std::array<uint8_t, 16> ones{};
    ones.fill(0xff);
    return ones;
  }();
  Match match;
  for (uint64_t left = packet.present; left != 0; left &= left - 1) {
    const FieldInfo& field = kFields[static_cast<size_t>(std::countr_zero(left))];
    match.Set(field.id, std::span(packet.key).subspan(field.offset, field.size), std::span(kOnes).first(field.size));
  }
  return match;
}

bool Matches(const Match& match, const Parsed& packet) {
  if (packet.malformed != Malformed::kNo) return false;
  const uint8_t* key = match.KeyBytes().data();
  const uint8_t* mask = match.MaskBytes().data();
  const uint8_t* has = packet.key.data();
  size_t i = 0;
  for (; i + 8 <= kFlowKeySize; i += 8) {
    if ((Load64(has + i) & Load64(mask + i)) != Load64(key + i)) return false;
  }
  for (; i < kFlowKeySize; ++i) {
    if ((has[i] & mask[i]) != key[i]) return false;
  }
  return true;
}

}  // namespace sluice::soft
