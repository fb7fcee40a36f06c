// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <set>

#include "named_ports.h"
#include "random_flow.h"

namespace sluice {
namespace {

TEST(ActionText, EveryActionPrintsAndParses) {
  FlowRng rng(FlowSeed());
  std::set<std::string> seen;
  for (int i = 0; i < 20000; ++i) {
    const Actions actions = RandomActions(rng);
    for (const Action& action : actions) seen.insert(ActionName(action));
    const std::string text = FormatActions(actions);
    const Result<Actions> back = ParseActions(text);
    ASSERT_TRUE(back) << Explain(back.error(), text);
    ASSERT_EQ(*back, actions) << text << "\nbecame\n" << FormatActions(*back);
    ASSERT_EQ(FormatActions(*back), text);
  }
  for (const char* name : {"output",           "flood",    "push_vlan", "pop_vlan",    "dec_ttl",
                           "upcall",           "recirc",   "ct",        "ct_clear",    "tnl_pop",
                           "tnl_push",         "trunc",    "set(eth)",  "set(vlan)",   "set(ipv4)",
                           "set(ipv6)",        "set(tcp)", "set(udp)",  "set(sctp)",   "set(icmp)",
                           "set(icmpv6)",      "set(arp)", "set(nd)",   "set(tunnel)", "set(skb_mark)",
                           "set(skb_priority)"}) {
    EXPECT_TRUE(seen.contains(name)) << name << " was never made";
  }
  EXPECT_EQ(seen.size(), 26u);
}

// Every settable field, by itself.
class SetRoundTrip : public testing::TestWithParam<FieldInfo> {};

TEST_P(SetRoundTrip, PrintsAndParses) {
  const FieldInfo& info = GetParam();
  FlowRng rng(FlowSeed());
  for (int i = 0; i < 200; ++i) {
    SetField set;
    random_flow::SetRandom(rng, {}, {}, info.id, set.fields);
    const std::string text = FormatActions({set});
    const Result<Actions> back = ParseActions(text);
    if (!info.settable) {
      ASSERT_FALSE(back) << text;
      EXPECT_NE(back.error().detail.find("cannot be set"), std::string::npos) << back.error().detail;
      continue;
    }
    ASSERT_TRUE(back) << Explain(back.error(), text);
    ASSERT_EQ(*back, Actions{set}) << text;
  }
}

INSTANTIATE_TEST_SUITE_P(Fields, SetRoundTrip, testing::ValuesIn(kFields),
                         [](const auto& test) { return std::string(test.param.name); });

struct Notation {
  const char* read;
  const char* printed = nullptr;
};

void PrintTo(const Notation& notation, std::ostream* os) { *os << notation.read; }

class ActionNotation : public testing::TestWithParam<Notation> {};

TEST_P(ActionNotation, IsThatOfOvs) {
  const Result<Actions> actions = ParseActions(GetParam().read);
  ASSERT_TRUE(actions) << Explain(actions.error(), GetParam().read);
  const std::string text = FormatActions(*actions);
  EXPECT_EQ(text, GetParam().printed != nullptr ? GetParam().printed : GetParam().read);
  EXPECT_EQ(*ParseActions(text), *actions);
}

constexpr Notation kActions[] = {
    {"drop"},
    {"", "drop"},
    {"  ", "drop"},
    {"1,2,3"},
    {"1 2\t,\n3", "1,2,3"},
    {"flood"},
    {"push_vlan(vid=12,pcp=0)"},
    {"push_vlan(vid=12)", "push_vlan(vid=12,pcp=0)"},
    {"push_vlan(vid=13,pcp=5,cfi=0)"},
    {"push_vlan(tpid=0x8100,vid=1,pcp=0)", "push_vlan(vid=1,pcp=0)"},
    {"push_vlan(tpid=0x88a8,vid=5,pcp=0,cfi=1)", "push_vlan(tpid=0x88a8,vid=5,pcp=0)"},
    {"pop_vlan,2"},
    {"set(eth(src=00:01:02:03:04:05,dst=10:11:12:13:14:15))"},
    {"set(eth(dst=10:11:12:00:00:00/ff:ff:ff:00:00:00))"},
    {"set(vlan(vid=3,pcp=5))"},
    {"set(vlan(vid=1/0x3))"},
    {"set(ipv4(src=10.0.0.1/255.255.255.255))", "set(ipv4(src=10.0.0.1))"},
    {"set(ipv4(src=35.8.2.0/255.255.255.0,dst=172.16.0.20,tos=0x80/0xfc,ttl=128))"},
    {"set(ipv6(src=::1,dst=fe80::2,label=0x12,tclass=0x70/0x70,hlimit=128))"},
    {"set(tcp(src=80,dst=8080)),set(udp(dst=6633)),set(sctp(src=0/0xff))", nullptr},
    {"set(icmp(type=1,code=2)),set(icmpv6(type=1,code=2))"},
    {"set(arp(sip=1.2.3.4,op=2,sha=00:01:02:03:04:05)),set(nd(target=fe80::1,tll=00:01:02:03:04:05))"},
    {"set(skb_mark(0x1)),set(skb_priority(0))"},
    {"set(tunnel(tun_id=0xabcdef1234567890,src=1.1.1.1,dst=2.2.2.2,tos=0x8,ttl=64,tp_src=1,tp_dst=4789,flags(df|csum|"
     "key)))"},
    {"set(tunnel(tun_id=0x1,ipv6_src=::1,ipv6_dst=::2,ttl=64,flags(df|key))),5"},
    {"dec_ttl"},
    {"dec_ttl()", "dec_ttl"},
    {"dec_ttl(le_1())", "dec_ttl"},
    {"dec_ttl(le_1(drop))", "dec_ttl"},
    {"dec_ttl(le_1(upcall,1)),2"},
    {"dec_ttl(le_1(dec_ttl(le_1(dec_ttl(le_1(1))))))"},
    {"upcall"},
    {"upcall(max_len=128,cookie=0x1)"},
    {"upcall(cookie=5)", "upcall(cookie=0x5)"},
    {"upcall()", "upcall"},
    {"userspace(pid=6633,sFlow(vid=9,pcp=7,output=10),actions,tunnel_out_port=10)", "upcall"},
    {"userspace(pid=9765,slow_path(cfm)),3", "upcall,3"},
    {"userspace(pid=1234567,userdata(0102030405060708),actions)", "upcall"},
    {"userspace(pid=6633,flow_sample(probability=123,collector_set_id=1,obs_domain_id=2,obs_point_id=3,output_port=10,"
     "egress))",
     "upcall"},
    {"userspace(pid=6633,controller(reason=1,dont_send=0,continuation=1,recirc_id=4444,rule_cookie=0x5555,controller_"
     "id=0,max_len=128))",
     "upcall(max_len=128)"},
    {"recirc(0x5)"},
    {"ct"},
    {"ct()", "ct"},
    {"ct(commit)"},
    {"ct(commit,zone=5)"},
    {"ct(commit,mark=0xa0a0a0a0/0xfefefefe)"},
    {"ct(commit,mark=1)", "ct(commit,mark=0x1/0xffffffff)"},
    {"ct(commit,label=0x1234567890abcdef1234567890abcdef/0xf1f2f3f4f5f6f7f8f9f0fafbfcfdfeff)",
     "ct(commit,label=0x1030527090a2c5e81030527890a9ccef/0xf1f2f3f4f5f6f7f8f9f0fafbfcfdfeff)"},
    {"ct(commit,label=0x1)"},
    {"ct(force_commit,zone=5)"},
    {"ct(commit,zone=5,mark=0x1/0xff,force)", "ct(force_commit,zone=5,mark=0x1/0xff)"},
    {"ct(zone=7),recirc(0x2)"},
    {"ct_clear"},
    {"tnl_pop(4)"},
    {"trunc(100),1"},
};
INSTANTIATE_TEST_SUITE_P(Actions, ActionNotation, testing::ValuesIn(kActions));

#define ETH4 "eth(dst=f8:bc:12:44:34:b6,src=f8:bc:12:46:58:e0,dl_type=0x0800),"
#define ETH6 "eth(dst=f8:bc:12:44:34:b6,src=f8:bc:12:46:58:e0,dl_type=0x86dd),"
#define IP4(proto) "ipv4(src=1.1.2.88,dst=1.1.2.92,proto=" proto ",tos=0,ttl=64,frag=0x4000),"
#define IP6(proto) "ipv6(src=2001:cafe::88,dst=2001:cafe::92,label=0,proto=" proto ",tclass=0x0,hlimit=64),"
constexpr Notation kTunnels[] = {
    {"tnl_push(tnl_port(4),header(size=42,type=3," ETH4 IP4(
        "47") "gre((flags=0x2000,proto=0x6558),key=0x1e241)),out_port(1))"},
    {"tnl_push(tnl_port(4),header(size=46,type=3," ETH4 IP4(
        "47") "gre((flags=0xa000,proto=0x6558),csum=0x0,key=0x1e241)),out_port(1))"},
    {"tnl_push(tnl_port(4),header(size=42,type=3," ETH4 IP4(
        "47") "gre((flags=0x1000,proto=0x6558),seq=0x7)),out_port(1))"},
    {"tnl_push(tnl_port(4),header(size=38,type=3," ETH4 IP4("47") "gre((flags=0x0,proto=0x6558))),out_port(1))"},
    {"tnl_push(tnl_port(6),header(size=50,type=4," ETH4 IP4(
        "17") "udp(src=0,dst=4789,csum=0x0),vxlan(flags=0x8000000,vni=0x1c7)),out_port(1))"},
    {"tnl_push(tnl_port(6),header(size=50,type=5," ETH4 IP4(
        "17") "udp(src=0,dst=6081,csum=0x0),geneve(oam,vni=0x1c7)),out_port(1))"},
    {"tnl_push(tnl_port(6),header(size=50,type=5," ETH4 IP4(
        "17") "udp(src=0,dst=6081,csum=0xffff),geneve(crit,vni=0x1c7)),out_port(1))"},
    {"tnl_push(tnl_port(4),header(size=62,type=109," ETH6 IP6(
        "47") "gre((flags=0x2000,proto=0x6558),key=0x1e241)),out_port(1))"},
    {"tnl_push(tnl_port(6),header(size=70,type=4," ETH6 IP6(
        "17") "udp(src=0,dst=4789,csum=0x0),vxlan(flags=0x8000000,vni=0x1c7)),out_port(1))"},
    {"tnl_push(tnl_port(6),header(size=70,type=5," ETH6 IP6(
        "17") "udp(src=0,dst=6081,csum=0x0),geneve(vni=0x1c7)),out_port(1))"},
    {"tnl_push(tnl_port(6),header(size=3,type=105,raw=0x0102ff),out_port(1))"},
};
INSTANTIATE_TEST_SUITE_P(Tunnels, ActionNotation, testing::ValuesIn(kTunnels));

TEST(ActionText, TunnelHeaderIsWhatGoesOnTheWire) {
  const auto actions = ParseActions("tnl_push(tnl_port(4),header(size=50,type=4," ETH4 IP4(
      "17") "udp(src=0,dst=4789,csum=0x0),vxlan(flags=0x8000000,vni=0x1c7)),out_port(1))");
  ASSERT_TRUE(actions);
  const auto& push = std::get<TnlPush>(actions->front());
  EXPECT_EQ(push.tnl_port, 4u);
  EXPECT_EQ(push.out_port, 1u);
  EXPECT_EQ(push.tnl_type, 4u);
  const std::string expected(
      "\xf8\xbc\x12\x44\x34\xb6\xf8\xbc\x12\x46\x58\xe0\x08\x00"
      "\x45\x00\x00\x00\x00\x00\x40\x00\x40\x11\x00\x00\x01\x01\x02\x58\x01\x01\x02\x5c"
      "\x00\x00\x12\xb5\x00\x00\x00\x00"
      "\x08\x00\x00\x00\x00\x01\xc7\x00",
      50);
  EXPECT_EQ(push.header, expected);
}

TEST(ActionText, MeansWhatItSays) {
  const auto actions = ParseActions(
      "push_vlan(tpid=0x88a8,vid=5,pcp=3),set(vlan(vid=7)),set(ipv4(src=10.1.2.3/255.255.0.0)),"
      "ct(commit,zone=5,mark=0x1ff/0xff),upcall(max_len=9),dec_ttl(le_1(flood)),trunc(64)");
  ASSERT_TRUE(actions);
  EXPECT_EQ(std::get<PushVlan>((*actions)[0]), (PushVlan{0x88a8, 0x7005}));
  const Match& vlan = std::get<SetField>((*actions)[1]).fields;
  EXPECT_EQ(vlan.ValueOf(Field::vlan_tci), 0x1007u);
  EXPECT_EQ(vlan.MaskOf(Field::vlan_tci), 0x1fffu);
  const Match& ipv4 = std::get<SetField>((*actions)[2]).fields;
  EXPECT_EQ(ipv4.ValueOf(Field::ipv4_src), 0x0a010000u);
  EXPECT_EQ(ipv4.MaskOf(Field::ipv4_src), 0xffff0000u);
  const auto& ct = std::get<Ct>((*actions)[3]);
  EXPECT_TRUE(ct.commit && !ct.force);
  EXPECT_EQ(ct.zone, 5);
  EXPECT_EQ(ct.mark, std::pair(0xffu, 0xffu));
  EXPECT_EQ(std::get<ToController>((*actions)[4]), (ToController{9, 0}));
  EXPECT_EQ(std::get<DecTtl>((*actions)[5]).expired, Actions{Flood{}});
  EXPECT_EQ(std::get<Trunc>((*actions)[6]).max_len, 64u);
  EXPECT_TRUE(ParseActions("drop")->empty());
}

TEST(ActionText, PrintsDropForADropAction) { EXPECT_EQ(FormatActions({Drop{}}), "drop"); }

TEST(ActionText, KnowsPortsByNameAndNumber) {
  const NamedPorts ports({{1, "p0"}, {2, "p1"}, {3, "drop"}, {4, "set"}});
  const auto actions = ParseActions("p0,2,3,4,tnl_pop(p1)", ports);
  ASSERT_TRUE(actions) << actions.error().detail;
  EXPECT_EQ(FormatActions(*actions, ports), "p0,p1,3,4,tnl_pop(p1)");
  EXPECT_EQ(*ParseActions("p0,p1,3,4,tnl_pop(p1)", ports), *actions);
  const auto unknown = ParseActions("p0,p7", ports);
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().reason, "unknown_port");
  EXPECT_EQ(unknown.error().column, 4u);
  EXPECT_EQ(ParseActions("tnl_pop(9)", ports).error().reason, "unknown_port");
}

TEST(ActionText, BoundsLengthAndDepth) {
  std::string many = "1";
  for (size_t i = 1; i < kMaxActions; ++i) many += ",1";
  EXPECT_TRUE(ParseActions(many));
  const auto too_many = ParseActions(many + ",1");
  ASSERT_FALSE(too_many);
  EXPECT_EQ(too_many.error().detail, "more than 1024 actions");
  EXPECT_EQ(too_many.error().column, many.size() + 2);

  auto nested = [](size_t depth) {
    std::string text;
    for (size_t i = 0; i < depth; ++i) text += "dec_ttl(le_1(";
    return text + "1" + std::string(2 * depth, ')');
  };
  EXPECT_TRUE(ParseActions(nested(kMaxActionDepth)));
  const auto too_deep = ParseActions(nested(kMaxActionDepth + 1));
  ASSERT_FALSE(too_deep);
  EXPECT_EQ(too_deep.error().detail, "actions are nested more than 8 deep");
  EXPECT_FALSE(ParseActions(nested(50000)));

  const auto too_long = ParseActions(std::string(kMaxTextLength + 1, ' '));
  ASSERT_FALSE(too_long);
  EXPECT_NE(too_long.error().detail.find("longer than 262144 bytes"), std::string::npos);
  EXPECT_FALSE(ParseMatch(std::string(kMaxTextLength + 1, ' ')));
  EXPECT_EQ(ParseFlow(std::string(kMaxTextLength + 1, ' ')).error().reason, "bad_flow");
}

}  // namespace
}  // namespace sluice
