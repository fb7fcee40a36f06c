// SPDX-License-Identifier: Apache-2.0
// A port with an object of one's own (bpf/CONTRACT.md's example), through the plugin, with packets.
#include <string>

#include "two_hosts.h"

namespace sluice::test {
namespace {

const std::string kExample = SLUICE_BPF_DIR "/ipv4_hosts.bpf.o";

bool Contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

class PluginObjectTest : public TwoHosts {};

TEST_F(PluginObjectTest, FlowsThatFitForwardAndOthersAreNamed) {
  AddPorts({{"object", kExample}, {"miss", "drop"}});
  const auto put = [&](const std::string& match, const std::string& actions) {
    return rig_->Put("in_port(p0)," + match, actions);
  };
  const std::string host = "eth_type(0x0800),ipv4(dst=10.0.0.2,proto=17)";
  const auto fits = put(host, "p1");
  EXPECT_EQ(fits.state(), v1::INSTALLED) << fits.detail();
  const auto frame = Udp(1000);
  for (int i = 0; i < 5; ++i) at_a_->Send(frame);
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(at_b_->Expect(frame));
  EXPECT_EQ(rig_->WaitForStats("in_port(p0)," + host, 5).packets(), 5U);

  const auto field = put("eth_type(0x0800),ipv4(src=10.0.0.1)", "p1");
  EXPECT_EQ(field.state(), v1::REFUSED);
  EXPECT_EQ(field.reason(), "unsupported_field");
  EXPECT_TRUE(Contains(field.detail(), "ipv4_src")) << field.detail();
  const auto action = put("eth_type(0x0800),ipv4(dst=10.0.0.3)", "push_vlan(vid=5,pcp=0),p1");
  EXPECT_EQ(action.state(), v1::REFUSED);
  EXPECT_EQ(action.reason(), "unsupported_action");
  EXPECT_TRUE(Contains(action.detail(), "push_vlan")) << action.detail();
  EXPECT_TRUE(Contains(action.detail(), "software")) << action.detail();
  EXPECT_FALSE(at_b_->Receive(std::chrono::milliseconds(100)));
}

TEST_F(PluginObjectTest, PortsOfDifferentObjectsForwardToEachOther) {
  ASSERT_EQ(rig_->AddPort("p0", 1, {{"object", "ipv4_hosts.bpf.o"}, {"miss", "drop"}}).state(), "up");
  ASSERT_EQ(rig_->AddPort("p1", 2).state(), "up");
  ASSERT_EQ(rig_->Put("in_port(p0),eth_type(0x0800),ipv4(dst=10.0.0.2)", "p1").state(), v1::INSTALLED);
  ASSERT_EQ(rig_->Put("in_port(p1),eth_type(0x0800),ipv4(src=10.0.0.1)", "set(ipv4(ttl=3)),p0").state(), v1::INSTALLED);
  // In the tables of both, whose keys differ.
  ASSERT_EQ(rig_->Put("eth_type(0x0800),ipv4(dst=10.0.0.9)", "drop").state(), v1::INSTALLED);
  const auto frame = Udp(1000);
  at_a_->Send(frame);
  EXPECT_TRUE(at_b_->Expect(frame));
  at_b_->Send(frame);
  const auto back = at_a_->Receive(std::chrono::seconds(5));
  ASSERT_TRUE(back);
  EXPECT_EQ((*back)[22], 3);
}

// Programs that are tail-called live in a map, which empties itself when nobody holds it.
TEST_F(PluginObjectTest, AKeptPortGoesOnMakingTailCalls) {
  const PortOptions options = {{"object", SLUICE_TEST_TAIL_CALLS}, {"miss", "drop"}};
  AddPorts(options);
  const std::string match = "in_port(p0),eth_type(0x0800),ipv4(dst=10.0.0.2)";
  ASSERT_EQ(rig_->Put(match, "p1").state(), v1::INSTALLED);
  const auto frame = Udp(1000);
  at_a_->Send(frame);
  EXPECT_TRUE(at_b_->Expect(frame));
  rig_->Stop(true);
  at_a_->Send(frame);
  EXPECT_TRUE(at_b_->Expect(frame));
  ASSERT_EQ(rig_->Start(), "");
  AddPorts(options);
  ASSERT_EQ(rig_->Put(match, "p1").state(), v1::INSTALLED);
  rig_->Synced();
  at_a_->Send(frame);
  EXPECT_TRUE(at_b_->Expect(frame));
  EXPECT_EQ(rig_->WaitForStats(match, 3).packets(), 3U);
}

TEST_F(PluginObjectTest, WhatIsWrongIsSaid) {
  const auto port = [&](const PortOptions& options) { return rig_->AddPort("p0", 1, options); };
  for (const auto& [options, said] : std::initializer_list<std::pair<PortOptions, const char*>>{
           {{{"object", kExample}}, "miss=upcall"},
           {{{"object", "/nowhere/x.bpf.o"}}, "There is no BPF object /nowhere/x.bpf.o"},
           {{{"object", "/proc/self/exe"}}, "/proc/self/exe"},
           {{{"object", "a/b.o"}}, "'a/b.o'"},
           {{{"software", "maybe"}}, "software"},
           {{{"cache", "1000"}}, "power of two"}}) {
    const auto failed = port(options);
    EXPECT_EQ(failed.state(), "failed");
    EXPECT_TRUE(Contains(failed.detail(), said)) << failed.detail();
  }
  EXPECT_EQ(port({}).state(), "up");
}

}  // namespace
}  // namespace sluice::test
