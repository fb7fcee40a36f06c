// SPDX-License-Identifier: Apache-2.0
#include "reference/parser.h"

#include <gtest/gtest.h>

#include <map>

#include "reference/packet.h"
#include "sluice/flow_text.h"

namespace sluice::reference {
namespace {

Bytes Named(const std::string& name) {
  for (const auto& [n, spec] : NamedPackets()) {
    if (n == name) return Build(spec);
  }
  throw std::out_of_range(name);
}

constexpr const char* kEth = "eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02)";
constexpr const char* kIp4 = "ipv4(src=10.0.0.1,dst=10.0.0.2,proto=17,tos=0,ttl=64,frag=no)";

// The key as text. Text comes from libsluice, so that a field that both sides had mixed up would show here.
TEST(Parse, NamedPackets) {
  const std::string eth = kEth;
  const std::string ip6 = "ipv6(src=fd00::1,dst=fd00::2,label=0,proto=17,tclass=0,hlimit=64,frag=";
  const std::map<std::string, std::string> expected{
      {"arp",
       eth + ",eth_type(0x0806),arp(sip=10.0.0.1,tip=10.0.0.2,op=1,sha=02:00:00:00:00:01,tha=00:00:00:00:00:00)"},
      {"udp4", eth + ",eth_type(0x0800)," + kIp4 + ",udp(src=1000,dst=53)"},
      {"tcp4_options", eth + ",eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=6,tos=0,ttl=64,frag=no)"
                             ",tcp(src=1000,dst=80),tcp_flags(0x002)"},
      {"udp4_first_fragment", eth + ",eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=17,tos=0,ttl=64"
                                    ",frag=first),udp(src=1000,dst=53)"},
      {"udp4_later_fragment",
       eth + ",eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=17,tos=0,ttl=64,frag=later)"},
      {"udp6_extensions", eth + ",eth_type(0x86dd)," + ip6 + "no),udp(src=1000,dst=53)"},
      {"udp6_first_fragment", eth + ",eth_type(0x86dd)," + ip6 + "first),udp(src=1000,dst=53)"},
      {"udp6_later_fragment", eth + ",eth_type(0x86dd),ipv6(src=fd00::1,dst=fd00::2,label=0,proto=44,tclass=0"
                                    ",hlimit=64,frag=later)"},
      {"icmp6", eth + ",eth_type(0x86dd),ipv6(src=fd00::1,dst=fd00::2,label=0,proto=58,tclass=0,hlimit=64,frag=no)"
                      ",icmpv6(type=128,code=0)"},
      {"udp4_vlan",
       eth + ",eth_type(0x8100),vlan(vid=5,pcp=3),encap(eth_type(0x0800)," + kIp4 + ",udp(src=1000,dst=53))"},
      {"udp6_authentication", eth + ",eth_type(0x86dd)," + ip6 + "no),udp(src=1000,dst=53)"},
      {"udp6_atomic_fragment", eth + ",eth_type(0x86dd)," + ip6 + "no),udp(src=1000,dst=53)"},
      {"ieee_802_3", eth + ",eth_type(0x05ff)"},
      {"other", eth + ",eth_type(0x88b5)"}};
  for (const auto& [name, text] : expected) {
    const Parsed parsed = Parse(Named(name));
    EXPECT_EQ(parsed.malformed, Malformed::kNo) << name;
    const auto match = ParseMatch(text);
    ASSERT_TRUE(match) << name << ": " << match.error().detail;
    EXPECT_EQ(FormatMatch(parsed.key), FormatMatch(*match)) << name;
    EXPECT_EQ(parsed.key, *match) << name;
  }
}

TEST(Parse, TwoTagsAndThree) {
  const Match two = Parse(Named("udp6_qinq")).key;
  EXPECT_EQ(two.ValueOf(Field::eth_type), 0x88a8U);
  EXPECT_EQ(two.ValueOf(Field::vlan_tci), 0x1064U);
  EXPECT_EQ(two.ValueOf(Field::vlan_eth_type), 0x8100U);
  EXPECT_EQ(two.ValueOf(Field::cvlan_tci), 0x1005U);
  EXPECT_EQ(two.ValueOf(Field::cvlan_eth_type), 0x86ddU);
  EXPECT_EQ(two.ValueOf(Field::udp_dst), 53U);
  const Match three = Parse(Named("udp4_three_tags")).key;
  EXPECT_EQ(three.ValueOf(Field::cvlan_eth_type), 0x8100U);
  EXPECT_FALSE(three.Has(Field::ipv4_src));
}

// Bytes up to where nothing is looked at any more.
size_t HeaderBytes(PacketSpec spec) {
  spec.payload = 0;
  spec.padding = 0;
  if (auto* v6 = std::get_if<Ipv6Spec>(&spec.l3); v6 != nullptr && v6->extensions.size() > kMaxIpv6Extensions) {
    v6->extensions.resize(kMaxIpv6Extensions);
    spec.l4 = std::monostate{};
  }
  const Match key = Parse(Build(spec)).key;
  if (key.ValueOf(Field::ipv4_frag) == 2 || key.ValueOf(Field::ipv6_frag) == 2) spec.l4 = std::monostate{};
  if (auto* tcp = std::get_if<TcpSpec>(&spec.l4)) tcp->option_words = 0;
  return spec.tags.size() > 2 ? 22 : Build(spec).size();
}

// Cut anywhere, a frame is malformed from the first header that is not whole.
TEST(Parse, CutAtEveryByte) {
  for (const auto& [name, spec] : NamedPackets()) {
    const Bytes frame = Build(spec);
    const size_t headers = HeaderBytes(spec);
    for (size_t length = 0; length <= frame.size(); ++length) {
      const Parsed parsed = Parse(std::span(frame).first(length));
      EXPECT_EQ(parsed.malformed != Malformed::kNo, length < headers) << name << " cut to " << length;
      EXPECT_EQ(parsed.malformed == Malformed::kEthernet, length < 14) << name << " cut to " << length;
    }
  }
}

// Where headers are, of every shape in which they are not at the usual place.
TEST(Parse, TellsWhereHeadersAre) {
  const std::map<std::string, std::pair<size_t, size_t>> expected{
      {"arp", {14, 0}},
      {"other", {0, 0}},
      {"udp4", {14, 34}},
      {"tcp4_options", {14, 74}},
      {"tcp4_qinq", {22, 42}},
      {"udp4_three_tags", {0, 0}},
      {"udp4_first_fragment", {14, 34}},
      {"udp4_later_fragment", {14, 0}},
      {"ip4_other", {14, 0}},
      {"udp6", {14, 54}},
      {"udp6_seven_extensions", {14, 0}},
      {"udp6_extensions", {14, 102}},
      {"udp6_authentication", {14, 78}},
      {"udp6_first_fragment", {14, 62}},
      {"udp6_later_fragment", {14, 0}},
  };
  for (const auto& [name, places] : expected) {
    const Parsed parsed = Parse(Named(name));
    EXPECT_EQ(parsed.network, places.first) << name;
    EXPECT_EQ(parsed.transport, places.second) << name;
  }
}

TEST(Parse, TellsOfSegmentsLeft) {
  EXPECT_TRUE(Parse(Named("udp6_routed")).routed);
  EXPECT_FALSE(Parse(Named("udp6_extensions")).routed);  // a routing header that has come to its end
  EXPECT_FALSE(Parse(Named("udp6")).routed);
}

// What is after the sixth extension header is the protocol.
TEST(Parse, FollowsSixExtensions) {
  EXPECT_TRUE(Parse(Named("udp6_six_extensions")).key.Has(Field::udp_src));
  const Match seven = Parse(Named("udp6_seven_extensions")).key;
  EXPECT_FALSE(seven.Has(Field::udp_src));
  EXPECT_EQ(seven.ValueOf(Field::ipv6_proto), 60U);
}

TEST(Parse, DamagedFramesAreReadInBounds) {
  Rng rng(SeedFromEnvironment());
  for (int i = 0; i < 20000; ++i) Parse(Damage(Build(RandomPacket(rng)), rng));
}

}  // namespace
}  // namespace sluice::reference
