// SPDX-License-Identifier: Apache-2.0
// What XDP cannot do: executed in user space on the packets that come up, counted, and shown as software.
#include <string>

#include "two_hosts.h"

namespace sluice::test {
namespace {

constexpr auto kNothing = std::chrono::milliseconds(200);

bool Contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

class PluginSoftwareTest : public TwoHosts {
 protected:
  static constexpr size_t kTtl = 22;  // of an untagged frame
  static constexpr size_t kTos = 15;

  reference::Bytes ReceiveAtB() {
    const auto frame = at_b_->Receive(std::chrono::seconds(5));
    EXPECT_TRUE(frame);
    return frame.value_or(reference::Bytes(64));
  }
};

TEST_F(PluginSoftwareTest, EditsBetweenOutputs) {
  AddPorts();
  const std::string match = "in_port(p0),eth_type(0x0800),ipv4(proto=17)";
  const auto verdict = rig_->Put(match, "p1,set(ipv4(ttl=7)),p1,push_vlan(vid=5,pcp=0),p1");
  EXPECT_EQ(verdict.state(), v1::SOFTWARE);
  EXPECT_EQ(verdict.reason(), "unsupported_action");
  EXPECT_TRUE(Contains(verdict.detail(), "set(ipv4)")) << verdict.detail();
  const auto frame = Udp(1000);
  for (int i = 0; i < 20; ++i) {
    at_a_->Send(frame);
    EXPECT_EQ(ReceiveAtB(), frame);
    EXPECT_EQ(ReceiveAtB()[kTtl], 7);
    const auto tagged = ReceiveAtB();
    EXPECT_EQ(tagged[12], 0x81);
    EXPECT_EQ(tagged[kTtl + 4], 7);
  }
  EXPECT_FALSE(rig_->NextUpcall(kNothing));
  const auto stats = rig_->WaitForStats(match, 20);
  EXPECT_EQ(stats.packets(), 20U);
  EXPECT_EQ(stats.bytes(), 20 * frame.size());
  rig_->WaitForPort("p0", [](const v1::Port& port) {
    return port.counters().at("software") == 20 && port.counters().at("output") == 60;
  });
}

TEST_F(PluginSoftwareTest, ChangesOfAFlowGoBothWays) {
  AddPorts();
  const std::string match = "in_port(p0),eth_type(0x0800)";
  const auto frame = Udp(1000);
  EXPECT_EQ(rig_->Put(match, "p1").state(), v1::INSTALLED);
  at_a_->Send(frame);
  EXPECT_EQ(ReceiveAtB(), frame);
  EXPECT_EQ(rig_->Put(match, "trunc(20),p1").state(), v1::SOFTWARE);
  at_a_->Send(frame);
  EXPECT_EQ(ReceiveAtB().size(), 20U);
  EXPECT_EQ(rig_->Put(match, "set(ipv4(tos=4)),p1").state(), v1::INSTALLED);
  at_a_->Send(frame);
  EXPECT_EQ(ReceiveAtB()[kTos], 4);
  EXPECT_EQ(rig_->WaitForStats(match, 3).packets(), 3U);
  rig_->Delete(match);
  at_a_->Send(frame);
  EXPECT_TRUE(rig_->NextUpcall());
  EXPECT_FALSE(at_b_->Receive(kNothing));
}

TEST_F(PluginSoftwareTest, PrioritiesHoldAcrossXdpAndSoftware) {
  AddPorts();
  ASSERT_EQ(rig_->Put("in_port(p0),eth_type(0x0800)", "set(ipv4(tos=4)),p1", 1).state(), v1::INSTALLED);
  ASSERT_EQ(rig_->Put("in_port(p0),eth_type(0x0800),ipv4(proto=17),udp(dst=53)", "trunc(40),p1", 2).state(),
            v1::SOFTWARE);
  ASSERT_EQ(rig_->Put("in_port(p0),eth_type(0x0800),ipv4(proto=17),udp(src=2000)", "set(ipv4(tos=8)),p1", 3).state(),
            v1::INSTALLED);
  at_a_->Send(Udp(1000));
  EXPECT_EQ(ReceiveAtB().size(), 40U);
  at_a_->Send(Udp(2000));
  EXPECT_EQ(ReceiveAtB()[kTos], 8);
  rig_->Delete("in_port(p0),eth_type(0x0800),ipv4(proto=17),udp(dst=53)");
  at_a_->Send(Udp(1000));
  EXPECT_EQ(ReceiveAtB()[kTos], 4);
}

// The key has no room for a partial in_port: such a flow's record takes all packets, and user space tells which are
// its.
TEST_F(PluginSoftwareTest, MatchesThatTheKeyCannotSay) {
  AddPorts();
  const std::string odd = "in_port(1/0x1),eth_type(0x0800),ipv4(proto=17)";
  const auto verdict = rig_->Put(odd, "set(ipv4(ttl=9)),p1", 5);
  EXPECT_EQ(verdict.state(), v1::SOFTWARE) << verdict.detail();
  EXPECT_EQ(verdict.reason(), "unsupported_field");
  EXPECT_TRUE(Contains(verdict.detail(), "in_port")) << verdict.detail();
  const auto frame = Udp(1000);
  at_a_->Send(frame);
  EXPECT_EQ(ReceiveAtB()[kTtl], 9);
  // Port 2 is even: none of the flow's, and without another flow a miss.
  at_b_->Send(frame);
  const auto miss = rig_->NextUpcall();
  ASSERT_TRUE(miss);
  EXPECT_EQ(miss->reason(), "miss");
  EXPECT_EQ(miss->in_port(), "p1");
  // With one: that one has it, below the priority of the other.
  const std::string below = "in_port(p1),eth_type(0x0800)";
  ASSERT_EQ(rig_->Put(below, "set(ipv4(ttl=8)),p0", 1).state(), v1::INSTALLED);
  at_b_->Send(frame);
  const auto back = at_a_->Receive(std::chrono::seconds(5));
  ASSERT_TRUE(back);
  EXPECT_EQ((*back)[kTtl], 8);
  // Each counts its own.
  EXPECT_EQ(rig_->WaitForStats(odd, 1).packets(), 1U);
  EXPECT_EQ(rig_->WaitForStats(below, 1).packets(), 1U);
  // When the record goes, what it counted of others' packets is not the flow's.
  rig_->Delete(odd);
  EXPECT_EQ(rig_->WaitForStats(odd, 1).packets(), 1U);
}

TEST_F(PluginSoftwareTest, IsSwitchedOffByPort) {
  AddPorts({{"software", "no"}});
  const auto verdict = rig_->Put("in_port(p0),eth_type(0x0800)", "trunc(20),p1");
  EXPECT_EQ(verdict.state(), v1::REFUSED);
  EXPECT_EQ(verdict.reason(), "unsupported_action");
  EXPECT_TRUE(Contains(verdict.detail(), "trunc")) << verdict.detail();
  EXPECT_TRUE(Contains(verdict.detail(), "software is no")) << verdict.detail();
}

TEST_F(PluginSoftwareTest, WhatNeitherCanIsRefused) {
  AddPorts();
  EXPECT_EQ(rig_->Put("in_port(p0),eth_type(0x0800)", "recirc(0x5)").state(), v1::REFUSED);
  const auto port = rig_->Put("in_port(p0),eth_type(0x0800)", "trunc(20),p1,trunc(30),set(ipv4(ttl=1)),p0");
  EXPECT_EQ(port.state(), v1::SOFTWARE) << port.detail();
  rig_->DeletePort("p1");
  const auto gone = rig_->Put("in_port(p0),eth_type(0x0800)", "dec_ttl(le_1(p0,p1)),p0");
  EXPECT_EQ(gone.state(), v1::REFUSED);
}

TEST_F(PluginSoftwareTest, UpcallsAndDropsOfSoftwareFlowsAreTold) {
  AddPorts();
  const std::string match = "in_port(p0),eth_type(0x0800),ipv4(proto=17)";
  ASSERT_EQ(rig_->Put(match, "p1,upcall(max_len=30)").state(), v1::SOFTWARE);
  const auto frame = Udp(1000);
  at_a_->Send(frame);
  EXPECT_EQ(ReceiveAtB(), frame);
  const auto upcall = rig_->NextUpcall();
  ASSERT_TRUE(upcall);
  EXPECT_EQ(upcall->reason(), "action");
  EXPECT_EQ(upcall->data(), Text(frame).substr(0, 30));
  EXPECT_EQ(upcall->length(), frame.size());
  EXPECT_FALSE(upcall->ufid().empty());
}

// Packets out have the flow of the table, with its counters, and all actions.
TEST_F(PluginSoftwareTest, PacketsOutTakeTheSamePath) {
  AddPorts();
  const std::string match = "in_port(p0),eth_type(0x0800)";
  ASSERT_EQ(rig_->Put(match, "set(ipv4(ttl=5)),p1").state(), v1::INSTALLED);
  const auto frame = Udp(1000);
  rig_->PacketOut("p0", Text(frame));
  EXPECT_EQ(ReceiveAtB()[kTtl], 5);
  EXPECT_EQ(rig_->WaitForStats(match, 1).packets(), 1U);
  rig_->PacketOut("p0", Text(frame), "p1,dec_ttl,p1");
  EXPECT_EQ(ReceiveAtB(), frame);
  EXPECT_EQ(ReceiveAtB()[kTtl], 63);
  EXPECT_EQ(rig_->WaitForStats(match, 1).packets(), 1U);
  rig_->Delete(match);
  rig_->PacketOut("p0", Text(frame));
  const auto miss = rig_->NextUpcall();
  ASSERT_TRUE(miss);
  EXPECT_EQ(miss->reason(), "miss");
}

}  // namespace
}  // namespace sluice::test
