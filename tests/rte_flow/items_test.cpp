// SPDX-License-Identifier: Apache-2.0
// What the items of a match are, byte by byte.
#include <gtest/gtest.h>
#include <rte_byteorder.h>

#include <tuple>

#include "frame_items.h"
#include "offload/pattern.h"
#include "sluice/flow_text.h"

namespace sluice::rteflow {
namespace {

std::string Items(const std::string& match, bool* exact = nullptr) {
  const auto parsed = ParseMatch(match);
  if (!parsed) return parsed.error().detail;
  if (auto valid = parsed->Validate(); !valid) return valid.error().detail;
  Pattern pattern;
  if (auto built = pattern.Build(*parsed, PortItem::kNone, 0); !built) return built.error().detail;
  if (exact != nullptr) *exact = pattern.exact();
  return PatternText(pattern.Items(true));
}

bool Exact(const std::string& match) {
  bool exact = false;
  Items(match, &exact);
  return exact;
}

TEST(Items, AreAsDeepAsNeeded) {
  EXPECT_EQ(Items(""), "eth");
  EXPECT_EQ(Items("in_port(3)"), "eth");
  EXPECT_EQ(Items("eth(src=02:00:00:00:00:01)"), "eth 6:02 7:00 8:00 9:00 10:00 11:01");
  EXPECT_EQ(Items("eth(dst=02:00:00:00:00:01/ff:00:00:00:00:01)"), "eth 0:02 5:01/01");
  EXPECT_EQ(Items("eth_type(0x0800)"), "eth 12:08 13:00") << "the type in network byte order";
  EXPECT_EQ(Items("eth_type(0x0800),ipv4(proto=6)"), "eth 12:08 13:00 / ipv4 9:06");
  EXPECT_EQ(Items("eth_type(0x0800),ipv4(dst=10.1.0.0/255.255.0.0)"), "eth 12:08 13:00 / ipv4 16:0a 17:01");
}

TEST(Items, OfTransportSayTheProtocolInItsPlace) {
  EXPECT_EQ(Items("eth_type(0x0800),ipv4(proto=6),tcp(dst=80)"), "eth 12:08 13:00 / ipv4 / tcp 2:00 3:50");
  EXPECT_EQ(Items("eth_type(0x0800),ipv4(proto=17),udp(src=53,dst=1024/0xfc00)"),
            "eth 12:08 13:00 / ipv4 / udp 0:00 1:35 2:04/fc");
  EXPECT_EQ(Items("eth_type(0x0800),ipv4(proto=132),sctp(src=1)"), "eth 12:08 13:00 / ipv4 / sctp 0:00 1:01");
  EXPECT_EQ(Items("eth_type(0x0800),ipv4(proto=1),icmp(type=8,code=0)"), "eth 12:08 13:00 / ipv4 / icmp 0:08 1:00");
  EXPECT_EQ(Items("eth_type(0x86dd),ipv6(proto=58),icmpv6(type=135)"), "eth 12:86 13:dd / ipv6 6:3a / icmp6 0:87");
  EXPECT_EQ(Items("eth_type(0x0800),ipv4(proto=6),tcp_flags(+syn-ack)"), "eth 12:08 13:00 / ipv4 / tcp 13:02/12");
  EXPECT_EQ(Items("eth_type(0x0800),ipv4(proto=6),tcp_flags(0x100/0xf00)"), "eth 12:08 13:00 / ipv4 / tcp 12:01/0f");
}

TEST(Items, OfTagsNeedNoMatchOnAddresses) {
  EXPECT_EQ(Items("eth_type(0x8100)"), "eth 12:81 13:00");
  EXPECT_EQ(Items("eth_type(0x8100),vlan(vid=100)"), "eth 12:81 13:00 / vlan 0:00/0f 1:64");
  EXPECT_EQ(Items("eth_type(0x8100),vlan(vid=100,pcp=5),encap(eth_type(0x0800))"),
            "eth 12:81 13:00 / vlan 0:a0/ef 1:64 2:08 3:00")
      << "the bit that says that there is a tag is not on the wire";
  EXPECT_EQ(Items("eth_type(0x88a8),vlan(vid=1),encap(eth_type(0x8100),vlan(vid=2),encap(eth_type(0x0800),"
                  "ipv4(ttl=3)))"),
            "eth 12:88 13:a8 / vlan 0:00/0f 1:01 2:81 3:00 / vlan 0:00/0f 1:02 2:08 3:00 / ipv4 8:03");
}

TEST(Items, OfTypeOfServiceAndTtlAreTheirOwn) {
  EXPECT_EQ(Items("eth_type(0x0800),ipv4(tos=0xb8)"), "eth 12:08 13:00 / ipv4 1:b8");
  EXPECT_EQ(Items("eth_type(0x0800),ipv4(ttl=64)"), "eth 12:08 13:00 / ipv4 8:40");
  EXPECT_EQ(Items("eth_type(0x0800),ipv4(tos=1,ttl=2)"), "eth 12:08 13:00 / ipv4 1:01 8:02");
}

TEST(Items, OfIpv6ShareItsFirstWord) {
  EXPECT_EQ(Items("eth_type(0x86dd),ipv6(tclass=0xab)"), "eth 12:86 13:dd / ipv6 0:0a/0f 1:b0/f0");
  EXPECT_EQ(Items("eth_type(0x86dd),ipv6(label=0xcdef1)"), "eth 12:86 13:dd / ipv6 1:0c/0f 2:de 3:f1");
  EXPECT_EQ(Items("eth_type(0x86dd),ipv6(label=0xcdef1,tclass=0xab,hlimit=9)"),
            "eth 12:86 13:dd / ipv6 0:0a/0f 1:bc 2:de 3:f1 7:09");
  EXPECT_EQ(Items("eth_type(0x86dd),ipv6(dst=fe80::1)").substr(0, 38), "eth 12:86 13:dd / ipv6 24:fe 25:80 26:");
}

TEST(Items, OfFragments) {
  EXPECT_EQ(Items("eth_type(0x0800),ipv4(frag=no)"), "eth 12:08 13:00 / ipv4 6:00/3f 7:00");
  EXPECT_EQ(Items("eth_type(0x0800),ipv4(frag=first)"), "eth 12:08 13:00 / ipv4 6:20/3f 7:00");
  EXPECT_EQ(Items("eth_type(0x86dd),ipv6(proto=6,frag=no)"), "eth 12:86 13:dd / ipv6 6:06 40:00/04");
  EXPECT_EQ(Items("eth_type(0x86dd),ipv6(proto=6,frag=first)"),
            "eth 12:86 13:dd / ipv6 6:2c / ipv6_frag_ext 0:06 2:00 3:01/f9");
  // Bit fields come after the header; the fragment's is the third.
  EXPECT_EQ(Items("eth_type(0x86dd),ipv6(frag=no)"), "eth 12:86 13:dd / ipv6 40:00/04");
}

TEST(Items, OfArp) {
  constexpr const char* kKinds = "0:00 1:01 2:08 3:00 4:06 5:04";
  EXPECT_EQ(Items("eth_type(0x0806),arp(op=1)"), std::string("eth 12:08 13:06 / arp ") + kKinds + " 6:00 7:01");
  Pattern pattern;
  const auto match = ParseMatch("eth_type(0x0806),arp(sip=10.0.0.1,tip=10.0.0.2,sha=02:00:00:00:00:01)");
  ASSERT_TRUE(match && pattern.Build(*match, PortItem::kNone, 0));
  const auto* arp = static_cast<const rte_flow_item_arp_eth_ipv4*>(pattern.Items(false)[1].spec);
  EXPECT_EQ(arp->spa, rte_cpu_to_be_32(0x0a000001));
  EXPECT_EQ(arp->tpa, rte_cpu_to_be_32(0x0a000002));
  EXPECT_EQ(arp->sha.addr_bytes[5], 1);
}

TEST(Items, OfTunnels) {
  EXPECT_EQ(Items("tunnel(tun_id=0x7b,src=10.0.0.1,dst=10.0.0.2,tos=0x4,ttl=9,flags(df|key)),eth_type(0x0800)"),
            "eth 12:08 13:00 / ipv4 1:04 6:40/40 8:09 12:0a 13:00 14:00 15:01 16:0a 17:00 18:00 19:02 / "
            "udp 2:12 3:b5 6:00 7:00 / vxlan 0:08/08 4:00 5:00 6:7b / eth 12:08 13:00");
  EXPECT_EQ(Items("tunnel(tun_id=0x7b,ipv6_dst=fe80::1,tos=0x4,ttl=9)").substr(0, 46),
            "eth 12:86 13:dd / ipv6 0:00/0f 1:40/f0 6:11 7:");
  EXPECT_EQ(Items("tunnel(tun_id=0x0,src=0.0.0.0),eth_type(0x0800)"), "eth 12:08 13:00") << "no packet is in one";
}

TEST(Items, SayWhetherTheyTakeAllThatTheFlowDoes) {
  EXPECT_TRUE(Exact("eth_type(0x0800),ipv4(proto=6),tcp(dst=80)"));
  EXPECT_TRUE(Exact("eth_type(0x86dd),ipv6(dst=fe80::1)"));
  EXPECT_TRUE(Exact("eth_type(0x0800),ipv4(proto=6,frag=no),tcp(dst=0)"));
  EXPECT_FALSE(Exact("eth_type(0x0800),ipv4(proto=6),tcp(dst=0)")) << "later fragments count as port 0";
  EXPECT_FALSE(Exact("eth_type(0x86dd),ipv6(proto=6)")) << "extension headers";
  EXPECT_FALSE(Exact("eth_type(0x86dd),ipv6(frag=no)")) << "fragments that are whole packets";
  EXPECT_FALSE(Exact("eth_type(0x0806),arp(op=0)")) << "other kinds of addresses";
  EXPECT_FALSE(Exact("eth_type(0x05ff)")) << "the lengths";
}

TEST(Items, BeginWithThePort) {
  const auto match = ParseMatch("eth_type(0x0800)");
  for (const auto& [item, ingress, transfer] : std::vector<std::tuple<PortItem, const char*, const char*>>{
           {PortItem::kNone, "eth", "eth"},
           {PortItem::kPortRepresentor, "eth", "port_representor 0:02 1:01 / eth"},
           {PortItem::kRepresentedPort, "eth", "represented_port 0:02 1:01 / eth"},
           {PortItem::kPortId, "eth", "port_id 0:02 1:01 2:00 3:00 / eth"}}) {
    Pattern pattern;
    ASSERT_TRUE(pattern.Build(*match, item, 0x0102));
    EXPECT_EQ(PatternText(pattern.Items(false)), ingress + std::string(" 12:08 13:00"));
    EXPECT_EQ(PatternText(pattern.Items(true)), transfer + std::string(" 12:08 13:00"));
  }
}

TEST(Items, LeaveNothingOfTheMatchBefore) {
  Pattern pattern;
  const auto deep = ParseMatch("eth_type(0x0800),ipv4(src=1.2.3.4,proto=6),tcp(dst=80)");
  const auto flat = ParseMatch("eth_type(0x0800),ipv4(ttl=3)");
  ASSERT_TRUE(pattern.Build(*deep, PortItem::kNone, 0));
  ASSERT_TRUE(pattern.Build(*flat, PortItem::kNone, 0));
  EXPECT_EQ(PatternText(pattern.Items(false)), "eth 12:08 13:00 / ipv4 8:03");
}

}  // namespace
}  // namespace sluice::rteflow
