// SPDX-License-Identifier: Apache-2.0
// Packets that take several passes, through the plugin.
#include <string>

#include "passes_rig.h"

namespace sluice::test {
namespace {

constexpr auto kNothing = std::chrono::milliseconds(200);
constexpr size_t kTtl = 22;  // of an untagged frame

bool Contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

class PluginPassesTest : public Passes {
 protected:
  void ExpectRefused(const std::string& match, const std::string& actions, const std::string& reason,
                     const std::string& said) {
    const auto verdict = rig_->Put(match, actions);
    EXPECT_EQ(verdict.state(), v1::REFUSED) << match << " -> " << actions;
    EXPECT_EQ(verdict.reason(), reason) << match << " -> " << actions << ": " << verdict.detail();
    EXPECT_TRUE(Contains(verdict.detail(), said)) << verdict.detail();
  }
};

TEST_F(PluginPassesTest, ThePacketIsLookedUpAgainAsRewritten) {
  AddPorts();
  const std::string first = "in_port(p0),eth_type(0x0800),ipv4(proto=17)";
  const std::string second = "recirc_id(0x1),in_port(p0),eth_type(0x0800),ipv4(ttl=9)";
  MustPut(first, "set(ipv4(ttl=9)),recirc(0x1)");
  MustPut(second, "set(ipv4(ttl=7)),p1");
  auto frame = Udp(1000);
  for (int i = 0; i < 10; ++i) at_a_->Send(frame);
  for (int i = 0; i < 10; ++i) {
    const auto received = at_b_->Receive();
    ASSERT_TRUE(received);
    EXPECT_EQ((*received)[kTtl], 7);
  }
  EXPECT_EQ(rig_->WaitForStats(first, 10).packets(), 10U);
  const auto stats = rig_->WaitForStats(second, 10);
  EXPECT_EQ(stats.packets(), 10U);
  EXPECT_EQ(stats.bytes(), 10 * frame.size());
  auto counters = Counters("p0", "output", 10);
  EXPECT_EQ(counters["output"], 10U);
  EXPECT_EQ(counters["recirculated"], 10U);
  EXPECT_EQ(counters["pass_hit_cache"] + counters["pass_hit_table"], 10U);
  EXPECT_EQ(counters["rx_packets"], 10U);
  EXPECT_EQ(counters["rx_bytes"], 10 * frame.size());
  EXPECT_EQ(counters["missed_tail_call"], 0U);
  // Of the second pass nothing is left.
  rig_->Delete(second);
  at_a_->Send(frame);
  ASSERT_TRUE(rig_->NextUpcall());
}

TEST_F(PluginPassesTest, AMissGoesUpWithItsPassAndComesBackAsAFlow) {
  AddPorts();
  MustPut("in_port(p0)", "set(eth(dst=02:00:00:00:00:77)),recirc(0x2a)");
  const auto frame = Udp(1000);
  at_a_->Send(frame);
  const auto upcall = rig_->NextUpcall();
  ASSERT_TRUE(upcall);
  EXPECT_EQ(upcall->reason(), "miss");
  EXPECT_EQ(upcall->in_port(), "p0");
  EXPECT_EQ(upcall->data().size(), frame.size());
  EXPECT_EQ(upcall->data()[5], 0x77);
  EXPECT_EQ(upcall->match(),
            "recirc_id(0x2a),in_port(p0),eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:77),eth_type(0x0800),"
            "ipv4(src=10.0.0.1,dst=10.0.0.2,proto=17,tos=0,ttl=64,frag=no),udp(src=1000,dst=53)");
  MustPut(upcall->match(), "p1");
  // The flow of its first pass is nothing that software could do.
  rig_->PacketOut("p0", Text(frame));
  EXPECT_TRUE(at_b_->Receive());
  at_a_->Send(frame);
  EXPECT_TRUE(at_b_->Receive());
  EXPECT_FALSE(rig_->NextUpcall(kNothing));
  EXPECT_EQ(rig_->WaitForStats(upcall->match(), 2).packets(), 2U);
}

TEST_F(PluginPassesTest, UpcallsAndSoftwareOfLaterPassesHaveTheirFlow) {
  AddPorts({{"miss", "drop"}});
  MustPut("in_port(p0)", "recirc(0x1)");
  const std::string up = "recirc_id(0x1),eth_type(0x0800),ipv4(proto=17),udp(src=1)";
  const std::string soft = "recirc_id(0x1),eth_type(0x0800),ipv4(proto=17),udp(src=2)";
  MustPut(up, "upcall(max_len=20)");
  EXPECT_EQ(Put(soft, "p1,set(ipv4(ttl=7)),p1").state(), v1::SOFTWARE);
  at_a_->Send(Udp(1));
  const auto upcall = rig_->NextUpcall();
  ASSERT_TRUE(upcall);
  EXPECT_EQ(upcall->reason(), "action");
  EXPECT_EQ(upcall->ufid(), ParseMatch(up)->DeriveUfid().ToString());
  EXPECT_EQ(upcall->data(), Text(Udp(1)).substr(0, 20));
  EXPECT_EQ(upcall->length(), Udp(1).size());
  at_a_->Send(Udp(2));
  EXPECT_TRUE(at_b_->Expect(Udp(2)));
  const auto second = at_b_->Receive();
  ASSERT_TRUE(second);
  EXPECT_EQ((*second)[kTtl], 7);
  EXPECT_EQ(rig_->WaitForStats(soft, 1).packets(), 1U);
  at_a_->Send(Udp(3));
  EXPECT_EQ(Counters("p0", "miss_drop", 1)["pass_miss"], 1U);
}

TEST_F(PluginPassesTest, ALoopEndsAfterSoManyPasses) {
  AddPorts();
  MustPut("in_port(p0)", "recirc(0x1)");
  MustPut("recirc_id(0x1)", "recirc(0x1)");
  at_a_->Send(Udp(1));
  auto counters = Counters("p0", "depth_exceeded", 1);
  EXPECT_EQ(counters["depth_exceeded"], 1U);
  EXPECT_EQ(counters["missed_tail_call"], 0U);
  EXPECT_EQ(rig_->WaitForStats("recirc_id(0x1)", 8).packets(), 8U);
}

TEST_F(PluginPassesTest, InPortMayBeLeftOutOrNamed) {
  AddPorts();
  MustPut("in_port(p0)", "recirc(0x1)");
  MustPut("in_port(p1)", "recirc(0x1)");
  MustPut("recirc_id(0x1)", "p1", 1);
  MustPut("recirc_id(0x1),in_port(p1)", "p0", 2);
  at_a_->Send(Udp(1));
  EXPECT_TRUE(at_b_->Expect(Udp(1)));
  at_b_->Send(Udp(2));
  EXPECT_TRUE(at_a_->Expect(Udp(2)));
  EXPECT_EQ(Counters("p1", "pass_hit_table", 1)["pass_hit_table"], 1U);
}

TEST_F(PluginPassesTest, SeveralOutputsAfterAPass) {
  AddPorts();
  MustPut("in_port(p0)", "recirc(0x1)");
  MustPut("recirc_id(0x1)", "p0,p1");
  at_a_->Send(Udp(1));
  EXPECT_TRUE(at_b_->Expect(Udp(1)));
  EXPECT_TRUE(at_a_->Expect(Udp(1)));
}

TEST_F(PluginPassesTest, WhatCannotBeIsRefusedByName) {
  AddPorts();
  const std::string in = "in_port(p0),eth_type(0x0800)";
  ExpectRefused(in, "recirc(0x1),p1", "unsupported_action", "recirc before output");
  ExpectRefused(in, "p1,recirc(0x1)", "unsupported_action", "recirc together with other outputs");
  ExpectRefused(in, "tnl_pop(p1)", "no_such_port", "not a tunnel port");
  ExpectRefused(in, "set(tunnel(tun_id=0x1,dst=10.0.0.9)),p1", "unsupported_action", "no output to a tunnel port");
  ExpectRefused("recirc_id(0x10/0xf0)", "p1", "unsupported_field", "recirc_id");
  ExpectRefused("recirc_id(0x1),in_port(77)", "p1", "no_such_port", "77");
  ExpectRefused("recirc_id(0x1),ct_label(0x1)", "p1", "unsupported_field", "ct_label");
  ExpectRefused(in, "dec_ttl(le_1(recirc(0x1))),p1", "unsupported_action", "dec_ttl");
}

// The core tells of nothing that another plugin brings.
class PluginWithoutPassesTest : public PluginPassesTest {
 protected:
  PluginWithoutPassesTest() { serial_ = 0; }
};

TEST_F(PluginWithoutPassesTest, AnObjectThatCannotBeLoadedIsNamed) {
  AddPorts();
  rig_->Extend(2, "/nowhere/passes.bpf.o");
  ExpectRefused("in_port(p0)", "recirc(0x1)", "needs_recirc", "There is no BPF object /nowhere/passes.bpf.o");
  EXPECT_TRUE(Contains(rig_->log(), "/nowhere/passes.bpf.o"));
}

}  // namespace
}  // namespace sluice::test
