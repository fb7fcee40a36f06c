// SPDX-License-Identifier: Apache-2.0
// What actions do to every kind of packet, against the reference, which does the same by other code.
#include <functional>

#include "reference/actions.h"
#include "reference/parser.h"
#include "rig.h"
#include "sluice/flow_text.h"

namespace sluice::netsluice {
namespace {

constexpr uint32_t kOut = 1;

// `actions` of a rule do what `text` does.
struct ActionCase {
  std::string name;
  std::function<void(RuleSpec&)> actions;
  std::string text;
};

void PrintTo(const ActionCase& one, std::ostream* out) { *out << one.name; }

rte_flow_action_set_mac MacConf(uint8_t last) { return {{0x02, 0, 0, 0, 0, last}}; }
rte_flow_action_set_ipv6 Ipv6Conf(uint8_t last) {
  rte_flow_action_set_ipv6 conf{};
  conf.ipv6_addr[0] = 0x20;
  conf.ipv6_addr[1] = 0x01;
  conf.ipv6_addr[15] = last;
  return conf;
}

// The value as it lies in the field's item.
rte_flow_action_modify_field Modify(rte_flow_field_id field, uint32_t offset, uint32_t width,
                                    const std::vector<uint8_t>& value) {
  rte_flow_action_modify_field modify{};
  modify.operation = RTE_FLOW_MODIFY_SET;
  modify.dst.field = field;
  modify.dst.offset = offset;
  modify.src.field = RTE_FLOW_FIELD_VALUE;
  std::copy(value.begin(), value.end(), modify.src.value);
  modify.width = width;
  return modify;
}

std::function<void(RuleSpec&)> Modifies(rte_flow_field_id field, uint32_t offset, uint32_t width,
                                        const std::vector<uint8_t>& value) {
  return [=](RuleSpec& r) { r.Action(RTE_FLOW_ACTION_TYPE_MODIFY_FIELD, Modify(field, offset, width, value)); };
}

template <typename Conf>
std::function<void(RuleSpec&)> Does(rte_flow_action_type type, const Conf& conf) {
  return [=](RuleSpec& r) { r.Action(type, conf); };
}
std::function<void(RuleSpec&)> Does(rte_flow_action_type type) {
  return [=](RuleSpec& r) { r.Action(type); };
}

const std::vector<ActionCase>& Cases() {
  static const std::vector<ActionCase> kCases = {
      {"nothing", [](RuleSpec&) {}, "1"},
      {"set_mac_src", Does(RTE_FLOW_ACTION_TYPE_SET_MAC_SRC, MacConf(7)), "set(eth(src=02:00:00:00:00:07)),1"},
      {"set_mac_dst", Does(RTE_FLOW_ACTION_TYPE_SET_MAC_DST, MacConf(8)), "set(eth(dst=02:00:00:00:00:08)),1"},
      {"set_ipv4_src", Does(RTE_FLOW_ACTION_TYPE_SET_IPV4_SRC, rte_flow_action_set_ipv4{RTE_BE32(0x01020304)}),
       "set(ipv4(src=1.2.3.4)),1"},
      {"set_ipv4_dst", Does(RTE_FLOW_ACTION_TYPE_SET_IPV4_DST, rte_flow_action_set_ipv4{RTE_BE32(0xffffffff)}),
       "set(ipv4(dst=255.255.255.255)),1"},
      {"set_ipv4_dscp", Does(RTE_FLOW_ACTION_TYPE_SET_IPV4_DSCP, rte_flow_action_set_dscp{0x2e}),
       "set(ipv4(tos=0xb8/0xfc)),1"},
      {"set_ipv6_src", Does(RTE_FLOW_ACTION_TYPE_SET_IPV6_SRC, Ipv6Conf(9)), "set(ipv6(src=2001::9)),1"},
      {"set_ipv6_dst", Does(RTE_FLOW_ACTION_TYPE_SET_IPV6_DST, Ipv6Conf(10)), "set(ipv6(dst=2001::a)),1"},
      {"set_ipv6_dscp", Does(RTE_FLOW_ACTION_TYPE_SET_IPV6_DSCP, rte_flow_action_set_dscp{0x2e}),
       "set(ipv6(tclass=0xb8/0xfc)),1"},
      {"set_ttl", Does(RTE_FLOW_ACTION_TYPE_SET_TTL, rte_flow_action_set_ttl{9}),
       "set(ipv4(ttl=9)),set(ipv6(hlimit=9)),1"},
      {"dec_ttl", Does(RTE_FLOW_ACTION_TYPE_DEC_TTL), "dec_ttl(le_1()),1"},
      {"set_tp_src", Does(RTE_FLOW_ACTION_TYPE_SET_TP_SRC, rte_flow_action_set_tp{RTE_BE16(4321)}),
       "set(tcp(src=4321)),set(udp(src=4321)),set(sctp(src=4321)),1"},
      {"set_tp_dst", Does(RTE_FLOW_ACTION_TYPE_SET_TP_DST, rte_flow_action_set_tp{RTE_BE16(4322)}),
       "set(tcp(dst=4322)),set(udp(dst=4322)),set(sctp(dst=4322)),1"},
      {"of_pop_vlan", Does(RTE_FLOW_ACTION_TYPE_OF_POP_VLAN), "pop_vlan,1"},
      {"of_push_vlan", Does(RTE_FLOW_ACTION_TYPE_OF_PUSH_VLAN, rte_flow_action_of_push_vlan{RTE_BE16(0x88a8)}),
       "push_vlan(tpid=0x88a8,vid=0,pcp=0),1"},
      {"of_push_vlan_with_id",
       [](RuleSpec& r) {
         r.Action(RTE_FLOW_ACTION_TYPE_OF_PUSH_VLAN, rte_flow_action_of_push_vlan{RTE_BE16(0x8100)})
             .Action(RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_VID, rte_flow_action_of_set_vlan_vid{RTE_BE16(99)})
             .Action(RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_PCP, rte_flow_action_of_set_vlan_pcp{5});
       },
       "push_vlan(vid=99,pcp=5),1"},
      {"of_set_vlan_vid", Does(RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_VID, rte_flow_action_of_set_vlan_vid{RTE_BE16(77)}),
       "set(vlan(vid=77)),1"},
      {"of_set_vlan_pcp", Does(RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_PCP, rte_flow_action_of_set_vlan_pcp{3}),
       "set(vlan(pcp=3)),1"},
      {"modify_mac", Modifies(RTE_FLOW_FIELD_MAC_DST, 0, 48, {2, 1, 2, 3, 4, 5}), "set(eth(dst=02:01:02:03:04:05)),1"},
      {"modify_mac_low_bits", Modifies(RTE_FLOW_FIELD_MAC_SRC, 40, 8, {0xff, 0xff, 0xff, 0xff, 0xff, 0x55}),
       "set(eth(src=00:00:00:00:00:55/00:00:00:00:00:ff)),1"},
      {"modify_mac_high_bits", Modifies(RTE_FLOW_FIELD_MAC_SRC, 0, 8, {0xaa, 0xff, 0xff, 0xff, 0xff, 0xff}),
       "set(eth(src=aa:00:00:00:00:00/ff:00:00:00:00:00)),1"},
      // The guide's own example.
      {"modify_mac_third_byte", Modifies(RTE_FLOW_FIELD_MAC_SRC, 16, 8, {0xff, 0xff, 0x85, 0xff, 0xff, 0xff}),
       "set(eth(src=00:00:85:00:00:00/00:00:ff:00:00:00)),1"},
      {"modify_vlan_id", Modifies(RTE_FLOW_FIELD_VLAN_ID, 0, 12, {0x01, 0x23}), "set(vlan(vid=291)),1"},
      {"modify_ipv4_dscp", Modifies(RTE_FLOW_FIELD_IPV4_DSCP, 0, 6, {0x2e}), "set(ipv4(tos=0xb8/0xfc)),1"},
      {"modify_ipv4_ecn", Modifies(RTE_FLOW_FIELD_IPV4_ECN, 0, 2, {0x3}), "set(ipv4(tos=0x3/0x3)),1"},
      {"modify_ipv4_ttl", Modifies(RTE_FLOW_FIELD_IPV4_TTL, 0, 8, {33}), "set(ipv4(ttl=33)),1"},
      {"modify_ipv4_src", Modifies(RTE_FLOW_FIELD_IPV4_SRC, 0, 32, {9, 8, 7, 6}), "set(ipv4(src=9.8.7.6)),1"},
      {"modify_ipv4_dst_part", Modifies(RTE_FLOW_FIELD_IPV4_DST, 16, 16, {0, 0, 7, 6}),
       "set(ipv4(dst=0.0.7.6/0.0.255.255)),1"},
      {"modify_ipv6_dscp", Modifies(RTE_FLOW_FIELD_IPV6_DSCP, 0, 6, {0x2e}), "set(ipv6(tclass=0xb8/0xfc)),1"},
      {"modify_ipv6_hoplimit", Modifies(RTE_FLOW_FIELD_IPV6_HOPLIMIT, 0, 8, {44}), "set(ipv6(hlimit=44)),1"},
      {"modify_ipv6_src",
       Modifies(RTE_FLOW_FIELD_IPV6_SRC, 0, 128, {0x20, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5}),
       "set(ipv6(src=2001::5)),1"},
      {"modify_tcp_port", Modifies(RTE_FLOW_FIELD_TCP_PORT_DST, 0, 16, {0x1f, 0x90}), "set(tcp(dst=8080)),1"},
      {"modify_udp_port", Modifies(RTE_FLOW_FIELD_UDP_PORT_SRC, 0, 16, {0x1f, 0x91}), "set(udp(src=8081)),1"},
      {"several",
       [](RuleSpec& r) {
         r.Action(RTE_FLOW_ACTION_TYPE_OF_POP_VLAN)
             .Action(RTE_FLOW_ACTION_TYPE_SET_IPV4_SRC, rte_flow_action_set_ipv4{RTE_BE32(0x01020304)})
             .Action(RTE_FLOW_ACTION_TYPE_SET_TP_DST, rte_flow_action_set_tp{RTE_BE16(1)})
             .Action(RTE_FLOW_ACTION_TYPE_DEC_TTL)
             .Action(RTE_FLOW_ACTION_TYPE_OF_PUSH_VLAN, rte_flow_action_of_push_vlan{RTE_BE16(0x8100)})
             .Action(RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_VID, rte_flow_action_of_set_vlan_vid{RTE_BE16(9)});
       },
       "pop_vlan,set(ipv4(src=1.2.3.4)),set(tcp(dst=1)),set(udp(dst=1)),set(sctp(dst=1)),dec_ttl(le_1()),"
       "push_vlan(vid=9,pcp=0),1"},
  };
  return kCases;
}

class NetSluiceAction : public ::testing::TestWithParam<ActionCase> {};

TEST_P(NetSluiceAction, EditsAsTheReference) {
  const Wired wired;
  RuleSpec rule;
  GetParam().actions(rule);
  ASSERT_NE(rule.Queue(0).Create(wired.nic), nullptr) << rule.message();
  const auto actions = ParseActions(GetParam().text);
  ASSERT_TRUE(actions) << Explain(actions.error(), GetParam().text);
  for (const auto& [name, spec] : reference::NamedPackets()) {
    const Bytes frame = reference::Build(spec);
    std::vector<Bytes> expected = {frame};
    if (reference::Parse(frame).malformed == reference::Malformed::kNo) {
      expected.clear();
      for (const auto& emission : reference::Execute(*actions, frame, 2, {kOut, 2}).emissions) {
        expected.push_back(emission.frame);
      }
    }
    std::vector<Bytes> got;
    for (const Received& received : wired.Through(frame)) got.push_back(received.frame);
    ASSERT_EQ(got.size(), expected.size()) << name;
    for (size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(reference::Hex(got[i]), reference::Hex(expected[i])) << name << " of " << reference::Hex(frame);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, NetSluiceAction, ::testing::ValuesIn(Cases()),
                         [](const auto& test) { return test.param.name; });

TEST(NetSluiceActions, ATtlOfOneIsTheEndOfAPacket) {
  const Wired wired;
  RuleSpec rule;
  ASSERT_NE(rule.Action(RTE_FLOW_ACTION_TYPE_DEC_TTL).Count().Create(wired.nic), nullptr) << rule.message();
  reference::PacketSpec spec = NamedSpec("udp4");
  std::get<reference::Ipv4Spec>(spec.l3).ttl = 1;
  EXPECT_TRUE(wired.Through(reference::Build(spec)).empty());
  EXPECT_EQ(wired.nic.Xstats().at("rx_ttl_expired"), 1u);
  EXPECT_EQ(wired.Through(Named("udp4")).size(), 1u);
}

TEST(NetSluiceActions, CountsPacketsAndBytesAsTheyCame) {
  const Wired wired;
  RuleSpec rule;
  rte_flow* flow = rule.Ipv4()
                       .Action(RTE_FLOW_ACTION_TYPE_OF_PUSH_VLAN, rte_flow_action_of_push_vlan{RTE_BE16(0x8100)})
                       .Count()
                       .Create(wired.nic);
  ASSERT_NE(flow, nullptr) << rule.message();
  EXPECT_EQ(Query(wired.nic, flow), (Counts{0, 0}));
  const Bytes frame = Named("udp4");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(wired.Through(frame).size(), 1u);
  EXPECT_EQ(wired.Through(Named("udp6")).size(), 1u);
  EXPECT_EQ(Query(wired.nic, flow, true), (Counts{3, 3 * frame.size()}));
  EXPECT_EQ(Query(wired.nic, flow), (Counts{0, 0}));
  EXPECT_EQ(wired.Through(frame).size(), 1u);
  EXPECT_EQ(Query(wired.nic, flow), (Counts{1, frame.size()}));

  RuleSpec uncounted;
  rte_flow* other = uncounted.Ipv6().Drop().Create(wired.nic);
  ASSERT_NE(other, nullptr);
  EXPECT_EQ(Query(wired.nic, other), std::nullopt);
}

TEST(NetSluiceActions, MarksFlagsAndDrops) {
  const Wired wired;
  RuleSpec mark;
  RuleSpec flag;
  RuleSpec drop;
  ASSERT_NE(mark.Ipv4().Mark(0xfffffffe).Create(wired.nic), nullptr) << mark.message();
  ASSERT_NE(flag.Ipv6().Action(RTE_FLOW_ACTION_TYPE_FLAG).Create(wired.nic), nullptr) << flag.message();
  ASSERT_NE(drop.EthType(0x0806).Drop().Create(wired.nic), nullptr) << drop.message();
  const auto marked = wired.Through(Named("udp4"));
  ASSERT_EQ(marked.size(), 1u);
  EXPECT_EQ(marked[0].mark, 0xfffffffeu);
  EXPECT_TRUE(marked[0].flagged);
  const auto flagged = wired.Through(Named("udp6"));
  ASSERT_EQ(flagged.size(), 1u);
  EXPECT_TRUE(flagged[0].flagged);
  EXPECT_EQ(flagged[0].mark, std::nullopt);
  EXPECT_TRUE(wired.Through(Named("arp")).empty());
  EXPECT_EQ(wired.nic.Xstats().at("rx_dropped"), 1u);
}

TEST(NetSluiceActions, PassthruLetsTheNextRuleHaveThePacketToo) {
  const Wired wired;
  RuleSpec first;
  RuleSpec second;
  RuleSpec third;
  rte_flow* counted = first.Ipv4().Mark(1).Count().Action(RTE_FLOW_ACTION_TYPE_PASSTHRU).Create(wired.nic);
  ASSERT_NE(counted, nullptr) << first.message();
  ASSERT_NE(second.Priority(1).Udp().Drop().Create(wired.nic), nullptr) << second.message();
  ASSERT_NE(third.Priority(2).Mark(3).Create(wired.nic), nullptr) << third.message();
  EXPECT_TRUE(wired.Through(Named("udp4")).empty());
  const auto received = wired.Through(Named("tcp4"));
  ASSERT_EQ(received.size(), 1u);
  EXPECT_EQ(received[0].mark, 3u);
  EXPECT_EQ(Query(wired.nic, counted)->packets, 2u);
}

struct BadAction {
  std::string name;
  std::function<void(RuleSpec&)> actions;
  int code;
  std::string says;
};

void PrintTo(const BadAction& one, std::ostream* out) { *out << one.name; }

const std::vector<BadAction>& BadActions() {
  static const std::vector<BadAction> kCases = {
      {"no_such_queue", [](RuleSpec& r) { r.Queue(1); }, EINVAL, "queue"},
      {"no_such_port", [](RuleSpec& r) { r.Action(RTE_FLOW_ACTION_TYPE_REPRESENTED_PORT, rte_flow_action_ethdev{31}); },
       EINVAL, "31"},
      {"no_configuration", [](RuleSpec& r) { r.Action(RTE_FLOW_ACTION_TYPE_MARK); }, EINVAL, "mark"},
      {"unknown", [](RuleSpec& r) { r.Action(RTE_FLOW_ACTION_TYPE_OF_POP_MPLS, rte_flow_action_of_pop_mpls{}); },
       ENOTSUP, "of_pop_mpls"},
      {"drop_and_queue", [](RuleSpec& r) { r.Drop().Queue(0); }, EINVAL, "drop"},
      {"push_of_no_tag",
       [](RuleSpec& r) { r.Action(RTE_FLOW_ACTION_TYPE_OF_PUSH_VLAN, rte_flow_action_of_push_vlan{RTE_BE16(0x9100)}); },
       EINVAL, "of_push_vlan"},
      {"modify_of_another_field", Modifies(RTE_FLOW_FIELD_TCP_FLAGS, 0, 8, {1}), ENOTSUP, "modify_field"},
      {"modify_too_wide", Modifies(RTE_FLOW_FIELD_VLAN_ID, 4, 12, {0, 1}), ENOTSUP, "modify_field"},
      {"decap_without_vxlan", [](RuleSpec& r) { r.Action(RTE_FLOW_ACTION_TYPE_VXLAN_DECAP); }, EINVAL, "vxlan_decap"},
  };
  return kCases;
}

class NetSluiceBadAction : public ::testing::TestWithParam<BadAction> {};

TEST_P(NetSluiceBadAction, IsRefusedByName) {
  const Wired wired;
  RuleSpec rule;
  GetParam().actions(rule);
  EXPECT_EQ(rule.Validate(wired.nic), -GetParam().code);
  EXPECT_EQ(rule.Create(wired.nic), nullptr);
  EXPECT_EQ(rte_errno, GetParam().code);
  EXPECT_NE(rule.message().find(GetParam().says), std::string::npos) << rule.message();
}

INSTANTIATE_TEST_SUITE_P(All, NetSluiceBadAction, ::testing::ValuesIn(BadActions()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace sluice::netsluice
