// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "named_ports.h"
#include "random_flow.h"

namespace sluice {
namespace {

// Whole lines as `ovs-appctl dpctl/dump-flows` prints them, for kernel and userspace datapath, with and without -m.
struct Dump {
  const char* line;
  const char* match;
  const char* actions;
};

void PrintTo(const Dump& dump, std::ostream* os) { *os << dump.line; }

class DumpedFlow : public testing::TestWithParam<Dump> {};

TEST_P(DumpedFlow, PastesBack) {
  const Result<FlowText> flow = ParseFlow(GetParam().line);
  ASSERT_TRUE(flow) << Explain(flow.error(), GetParam().line);
  EXPECT_EQ(FormatMatch(flow->match), GetParam().match);
  EXPECT_TRUE(flow->has_actions);
  EXPECT_EQ(FormatActions(flow->actions), GetParam().actions);
}

constexpr Dump kDumps[] = {
    {"recirc_id(0),in_port(2),eth(src=52:54:00:aa:bb:01,dst=52:54:00:aa:bb:02),eth_type(0x0800),ipv4(frag=no), "
     "packets:1207, bytes:118286, used:0.412s, actions:3",
     "recirc_id(0),in_port(2),eth(src=52:54:00:aa:bb:01,dst=52:54:00:aa:bb:02),eth_type(0x0800),ipv4(frag=no)", "3"},
    {"recirc_id(0),in_port(1),packet_type(ns=0,id=0),eth(src=0a:00:00:00:00:01,dst=0a:00:00:00:00:02),"
     "eth_type(0x0800),ipv4(src=10.1.0.0/255.255.0.0,dst=10.2.0.9,proto=6,tos=0/0x3,ttl=64,frag=no),"
     "tcp(dst=443),tcp_flags(-syn+ack), packets:12, bytes:9000, used:1.008s, flags:P., "
     "actions:set(eth(src=0a:00:00:00:00:11,dst=0a:00:00:00:00:12)),set(ipv4(ttl=63)),4\n",
     "recirc_id(0),in_port(1),eth(src=0a:00:00:00:00:01,dst=0a:00:00:00:00:02),"
     "eth_type(0x0800),ipv4(src=10.1.0.0/255.255.0.0,dst=10.2.0.9,proto=6,tos=0/0x3,ttl=64,frag=no),"
     "tcp(dst=443),tcp_flags(-syn+ack)",
     "set(eth(src=0a:00:00:00:00:11,dst=0a:00:00:00:00:12)),set(ipv4(ttl=63)),4"},
    {"ufid:2f2b3c40-91d6-4d3a-b0a5-7b0a4c2b8c11, skb_priority(0/0),skb_mark(0/0),ct_state(0/0),ct_zone(0/0),"
     "ct_mark(0/0),ct_label(0/0),recirc_id(0),dp_hash(0/0),in_port(1),packet_type(ns=0,id=0),"
     "eth(src=00:00:00:00:00:00/00:00:00:00:00:00,dst=00:00:00:00:00:00/01:00:00:00:00:00),eth_type(0x86dd),"
     "ipv6(src=::/::,dst=::/::,label=0/0,proto=58,tclass=0/0,hlimit=255,frag=no),icmpv6(type=135,code=0/0xff),"
     "nd(target=::/::,sll=00:00:00:00:00:00/00:00:00:00:00:00,tll=00:00:00:00:00:00/00:00:00:00:00:00), "
     "packets:3, bytes:258, used:7.77s, offloaded:partial, dp:ovs, actions:userspace(pid=0,slow_path(controller)), "
     "dp-extra-info:miniflow_bits(5,2)",
     "recirc_id(0),in_port(1),eth(dst=00:00:00:00:00:00/01:00:00:00:00:00),eth_type(0x86dd),"
     "ipv6(proto=58,hlimit=255,frag=no),icmpv6(type=135,code=0)",
     "upcall"},
    {"ct_state(+est-rel+rpl+trk),ct_zone(0x1),recirc_id(0x7),in_port(2),eth(),eth_type(0x0800),ipv4(frag=no), "
     "packets:0, bytes:0, used:never, dp:tc, actions:ct(commit,zone=1,mark=0x1/0x1),recirc(0x8)",
     "recirc_id(0x7),ct_state(+est-rel+rpl+trk),ct_zone(0x1),in_port(2),eth_type(0x0800),ipv4(frag=no)",
     "ct(commit,zone=1,mark=0x1/0x1),recirc(0x8)"},
    {"tunnel(tun_id=0x2a,src=192.168.7.1,dst=192.168.7.2,ttl=64/0,tp_src=0/0,tp_dst=0/0,geneve(),flags(-df-csum+key)),"
     "recirc_id(0),in_port(3),eth_type(0x8100),vlan(vid=0/0x0,pcp=0/0x0),encap(eth_type(0x0806)), packets:1, bytes:60, "
     "used:0.001s, offloaded:yes, dp:tc, actions:pop_vlan,5",
     "recirc_id(0),tunnel(tun_id=0x2a,src=192.168.7.1,dst=192.168.7.2,flags(-df-csum+key)),in_port(3),"
     "eth_type(0x8100),vlan(cfi=1),encap(eth_type(0x0806))",
     "pop_vlan,5"},
    {"recirc_id(0),in_port(4),eth(),eth_type(0x88a8),vlan(vid=100,pcp=0),encap(eth_type(0x8100),vlan(vid=5,pcp=0),"
     "encap(eth_type(0x0800),ipv4(dst=10.0.0.1,frag=no))),packets:7,bytes:448,used:0.1s,actions:drop",
     "recirc_id(0),in_port(4),eth_type(0x88a8),vlan(vid=100,pcp=0),encap(eth_type(0x8100),vlan(vid=5,pcp=0),"
     "encap(eth_type(0x0800),ipv4(dst=10.0.0.1,frag=no)))",
     "drop"},
    {"in_port(1),eth_type(0x0800),ipv4(proto=17),udp(dst=4789),actions:",
     "in_port(1),eth_type(0x0800),ipv4(proto=17),udp(dst=4789)", "drop"},
};
INSTANTIATE_TEST_SUITE_P(Lines, DumpedFlow, testing::ValuesIn(kDumps));

// As sluicectl prints them.
TEST(FlowText, ReadsEverything) {
  const NamedPorts ports({{1, "p0"}, {2, "p1"}});
  const auto flow = ParseFlow(
      "ufid:6f0e123489abcdef0123456789abcdef,priority:7,in_port(p0),eth_type(0x0800),ipv4(dst=10.0.0.0/24,proto=17),"
      "udp(dst=53), idle_timeout:1.5, hard_timeout:60s, packets:7, bytes:448, used:0.412s, flags:SFR., "
      "offloaded:yes, dp:xdp, actions:push_vlan(vid=5,pcp=0),p1",
      ports);
  ASSERT_TRUE(flow) << flow.error().detail;
  EXPECT_EQ(flow->ufid->ToString(), "6f0e1234-89ab-cdef-0123-456789abcdef");
  EXPECT_EQ(flow->priority, 7u);
  EXPECT_EQ(flow->idle_timeout_ms, 1500u);
  EXPECT_EQ(flow->hard_timeout_ms, 60000u);
  EXPECT_EQ(FormatFlow(*flow, ports),
            "ufid:6f0e1234-89ab-cdef-0123-456789abcdef, priority:7, in_port(p0),eth_type(0x0800),"
            "ipv4(dst=10.0.0.0/255.255.255.0,proto=17),udp(dst=53), idle_timeout:1.5, hard_timeout:60, "
            "actions:push_vlan(vid=5,pcp=0),p1");
}

TEST(FlowText, AllButTheMatchIsOptional) {
  const auto bare = ParseFlow("in_port(1)");
  ASSERT_TRUE(bare);
  EXPECT_FALSE(bare->has_actions);
  EXPECT_FALSE(bare->ufid);
  EXPECT_EQ(bare->priority, 0u);
  const auto nothing = ParseFlow("");
  ASSERT_TRUE(nothing);
  EXPECT_EQ(nothing->match, Match());
  EXPECT_EQ(FormatFlow(*nothing), "");
}

TEST(FlowText, Timeouts) {
  for (const auto& [text, ms] : std::initializer_list<std::pair<const char*, uint32_t>>{
           {"0", 0}, {"0.001", 1}, {"1.25s", 1250}, {"4294967", 4294967000}, {"30", 30000}}) {
    const auto flow = ParseFlow("idle_timeout:" + std::string(text));
    ASSERT_TRUE(flow) << text;
    EXPECT_EQ(flow->idle_timeout_ms, ms) << text;
  }
  for (const char* text : {"", "1.", ".5", "1.2345", "1e3", "-1", "4294968", "99999999999", "never"}) {
    const auto flow = ParseFlow("idle_timeout:" + std::string(text));
    ASSERT_FALSE(flow) << text;
    EXPECT_EQ(flow.error().reason, "bad_flow");
  }
}

TEST(FlowText, RandomFlowsPrintAndParse) {
  FlowRng rng(FlowSeed());
  for (int i = 0; i < 5000; ++i) {
    FlowText flow;
    flow.match = RandomMatch(rng);
    flow.actions = RandomActions(rng);
    flow.has_actions = true;
    if (rng() % 2 == 0) flow.ufid = flow.match.DeriveUfid();
    flow.priority = static_cast<uint32_t>(rng() % 3);
    flow.idle_timeout_ms = static_cast<uint32_t>(rng() % 2 * rng());
    flow.hard_timeout_ms = static_cast<uint32_t>(rng() % 2 * rng());
    const std::string text = FormatFlow(flow);
    const auto back = ParseFlow(text);
    ASSERT_TRUE(back) << Explain(back.error(), text);
    EXPECT_EQ(back->match, flow.match) << text;
    EXPECT_EQ(back->actions, flow.actions) << text;
    EXPECT_EQ(back->ufid, flow.ufid);
    EXPECT_EQ(back->priority, flow.priority);
    EXPECT_EQ(back->idle_timeout_ms, flow.idle_timeout_ms) << text;
    EXPECT_EQ(back->hard_timeout_ms, flow.hard_timeout_ms) << text;
    EXPECT_EQ(FormatFlow(*back), text);
  }
}

TEST(FlowText, TcpFlagsAsOvs) {
  EXPECT_EQ(FormatTcpFlags(0), "none");
  EXPECT_EQ(FormatTcpFlags(0x02), "S");
  EXPECT_EQ(FormatTcpFlags(0x17), "SFR.");
  EXPECT_EQ(FormatTcpFlags(0x1b), "SFP.");
  EXPECT_EQ(FormatTcpFlags(0xfff), "SFPRU.ECN[200][400][800]");
}

}  // namespace
}  // namespace sluice
