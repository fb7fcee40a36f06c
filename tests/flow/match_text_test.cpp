// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <gtest/gtest.h>

#include "named_ports.h"
#include "random_flow.h"

namespace sluice {
namespace {

// ---- every field, random values and masks, both directions

class FieldRoundTrip : public testing::TestWithParam<FieldInfo> {};

TEST_P(FieldRoundTrip, PrintsAndParses) {
  FlowRng rng(FlowSeed());
  RandomFlowOptions options;
  options.percent = 10;
  options.exact_percent = 25;
  for (int i = 0; i < 500; ++i) {
    const Match match = RandomMatch(rng, options, GetParam().id);
    ASSERT_TRUE(match.Has(GetParam().id));
    const std::string text = FormatMatch(match);
    const Result<Match> back = ParseMatch(text);
    ASSERT_TRUE(back) << Explain(back.error(), text);
    ASSERT_EQ(*back, match) << text << "\nbecame\n" << FormatMatch(*back);
    ASSERT_EQ(FormatMatch(*back), text);
  }
}

INSTANTIATE_TEST_SUITE_P(Fields, FieldRoundTrip, testing::ValuesIn(kFields),
                         [](const auto& test) { return std::string(test.param.name); });

// ---- OVS's notation: what is read, and what is printed for it (the same where there is but one)

struct Notation {
  const char* read;
  const char* printed = nullptr;
};

void PrintTo(const Notation& notation, std::ostream* os) { *os << notation.read; }

class MatchNotation : public testing::TestWithParam<Notation> {};

TEST_P(MatchNotation, IsThatOfOvs) {
  const Result<Match> match = ParseMatch(GetParam().read);
  ASSERT_TRUE(match) << Explain(match.error(), GetParam().read);
  const std::string text = FormatMatch(*match);
  EXPECT_EQ(text, GetParam().printed != nullptr ? GetParam().printed : GetParam().read);
  EXPECT_EQ(*ParseMatch(text), *match);
}

constexpr Notation kMetadata[] = {
    {""},
    {"recirc_id(0)"},
    {"recirc_id(0x5)"},
    {"recirc_id(5)", "recirc_id(0x5)"},
    {"dp_hash(0x1/0xf)"},
    {"skb_priority(0x1234/0xff)", "skb_priority(0x34/0xff)"},
    {"skb_mark(0/0xf)"},
    {"in_port(2)"},
    {"in_port(1/0xff)"},
    {" in_port( 0x2 ) ", "in_port(2)"},
    {"ct_state(+new-est+trk)"},
    {"ct_state(+trk-est+new)", "ct_state(+new-est+trk)"},
    {"ct_state(0x21/0x25)", "ct_state(+new-rel+trk)"},
    {"ct_state(-rpl+inv+trk-snat-dnat)"},
    {"ct_state(new|trk)"},
    {"ct_state(0x21)", "ct_state(new|trk)"},
    {"ct_state(0)"},
    {"ct_state(0x20/0x120)"},
    {"ct_zone(0x5/0xff)"},
    {"ct_zone(0)"},
    {"ct_mark(0x10305070/0xf0f0f0f0)", "ct_mark(0x10305070/0xf0f0f0f0)"},
    {"ct_label(0x1234567890abcdef1234567890abcdef)"},
    {"ct_label(0x1/0xff)"},
    {"ct_label(0)", "ct_label(0x0)"},
    {"ct_label(300)", "ct_label(0x12c)"},
    {"tunnel(tun_id=0x7f10354,src=10.10.10.10,dst=20.20.20.20,tos=0x8,ttl=64,tp_src=1,tp_dst=4789,flags(csum|key))"},
    {"tunnel(tun_id=0x0,src=10.10.10.0/255.255.255.0,ttl=64/0xf0)",
     "tunnel(tun_id=0x0,src=10.10.10.0/255.255.255.0,ttl=64/0xf0)"},
    {"tunnel(tun_id=0x54/0xff,tos=0,flags(-df+csum+key))"},
    {"tunnel(flags(oam|df|csum|key))"},
    {"tunnel(flags(0))"},
    {"tunnel(ipv6_src=2001:db8::1,ipv6_dst=fe80::/ffff::)"},
    {"tunnel(tun_id=0x1,geneve(),vxlan(),flags(key))", "tunnel(tun_id=0x1,flags(key))"},
    {"tunnel()", ""},
};
INSTANTIATE_TEST_SUITE_P(Metadata, MatchNotation, testing::ValuesIn(kMetadata));

constexpr Notation kEthernet[] = {
    {"eth(src=00:01:02:03:04:05,dst=10:11:12:13:14:15)"},
    {"eth(src=00:01:02:03:04:05/ff:ff:ff:ff:ff:f0)", "eth(src=00:01:02:03:04:00/ff:ff:ff:ff:ff:f0)"},
    {"eth(dst=0:1:2:3:4:A)", "eth(dst=00:01:02:03:04:0a)"},
    {"eth(dst=01:00:00:00:00:00/01:00:00:00:00:00)"},
    {"eth()", ""},
    {"eth_type(0x0800)"},
    {"eth_type(0x1230/0xfff0)"},
    {"eth_type(2048)", "eth_type(0x0800)"},
    {"eth_type(0x8100),vlan(vid=5,pcp=0)"},
    {"eth_type(0x8100),vlan(vid=5)"},
    {"eth_type(0x8100),vlan(pcp=3)"},
    {"eth_type(0x8100),vlan(vid=99/0xff0,pcp=7/0x6)", "eth_type(0x8100),vlan(vid=96/0xff0,pcp=6/0x6)"},
    {"eth_type(0x8100),vlan(vid=0/0x0,pcp=0/0x0)", "eth_type(0x8100),vlan(cfi=1)"},
    {"eth_type(0x8100),vlan()", "eth_type(0x8100),vlan(cfi=1)"},
    {"eth_type(0x8100),vlan(vid=5,pcp=2,cfi=1)", "eth_type(0x8100),vlan(vid=5,pcp=2)"},
    {"eth_type(0x8100),vlan(tci=0x3005)", "eth_type(0x8100),vlan(vid=5,pcp=1)"},
    {"eth_type(0x8100),vlan(tci=0x1005/0x1fff)", "eth_type(0x8100),vlan(vid=5)"},
    {"eth_type(0x8100),vlan(tci=0x5/0xfff)"},
    {"eth_type(0x8100),vlan(vid=5,cfi=1/0)", "eth_type(0x8100),vlan(tci=0x5/0xfff)"},
    {"eth_type(0x8100),vlan(tci=0/0)", "eth_type(0x8100)"},
    {"eth_type(0x8100),vlan(vid=5,pcp=0),encap(eth_type(0x0800),ipv4(dst=10.0.0.1))"},
    {"eth_type(0x8100),vlan(vid=5,pcp=0),encap()", "eth_type(0x8100),vlan(vid=5,pcp=0)"},
    {"eth_type(0x8100),encap(eth_type(0x0800))"},
    {"eth_type(0x0800),ipv4(ttl=1),encap()", "eth_type(0x0800),ipv4(ttl=1)"},
    {"eth_type(0x88a8),vlan(vid=9,pcp=1),encap(eth_type(0x8100),vlan(vid=5,pcp=0),encap(eth_type(0x86dd),ipv6(frag=no))"
     ")"},
    {"eth_type(0x88a8),encap(eth_type(0x8100),encap(eth_type(0x0806),arp(op=1)))"},
    {"encap(ipv4(ttl=1),eth_type(0x0800)),vlan(pcp=1,vid=2),eth_type(0x8100)",
     "eth_type(0x8100),vlan(vid=2,pcp=1),encap(eth_type(0x0800),ipv4(ttl=1))"},
};
INSTANTIATE_TEST_SUITE_P(Ethernet, MatchNotation, testing::ValuesIn(kEthernet));

constexpr Notation kInternet[] = {
    {"eth_type(0x0800),ipv4(src=35.8.2.0/255.255.255.0,dst=172.16.0.20,proto=5,tos=0x80/0xf0,ttl=128/0xf0,frag=no)"},
    {"eth_type(0x0800),ipv4(src=10.0.0.0/8,dst=1.2.3.4/32)",
     "eth_type(0x0800),ipv4(src=10.0.0.0/255.0.0.0,dst=1.2.3.4)"},
    {"eth_type(0x0800),ipv4(src=1.2.3.4/0)", "eth_type(0x0800)"},
    {"eth_type(0x0800),ipv4(src=10.0.0.1/0.0.0.255)", "eth_type(0x0800),ipv4(src=0.0.0.1/0.0.0.255)"},
    {"eth_type(0x0800),ipv4(proto=5/0xf0)", "eth_type(0x0800),ipv4(proto=0/0xf0)"},
    {"eth_type(0x0800),ipv4(tos=0/0x3)"},
    {"eth_type(0x0800),ipv4(tos=0)"},
    {"eth_type(0x0800),ipv4(frag=no)"},
    {"eth_type(0x0800),ipv4(frag=first)"},
    {"eth_type(0x0800),ipv4(frag=later)"},
    {"eth_type(0x0800),ipv4(frag=no/0xff)", "eth_type(0x0800),ipv4(frag=no)"},
    {"eth_type(0x0800),ipv4(frag=0/0x2)", "eth_type(0x0800),ipv4(frag=0x0/0x2)"},
    {"eth_type(0x0800),ipv4(proto=6),tcp(src=80/0xff00,dst=8080),tcp_flags(+syn-ack)",
     "eth_type(0x0800),ipv4(proto=6),tcp(src=0/0xff00,dst=8080),tcp_flags(+syn-ack)"},
    {"eth_type(0x0800),ipv4(proto=6),tcp_flags(0x002/0x012)", "eth_type(0x0800),ipv4(proto=6),tcp_flags(+syn-ack)"},
    {"eth_type(0x0800),ipv4(proto=6),tcp_flags(syn|ack)"},
    {"eth_type(0x0800),ipv4(proto=6),tcp_flags(0x012)", "eth_type(0x0800),ipv4(proto=6),tcp_flags(syn|ack)"},
    {"eth_type(0x0800),ipv4(proto=6),tcp_flags(0)"},
    {"eth_type(0x0800),ipv4(proto=6),tcp_flags(-fin-rst+psh+urg-ece-cwr-ns-[200]+[800])"},
    {"eth_type(0x0800),ipv4(proto=17),udp(src=81,dst=6632/0xff)",
     "eth_type(0x0800),ipv4(proto=17),udp(src=81,dst=232/0xff)"},
    {"eth_type(0x0800),ipv4(proto=132),sctp(src=1,dst=2)"},
    {"eth_type(0x0800),ipv4(proto=1),icmp(type=8,code=0)"},
    {"eth_type(0x0800),ipv4(proto=1),icmp(type=1/0xf0,code=2)",
     "eth_type(0x0800),ipv4(proto=1),icmp(type=0/0xf0,code=2)"},
    {"eth_type(0x86dd),ipv6(src=::1,dst=::/::ffff,label=0,proto=10,tclass=0x70,hlimit=128,frag=no)"},
    {"eth_type(0x86dd),ipv6(src=fe80::1234/64)", "eth_type(0x86dd),ipv6(src=fe80::/ffff:ffff:ffff:ffff::)"},
    {"eth_type(0x86dd),ipv6(src=::/0,dst=::1/128)", "eth_type(0x86dd),ipv6(dst=::1)"},
    {"eth_type(0x86dd),ipv6(label=0x12340/0xffff0)"},
    {"eth_type(0x86dd),ipv6(dst=::ffff:10.0.0.1)"},
    {"eth_type(0x86dd),ipv6(proto=58),icmpv6(type=135,code=0),nd(target=fe80::1,sll=00:05:06:07:08:09,tll=00:0a:00:00:"
     "00:00/ff:ff:00:00:00:00)"},
    {"eth_type(0x0806),arp(sip=1.2.3.4,tip=5.6.7.0/255.255.255.0,op=1,sha=00:0f:10:11:12:13,tha=00:14:15:16:17:18)"},
    {"eth_type(0x0806),arp(op=1/0xf0)", "eth_type(0x0806),arp(op=0/0xf0)"},
};
INSTANTIATE_TEST_SUITE_P(Internet, MatchNotation, testing::ValuesIn(kInternet));

// What OVS prints and Sluice has no field for, where it says nothing.
constexpr Notation kSilent[] = {
    {"packet_type(ns=0,id=0),in_port(1)", "in_port(1)"},
    {"ct_tuple4(src=0.0.0.0/0.0.0.0,dst=0.0.0.0/0.0.0.0,proto=0/0,tp_src=0/0,tp_dst=0/0)", ""},
    {"ct_tuple6(src=::/::,dst=::/::,proto=0/0,src_port=0/0,dst_port=0/0)", ""},
    {"skb_priority(0/0),ct_state(0/0),ct_zone(0/0),ct_mark(0/0),ct_label(0/0),eth_type(0/0x0000)", ""},
    {"eth(src=00:01:02:03:04:05/00:00:00:00:00:00,dst=00:01:02:03:04:05)", "eth(dst=00:01:02:03:04:05)"},
};
INSTANTIATE_TEST_SUITE_P(Silent, MatchNotation, testing::ValuesIn(kSilent));

// ---- the rest

TEST(MatchText, OrderAndSpacesAreFree) {
  const auto one = ParseMatch("in_port(1),eth_type(0x0800),ipv4(src=1.1.1.1,frag=no)");
  for (const char* text : {"ipv4(frag=no,src=1.1.1.1),eth_type(0x0800),in_port(1)",
                           "  in_port ( 1 ) ,\n\teth_type(0x0800) ipv4( src = 1.1.1.1 , frag = no ) , "}) {
    const auto other = ParseMatch(text);
    ASSERT_TRUE(other) << Explain(other.error(), text);
    EXPECT_EQ(*other, *one);
  }
}

TEST(MatchText, PrintsIpv6AsInetNtop) {
  FlowRng rng(FlowSeed());
  for (int i = 0; i < 20000; ++i) {
    uint8_t address[16];
    // Mostly zeros, so that runs of every length and place occur.
    for (size_t b = 0; b < 16; b += 2) {
      const bool zero = rng() % 3 != 0;
      address[b] = zero || rng() % 2 == 0 ? 0 : static_cast<uint8_t>(rng());
      address[b + 1] = zero ? 0 : static_cast<uint8_t>(rng());
    }
    if (i % 16 == 0) address[10] = address[11] = 0xff;
    Match match;
    const std::vector<uint8_t> ones(16, 0xff);
    match.SetExact(Field::eth_type, 0x86dd);
    match.Set(Field::ipv6_dst, address, ones);
    char expected[INET6_ADDRSTRLEN];
    inet_ntop(AF_INET6, address, expected, sizeof expected);
    ASSERT_EQ(FormatMatch(match), "eth_type(0x86dd),ipv6(dst=" + std::string(expected) + ")");
  }
}

TEST(MatchText, KnowsPortsByNameAndNumber) {
  const NamedPorts ports({{1, "p0"}, {2, "veth-1.100"}, {3, "7"}, {4, "flood"}, {5, "a,b"}, {6, "eth0@if7"}});
  struct Case {
    const char* read;
    const char* printed;
  };
  for (const Case& c : std::initializer_list<Case>{{"in_port(p0)", "in_port(p0)"},
                                                   {"in_port(1)", "in_port(p0)"},
                                                   {"in_port(veth-1.100)", "in_port(veth-1.100)"},
                                                   {"in_port(3)", "in_port(3)"},      // a name that is a number
                                                   {"in_port(flood)", "in_port(4)"},  // one that is an action
                                                   {"in_port(5)", "in_port(5)"},      // one that would be two
                                                   {"in_port(eth0@if7)", "in_port(eth0@if7)"},
                                                   {"in_port(2/0xff)", "in_port(2/0xff)"}}) {
    const auto match = ParseMatch(c.read, ports);
    ASSERT_TRUE(match) << Explain(match.error(), c.read);
    EXPECT_EQ(FormatMatch(*match, ports), c.printed);
    EXPECT_EQ(*ParseMatch(c.printed, ports), *match);
  }
}

TEST(MatchText, UnknownPortsAreRefusedByName) {
  const NamedPorts ports({{1, "p0"}});
  for (const char* text : {"in_port(p1)", "in_port(2)"}) {
    const auto match = ParseMatch(text, ports);
    ASSERT_FALSE(match) << text;
    EXPECT_EQ(match.error().reason, "unknown_port");
    EXPECT_EQ(match.error().column, 9u);
  }
  EXPECT_TRUE(ParseMatch("in_port(2)"));
}

}  // namespace
}  // namespace sluice
