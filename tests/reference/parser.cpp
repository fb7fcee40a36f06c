// SPDX-License-Identifier: Apache-2.0
#include "reference/parser.h"

#include <algorithm>
#include <array>

namespace sluice::reference {
namespace {

constexpr uint16_t kIpv4 = 0x0800;
constexpr uint16_t kArp = 0x0806;
constexpr uint16_t kRarp = 0x8035;
constexpr uint16_t kIpv6 = 0x86dd;

// IEEE 802.3: below 0x0600 it is a length. Such frames are all of one kind, as in OVS's flows.
uint16_t TypeOrLength(uint16_t type) { return type < 0x0600 ? 0x05ff : type; }

bool IsVlan(uint16_t type) { return type == 0x8100 || type == 0x88a8; }

// The rest of a frame, eaten from the front.
class Cursor {
 public:
  explicit Cursor(std::span<const uint8_t> bytes) : bytes_(bytes) {}

  [[nodiscard]] bool Has(size_t n) const { return bytes_.size() >= n; }
  [[nodiscard]] size_t Left() const { return bytes_.size(); }
  [[nodiscard]] uint8_t U8(size_t at) const { return bytes_[at]; }
  [[nodiscard]] uint16_t U16(size_t at) const { return static_cast<uint16_t>(bytes_[at] << 8 | bytes_[at + 1]); }
  [[nodiscard]] std::span<const uint8_t> Slice(size_t at, size_t n) const { return bytes_.subspan(at, n); }
  void Skip(size_t n) { bytes_ = bytes_.subspan(n); }

 private:
  std::span<const uint8_t> bytes_;
};

class Parser {
 public:
  explicit Parser(std::span<const uint8_t> frame) : frame_size_(frame.size()), rest_(frame) {}

  Parsed Run() {
    parsed_.malformed = Ethernet();
    return parsed_;
  }

 private:
  Malformed Ethernet();
  Malformed Network(uint16_t type);
  Malformed Arp();
  Malformed Ipv4();
  Malformed Ipv6();
  Malformed Ipv6Chain(uint8_t& next, uint8_t& fragment);
  Malformed Layer4(uint8_t protocol, bool v6);

  void Copy(Field field, size_t at) {
    constexpr std::array<uint8_t, 16> kOnes = [] {
      std::array<uint8_t, 16> ones{};
      ones.fill(0xff);
      return ones;
    }();
    const size_t size = Info(field).size;
    parsed_.key.Set(field, rest_.Slice(at, size), std::span(kOnes).first(size));
  }
  void Set(Field field, uint64_t value) { parsed_.key.SetExact(field, value); }

  // Here is the header of a known protocol, of at least `size` bytes. False: it is cut short.
  bool BeginTransport(size_t size) {
    if (!rest_.Has(size)) return false;
    parsed_.transport = Position();
    return true;
  }
  [[nodiscard]] size_t Position() const { return frame_size_ - rest_.Left(); }

  size_t frame_size_;
  Cursor rest_;
  Parsed parsed_;
};

// IEEE 802.3 and 802.1Q: destination, source, then a chain of (TPID, TCI), then the type.
Malformed Parser::Ethernet() {
  if (!rest_.Has(14)) return Malformed::kEthernet;
  Copy(Field::eth_dst, 0);
  Copy(Field::eth_src, 6);
  uint16_t type = TypeOrLength(rest_.U16(12));
  Set(Field::eth_type, type);
  rest_.Skip(14);

  constexpr std::array<std::array<Field, 2>, 2> kTags{
      {{Field::vlan_tci, Field::vlan_eth_type}, {Field::cvlan_tci, Field::cvlan_eth_type}}};
  for (const auto& [tci, inner_type] : kTags) {
    if (!IsVlan(type)) break;
    if (!rest_.Has(4)) return Malformed::kVlan;
    Set(tci, rest_.U16(0) | 0x1000U);  // the bit says that there is a tag
    type = TypeOrLength(rest_.U16(2));
    Set(inner_type, type);
    rest_.Skip(4);
  }
  return Network(type);
}

Malformed Parser::Network(uint16_t type) {
  switch (type) {
    case kArp:
    case kRarp:
      return Arp();
    case kIpv4:
      return Ipv4();
    case kIpv6:
      return Ipv6();
    default:
      return Malformed::kNo;
  }
}

// RFC 826 and 903, for Ethernet and IPv4 addresses. Another kind of ARP has other lengths: its fields are not looked
// at.
Malformed Parser::Arp() {
  if (!rest_.Has(28)) return Malformed::kArp;
  const bool ethernet_ipv4 = rest_.U16(0) == 1 && rest_.U16(2) == kIpv4 && rest_.U8(4) == 6 && rest_.U8(5) == 4;
  if (!ethernet_ipv4) return Malformed::kNo;
  parsed_.network = Position();
  Copy(Field::arp_op, 6);
  Copy(Field::arp_sha, 8);
  Copy(Field::arp_sip, 14);
  Copy(Field::arp_tha, 18);
  Copy(Field::arp_tip, 24);
  return Malformed::kNo;
}

// RFC 791. The total length is not looked at: what the frame has counts.
Malformed Parser::Ipv4() {
  if (!rest_.Has(20)) return Malformed::kIpv4;
  const size_t header = (rest_.U8(0) & 15) * 4UL;
  if (rest_.U8(0) >> 4 != 4 || header < 20 || !rest_.Has(header)) return Malformed::kIpv4;

  parsed_.network = Position();
  const uint16_t fragment = rest_.U16(6);
  const bool later = (fragment & 0x1fff) != 0;
  const bool more = (fragment & 0x2000) != 0;
  const uint8_t protocol = rest_.U8(9);
  Copy(Field::ipv4_tos, 1);
  Copy(Field::ipv4_ttl, 8);
  Copy(Field::ipv4_proto, 9);
  Copy(Field::ipv4_src, 12);
  Copy(Field::ipv4_dst, 16);
  Set(Field::ipv4_frag, later ? 2 : more ? 1 : 0);
  rest_.Skip(header);
  return later ? Malformed::kNo : Layer4(protocol, false);
}

// RFC 8200. The payload length is not looked at.
Malformed Parser::Ipv6() {
  if (!rest_.Has(40) || rest_.U8(0) >> 4 != 6) return Malformed::kIpv6;
  parsed_.network = Position();
  Set(Field::ipv6_tclass, (rest_.U16(0) >> 4) & 0xff);
  Set(Field::ipv6_label, (rest_.U8(1) & 15UL) << 16 | rest_.U16(2));
  Copy(Field::ipv6_hlimit, 7);
  Copy(Field::ipv6_src, 8);
  Copy(Field::ipv6_dst, 24);
  uint8_t next = rest_.U8(6);
  uint8_t fragment = 0;
  rest_.Skip(40);
  const Malformed malformed = Ipv6Chain(next, fragment);
  Set(Field::ipv6_proto, next);
  Set(Field::ipv6_frag, fragment);
  if (malformed != Malformed::kNo) return malformed;
  return fragment == 2 ? Malformed::kNo : Layer4(next, true);
}

// RFC 8200 section 4: an extension header tells its length in units of 8 bytes, the first not counted; the
// authentication header (RFC 4302) in units of 4, two not counted; a fragment header has 8 bytes. Behind the header of
// a fragment that is not the first there is no header any more.
Malformed Parser::Ipv6Chain(uint8_t& next, uint8_t& fragment) {
  for (int i = 0; i < kMaxIpv6Extensions; ++i) {
    const bool options = next == 0 || next == 43 || next == 60;  // hop-by-hop, routing, destination
    const bool authentication = next == 51;
    const bool fragmented = next == 44;
    if (!options && !authentication && !fragmented) break;
    if (!rest_.Has(8)) return Malformed::kIpv6;
    size_t length = 8;
    if (options) length = 8UL + rest_.U8(1) * 8UL;
    if (authentication) length = (rest_.U8(1) + 2UL) * 4UL;
    if (!rest_.Has(length)) return Malformed::kIpv6;
    if (next == 43 && rest_.U8(3) != 0) parsed_.routed = true;
    if (fragmented) {
      const uint16_t offset_and_more = rest_.U16(2);
      if ((offset_and_more & 0xfff8) != 0) {
        fragment = 2;
        return Malformed::kNo;
      }
      if ((offset_and_more & 1) != 0) fragment = 1;
    }
    next = rest_.U8(0);
    rest_.Skip(length);
  }
  return Malformed::kNo;
}

Malformed Parser::Layer4(uint8_t protocol, bool v6) {
  switch (protocol) {
    case 6:  // RFC 9293; the flags are 12 bits, reserved ones included
      if (!BeginTransport(20)) return Malformed::kLayer4;
      Copy(Field::tcp_src, 0);
      Copy(Field::tcp_dst, 2);
      Set(Field::tcp_flags, rest_.U16(12) & 0xfff);
      break;
    case 17:  // RFC 768
      if (!BeginTransport(8)) return Malformed::kLayer4;
      Copy(Field::udp_src, 0);
      Copy(Field::udp_dst, 2);
      break;
    case 132:  // RFC 9260
      if (!BeginTransport(12)) return Malformed::kLayer4;
      Copy(Field::sctp_src, 0);
      Copy(Field::sctp_dst, 2);
      break;
    case 1:  // RFC 792
      if (v6) break;
      if (!BeginTransport(8)) return Malformed::kLayer4;
      Copy(Field::icmp_type, 0);
      Copy(Field::icmp_code, 1);
      break;
    case 58:  // RFC 4443
      if (!v6) break;
      if (!BeginTransport(8)) return Malformed::kLayer4;
      Copy(Field::icmpv6_type, 0);
      Copy(Field::icmpv6_code, 1);
      break;
    default:
      break;
  }
  return Malformed::kNo;
}

}  // namespace

std::string_view Name(Malformed malformed) {
  constexpr std::array<std::string_view, 7> kNames{"no", "eth", "vlan", "arp", "ipv4", "ipv6", "l4"};
  return kNames[static_cast<size_t>(malformed)];
}

Parsed Parse(std::span<const uint8_t> frame) { return Parser(frame).Run(); }

}  // namespace sluice::reference
