// SPDX-License-Identifier: Apache-2.0
// Edits against packets that were built with the new values from the start, all checksums computed over the whole.
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "execution.h"

namespace sluice::soft {
namespace {

using reference::ArpSpec;
using reference::Build;
using reference::IcmpSpec;
using reference::Ipv4Spec;
using reference::Ipv6Spec;
using reference::PacketSpec;
using reference::SctpSpec;
using reference::TcpSpec;
using reference::UdpSpec;

struct Edit {
  std::string action;
  std::function<void(PacketSpec&)> change;
};

template <typename Layer>
std::function<void(PacketSpec&)> InLayer3(void (*change)(Layer&)) {
  return [change](PacketSpec& spec) {
    if (auto* layer = std::get_if<Layer>(&spec.l3)) change(*layer);
  };
}
template <typename Layer>
std::function<void(PacketSpec&)> InLayer4(void (*change)(Layer&)) {
  return [change](PacketSpec& spec) {
    if (auto* layer = std::get_if<Layer>(&spec.l4)) change(*layer);
  };
}

// Of ICMP in IPv4 only, or in IPv6 only.
template <typename Under>
std::function<void(PacketSpec&)> InIcmp(void (*change)(IcmpSpec&)) {
  return [change](PacketSpec& spec) {
    auto* icmp = std::get_if<IcmpSpec>(&spec.l4);
    if (icmp != nullptr && std::holds_alternative<Under>(spec.l3)) change(*icmp);
  };
}

std::function<void(PacketSpec&)> InOuterTag(void (*change)(uint16_t&)) {
  return [change](PacketSpec& spec) {
    if (!spec.tags.empty()) change(spec.tags.front().tci);
  };
}

const std::vector<Edit>& Edits() {
  static const std::vector<Edit> kEdits = {
      {"set(eth(dst=aa:bb:cc:dd:ee:ff))", [](PacketSpec& spec) { spec.dst = {0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}; }},
      {"set(eth(src=a0:00:00:00:00:0f/f0:00:00:00:00:0f))",
       [](PacketSpec& spec) {
         spec.src[0] = static_cast<uint8_t>((spec.src[0] & 0x0f) | 0xa0);
         spec.src[5] |= 0x0f;
       }},
      {"set(vlan(vid=77))", InOuterTag([](uint16_t& tci) { tci = (tci & 0xf000) | 77; })},
      {"set(vlan(pcp=5))", InOuterTag([](uint16_t& tci) { tci = (tci & 0x1fff) | 5 << 13; })},
      {"set(vlan(vid=0,pcp=0))", InOuterTag([](uint16_t& tci) { tci &= 0x1000; })},
      {"set(ipv4(src=1.2.3.4))", InLayer3<Ipv4Spec>([](Ipv4Spec& ip) { ip.src = 0x01020304; })},
      {"set(ipv4(dst=255.255.255.255))", InLayer3<Ipv4Spec>([](Ipv4Spec& ip) { ip.dst = 0xffffffff; })},
      {"set(ipv4(src=9.0.7.0/255.0.15.0))",
       InLayer3<Ipv4Spec>([](Ipv4Spec& ip) { ip.src = (ip.src & 0x00fff0ff) | 0x09000700; })},
      {"set(ipv4(src=1.2.3.4,dst=5.6.7.8,tos=0xb8,ttl=7))", InLayer3<Ipv4Spec>([](Ipv4Spec& ip) {
         ip.src = 0x01020304;
         ip.dst = 0x05060708;
         ip.tos = 0xb8;
         ip.ttl = 7;
       })},
      {"set(ipv4(tos=0x28/0xfc))",
       InLayer3<Ipv4Spec>([](Ipv4Spec& ip) { ip.tos = static_cast<uint8_t>((ip.tos & 0x03) | 0x28); })},
      {"set(ipv4(ttl=255))", InLayer3<Ipv4Spec>([](Ipv4Spec& ip) { ip.ttl = 255; })},
      {"set(ipv6(src=2001:db8::1:2))",
       InLayer3<Ipv6Spec>([](Ipv6Spec& ip) { ip.src = {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2}; })},
      {"set(ipv6(dst=ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff))",
       InLayer3<Ipv6Spec>([](Ipv6Spec& ip) { ip.dst.fill(0xff); })},
      {"set(ipv6(dst=::ab:0/::ff:0))", InLayer3<Ipv6Spec>([](Ipv6Spec& ip) { ip.dst[13] = 0xab; })},
      {"set(ipv6(label=0xabcde))", InLayer3<Ipv6Spec>([](Ipv6Spec& ip) { ip.label = 0xabcde; })},
      {"set(ipv6(label=0x50005/0xf000f))",
       InLayer3<Ipv6Spec>([](Ipv6Spec& ip) { ip.label = (ip.label & 0x0fff0) | 0x50005; })},
      {"set(ipv6(tclass=0x5a))", InLayer3<Ipv6Spec>([](Ipv6Spec& ip) { ip.tclass = 0x5a; })},
      {"set(ipv6(tclass=0x14/0x3c))",
       InLayer3<Ipv6Spec>([](Ipv6Spec& ip) { ip.tclass = static_cast<uint8_t>((ip.tclass & 0xc3) | 0x14); })},
      {"set(ipv6(hlimit=9))", InLayer3<Ipv6Spec>([](Ipv6Spec& ip) { ip.hlimit = 9; })},
      {"set(tcp(src=4242))", InLayer4<TcpSpec>([](TcpSpec& tcp) { tcp.src = 4242; })},
      {"set(tcp(src=0,dst=65535))", InLayer4<TcpSpec>([](TcpSpec& tcp) {
         tcp.src = 0;
         tcp.dst = 65535;
       })},
      {"set(tcp(dst=0x1200/0xff00))", InLayer4<TcpSpec>([](TcpSpec& tcp) { tcp.dst = (tcp.dst & 0xff) | 0x1200; })},
      {"set(udp(src=4242,dst=1))", InLayer4<UdpSpec>([](UdpSpec& udp) {
         udp.src = 4242;
         udp.dst = 1;
       })},
      {"set(sctp(src=4242))", InLayer4<SctpSpec>([](SctpSpec& sctp) { sctp.src = 4242; })},
      {"set(sctp(src=4242,dst=3))", InLayer4<SctpSpec>([](SctpSpec& sctp) {
         sctp.src = 4242;
         sctp.dst = 3;
       })},
      {"set(icmp(type=13))", InIcmp<Ipv4Spec>([](IcmpSpec& icmp) { icmp.type = 13; })},
      {"set(icmp(type=3,code=4))", InIcmp<Ipv4Spec>([](IcmpSpec& icmp) {
         icmp = {3, 4};
       })},
      {"set(icmpv6(type=3,code=4))", InIcmp<Ipv6Spec>([](IcmpSpec& icmp) {
         icmp = {3, 4};
       })},
      {"set(icmpv6(code=1))", InIcmp<Ipv6Spec>([](IcmpSpec& icmp) { icmp.code = 1; })},
      {"set(arp(sip=1.2.3.4,tip=5.6.7.8))", InLayer3<ArpSpec>([](ArpSpec& arp) {
         arp.sip = 0x01020304;
         arp.tip = 0x05060708;
       })},
      {"set(arp(op=2))", InLayer3<ArpSpec>([](ArpSpec& arp) { arp.op = 2; })},
      {"set(arp(sha=aa:bb:cc:dd:ee:ff,tha=11:22:33:44:55:66))", InLayer3<ArpSpec>([](ArpSpec& arp) {
         arp.sha = {0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};
         arp.tha = {0x11, 0x22, 0x33, 0x44, 0x55, 0x66};
       })},
      {"dec_ttl", [](PacketSpec& spec) {
         if (auto* v4 = std::get_if<Ipv4Spec>(&spec.l3)) --v4->ttl;
         if (auto* v6 = std::get_if<Ipv6Spec>(&spec.l3)) --v6->hlimit;
       }}};
  return kEdits;
}

bool IsFragment(const PacketSpec& spec) { return Parse(Build(spec), kInPort).headers.fragment; }

// Where the IP header tells another length the builder's checksums are about other bytes than a receiver's; behind more
// extensions than are followed layer 4 is not seen.
bool IsSeenWhole(const std::string& name) {
  return name.find("length") == std::string::npos && name.find("seven") == std::string::npos;
}

// Under one to two tags, and none; odd lengths, DEI set.
std::vector<PacketSpec> Variants(const PacketSpec& spec) {
  std::vector<PacketSpec> variants;
  for (const auto& tags :
       {std::vector<reference::VlanTag>{}, {{0x8100, 0x7005}}, {{0x88a8, 0x3fff}, {0x8100, 0x6001}}}) {
    for (const uint16_t payload : {0, 1, 31, 1400}) {
      variants.push_back(spec);
      variants.back().tags = tags;
      variants.back().payload = payload;
    }
  }
  return variants;
}

TEST(Edit, IsAsIfBuiltSo) {
  for (const auto& [name, named] : reference::NamedPackets()) {
    if (named.tags.size() > 2 || IsFragment(named) || !IsSeenWhole(name)) continue;
    for (const PacketSpec& spec : Variants(named)) {
      for (const Edit& edit : Edits()) {
        PacketSpec changed = spec;
        edit.change(changed);
        ASSERT_EQ(reference::Hex(Edited(Build(spec), edit.action)), reference::Hex(Build(changed)))
            << edit.action << " of " << name << " with " << spec.tags.size() << " tags, payload " << spec.payload;
      }
    }
  }
}

TEST(Edit, AllOneAfterTheOther) {
  for (const auto& [name, named] : reference::NamedPackets()) {
    if (named.tags.size() > 2 || IsFragment(named) || !IsSeenWhole(name)) continue;
    PacketSpec changed = named;
    std::string actions;
    for (const Edit& edit : Edits()) {
      edit.change(changed);
      if (!actions.empty()) actions += ',';
      actions += edit.action;
    }
    ASSERT_EQ(reference::Hex(Edited(Build(named), actions)), reference::Hex(Build(changed))) << name;
  }
}

// Every settable field but those that Check refuses has an edit above.
TEST(Edit, OfEveryFieldIsTried) {
  uint64_t tried = 0;
  for (const Edit& edit : Edits()) {
    const Action action = Parsable(edit.action).front();
    if (const auto* set = std::get_if<SetField>(&action)) tried |= set->fields.FieldBits();
  }
  for (const FieldInfo& field : kFields) {
    Match fields;
    fields.Set(field.id, Bytes(field.size, 0xff), Bytes(field.size, 0xff));
    const bool can = bool{Check({SetField{fields}})};
    EXPECT_EQ(can, (tried >> static_cast<size_t>(field.id) & 1) != 0) << field.name;
  }
}

// ---- checksums that are not simply right

TEST(Edit, LeavesAWrongChecksumWrongByAsMuch) {
  for (const char* name : {"tcp4", "udp4", "icmp4", "tcp6", "udp6", "icmp6", "sctp4", "sctp6"}) {
    const PacketSpec spec = Named(name);
    const Parsed parsed = Parse(Build(spec), kInPort);
    for (const Edit& edit : Edits()) {
      PacketSpec changed = spec;
      edit.change(changed);
      Bytes packet = Build(spec);
      packet.back() ^= 0x10;  // payload: what the checksum says is now wrong
      Bytes expected = Build(changed);
      expected.back() ^= 0x10;
      ASSERT_EQ(reference::Hex(Edited(packet, edit.action)), reference::Hex(expected)) << edit.action << " " << name;
    }
    // The header's own.
    if (parsed.headers.l3 != Layer3::kIpv4) continue;
    Bytes packet = Build(spec);
    packet[parsed.headers.l3_offset + 5] ^= 0x01;  // identification
    PacketSpec changed = spec;
    std::get<Ipv4Spec>(changed.l3).ttl = 7;
    Bytes expected = Build(changed);
    expected[parsed.headers.l3_offset + 5] ^= 0x01;
    EXPECT_EQ(reference::Hex(Edited(packet, "set(ipv4(ttl=7))")), reference::Hex(expected)) << name;
  }
}

TEST(Edit, OfUdpWithoutChecksumMakesNone) {
  for (const char* name : {"udp4", "udp6"}) {
    PacketSpec spec = Named(name);
    Bytes packet = Build(spec);
    const size_t l4 = Parse(packet, kInPort).headers.l4_offset;
    packet[l4 + 6] = packet[l4 + 7] = 0;
    std::get<UdpSpec>(spec.l4) = {1, 2};
    Bytes expected = Build(spec);
    expected[l4 + 6] = expected[l4 + 7] = 0;
    EXPECT_EQ(reference::Hex(Edited(packet, "set(udp(src=1,dst=2))")), reference::Hex(expected)) << name;
  }
  Bytes packet = Build(Named("udp4"));
  const size_t l4 = Parse(packet, kInPort).headers.l4_offset;
  packet[l4 + 6] = packet[l4 + 7] = 0;
  const Bytes edited = Edited(packet, "set(ipv4(src=1.2.3.4))");
  EXPECT_EQ(edited[l4 + 6] << 8 | edited[l4 + 7], 0);
}

// For each packet there is a port with which its checksum comes out as zero: UDP must not say "none".
TEST(Edit, WritesAUdpChecksumOfZeroAsItsOther) {
  for (const char* name : {"udp4", "udp6", "tcp4", "icmp4"}) {
    const Bytes packet = Build(Named(name));
    const Headers headers = Parse(packet, kInPort).headers;
    const size_t at = headers.l4_offset + (headers.l4 == Layer4::kUdp ? 6U : headers.l4 == Layer4::kTcp ? 16U : 2U);
    const unsigned checksum = static_cast<unsigned>(packet[at] << 8 | packet[at + 1]);
    const unsigned first = static_cast<unsigned>(packet[headers.l4_offset] << 8 | packet[headers.l4_offset + 1]);
    unsigned wanted = first + checksum;  // its sum then is 0xffff
    wanted = (wanted & 0xffff) + (wanted >> 16);
    const std::string high = std::to_string(wanted >> 8);
    const std::string low = std::to_string(wanted & 0xff);
    const std::string port = std::to_string(wanted);
    const Bytes edited = headers.l4 == Layer4::kUdp   ? Edited(packet, "set(udp(src=" + port + "))")
                         : headers.l4 == Layer4::kTcp ? Edited(packet, "set(tcp(src=" + port + "))")
                                                      : Edited(packet, "set(icmp(type=" + high + ",code=" + low + "))");
    EXPECT_EQ(edited[at] << 8 | edited[at + 1], headers.l4 == Layer4::kUdp ? 0xffff : 0) << name;
  }
}

// ---- what stays as it is

TEST(Edit, OfFragmentsTouchesTheHeadersThatTheyHave) {
  const std::string everything =
      "set(ipv4(src=1.2.3.4)),set(ipv6(src=::5)),set(udp(src=7)),set(tcp(src=7)),set(sctp(src=7))";
  // A first fragment has the header, and a checksum over more than itself: changed by as much as in a whole packet.
  PacketSpec first = Named("udp4_first_fragment");
  const Bytes packet = Build(first);
  std::get<Ipv4Spec>(first.l3).src = 0x01020304;
  std::get<UdpSpec>(first.l4).src = 7;
  EXPECT_EQ(reference::Hex(Edited(packet, everything)), reference::Hex(Build(first)));

  PacketSpec first6 = Named("udp6_first_fragment");
  const Bytes packet6 = Build(first6);
  std::get<Ipv6Spec>(first6.l3).src = {};
  std::get<Ipv6Spec>(first6.l3).src[15] = 5;
  std::get<UdpSpec>(first6.l4).src = 7;
  EXPECT_EQ(reference::Hex(Edited(packet6, everything)), reference::Hex(Build(first6)));

  // In a later one all after IP's headers is payload.
  for (const auto& [name, ip_size] : {std::pair{"udp4_later_fragment", 20}, {"udp6_later_fragment", 48}}) {
    PacketSpec later = Named(name);
    const Bytes before = Build(later);
    if (auto* v4 = std::get_if<Ipv4Spec>(&later.l3)) v4->src = 0x01020304;
    if (auto* v6 = std::get_if<Ipv6Spec>(&later.l3)) {
      v6->src = {};
      v6->src[15] = 5;
    }
    Bytes expected = Build(later);
    std::copy(before.begin() + 14 + ip_size, before.end(), expected.begin() + 14 + ip_size);
    EXPECT_EQ(reference::Hex(Edited(before, everything)), reference::Hex(expected)) << name;
  }
}

TEST(Edit, OfAnySctpFragmentLeavesItsPorts) {
  PacketSpec spec = Named("sctp4");
  std::get<Ipv4Spec>(spec.l3).more_fragments = true;
  EXPECT_EQ(Edited(Build(spec), "set(sctp(src=1,dst=2))"), Build(spec));
  std::get<Ipv4Spec>(spec.l3).fragment_offset = 3;
  EXPECT_EQ(Edited(Build(spec), "set(sctp(src=1,dst=2))"), Build(spec));

  PacketSpec spec6 = Named("sctp6");
  std::get<Ipv6Spec>(spec6.l3).extensions = {{44, 0, 0, true}};
  EXPECT_EQ(Edited(Build(spec6), "set(sctp(src=1,dst=2))"), Build(spec6));
  // A fragment header and yet whole (RFC 6946).
  std::get<Ipv6Spec>(spec6.l3).extensions = {{44, 0, 0, false}};
  const Bytes atomic = Build(spec6);
  std::get<SctpSpec>(spec6.l4) = {1, 2};
  EXPECT_EQ(reference::Hex(Edited(atomic, "set(sctp(src=1,dst=2))")), reference::Hex(Build(spec6)));
}

// The CRC covers what IP's length says, not the padding of a short frame.
TEST(Edit, OfPaddedSctpMindsTheMessageOnly) {
  for (const char* name : {"sctp4", "sctp6"}) {
    for (const uint16_t payload : {0, 4}) {
      PacketSpec spec = Named(name);
      spec.payload = payload;
      Bytes packet = Build(spec);
      packet.insert(packet.end(), {1, 2, 3, 4, 5, 6});
      std::get<SctpSpec>(spec.l4).src = 7;
      Bytes expected = Build(spec);
      expected.insert(expected.end(), {1, 2, 3, 4, 5, 6});
      EXPECT_EQ(reference::Hex(Edited(packet, "set(sctp(src=7))")), reference::Hex(expected)) << name << payload;
    }
  }
}

// A length of IP's that cannot be: the message then ends with the frame.
TEST(Edit, OfSctpWithAnImpossibleLengthGoesToTheFramesEnd) {
  for (const char* name : {"sctp4", "sctp6"}) {
    const size_t length_at = name == std::string("sctp4") ? 14 + 2 : 14 + 4;
    const int least = name == std::string("sctp4") ? 20 + 12 : 12;
    for (const int length : {0, least - 1, 65535}) {
      PacketSpec spec = Named(name);
      const auto with_length = [&](Bytes packet) {
        packet[length_at] = static_cast<uint8_t>(length >> 8);
        packet[length_at + 1] = static_cast<uint8_t>(length);
        return packet;
      };
      const Bytes packet = with_length(Build(spec));
      std::get<SctpSpec>(spec.l4).dst = 9;
      EXPECT_EQ(reference::Hex(Edited(packet, "set(sctp(dst=9))")), reference::Hex(with_length(Build(spec))))
          << name << " length " << length;
    }
  }
}

// With segments left, the checksum was made with another destination than the one in the header.
TEST(Edit, OfARoutedDestinationLeavesTheChecksum) {
  PacketSpec spec = Named("udp6");
  std::get<Ipv6Spec>(spec.l3).extensions = {{0, 0}, {43, 2}};
  constexpr size_t kSegmentsLeft = 14 + 40 + 8 + 3;
  Bytes packet = Build(spec);
  packet[kSegmentsLeft] = 1;
  ASSERT_TRUE(Parse(packet, kInPort).headers.routed);

  Bytes moved = packet;
  moved[14 + 24 + 15] = 9;
  EXPECT_EQ(reference::Hex(Edited(packet, "set(ipv6(dst=::9/::ff))")), reference::Hex(moved));

  PacketSpec changed = spec;
  std::get<Ipv6Spec>(changed.l3).src[15] = 9;
  Bytes expected = Build(changed);
  expected[kSegmentsLeft] = 1;
  EXPECT_EQ(reference::Hex(Edited(packet, "set(ipv6(src=::9/::ff))")), reference::Hex(expected));
}

TEST(Edit, OfAHeaderThatIsNotThereChangesNothing) {
  for (const auto& [name, spec] : reference::NamedPackets()) {
    const Bytes packet = Build(spec);
    const Parsed parsed = Parse(packet, kInPort);
    for (const Edit& edit : Edits()) {
      const Action action = Parsable(edit.action).front();
      const auto* set = std::get_if<SetField>(&action);
      if (set == nullptr || (set->fields.FieldBits() & parsed.present) != 0) continue;
      EXPECT_EQ(Edited(packet, edit.action), packet) << edit.action << " " << name;
    }
  }
}

// ---- tags

TEST(Edit, OfTheOutermostTagAsItIsNow) {
  PacketSpec spec = Named("udp4");
  const Bytes plain = Build(spec);
  spec.tags = {{0x8100, 0x2007}};
  EXPECT_EQ(Edited(plain, "set(vlan(vid=9)),push_vlan(vid=5,pcp=1),set(vlan(vid=7))"), Build(spec));
  spec.tags = {{0x8100, 0x2009}, {0x8100, 0x2007}};
  EXPECT_EQ(Edited(plain, "push_vlan(vid=7,pcp=1),push_vlan(vid=5,pcp=1),set(vlan(vid=9))"), Build(spec));
  EXPECT_EQ(Edited(Build(spec), "pop_vlan,set(vlan(vid=9)),pop_vlan,set(vlan(vid=1))"), plain);
  EXPECT_EQ(Edited(plain, "pop_vlan"), plain);
}

// Headers move with the tags, and stay what the parser found: three tags hide what is behind them, also when they are
// gone.
TEST(Edit, FindsHeadersBehindPushesAndPops) {
  PacketSpec spec = Named("tcp6");
  const Bytes plain = Build(spec);
  std::get<TcpSpec>(spec.l4).dst = 99;
  std::get<Ipv6Spec>(spec.l3).hlimit = 63;
  EXPECT_EQ(Edited(plain,
                   "push_vlan(vid=1,pcp=0),push_vlan(vid=2,pcp=0),push_vlan(vid=3,pcp=0),set(tcp(dst=99)),"
                   "pop_vlan,dec_ttl,pop_vlan,pop_vlan"),
            Build(spec));
  PacketSpec hidden = Named("udp4_three_tags");
  const Bytes packet = Build(hidden);
  hidden.tags.clear();
  EXPECT_EQ(Edited(packet, "pop_vlan,pop_vlan,pop_vlan,set(ipv4(ttl=3)),dec_ttl"), Build(hidden));
}

TEST(Edit, PushesMoreTagsThanThereIsHeadroom) {
  PacketSpec spec = Named("udp4");
  const Bytes plain = Build(spec);
  std::string pushes;
  for (uint16_t vid = 0; vid < 300; ++vid) {
    spec.tags.insert(spec.tags.begin(), {0x88a8, vid});
    pushes += (vid > 0 ? "," : "") + std::string("push_vlan(tpid=0x88a8,vid=") + std::to_string(vid) + ",pcp=0)";
  }
  std::get<Ipv4Spec>(spec.l3).src = 0x01020304;
  EXPECT_EQ(Edited(plain, pushes + ",set(ipv4(src=1.2.3.4))"), Build(spec));
}

}  // namespace
}  // namespace sluice::soft
