// SPDX-License-Identifier: Apache-2.0
// Action lists that lead out of a pass, as steps; and the table of these.
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "sluice/flow_text.h"
#include "step_table.h"
#include "table_rig.h"

namespace sluice::xdp {
namespace {

TEST(StepTable, EqualStepsAreOneAsLongAsSomebodyHoldsIt) {
  std::vector<sluice_step> memory(2);
  StepTable table(memory);
  sluice_step step{};
  step.zone = 1;
  auto first = *table.Acquire(step, nullptr);
  auto same = *table.Acquire(step, nullptr);
  EXPECT_EQ(first, same);
  EXPECT_EQ(memory[first->index].zone, 1);
  step.zone = 2;
  auto second = *table.Acquire(step, first);
  EXPECT_NE(second->index, first->index);
  EXPECT_EQ(table.in_use(), 2U);
  step.zone = 3;
  const auto full = table.Acquire(step, nullptr);
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().reason, "table_full");
  EXPECT_EQ(table.in_use(), 2U);
  // What a step refers to stays with it.
  const std::weak_ptr<const Step> watched = first;
  first = same = nullptr;
  EXPECT_FALSE(watched.expired());
  second = nullptr;
  EXPECT_TRUE(watched.expired());
  EXPECT_EQ(table.in_use(), 0U);
  EXPECT_TRUE(table.Acquire(step, nullptr));
}

TEST(StepTable, StepsMayOutliveIt) {
  std::vector<sluice_step> memory(1);
  std::shared_ptr<const Step> step;
  {
    StepTable table(memory);
    step = *table.Acquire({}, nullptr);
  }
  step = nullptr;
}

class StepCompiler : public testing::Test {
 protected:
  static constexpr uint32_t kTunnel = 100;

  StepCompiler() {
    programs_ = rig_.object->meta();
    tunnel_.number = kTunnel;
    tunnel_.settings.dst_port = 4789;
    tunnel_.settings.csum = SLUICE_STEP_CSUM_VERIFY;
    tunnel_.underlay = 2;
    tunnel_.ifindex = 1;
    tunnel_.mtu = 1500;
    context_.steps = &table_;
    context_.programs = &programs_;
    context_.missing = {"needs_recirc", "there are none"};
    context_.zones = true;
    context_.tunnel = [this](uint32_t port) { return port == kTunnel ? &tunnel_ : nullptr; };
    context_.mtu = [](uint32_t /*port*/) { return 1400U; };
  }
  Result<CompiledActions> Compile(const std::string& text) {
    const auto actions = ParseActions(text);
    EXPECT_TRUE(actions) << text << ": " << actions.error().detail;
    return CompileActions(*actions, rig_.object->meta(), *rig_.groups, Wait::kAllowed, &context_);
  }
  void ExpectRefused(const std::string& text, const std::string& reason, const std::string& naming) {
    const auto compiled = Compile(text);
    ASSERT_FALSE(compiled) << text;
    EXPECT_EQ(compiled.error().reason, reason) << text;
    EXPECT_NE(compiled.error().detail.find(naming), std::string::npos) << compiled.error().detail;
  }
  [[nodiscard]] const sluice_step& At(uint32_t index) const { return memory_[index]; }

  TableRig rig_;
  ObjectMeta programs_;
  TunnelPort tunnel_;
  std::vector<sluice_step> memory_ = std::vector<sluice_step>(16);
  StepTable table_{memory_};
  PassContext context_;
};

TEST_F(StepCompiler, EachStepLeadsToTheNext) {
  const auto compiled = Compile("set(ipv4(ttl=3)),ct(commit,zone=7,mark=0x12/0xf),ct_clear,recirc(0x9)");
  ASSERT_TRUE(compiled) << compiled.error().detail;
  EXPECT_EQ(compiled->edits.size(), 1U);
  ASSERT_EQ(compiled->terminal.type, SLUICE_ACTION_CT);
  const sluice_step& ct = At(compiled->terminal.arg);
  EXPECT_EQ(ct.flags, SLUICE_STEP_COMMIT | SLUICE_STEP_MARK);
  EXPECT_EQ(ct.zone, 7);
  EXPECT_EQ(ct.mark, 0x2U);
  EXPECT_EQ(ct.mark_mask, 0xfU);
  ASSERT_EQ(ct.terminal, SLUICE_ACTION_CT);
  const sluice_step& clear = At(ct.terminal_arg);
  EXPECT_EQ(clear.flags, SLUICE_STEP_CT_CLEAR);
  EXPECT_EQ(clear.terminal, SLUICE_ACTION_RECIRC);
  EXPECT_EQ(clear.terminal_arg, 9U);
  EXPECT_EQ(Compile("ct(commit,zone=7,mark=0x2/0xf),ct_clear,recirc(0x9)")->terminal.arg, compiled->terminal.arg);
  EXPECT_EQ(table_.in_use(), 2U);
}

TEST_F(StepCompiler, WhatFollowsAStepIsItsTerminal) {
  const auto terminal = [&](const std::string& text) {
    const auto compiled = Compile(text);
    EXPECT_TRUE(compiled) << compiled.error().detail;
    const sluice_step& step = At(compiled->terminal.arg);
    return std::pair{step.terminal, step.terminal_arg};
  };
  EXPECT_EQ(terminal("ct,3"), (std::pair<uint32_t, uint32_t>{SLUICE_ACTION_OUTPUT, 3}));
  EXPECT_EQ(terminal("ct(commit)"), (std::pair<uint32_t, uint32_t>{SLUICE_ACTION_DROP, 0}));
  EXPECT_EQ(terminal("ct,upcall(max_len=5)"), (std::pair<uint32_t, uint32_t>{SLUICE_ACTION_USERSPACE, 5}));
  EXPECT_EQ(terminal("ct,1,2").first, SLUICE_ACTION_GROUP);
  EXPECT_EQ(terminal("tnl_pop(100)"), (std::pair<uint32_t, uint32_t>{SLUICE_ACTION_RECIRC, 0}));
  // An edit before ct counts for what ct sees, if for nobody else.
  EXPECT_EQ(Compile("set(ipv4(ttl=3)),ct(commit)")->edits.size(), 1U);
}

TEST_F(StepCompiler, APopKnowsItsTunnel) {
  const auto compiled = Compile("tnl_pop(100)");
  ASSERT_TRUE(compiled) << compiled.error().detail;
  EXPECT_EQ(compiled->terminal.type, SLUICE_ACTION_TNL_POP);
  const sluice_step& pop = At(compiled->terminal.arg);
  EXPECT_EQ(pop.flags, SLUICE_STEP_CSUM_VERIFY);
  EXPECT_EQ(pop.tp_dst, 4789);
  EXPECT_EQ(pop.tunnel_port, kTunnel);
  EXPECT_EQ(pop.tunnel_type, SLUICE_TUNNEL_VXLAN);
}

TEST_F(StepCompiler, APushHasItsHeaderAsItGoesOut) {
  const auto compiled = Compile(
      "tnl_push(tnl_port(100),header(size=50,type=4,eth(dst=02:00:00:00:00:22,src=02:00:00:00:00:11,dl_type=0x0800),"
      "ipv4(src=192.0.2.1,dst=192.0.2.2,proto=17,tos=0,ttl=64,frag=0x4000),udp(src=0,dst=4789,csum=0xffff),"
      "vxlan(flags=0x8000000,vni=0x2a)),out_port(3))");
  ASSERT_TRUE(compiled) << compiled.error().detail;
  const sluice_step& push = At(compiled->terminal.arg);
  EXPECT_EQ(push.flags, SLUICE_STEP_CSUM);
  EXPECT_EQ(push.header_length, 50U);
  EXPECT_EQ(push.mtu, 1400U);
  EXPECT_EQ(push.terminal, SLUICE_ACTION_OUTPUT);
  EXPECT_EQ(push.terminal_arg, 3U);
  EXPECT_EQ(push.header[5], 0x22);
  EXPECT_EQ(push.header[48], 0x2a);
  EXPECT_EQ(push.header[40] | push.header[41], 0) << "the program writes the checksum";
}

TEST_F(StepCompiler, HeadersAreMadeOfTheSet) {
  const auto header = [&](const std::string& set) {
    auto match = ParseActions("set(tunnel(" + set + "))");
    EXPECT_TRUE(match) << match.error().detail;
    const auto step = PushStep(tunnel_, std::get<SetField>((*match)[0]).fields);
    EXPECT_TRUE(step) << step.error().detail;
    return step ? *step : sluice_step{};
  };
  tunnel_.ifindex = 0;  // no device that might not forward
  const auto ipv4 = header("tun_id=0x123456,src=192.0.2.1,dst=192.0.2.2,tos=0x4,ttl=9,tp_src=77,flags(df|csum|key)");
  EXPECT_EQ(ipv4.flags, SLUICE_STEP_FIB | SLUICE_STEP_CSUM);
  EXPECT_EQ(ipv4.mtu, 1500U);
  EXPECT_EQ(ipv4.terminal_arg, 2U);
  const uint8_t expected[] = {0, 0,  0,    0,    0, 0, 0,  0, 0, 0,   0, 0, 8,    0,    0x45, 4, 0,
                              0, 0,  0,    0x40, 0, 9, 17, 0, 0, 192, 0, 2, 1,    192,  0,    2, 2,
                              0, 77, 0x12, 0xb5, 0, 0, 0,  0, 8, 0,   0, 0, 0x12, 0x34, 0x56, 0};
  ASSERT_EQ(ipv4.header_length, sizeof(expected));
  EXPECT_EQ(std::memcmp(ipv4.header, expected, sizeof(expected)), 0);

  const auto ipv6 = header("tun_id=0x1,ipv6_src=fd00::1,ipv6_dst=fd00::2,tos=0x81");
  EXPECT_EQ(ipv6.flags, SLUICE_STEP_FIB | SLUICE_STEP_CSUM) << "always over IPv6";
  EXPECT_EQ(ipv6.header_length, 70U);
  EXPECT_EQ(ipv6.header[14], 0x68);
  EXPECT_EQ(ipv6.header[15], 0x10);
  EXPECT_EQ(ipv6.header[21], 64);

  tunnel_.settings.type = SLUICE_TUNNEL_GENEVE;
  const auto geneve = header("tun_id=0x2a,src=192.0.2.1,dst=192.0.2.2,tp_dst=7000,flags(oam|key)");
  EXPECT_EQ(geneve.header_length, 50U);
  EXPECT_EQ(geneve.header[36] << 8 | geneve.header[37], 7000);
  EXPECT_EQ(geneve.header[43], 0x80);
  EXPECT_EQ(geneve.header[44] << 8 | geneve.header[45], 0x6558);
  EXPECT_EQ(geneve.header[48], 0x2a);

  tunnel_.settings.type = SLUICE_TUNNEL_GRE;
  const auto gre = header("tun_id=0xfffffffe,src=192.0.2.1,dst=192.0.2.2");
  EXPECT_EQ(gre.header_length, 42U);
  EXPECT_EQ(gre.header[23], 47);
  EXPECT_EQ(gre.header[34], 0x20);
  EXPECT_EQ(gre.header[41], 0xfe);
  EXPECT_EQ(header("src=192.0.2.1,dst=192.0.2.2").header_length, 38U) << "without a key";
  const auto summed = header("tun_id=0xfffffffe,src=192.0.2.1,dst=192.0.2.2,flags(csum|key)");
  EXPECT_EQ(summed.header_length, 46U);
  EXPECT_EQ(summed.header[34], 0xa0);
  EXPECT_EQ(summed.header[45], 0xfe);
}

TEST_F(StepCompiler, WhatCannotBeIsNamed) {
  ExpectRefused("recirc(0x1),1", "unsupported_action", "recirc before output");
  ExpectRefused("tnl_pop(100),1", "unsupported_action", "tnl_pop before output");
  ExpectRefused("1,ct", "unsupported_action", "ct together with other outputs");
  ExpectRefused("ct,push_vlan(vid=1),1", "unsupported_action", "push_vlan after ct: put it behind a recirc");
  ExpectRefused("ct,set(ipv4(ttl=1)),1", "unsupported_action", "set(ipv4) after ct: put it behind a recirc");
  ExpectRefused("ct,dec_ttl,1", "unsupported_action", "dec_ttl after ct: put it behind a recirc");
  ExpectRefused("ct(commit,label=0x1),1", "unsupported_action", "label");
  ExpectRefused("tnl_pop(3)", "no_such_port", "Port 3");
  ExpectRefused("100", "unsupported_action", "without set(tunnel())");
  ExpectRefused("set(tunnel(dst=192.0.2.2)),1", "unsupported_action", "no output to a tunnel port follows");
  ExpectRefused("ct,77", "no_such_port", "77");
  context_.zones = false;
  ExpectRefused("ct(zone=1),1", "unsupported_action", "zone");
  EXPECT_TRUE(Compile("ct,1"));
  programs_.actions &= ~(1U << SLUICE_ACTION_CT);
  context_.why_no_ct = "this kernel has no bpf_xdp_ct_lookup";
  ExpectRefused("ct,1", "unsupported_action", "this kernel has no bpf_xdp_ct_lookup");
  ExpectRefused("ct_clear,1", "unsupported_action", "this kernel has no bpf_xdp_ct_lookup");
  EXPECT_TRUE(Compile("recirc(0x1)"));
  context_.programs = nullptr;
  ExpectRefused("recirc(0x1)", "needs_recirc", "there are none");
  ExpectRefused("ct,1", "needs_recirc", "there are none");
  EXPECT_EQ(table_.in_use(), 0U);
}

}  // namespace
}  // namespace sluice::xdp
