// SPDX-License-Identifier: Apache-2.0
// From matches and actions to what the object understands, and the refusals.
#include <gtest/gtest.h>

#include "sluice/flow_text.h"
#include "table_rig.h"

namespace sluice::xdp {
namespace {

class Compiler : public testing::Test {
 protected:
  Result<CompiledMatch> CompileText(const std::string& text) {
    auto match = ParseMatch(text);
    EXPECT_TRUE(match) << match.error().detail;
    return CompileMatch(*match, rig_.object->key_layout());
  }
  Result<CompiledActions> Actions(const std::string& text) {
    auto actions = ParseActions(text);
    EXPECT_TRUE(actions) << actions.error().detail;
    return CompileActions(*actions, rig_.object->meta(), *rig_.groups);
  }
  void ExpectRefused(const std::string& actions, const std::string& reason, const std::string& naming) {
    const auto compiled = Actions(actions);
    ASSERT_FALSE(compiled) << actions;
    EXPECT_EQ(compiled.error().reason, reason) << actions;
    EXPECT_NE(compiled.error().detail.find(naming), std::string::npos) << compiled.error().detail;
  }

  TableRig rig_;
};

TEST_F(Compiler, FieldsGoWhereTheObjectHasThem) {
  const auto compiled =
      CompileText("in_port(3),eth_type(0x0800),ipv4(src=10.1.0.0/16,proto=17),udp(dst=0x1234/0xff00)");
  ASSERT_TRUE(compiled);
  EXPECT_EQ(compiled->in_port, 3);
  const auto* key = reinterpret_cast<const uint8_t*>(compiled->key.data());
  const auto* mask = reinterpret_cast<const uint8_t*>(compiled->mask.data());
  const auto at = [&](Field field) { return rig_.object->key_layout().members[static_cast<size_t>(field)].offset; };
  EXPECT_EQ(key[at(Field::eth_type)], 0x08);
  EXPECT_EQ(key[at(Field::ipv4_src)], 10);
  EXPECT_EQ(key[at(Field::ipv4_src) + 1], 1);
  EXPECT_EQ(mask[at(Field::ipv4_src) + 1], 0xff);
  EXPECT_EQ(mask[at(Field::ipv4_src) + 2], 0);
  EXPECT_EQ(key[at(Field::udp_dst)], 0x12);
  EXPECT_EQ(key[at(Field::udp_dst) + 1], 0);
  size_t bits = 0;
  for (const uint64_t word : compiled->mask) bits += __builtin_popcountll(word);
  EXPECT_EQ(bits, 16 + 16 + 8 + 8);
}

TEST_F(Compiler, Ipv6LabelStandsAtTheEndOfItsMember) {
  const auto compiled = CompileText("eth_type(0x86dd),ipv6(label=0x12345)");
  ASSERT_TRUE(compiled);
  const auto* key = reinterpret_cast<const uint8_t*>(compiled->key.data());
  const KeyMember label = rig_.object->key_layout().members[static_cast<size_t>(Field::ipv6_label)];
  EXPECT_EQ(label.size, 4);
  EXPECT_EQ(key[label.offset], 0);
  EXPECT_EQ(key[label.offset + 1], 0x01);
  EXPECT_EQ(key[label.offset + 2], 0x23);
  EXPECT_EQ(key[label.offset + 3], 0x45);
}

TEST_F(Compiler, UnknownFieldsAreRefusedByName) {
  EXPECT_TRUE(CompileText("recirc_id(0),eth_type(0x0800)"));
  struct Case {
    const char* text;
    const char* name;
    const char* reason;
  };
  for (const auto& [text, name, reason] :
       {Case{"recirc_id(0x1),eth_type(0x0800)", "recirc_id", "unsupported_field"},
        Case{"ct_state(+trk),eth_type(0x0800)", "ct_state", "never_matches"},
        Case{"skb_mark(0x5)", "skb_mark", "unsupported_field"}, Case{"tunnel(tun_id=0x5)", "tun_id", "never_matches"},
        Case{"eth_type(0x86dd),ipv6(proto=58),icmpv6(type=135,code=0),nd(target=fe80::1)", "nd_target",
             "unsupported_field"}}) {
    const auto compiled = CompileText(text);
    ASSERT_FALSE(compiled) << text;
    EXPECT_EQ(compiled.error().reason, reason);
    EXPECT_NE(compiled.error().detail.find(name), std::string::npos) << compiled.error().detail;
  }
}

TEST_F(Compiler, WhatNoPacketHasYetMayBeZero) {
  const auto compiled =
      CompileText("recirc_id(0),skb_priority(0),skb_mark(0),ct_state(-new-est-trk),ct_zone(0),eth_type(0x0800)");
  ASSERT_TRUE(compiled) << compiled.error().detail;
  EXPECT_FALSE(compiled->wider);
  EXPECT_EQ(compiled->mask, CompileText("eth_type(0x0800)")->mask);
}

TEST_F(Compiler, WhatTheKeyLacksMakesTheMatchWider) {
  Match partial;
  partial.SetMasked(Field::in_port, 2, 0xfe);
  const auto compiled = CompileMatch(partial, rig_.object->key_layout());
  ASSERT_TRUE(compiled);
  EXPECT_FALSE(compiled->in_port);
  ASSERT_TRUE(compiled->wider);
  EXPECT_NE(compiled->wider->detail.find("in_port"), std::string::npos);
}

TEST_F(Compiler, OneTerminalComesOfTheOutputs) {
  EXPECT_EQ(Actions("drop")->terminal.type, SLUICE_ACTION_DROP);
  EXPECT_EQ(Actions("push_vlan(vid=1,pcp=0)")->terminal.type, SLUICE_ACTION_DROP);
  EXPECT_EQ(Actions("3")->terminal.type, SLUICE_ACTION_OUTPUT);
  EXPECT_EQ(Actions("3")->terminal.arg, 3);
  EXPECT_EQ(Actions("flood")->terminal.type, SLUICE_ACTION_FLOOD);
  EXPECT_EQ(Actions("push_vlan(vid=1,pcp=0),2,pop_vlan")->edits.size(), 1);  // nothing is output after the pop
  EXPECT_EQ(Actions("push_vlan(vid=1,pcp=0),pop_vlan,2")->edits.size(), 0);
  EXPECT_EQ(Actions("pop_vlan,push_vlan(vid=1,pcp=0),2")->edits.size(), 2);
}

TEST_F(Compiler, SameOutputsShareAGroup) {
  const auto a = Actions("1,2");
  const auto b = Actions("2,1");
  const auto c = Actions("2,1,1");
  ASSERT_TRUE(a);
  ASSERT_TRUE(c);
  EXPECT_EQ(a->group, b->group);
  EXPECT_NE(a->group, c->group);
  EXPECT_EQ(c->group->ports, (std::vector<uint32_t>{1, 1, 2}));
  EXPECT_EQ(rig_.groups->groups_in_use(), 2);
}

TEST_F(Compiler, WhatXdpCannotDoIsRefusedByName) {
  ExpectRefused("1,push_vlan(vid=1,pcp=0),2", "unsupported_action", "push_vlan");
  ExpectRefused("1,pop_vlan,flood", "unsupported_action", "pop_vlan");
  ExpectRefused("1,flood", "unsupported_action", "flood");
  ExpectRefused("userspace(pid=0,controller(reason=1)),2", "unsupported_action", "output");
  ExpectRefused("set(sctp(src=5)),1", "unsupported_action", "set(sctp)");
  ExpectRefused("1,set(ipv4(ttl=5)),2", "unsupported_action", "set(ipv4)");
  ExpectRefused("trunc(100),1", "unsupported_action", "trunc");
  ExpectRefused("dec_ttl(le_1(1,2)),1", "unsupported_action", "dec_ttl");
  ExpectRefused("ct(commit),1", "unsupported_action", "ct");
  ExpectRefused("recirc(0x1)", "unsupported_action", "recirc");
  ExpectRefused("9", "no_such_port", "9");
  ExpectRefused("1,9", "no_such_port", "9");
  std::string many;
  for (int i = 0; i < SLUICE_MAX_EDITS + 1; ++i) many += "push_vlan(vid=1,pcp=0),";
  ExpectRefused(many + "1", "unsupported_action", std::to_string(SLUICE_MAX_EDITS));
}

}  // namespace
}  // namespace sluice::xdp
