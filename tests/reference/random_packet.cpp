// SPDX-License-Identifier: Apache-2.0
// Random, named and damaged frames. Pools are small on purpose: frames that agree in most fields find the mistakes in
// masks and caches.
#include <algorithm>

#include "reference/packet.h"

namespace sluice::reference {
namespace {

Mac PoolMac(Rng& rng) {
  if (rng.OneIn(8)) return {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
  if (rng.OneIn(8)) return {0x01, 0x00, 0x5e, 0x00, 0x00, 0x01};
  return {0x02, 0, 0, 0, 0, static_cast<uint8_t>(1 + rng.Below(4))};
}

// 10.0.{0,1}.{1..4}, now and then anything.
uint32_t PoolIpv4(Rng& rng) {
  if (rng.OneIn(16)) return static_cast<uint32_t>(rng.Bits());
  return 0x0a000000U | static_cast<uint32_t>(rng.Below(2)) << 8 | static_cast<uint32_t>(1 + rng.Below(4));
}

// fd00::{0,1}:{1..4}, now and then anything.
Ipv6Address PoolIpv6(Rng& rng) {
  Ipv6Address address{};
  if (rng.OneIn(16)) {
    for (auto& byte : address) byte = static_cast<uint8_t>(rng.Bits());
    return address;
  }
  address[0] = 0xfd;
  address[13] = static_cast<uint8_t>(rng.Below(2));
  address[15] = static_cast<uint8_t>(1 + rng.Below(4));
  return address;
}

uint16_t PoolPort(Rng& rng) {
  static const std::vector<uint16_t> kPorts{0, 1, 53, 80, 443, 1000, 1001, 65535};
  return rng.Pick(kPorts);
}

uint16_t PoolTci(Rng& rng) {
  static const std::vector<uint16_t> kVids{0, 1, 5, 6, 100, 4095};
  const auto pcp = static_cast<uint16_t>(rng.OneIn(2) ? 0 : rng.Below(8) << 13);
  const auto dei = static_cast<uint16_t>(rng.OneIn(8) ? 0x1000 : 0);
  return static_cast<uint16_t>(pcp | dei | rng.Pick(kVids));
}

// What a length field may say that is not so: less than the headers, less or more than there is.
uint16_t PoolLength(Rng& rng) {
  static const std::vector<uint16_t> kLengths{0, 19, 28, 40, 50, 1600, 65535};
  return rng.Pick(kLengths);
}

// The ends of the field too: one bit decides whether a fragment is the first.
uint16_t PoolFragmentOffset(Rng& rng) {
  static const std::vector<uint16_t> kOffsets{0, 0, 0, 1, 0x1000, 185};
  return rng.Pick(kOffsets);
}

Ipv4Spec RandomIpv4(Rng& rng) {
  static const std::vector<uint8_t> kTos{0, 0, 4, 0xb8, 0xff};
  static const std::vector<uint8_t> kTtl{64, 64, 1, 0, 255};
  Ipv4Spec ip;
  ip.src = PoolIpv4(rng);
  ip.dst = PoolIpv4(rng);
  ip.tos = rng.Pick(kTos);
  ip.ttl = rng.Pick(kTtl);
  if (rng.OneIn(8)) ip.option_words = static_cast<uint8_t>(1 + rng.Below(10));
  if (rng.OneIn(6)) {
    ip.more_fragments = rng.OneIn(2);
    ip.fragment_offset = PoolFragmentOffset(rng);
  }
  if (rng.OneIn(20)) ip.total_length = PoolLength(rng);
  return ip;
}

Ipv6Extension RandomExtension(Rng& rng) {
  static const std::vector<uint8_t> kTypes{0, 43, 44, 51, 60};
  Ipv6Extension extension;
  extension.type = rng.Pick(kTypes);
  if (extension.type != 44) {
    extension.words = static_cast<uint8_t>(rng.OneIn(2) ? 0 : rng.Below(4));
    if (extension.type == 43 && rng.OneIn(2)) extension.segments_left = static_cast<uint8_t>(1 + rng.Below(3));
  } else {
    extension.more_fragments = rng.OneIn(2);
    extension.fragment_offset = PoolFragmentOffset(rng);
  }
  return extension;
}

Ipv6Spec RandomIpv6(Rng& rng) {
  static const std::vector<uint8_t> kTclass{0, 0, 4, 0xb8, 0xff};
  static const std::vector<uint8_t> kHlimit{64, 64, 1, 0, 255};
  static const std::vector<uint32_t> kLabel{0, 0, 1, 0x12345, 0xfffff};
  Ipv6Spec ip;
  ip.src = PoolIpv6(rng);
  ip.dst = PoolIpv6(rng);
  ip.tclass = rng.Pick(kTclass);
  ip.hlimit = rng.Pick(kHlimit);
  ip.label = rng.Pick(kLabel);
  if (rng.OneIn(4)) {
    for (uint64_t n = 1 + rng.Below(rng.OneIn(4) ? 10 : 3); n > 0; --n) ip.extensions.push_back(RandomExtension(rng));
    ip.final_dst = PoolIpv6(rng);
  }
  if (rng.OneIn(20)) ip.payload_length = PoolLength(rng);
  return ip;
}

void RandomLayer4(Rng& rng, PacketSpec& spec) {
  static const std::vector<uint16_t> kFlags{0x02, 0x10, 0x12, 0x18, 0x11, 0x04, 0x000, 0xfff};
  static const std::vector<uint8_t> kTypes{0, 3, 8, 128, 129, 135, 136, 255};
  switch (rng.Below(10)) {
    case 0:
    case 1:
    case 2:
      spec.l4 = TcpSpec{PoolPort(rng), PoolPort(rng), rng.Pick(kFlags),
                        static_cast<uint8_t>(rng.OneIn(4) ? rng.Below(11) : 0)};
      break;
    case 3:
    case 4:
    case 5:
      spec.l4 = UdpSpec{PoolPort(rng), PoolPort(rng), !rng.OneIn(8)};
      break;
    case 6:
      spec.l4 = SctpSpec{PoolPort(rng), PoolPort(rng)};
      break;
    case 7:
    case 8:
      spec.l4 = IcmpSpec{rng.Pick(kTypes), static_cast<uint8_t>(rng.Below(3))};
      break;
    default:  // a protocol of which no more is known than its number
      break;
  }
}

void RandomTags(Rng& rng, PacketSpec& spec) {
  static const std::vector<uint16_t> kTpids{0x8100, 0x8100, 0x88a8};
  if (!rng.OneIn(3)) return;
  const uint64_t tags = rng.OneIn(3) ? 2 + (rng.OneIn(8) ? 1 : 0) : 1;
  for (uint64_t i = 0; i < tags; ++i) spec.tags.push_back({rng.Pick(kTpids), PoolTci(rng)});
}

PacketSpec Ipv4Of(const decltype(PacketSpec::l4)& l4) {
  PacketSpec spec;
  spec.dst = {2, 0, 0, 0, 0, 2};
  spec.src = {2, 0, 0, 0, 0, 1};
  Ipv4Spec ip;
  ip.src = 0x0a000001;
  ip.dst = 0x0a000002;
  spec.l3 = ip;
  spec.l4 = l4;
  return spec;
}

PacketSpec Ipv6Of(const decltype(PacketSpec::l4)& l4, std::vector<Ipv6Extension> extensions = {}) {
  PacketSpec spec = Ipv4Of(l4);
  Ipv6Spec ip;
  ip.src = {0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  ip.dst = {0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2};
  ip.extensions = std::move(extensions);
  spec.l3 = ip;
  return spec;
}

PacketSpec Padded(PacketSpec spec, uint8_t padding) {
  spec.padding = padding;
  return spec;
}

// Parts of what Ipv4Of makes.
PacketSpec FirstFragment(const decltype(PacketSpec::l4)& l4) {
  PacketSpec spec = Ipv4Of(l4);
  std::get<Ipv4Spec>(spec.l3).more_fragments = true;
  return spec;
}
PacketSpec LaterFragment(const decltype(PacketSpec::l4)& l4) {
  PacketSpec spec = FirstFragment(l4);
  std::get<Ipv4Spec>(spec.l3).fragment_offset = 185;
  return spec;
}

PacketSpec WithTotalLength(PacketSpec spec, uint16_t length) {
  std::get<Ipv4Spec>(spec.l3).total_length = length;
  return spec;
}
PacketSpec WithPayloadLength(PacketSpec spec, uint16_t length) {
  std::get<Ipv6Spec>(spec.l3).payload_length = length;
  return spec;
}

// A routing header that has not come to its end.
PacketSpec Routed(const decltype(PacketSpec::l4)& l4) {
  PacketSpec spec = Ipv6Of(l4, {{.type = 43, .words = 2, .segments_left = 1}});
  std::get<Ipv6Spec>(spec.l3).final_dst = {0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9};
  return spec;
}

PacketSpec Tagged(PacketSpec spec, std::vector<VlanTag> tags) {
  spec.tags = std::move(tags);
  return spec;
}

}  // namespace

std::vector<std::pair<std::string, PacketSpec>> NamedPackets() {
  PacketSpec options = Ipv4Of(TcpSpec{1000, 80, 0x02, 5});
  std::get<Ipv4Spec>(options.l3).option_words = 10;
  PacketSpec arp = Ipv4Of({});
  arp.l3 = ArpSpec{.sha = arp.src, .tha = {}, .sip = 0x0a000001, .tip = 0x0a000002};
  PacketSpec rarp = arp;
  rarp.eth_type = 0x8035;
  PacketSpec other = Ipv4Of({});
  other.l3 = std::monostate{};
  PacketSpec length = other;
  length.eth_type = 26;
  return {{"arp", arp},
          {"rarp", rarp},
          {"udp4", Ipv4Of(UdpSpec{1000, 53})},
          {"tcp4", Ipv4Of(TcpSpec{1000, 80, 0x18, 0})},
          {"tcp4_options", options},
          {"sctp4", Ipv4Of(SctpSpec{1000, 2000})},
          {"icmp4", Ipv4Of(IcmpSpec{8, 0})},
          {"ip4_other", Ipv4Of({})},
          {"udp4_first_fragment", FirstFragment(UdpSpec{1000, 53})},
          {"udp4_later_fragment", LaterFragment(UdpSpec{1000, 53})},
          {"tcp4_first_fragment", FirstFragment(TcpSpec{1000, 80, 0x18, 0})},
          {"tcp4_later_fragment", LaterFragment(TcpSpec{1000, 80, 0x18, 0})},
          {"sctp4_first_fragment", FirstFragment(SctpSpec{1000, 2000})},
          {"sctp4_later_fragment", LaterFragment(SctpSpec{1000, 2000})},
          {"udp4_no_checksum", Ipv4Of(UdpSpec{1000, 53, false})},
          {"udp4_padding", Padded(Ipv4Of(UdpSpec{1000, 53}), 18)},
          {"sctp4_padding", Padded(Ipv4Of(SctpSpec{1000, 2000}), 7)},
          {"udp4_short_length", WithTotalLength(Ipv4Of(UdpSpec{1000, 53}), 21)},
          {"sctp4_short_length", WithTotalLength(Ipv4Of(SctpSpec{1000, 2000}), 44)},
          {"sctp4_no_length", WithTotalLength(Ipv4Of(SctpSpec{1000, 2000}), 0)},
          {"sctp4_long_length", WithTotalLength(Ipv4Of(SctpSpec{1000, 2000}), 1500)},
          {"udp6", Ipv6Of(UdpSpec{1000, 53})},
          {"tcp6", Ipv6Of(TcpSpec{1000, 80, 0x18, 0})},
          {"sctp6", Ipv6Of(SctpSpec{1000, 2000})},
          {"icmp6", Ipv6Of(IcmpSpec{128, 0})},
          {"ip6_other", Ipv6Of({})},
          {"udp6_extensions", Ipv6Of(UdpSpec{1000, 53}, {{0, 0}, {43, 2}, {60, 1}})},
          {"udp6_authentication", Ipv6Of(UdpSpec{1000, 53}, {{51, 2}})},
          {"udp6_first_fragment", Ipv6Of(UdpSpec{1000, 53}, {{44, 0, 0, true}})},
          {"udp6_later_fragment", Ipv6Of(UdpSpec{1000, 53}, {{44, 0, 185, true}})},
          {"udp6_atomic_fragment", Ipv6Of(UdpSpec{1000, 53}, {{44, 0, 0, false}})},
          {"udp6_no_checksum", Ipv6Of(UdpSpec{1000, 53, false})},
          {"udp6_routed", Routed(UdpSpec{1000, 53})},
          {"tcp6_routed", Routed(TcpSpec{1000, 80, 0x18, 0})},
          {"icmp6_routed", Routed(IcmpSpec{128, 0})},
          {"udp6_six_extensions", Ipv6Of(UdpSpec{1000, 53}, std::vector<Ipv6Extension>(6, {60, 0}))},
          {"udp6_seven_extensions", Ipv6Of(UdpSpec{1000, 53}, std::vector<Ipv6Extension>(7, {60, 0}))},
          {"tcp6_first_fragment", Ipv6Of(TcpSpec{1000, 80, 0x18, 0}, {{44, 0, 0, true}})},
          {"sctp6_first_fragment", Ipv6Of(SctpSpec{1000, 2000}, {{44, 0, 0, true}})},
          {"sctp6_short_length", WithPayloadLength(Ipv6Of(SctpSpec{1000, 2000}), 20)},
          {"sctp6_padding", Padded(Ipv6Of(SctpSpec{1000, 2000}), 7)},
          {"tcp4_qinq", Tagged(Ipv4Of(TcpSpec{1000, 80, 0x18, 0}), {{0x88a8, 0x2064}, {0x8100, 5}})},
          {"icmp4_two_service_tags", Tagged(Ipv4Of(IcmpSpec{8, 0}), {{0x88a8, 100}, {0x88a8, 5}})},
          {"sctp4_vlan", Tagged(Ipv4Of(SctpSpec{1000, 2000}), {{0x8100, 5}})},
          {"udp4_drop_eligible", Tagged(Ipv4Of(UdpSpec{1000, 53}), {{0x8100, 0x7005}})},
          {"udp4_vlan", Tagged(Ipv4Of(UdpSpec{1000, 53}), {{0x8100, 0x6005}})},
          {"udp6_qinq", Tagged(Ipv6Of(UdpSpec{1000, 53}), {{0x88a8, 100}, {0x8100, 5}})},
          {"udp4_three_tags", Tagged(Ipv4Of(UdpSpec{1000, 53}), {{0x8100, 1}, {0x8100, 2}, {0x8100, 3}})},
          {"other", other},
          {"ieee_802_3", length}};
}

PacketSpec RandomPacket(Rng& rng) {
  PacketSpec spec;
  spec.dst = PoolMac(rng);
  spec.src = PoolMac(rng);
  RandomTags(rng, spec);
  static const std::vector<uint16_t> kPayload{0, 1, 7, 26, 26, 26, 200, 1400};
  spec.payload = rng.Pick(kPayload);
  if (rng.OneIn(6)) spec.padding = static_cast<uint8_t>(1 + rng.Below(40));
  switch (rng.Below(16)) {
    case 0:
    case 1:
      spec.l3 = ArpSpec{.op = static_cast<uint16_t>(1 + rng.Below(3)),
                        .sha = PoolMac(rng),
                        .tha = PoolMac(rng),
                        .sip = PoolIpv4(rng),
                        .tip = PoolIpv4(rng)};
      if (rng.OneIn(8)) std::get<ArpSpec>(spec.l3).htype = 6;
      if (rng.OneIn(8)) spec.eth_type = 0x8035;
      break;
    case 2:
      if (rng.OneIn(2)) spec.eth_type = static_cast<uint16_t>(rng.OneIn(2) ? rng.Bits() : rng.Below(0x0600));
      break;
    case 3:
    case 4:
    case 5:
    case 6:
    case 7:
      spec.l3 = RandomIpv6(rng);
      RandomLayer4(rng, spec);
      break;
    default:
      spec.l3 = RandomIpv4(rng);
      RandomLayer4(rng, spec);
      break;
  }
  return spec;
}

Bytes Damage(const Bytes& frame, Rng& rng) {
  Bytes out = frame;
  const size_t headers = std::min<size_t>(out.size(), 100);
  switch (rng.Below(3)) {
    case 0:
      out.resize(rng.Below(headers));
      break;
    case 1:  // the byte in which an IP header has its version and length, untagged and tagged
      if (size_t at = 14 + 4 * rng.Below(3); at < out.size()) out[at] = static_cast<uint8_t>(rng.Bits());
      break;
    default:
      for (uint64_t n = 1 + rng.Below(4); n > 0 && headers > 12; --n) {
        out[12 + rng.Below(headers - 12)] = static_cast<uint8_t>(rng.Bits());
      }
      break;
  }
  return out;
}

}  // namespace sluice::reference
