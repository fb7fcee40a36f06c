// SPDX-License-Identifier: Apache-2.0
#include "tunnel.h"

#include <linux/if_ether.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "packet.h"

namespace sluice::soft {
namespace {

constexpr uint16_t kDf = 0x4000;
constexpr uint16_t kTransparentBridging = 0x6558;
constexpr size_t kUdpSize = 8;
constexpr size_t kVniHeaderSize = 8;  // of VXLAN, and of Geneve before its options
constexpr uint16_t kGreCsum = 0x8000;
constexpr uint16_t kGreKey = 0x2000;
constexpr uint16_t kGreSeq = 0x1000;
constexpr uint8_t kDefaultTtl = 64;
constexpr uint8_t kGeneveOam = 0x80;
constexpr uint8_t kGeneveCritical = 0x40;
enum TunnelFlag : uint16_t { kFlagOam = 1, kFlagDf = 2, kFlagCsum = 4, kFlagKey = 8 };

uint16_t Word(const uint8_t* at) { return static_cast<uint16_t>(at[0] << 8 | at[1]); }
uint32_t Long(const uint8_t* at) { return static_cast<uint32_t>(Word(at)) << 16 | Word(at + 2); }
void PutWord(uint8_t* at, size_t value) {
  at[0] = static_cast<uint8_t>(value >> 8);
  at[1] = static_cast<uint8_t>(value);
}

// RFC 1071, not yet folded.
uint64_t Sum(std::span<const uint8_t> bytes) {
  uint64_t sum = 0;
  for (size_t i = 0; i + 1 < bytes.size(); i += 2) sum += Word(bytes.data() + i);
  if (bytes.size() % 2 == 1) sum += static_cast<uint64_t>(bytes.back()) << 8;
  return sum;
}
uint16_t Fold(uint64_t sum) {
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(sum);
}

Error Wrong(const std::string& detail) { return {"tnl_malformed", detail}; }

// Exact in `field`, whose bytes are at `at`.
void Say(Match& match, Field field, const uint8_t* at) {
  constexpr std::array<uint8_t, 16> kOnes = [] {
    std::array<uint8_t, 16> ones{};
    ones.fill(0xff);
    return ones;
  }();
  const size_t size = Info(field).size;
  match.Set(field, {at, size}, std::span(kOnes).first(size));
}

// Of UDP over IPv4 and IPv6 (RFC 768, 8200): addresses, protocol, length.
uint64_t PseudoSum(const uint8_t* ip, size_t length) {
  const bool ipv6 = ip[0] >> 4 == 6;
  return Sum({ip + (ipv6 ? 8 : 12), ipv6 ? size_t{32} : 8}) + IPPROTO_UDP + length;
}

// The headers of one packet, from the outside in.
class Outer {
 public:
  explicit Outer(std::span<const uint8_t> frame) : frame_(frame), parsed_(Parse(frame, uint32_t{0})) {}

  // Up to layer 4, which is `proto`.
  Result<void> Ip(uint8_t proto);
  Result<void> Udp(uint16_t port);
  Result<void> Vxlan();
  Result<void> Geneve();
  Result<void> Gre();
  Result<Popped> Finish(OuterChecksum checksum);

 private:
  [[nodiscard]] const uint8_t* Here() const { return frame_.data() + at_; }
  [[nodiscard]] bool Has(size_t size) const { return end_ - at_ >= size; }
  [[nodiscard]] std::span<const uint8_t> Rest() const { return frame_.subspan(at_, end_ - at_); }
  void SayVni(uint32_t vni) {
    tunnel_.SetExact(Field::tun_id, vni);
    flags_ |= kFlagKey;
  }

  std::span<const uint8_t> frame_;
  const Parsed parsed_;
  size_t at_ = 0;   // what comes next
  size_t end_ = 0;  // of the IP packet
  uint16_t flags_ = 0;
  uint64_t sum_ = 0;  // of what the checksum is about, itself included; not folded
  Match tunnel_;
};

Result<void> Outer::Ip(uint8_t proto) {
  const Headers& headers = parsed_.headers;
  const uint8_t* ip = frame_.data() + headers.l3_offset;
  const bool ipv4 = headers.l3 == Layer3::kIpv4;
  if (parsed_.malformed != Malformed::kNo) return Wrong("an outer header is cut short or contradicts itself");
  if (!ipv4 && headers.l3 != Layer3::kIpv6) return Wrong("the outer packet is not IP");
  const Field proto_field = ipv4 ? Field::ipv4_proto : Field::ipv6_proto;
  if (headers.fragment) return Wrong("the outer packet is a fragment");
  if (parsed_.key[Info(proto_field).offset] != proto) return Wrong("the outer packet is of another protocol");
  Say(tunnel_, Field::tun_tos, parsed_.key.data() + Info(ipv4 ? Field::ipv4_tos : Field::ipv6_tclass).offset);
  Say(tunnel_, Field::tun_ttl, parsed_.key.data() + Info(ipv4 ? Field::ipv4_ttl : Field::ipv6_hlimit).offset);
  Say(tunnel_, ipv4 ? Field::tun_src : Field::tun_ipv6_src, ip + (ipv4 ? 12 : 8));
  Say(tunnel_, ipv4 ? Field::tun_dst : Field::tun_ipv6_dst, ip + (ipv4 ? 16 : 24));
  at_ = headers.payload_offset;
  end_ = headers.l3_offset + (ipv4 ? Word(ip + 2) : size_t{40} + Word(ip + 4));
  if (end_ < at_ || end_ > frame_.size()) return Wrong("the outer packet's length is not what it has");
  if (ipv4 && Fold(Sum({ip, at_ - headers.l3_offset})) != 0xffff) return Wrong("the outer IPv4 checksum is wrong");
  return {};
}

Result<void> Outer::Udp(uint16_t port) {
  if (!Has(kUdpSize)) return Wrong("the outer UDP header is cut short");
  const uint8_t* udp = Here();
  const size_t length = Word(udp + 4);
  if (Word(udp + 2) != port) return Wrong("the outer packet is for another UDP port");
  if (length < kUdpSize || !Has(length)) return Wrong("the outer UDP length is not what it has");
  end_ = at_ + length;
  if (Word(udp + 6) != 0) {
    flags_ |= kFlagCsum;
    sum_ = PseudoSum(frame_.data() + parsed_.headers.l3_offset, length) + Sum(Rest());
  }
  Say(tunnel_, Field::tun_tp_src, udp);
  Say(tunnel_, Field::tun_tp_dst, udp + 2);
  at_ += kUdpSize;
  return {};
}

// RFC 7348.
Result<void> Outer::Vxlan() {
  if (!Has(kVniHeaderSize)) return Wrong("the VXLAN header is cut short");
  if (Long(Here()) != 0x08000000 || Here()[7] != 0) return Wrong("the VXLAN header has other bits than that of a VNI");
  SayVni(Long(Here() + 4) >> 8);
  at_ += kVniHeaderSize;
  return {};
}

// RFC 8926.
Result<void> Outer::Geneve() {
  if (!Has(kVniHeaderSize)) return Wrong("the Geneve header is cut short");
  const uint8_t* geneve = Here();
  const size_t options = size_t{4} * (geneve[0] & 0x3f);
  if (geneve[0] >> 6 != 0) return Wrong("the Geneve header is of another version");
  if ((geneve[1] & kGeneveCritical) != 0) return Wrong("the Geneve packet has critical options");
  if ((geneve[1] & kGeneveOam) != 0) flags_ |= kFlagOam;
  if (Word(geneve + 2) != kTransparentBridging) return Wrong("there is no Ethernet frame in the tunnel");
  if (!Has(kVniHeaderSize + options)) return Wrong("the Geneve options are cut short");
  SayVni(Long(geneve + 4) >> 8);
  at_ += kVniHeaderSize + options;
  return {};
}

// RFC 2784, 2890.
Result<void> Outer::Gre() {
  if (!Has(4)) return Wrong("the GRE header is cut short");
  const uint8_t* gre = Here();
  const uint16_t flags = Word(gre);
  if ((flags & ~(kGreCsum | kGreKey | kGreSeq)) != 0)
    return Wrong("the GRE header has other flags than csum, key, seq");
  if (Word(gre + 2) != kTransparentBridging) return Wrong("there is no Ethernet frame in the tunnel");
  size_t size = 4;
  for (const uint16_t flag : {kGreCsum, kGreKey, kGreSeq}) size += (flags & flag) != 0 ? 4 : 0;
  if (!Has(size)) return Wrong("the GRE header is cut short");
  if ((flags & kGreCsum) != 0) {
    flags_ |= kFlagCsum;
    sum_ = Sum(Rest());
  }
  if ((flags & kGreKey) != 0) SayVni(Long(gre + ((flags & kGreCsum) != 0 ? 8 : 4)));
  at_ += size;
  return {};
}

Result<Popped> Outer::Finish(OuterChecksum checksum) {
  if (!Has(ETH_HLEN)) return Wrong("the inner frame is too short for Ethernet");
  if ((flags_ & kFlagCsum) == 0 && checksum == OuterChecksum::kRequire) {
    return Error{"tnl_checksum", "there is no outer checksum"};
  }
  if ((flags_ & kFlagCsum) != 0 && checksum != OuterChecksum::kIgnore && Fold(sum_) != 0xffff) {
    return Error{"tnl_checksum", "the outer checksum is wrong"};
  }
  tunnel_.SetExact(Field::tun_flags, flags_);
  return Popped{at_, end_, tunnel_};
}

Result<void> TakeOff(Outer& outer, TunnelType type, uint16_t port) {
  if (auto ip = outer.Ip(type == TunnelType::kGre ? IPPROTO_GRE : IPPROTO_UDP); !ip) return ip;
  if (type == TunnelType::kGre) return outer.Gre();
  if (auto udp = outer.Udp(port); !udp) return udp;
  return type == TunnelType::kVxlan ? outer.Vxlan() : outer.Geneve();
}

void AppendWord(std::string& to, size_t value) {
  to += static_cast<char>(value >> 8);
  to += static_cast<char>(value);
}
void AppendValue(std::string& to, const Match& match, Field field) {
  const auto value = match.Value(field);
  to.append(reinterpret_cast<const char*>(value.data()), value.size());
}

}  // namespace

std::optional<TunnelType> TunnelTypeOf(std::string_view name) {
  if (name == "gre") return TunnelType::kGre;
  if (name == "vxlan") return TunnelType::kVxlan;
  if (name == "geneve") return TunnelType::kGeneve;
  return std::nullopt;
}

uint16_t DefaultTunnelPort(TunnelType type) {
  return type == TunnelType::kVxlan ? 4789 : type == TunnelType::kGeneve ? 6081 : 0;
}

Result<Popped> PopTunnel(std::span<const uint8_t> frame, TunnelType type, uint16_t port, OuterChecksum checksum) {
  Outer outer(frame);
  if (auto taken = TakeOff(outer, type, port); !taken) return taken.error();
  return outer.Finish(checksum);
}

std::string TunnelHeader(TunnelType type, uint16_t port, const Match& set) {
  const bool ipv6 = std::ranges::any_of(set.Value(Field::tun_ipv6_dst), [](uint8_t byte) { return byte != 0; });
  const auto flags = static_cast<uint16_t>(set.ValueOf(Field::tun_flags));
  const uint8_t tos = static_cast<uint8_t>(set.ValueOf(Field::tun_tos));
  const uint8_t ttl = static_cast<uint8_t>(set.Has(Field::tun_ttl) ? set.ValueOf(Field::tun_ttl) : kDefaultTtl);
  const uint8_t proto = type == TunnelType::kGre ? IPPROTO_GRE : IPPROTO_UDP;
  const bool checksum = (flags & kFlagCsum) != 0;
  std::string header(size_t{2} * ETH_ALEN, '\0');
  AppendWord(header, ipv6 ? ETH_P_IPV6 : ETH_P_IP);
  if (ipv6) {
    AppendWord(header, 0x6000 | tos << 4);
    AppendWord(header, 0);
    AppendWord(header, 0);
    AppendWord(header, size_t{proto} << 8 | ttl);
  } else {
    AppendWord(header, 0x4500 | tos);
    AppendWord(header, 0);
    AppendWord(header, 0);
    AppendWord(header, (flags & kFlagDf) != 0 ? kDf : 0);
    AppendWord(header, size_t{ttl} << 8 | proto);
    AppendWord(header, 0);
  }
  AppendValue(header, set, ipv6 ? Field::tun_ipv6_src : Field::tun_src);
  AppendValue(header, set, ipv6 ? Field::tun_ipv6_dst : Field::tun_dst);
  const uint64_t id = set.ValueOf(Field::tun_id);
  if (type == TunnelType::kGre) {
    const bool key = set.Has(Field::tun_id) || (flags & kFlagKey) != 0;
    AppendWord(header, (checksum ? kGreCsum : 0) | (key ? kGreKey : 0));
    AppendWord(header, kTransparentBridging);
    if (checksum) header.append(4, '\0');
    if (key) AppendWord(header, id >> 16);
    if (key) AppendWord(header, id);
    return header;
  }
  AppendWord(header, set.ValueOf(Field::tun_tp_src));
  AppendWord(header, set.Has(Field::tun_tp_dst) ? set.ValueOf(Field::tun_tp_dst) : port);
  AppendWord(header, 0);
  AppendWord(header, checksum || ipv6 ? 0xffff : 0);
  AppendWord(header, type == TunnelType::kVxlan ? 0x0800 : (flags & kFlagOam) != 0 ? kGeneveOam : 0);
  AppendWord(header, type == TunnelType::kVxlan ? 0 : kTransparentBridging);
  AppendWord(header, id >> 8);
  AppendWord(header, id << 8);
  return header;
}

Result<void> PushTunnel(Frame& frame, std::string_view header, size_t mtu) {
  const uint8_t* outer = reinterpret_cast<const uint8_t*>(header.data());
  const bool ipv6 = header.size() > ETH_HLEN && outer[ETH_HLEN] >> 4 == 6;
  const size_t l4 = ETH_HLEN + (ipv6 ? size_t{40} : 20);
  const Error short_header{"tnl_no_room", "the outer header is cut short"};
  if (header.size() < l4 + 4) return short_header;
  const uint8_t proto = outer[ETH_HLEN + (ipv6 ? 6 : 9)];
  if (proto == IPPROTO_UDP && header.size() < l4 + kUdpSize) return short_header;
  const size_t size = header.size() + frame.size();
  if (mtu == 0) mtu = 0xffff;
  if (size - ETH_HLEN > mtu) {
    return Error{"tnl_mtu", "with its outer headers the packet has " + std::to_string(size - ETH_HLEN) +
                                " bytes, which is above the MTU of " + std::to_string(mtu)};
  }
  frame.GrowFront(header.size());
  uint8_t* bytes = frame.bytes().data();
  std::memcpy(bytes, header.data(), header.size());
  uint8_t* ip = bytes + ETH_HLEN;
  if (ipv6) {
    PutWord(ip + 4, size - l4);
  } else {
    PutWord(ip + 2, size - ETH_HLEN);
    PutWord(ip + 10, 0);
    PutWord(ip + 10, static_cast<uint16_t>(~Fold(Sum({ip, 20}))));
  }
  const std::span<uint8_t> rest = frame.bytes().subspan(l4);
  if (proto == IPPROTO_UDP) {
    uint8_t* udp = rest.data();
    PutWord(udp + 4, rest.size());
    const bool checksum = ipv6 || Word(udp + 6) != 0;
    PutWord(udp + 6, 0);
    const auto sum = static_cast<uint16_t>(~Fold(PseudoSum(ip, rest.size()) + Sum(rest)));
    if (checksum) PutWord(udp + 6, sum == 0 ? 0xffff : sum);
  } else if (proto == IPPROTO_GRE && (Word(rest.data()) & kGreCsum) != 0) {
    PutWord(rest.data() + 4, 0);
    PutWord(rest.data() + 4, static_cast<uint16_t>(~Fold(Sum(rest))));
  }
  return {};
}

}  // namespace sluice::soft
