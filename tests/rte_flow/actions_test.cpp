// SPDX-License-Identifier: Apache-2.0
// What a device is told to do with the packets of a flow.
#include "reference/actions.h"

#include <gtest/gtest.h>

#include "flow/random_flow.h"
#include "offload/attempts.h"
#include "offload/full_plan.h"
#include "offload/pattern.h"
#include "offload/rule_actions.h"
#include "reference/datapath.h"
#include "reference/packet.h"
#include "rule_reader.h"
#include "sluice/flow_text.h"

namespace sluice::rteflow {
namespace {

// Port n is ethdev 10 + n, but for port 9, which is none.
std::optional<uint16_t> EthdevOfPort(uint32_t port) {
  if (port == 9) return std::nullopt;
  return static_cast<uint16_t>(10 + port);
}

Result<FullPlan> Plan(const std::string& match, const std::string& actions, bool tunnel = false) {
  const auto parsed = ParseMatch(match);
  const auto list = ParseActions(actions);
  if (!parsed) return parsed.error();
  if (!list) return list.error();
  if (auto valid = parsed->Validate(); !valid) return valid.error();
  return PlanFull(*parsed, tunnel, *list, EthdevOfPort);
}

// As in the first way, or with `old` the first one with the older actions.
std::string Said(const std::string& match, const std::string& actions, bool old = false, bool tunnel = false) {
  const auto plan = Plan(match, actions, tunnel);
  if (!plan) return plan.error().reason + ": " + plan.error().detail;
  Way way;
  way.set = old ? SetBy::kOldActions : SetBy::kModifyField;
  RuleActions said;
  if (!said.BuildFull(*plan, way)) return "not in this way";
  return ActionsText(said.Actions());
}

constexpr const char* kTcp = "eth_type(0x0800),ipv4(proto=6,frag=no),tcp(dst=80)";

TEST(FullActions, ForwardAndDrop) {
  EXPECT_EQ(Said("eth_type(0x0800)", "2"), "count, represented_port 12");
  EXPECT_EQ(Said("eth_type(0x0800)", "drop"), "count, drop");
  EXPECT_EQ(Said("eth_type(0x0800)", "set(eth(dst=02:00:00:00:00:01))"), "count, drop");
  EXPECT_EQ(Said("eth_type(0x0800)", "2,set(eth(dst=02:00:00:00:00:01))"), "count, represented_port 12")
      << "nobody sees what is done after the last output";
}

TEST(FullActions, SendACopyForEachOutputAsThePacketIsByThen) {
  EXPECT_EQ(Said("eth_type(0x0800)", "1,set(eth(src=02:00:00:00:00:01)),2,3"),
            "count, sample 1 {represented_port 11}, modify_field mac_src 0+48 020000000001, sample 1 {represented_port "
            "12}, represented_port 13");
  const auto plan = Plan("eth_type(0x0800)", "1,2");
  ASSERT_TRUE(plan);
  RuleActions said;
  ASSERT_TRUE(said.BuildFull(*plan, Way{.output = OutputBy::kPortId, .copy = CopyBy::kRepeat}));
  EXPECT_EQ(ActionsText(said.Actions()), "count, port_id 11, port_id 12");
}

TEST(FullActions, PushAndPopTags) {
  EXPECT_EQ(Said("eth_type(0x0800)", "push_vlan(vid=100,pcp=3),2"),
            "count, of_push_vlan 8100, of_set_vlan_vid 0064, of_set_vlan_pcp 3, represented_port 12");
  EXPECT_EQ(Said("eth_type(0x8100),vlan(vid=5)", "pop_vlan,2"), "count, of_pop_vlan, represented_port 12");
  EXPECT_EQ(Said("eth_type(0x0800)", "pop_vlan,2"), "count, represented_port 12") << "there is none to take off";
  EXPECT_EQ(Said("eth_type(0x8100),vlan(vid=5)", "pop_vlan,pop_vlan,2"),
            "unsupported_action: rte_flow cannot do pop_vlan: the match does not say whether there is a tag");
  EXPECT_EQ(Said("eth(src=02:00:00:00:00:01)", "push_vlan(vid=1,pcp=0),pop_vlan,pop_vlan,2"),
            "unsupported_action: rte_flow cannot do pop_vlan: the match does not say whether there is a tag");
}

TEST(FullActions, SetTags) {
  EXPECT_EQ(Said("eth_type(0x8100),vlan(vid=5)", "set(vlan(vid=7)),2"),
            "count, of_set_vlan_vid 0007, represented_port 12");
  EXPECT_EQ(Said("eth_type(0x8100),vlan(vid=5)", "set(vlan(pcp=7)),2"),
            "count, of_set_vlan_pcp 7, represented_port 12");
  EXPECT_EQ(Said("eth_type(0x8100),vlan(pcp=5)", "set(vlan(vid=7/0x0f)),2"),
            "unsupported_action: rte_flow cannot do set(vlan): a part of a tag's vid or pcp is not set by itself");
  EXPECT_EQ(Said("eth_type(0x8100),vlan(vid=0x105)", "set(vlan(vid=7/0x0f)),2"),
            "count, of_set_vlan_vid 0107, represented_port 12")
      << "the rest of it is known";
  EXPECT_EQ(Said("eth_type(0x0800)", "set(vlan(vid=7)),2"), "count, represented_port 12") << "there is none";
}

TEST(FullActions, SetFieldsByModifyFieldOrTheOlderActions) {
  const auto both = [](const char* actions, const char* modify, const char* old) {
    EXPECT_EQ(Said(kTcp, actions), std::string("count, modify_field ") + modify + ", represented_port 12");
    EXPECT_EQ(Said(kTcp, actions, true), std::string("count, ") + old + ", represented_port 12");
  };
  both("set(eth(dst=02:00:00:00:00:01)),2", "mac_dst 0+48 020000000001", "set_mac_dst 020000000001");
  both("set(eth(src=02:00:00:00:00:02)),2", "mac_src 0+48 020000000002", "set_mac_src 020000000002");
  both("set(ipv4(src=10.1.2.3)),2", "ipv4_src 0+32 0a010203", "set_ipv4_src 0a010203");
  both("set(ipv4(dst=10.1.2.4)),2", "ipv4_dst 0+32 0a010204", "set_ipv4_dst 0a010204");
  both("set(ipv4(ttl=9)),2", "ipv4_ttl 0+8 09", "set_ttl 09");
  both("set(tcp(src=258)),2", "tcp_port_src 0+16 0102", "set_tp_src 0102");
  both("set(tcp(dst=443)),2", "tcp_port_dst 0+16 01bb", "set_tp_dst 01bb");
}

TEST(FullActions, SetFieldsOfUdpAndIpv6) {
  constexpr const char* kUdp6 = "eth_type(0x86dd),ipv6(proto=17),udp(src=1)";
  EXPECT_EQ(Said(kUdp6, "set(udp(dst=53)),2"), "count, modify_field udp_port_dst 0+16 0035, represented_port 12");
  EXPECT_EQ(Said(kUdp6, "set(ipv6(dst=fe80::1)),2", true),
            "count, set_ipv6_dst fe800000000000000000000000000001, represented_port 12");
  EXPECT_EQ(Said(kUdp6, "set(ipv6(src=fe80::1,hlimit=3)),2"),
            "count, modify_field ipv6_src 0+128 fe800000000000000000000000000001, modify_field ipv6_hoplimit 0+8 03, "
            "represented_port 12");
}

TEST(FullActions, SetAPartOfAFieldAsTheGuideSays) {
  // Offset and width count from the field's first bit; the value stands as in the item.
  EXPECT_EQ(Said(kTcp, "set(eth(dst=00:00:85:00:00:00/00:00:ff:00:00:00)),2"),
            "count, modify_field mac_dst 16+8 000085000000, represented_port 12");
  EXPECT_EQ(Said(kTcp, "set(ipv4(dst=10.0.0.1/255.0.0.255)),2"),
            "count, modify_field ipv4_dst 0+8 0a000001, modify_field ipv4_dst 24+8 0a000001, represented_port 12");
  EXPECT_EQ(Said(kTcp, "set(ipv4(dst=10.0.0.1/255.0.0.255)),2", true), "not in this way");
  EXPECT_EQ(Said(kTcp, "set(tcp(dst=1/0xff)),2", true), "count, set_tp_dst 0001, represented_port 12")
      << "the match tells the other bits";
  EXPECT_EQ(Said(kTcp, "set(tcp(dst=80)),2"), "count, represented_port 12") << "it is that already";
}

// The TTL is the TTL's, and the type of service its own.
TEST(FullActions, SetTtlAndTypeOfServiceEachFromItsOwn) {
  EXPECT_EQ(Said(kTcp, "set(ipv4(tos=0x2a,ttl=7)),2"),
            "count, set_ipv4_dscp 0a, modify_field ipv4_ecn 0+2 02, modify_field ipv4_ttl 0+8 07, represented_port 12");
}

TEST(FullActions, SetDscpAndEcn) {
  EXPECT_EQ(Said(kTcp, "set(ipv4(tos=0xb8/0xfc)),2"), "count, set_ipv4_dscp 2e, represented_port 12");
  EXPECT_EQ(Said(kTcp, "set(ipv4(tos=0x1/0x3)),2"), "count, modify_field ipv4_ecn 0+2 01, represented_port 12");
  EXPECT_EQ(Said(kTcp, "set(ipv4(tos=0x1/0x3)),2", true), "not in this way");
  EXPECT_EQ(Said("eth_type(0x86dd),ipv6(hlimit=3)", "set(ipv6(tclass=0xb8/0xfc)),2"),
            "count, set_ipv6_dscp 2e, represented_port 12");
  EXPECT_EQ(Said("eth_type(0x86dd),ipv6(hlimit=3)", "set(ipv6(tclass=1)),2"),
            "unsupported_action: rte_flow cannot do set(ipv6): how IPv6's ECN is written is not defined");
  EXPECT_EQ(Said(kTcp, "set(ipv4(tos=0x10/0x10)),2"),
            "unsupported_action: rte_flow cannot do set(ipv4): a part of the DSCP is not set by itself");
}

TEST(FullActions, CountDownATtlThatIsKnown) {
  EXPECT_EQ(Said("eth_type(0x0800),ipv4(ttl=64)", "dec_ttl(le_1()),2"), "count, dec_ttl, represented_port 12");
  EXPECT_EQ(Said("eth_type(0x0800),ipv4(ttl=2)", "dec_ttl(le_1()),2,dec_ttl(le_1(5)),3"),
            "count, dec_ttl, sample 1 {represented_port 12}, represented_port 15");
  EXPECT_EQ(Said("eth_type(0x0800),ipv4(ttl=1)", "dec_ttl(le_1(3)),2"), "count, represented_port 13");
  EXPECT_EQ(Said("eth_type(0x0800),ipv4(ttl=0)", "dec_ttl(le_1()),2"), "count, drop");
  EXPECT_EQ(Said("eth_type(0x0806)", "dec_ttl(le_1()),2"), "count, represented_port 12");
  EXPECT_EQ(Said("eth_type(0x0800)", "dec_ttl(le_1()),2").substr(0, 19), "unsupported_action:");
  EXPECT_EQ(Said("eth_type(0x0800),ipv4(ttl=64/0xc0)", "dec_ttl(le_1()),2").substr(0, 19), "unsupported_action:");
}

TEST(FullActions, AreRefusedByName) {
  EXPECT_EQ(Said("eth_type(0x0800)", "9"),
            "unsupported_action: rte_flow cannot do output: port 9 is none that the device can send to");
  EXPECT_EQ(Said("eth_type(0x0800)", "flood"),
            "unsupported_action: rte_flow cannot do flood: there is no action for it");
  EXPECT_EQ(Said("eth_type(0x0800)", "set(ipv4(dst=10.0.0.1)),2"),
            "unsupported_action: rte_flow cannot do set(ipv4): what devices do to the checksum of fragments is not "
            "defined; match frag=no");
  EXPECT_EQ(
      Said("eth_type(0x86dd)", "set(ipv6(dst=fe80::1)),2"),
      "unsupported_action: rte_flow cannot do set(ipv6): what devices do to checksums behind extension headers is "
      "not defined; match proto");
  EXPECT_EQ(Said("eth(src=02:00:00:00:00:01)", "set(ipv4(ttl=3)),2"),
            "unsupported_action: rte_flow cannot do set(ipv4): the match does not say whether there is the header of "
            "ipv4_ttl");
  for (const char* actions : {"trunc(100),2", "userspace(pid=0),2", "set(ipv6(label=3)),2", "set(arp(op=2)),2",
                              "set(sctp(src=3)),2", "recirc(1)", "ct_clear,2"}) {
    EXPECT_EQ(Said("eth_type(0x86dd),ipv6(proto=132)", actions).substr(0, 19), "unsupported_action:") << actions;
  }
}

TEST(FullActions, PutPacketsIntoVxlan) {
  constexpr const char* kPush =
      "tnl_push(tnl_port(4),header(size=50,type=4,eth(dst=02:00:00:00:00:01,src=02:00:00:00:00:02,dl_type=0x0800),"
      "ipv4(src=10.0.0.1,dst=10.0.0.2,proto=17,tos=0,ttl=64,frag=0x4000),udp(src=0,dst=4789,csum=0x0),"
      "vxlan(flags=0x8000000,vni=0x7b)),out_port(2))";
  const auto plan = Plan("eth_type(0x0800)", kPush);
  ASSERT_TRUE(plan) << plan.error().detail;
  EXPECT_EQ(plan->shape, "tnl_push,output");
  RuleActions said;
  ASSERT_TRUE(said.BuildFull(*plan, Way{}));
  EXPECT_EQ(ActionsText(said.Actions()),
            "count, raw_encap 0200000000010200000000020800"
            "4500000000004000401100000a0000010a000002"
            "000012b500000000"
            "0800000000007b00, represented_port 12");
  ASSERT_TRUE(said.BuildFull(*plan, Way{.encap = EncapBy::kVxlan}));
  EXPECT_EQ(ActionsText(said.Actions()),
            "count, vxlan_encap " + std::to_string(RTE_FLOW_ITEM_TYPE_ETH) + ":02000000 " +
                std::to_string(RTE_FLOW_ITEM_TYPE_IPV4) + ":45000000 " + std::to_string(RTE_FLOW_ITEM_TYPE_UDP) +
                ":000012b5 " + std::to_string(RTE_FLOW_ITEM_TYPE_VXLAN) + ":08000000, represented_port 12");
}

TEST(FullActions, TakePacketsOutOfVxlan) {
  EXPECT_EQ(Said("tunnel(tun_id=5,dst=10.0.0.1),eth_type(0x0800)", "2", false, true),
            "count, vxlan_decap, represented_port 12");
}

// Random flows, their actions read back and done by the reference to frames of theirs.
TEST(FullActions, DoToFramesWhatTheFlowSays) {
  const uint64_t seed = FlowSeed();
  FlowRng rng(seed);
  reference::Rng frames(seed);
  RandomFlowOptions options;
  options.ports = 4;
  options.actions = {"output",    "output",    "push_vlan", "pop_vlan", "set(eth)", "set(vlan)",
                     "set(ipv4)", "set(ipv6)", "set(tcp)",  "set(udp)", "dec_ttl"};
  const std::set<uint32_t> ports{1, 2, 3, 4};
  int compared = 0;
  for (int i = 0; i < 30000; ++i) {
    const auto frame = reference::Build(reference::RandomPacket(frames));
    const auto parsed = reference::Parse(frame);
    if (parsed.malformed != reference::Malformed::kNo) continue;
    Match match;  // all of the frame but some fields
    for (const FieldInfo& field : kFields) {
      if (parsed.key.Has(field.id) && random_flow::Chance(rng, 75)) {
        match.Set(field.id, parsed.key.Value(field.id), parsed.key.Mask(field.id));
      }
    }
    if (!match.Validate()) continue;
    // Behind extension headers the rule does not take the frame.
    if (match.Has(Field::ipv6_proto) && frame[parsed.network + 6] != match.ValueOf(Field::ipv6_proto)) continue;
    const Actions actions = RandomActions(rng, options);
    const auto plan = PlanFull(match, false, actions, [](uint32_t port) { return static_cast<uint16_t>(port); });
    if (!plan) {
      ASSERT_EQ(plan.error().reason, "unsupported_action");
      continue;
    }
    const auto wanted = reference::Execute(actions, frame, 1, ports);
    const bool ipv6 = parsed.key.Has(Field::ipv6_src);
    for (const Way& way : FullWays(*plan)) {
      RuleActions said;
      if (!said.BuildFull(*plan, way)) continue;
      const Actions read = ReadActions(said.Actions(), ipv6);
      ASSERT_EQ(reference::Execute(read, frame, 1, ports), wanted)
          << FormatMatch(match) << " actions:" << FormatActions(actions) << "\n"
          << ActionsText(said.Actions()) << "\n"
          << reference::Hex(frame);
      ++compared;
    }
  }
  EXPECT_GT(compared, 5000);
}

TEST(Capabilities, AreThoseOfTheTable) {
  const auto fields = MatchableFields();
  EXPECT_EQ(fields.front(), "in_port");
  const auto has = [](const auto& names, const char* name) { return std::ranges::count(names, name) == 1; };
  for (const char* name :
       {"eth_type", "vlan_tci", "cvlan_tci", "ipv4_frag", "ipv6_label", "tcp_flags", "arp_tha", "tun_id"}) {
    EXPECT_TRUE(has(fields, name)) << name;
  }
  for (const char* name : {"nd_target", "ct_state", "recirc_id"}) EXPECT_FALSE(has(fields, name)) << name;
  const auto actions = OffloadableActions();
  for (const char* name :
       {"output", "drop", "set(eth)", "set(vlan)", "set(ipv4)", "set(ipv6)", "set(tcp)", "set(udp)"}) {
    EXPECT_TRUE(has(actions, name)) << name;
  }
  EXPECT_FALSE(has(actions, "set(arp)"));
}

}  // namespace
}  // namespace sluice::rteflow
