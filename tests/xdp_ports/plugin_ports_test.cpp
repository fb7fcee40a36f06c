// SPDX-License-Identifier: Apache-2.0
// Ports of the plugin: added, deleted, with devices that vanish and come back.
#include <gtest/gtest.h>

#include <algorithm>

#include "device.h"
#include "one_veth.h"
#include "plugin_rig.h"
#include "support/process.h"
#include "trivial_program.h"

namespace sluice::test {
namespace {

bool Contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

class PluginPortsTest : public OneVeth {
 protected:
  void SetUp() override {
    OneVeth::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    rig_ = std::make_unique<PluginRig>(*here_, run_dir_.path());
    ASSERT_EQ(rig_->Start(), "");
  }
  [[nodiscard]] std::string Features() const {
    return RunOrThrow({"ethtool", "-k", "p0"}, {.netns = here_.get()}) +
           RunOrThrow({"ethtool", "-k", "eth0"}, {.netns = there_.get()});
  }
  uint32_t ProgramOf(const std::string& device) {
    uint32_t id = 0;
    here_->Do([&] { id = xdp::QueryDevice(device)->program_id; });
    return id;
  }

  TempDir run_dir_;
  std::unique_ptr<PluginRig> rig_;
};

TEST_F(PluginPortsTest, SaysWhatItCanDo) {
  const auto& capabilities = rig_->hello().capabilities();
  const auto has = [](const auto& list, const std::string& name) {
    return std::find(list.begin(), list.end(), name) != list.end();
  };
  for (const auto* field : {"in_port", "eth_src", "vlan_tci", "ipv6_dst", "tcp_flags", "arp_op", "icmpv6_code"}) {
    EXPECT_TRUE(has(capabilities.fields(), field)) << field;
  }
  EXPECT_FALSE(has(capabilities.fields(), "ct_state"));
  for (const auto* action : {"output", "push_vlan", "pop_vlan", "drop", "flood"}) {
    EXPECT_TRUE(has(capabilities.actions(), action)) << action;
  }
}

TEST_F(PluginPortsTest, AddsAPortAndPutsEverythingBackWhenItGoes) {
  const auto before = Features();
  const auto port = rig_->AddPort("p0", 1, {{"max_flows", "1000"}});
  ASSERT_EQ(port.state(), "up") << port.detail();
  EXPECT_EQ(port.number(), 1U);
  EXPECT_EQ(port.info().at("mode"), "native");
  EXPECT_EQ(port.info().at("driver"), "veth");
  EXPECT_EQ(port.info().at("miss"), "upcall");
  EXPECT_EQ(port.info().at("peer"), "eth0 in netns " + there_->name());
  EXPECT_TRUE(Contains(port.info().at("changed"), "peer rx-gro on")) << port.info().at("changed");
  EXPECT_EQ(port.info().count("warning"), 0U) << port.info().at("warning");
  EXPECT_EQ(port.counters().at("rx_packets"), 0U);
  EXPECT_NE(ProgramOf("p0"), 0U);
  EXPECT_NE(Features(), before);
  rig_->DeletePort("p0");
  EXPECT_EQ(ProgramOf("p0"), 0U);
  EXPECT_EQ(Features(), before);
}

TEST_F(PluginPortsTest, PutsEverythingBackWhenItStops) {
  const auto before = Features();
  ASSERT_EQ(rig_->AddPort("p0", 1).state(), "up");
  rig_->Stop();
  EXPECT_EQ(ProgramOf("p0"), 0U);
  EXPECT_EQ(Features(), before);
  EXPECT_FALSE(Contains(RunOrThrow({"ls", run_dir_.path()}), "ports.json"));
}

TEST_F(PluginPortsTest, PutsBackWhatACrashedPluginLeft) {
  const auto before = Features();
  ASSERT_EQ(rig_->AddPort("p0", 1).state(), "up");
  const std::string left = RunOrThrow({"cat", run_dir_.path() + "/xdp-ports.json"});
  const auto changed = Features();
  rig_->Stop();
  // As a crash would have left it.
  RunOrThrow({"ethtool", "-K", "eth0", "tx", "off", "txvlan", "off", "tx-vlan-stag-hw-insert", "off", "gro", "on"},
             {.netns = there_.get()});
  RunOrThrow({"ethtool", "-K", "p0", "rxvlan", "off", "rx-vlan-stag-hw-parse", "off"}, {.netns = here_.get()});
  run_dir_.Write("xdp-ports.json", left);
  ASSERT_EQ(rig_->Start(), "");
  rig_->Synced();  // without the port: it is not wanted any more
  EXPECT_EQ(Features(), before);
}

TEST_F(PluginPortsTest, RefusesOptionsByName) {
  const auto unknown = rig_->AddPort("p0", 1, {{"speed", "11"}});
  EXPECT_EQ(unknown.state(), "failed");
  EXPECT_TRUE(Contains(unknown.detail(), "there is no option 'speed'")) << unknown.detail();
  EXPECT_TRUE(Contains(unknown.detail(), "upcall_rate")) << unknown.detail();
  for (const auto& [name, value] : PortOptions{{"mode", "fast"},
                                               {"miss", "flood"},
                                               {"max_flows", "0"},
                                               {"upcall_rate", "many"},
                                               {"max_flows", "99999999"}}) {
    const auto port = rig_->AddPort("p0", 1, {{name, value}});
    EXPECT_EQ(port.state(), "failed");
    EXPECT_TRUE(Contains(port.detail(), "option '" + name + "' is '" + value + "'")) << port.detail();
  }
  EXPECT_EQ(ProgramOf("p0"), 0U);
}

TEST_F(PluginPortsTest, SaysWhyAPortCannotBe) {
  const auto none = rig_->AddPort("nowhere", 1);
  EXPECT_EQ(none.state(), "failed");
  EXPECT_TRUE(Contains(none.detail(), "no network device 'nowhere'")) << none.detail();

  const auto offload = rig_->AddPort("p0", 2, {{"mode", "offload"}});
  EXPECT_EQ(offload.state(), "failed");
  EXPECT_TRUE(Contains(offload.detail(), "offload") && Contains(offload.detail(), "veth")) << offload.detail();

  const auto other = LoadTrivialProgram("other_tool", XDP_PASS);
  here_->Do([&] { AttachByNetlink(static_cast<int>(veth_->IfIndexA()), other.get()); });
  const auto before = Features();
  const auto busy = rig_->AddPort("p0", 3);
  EXPECT_EQ(busy.state(), "failed");
  EXPECT_TRUE(Contains(busy.detail(), "'other_tool'")) << busy.detail();
  EXPECT_EQ(Features(), before);
}

TEST_F(PluginPortsTest, RefusesAStartWithOptionsItDoesNotKnow) {
  PluginRig other(*here_, run_dir_.path(), R"({"colour":"blue"})");
  EXPECT_TRUE(Contains(other.Start(), "there is no option 'colour'"));
}

TEST_F(PluginPortsTest, TakesItsOptionsAsDefaultsOfPorts) {
  rig_->Stop();
  PluginRig other(*here_, run_dir_.path(), R"({"miss":"pass","max_flows":500})");
  ASSERT_EQ(other.Start(), "");
  const auto port = other.AddPort("p0", 1, {{"mode", "generic"}});
  ASSERT_EQ(port.state(), "up") << port.detail();
  EXPECT_EQ(port.info().at("miss"), "pass");
  EXPECT_EQ(port.info().at("max_flows"), "500");
  EXPECT_EQ(port.info().at("mode"), "generic");
  other.Stop();
}

TEST_F(PluginPortsTest, TakesJumboFramesAsMultiBuffer) {
  here_->Ip({"link", "set", "p0", "mtu", "9000"});
  there_->Ip({"link", "set", "eth0", "mtu", "9000"});
  const auto port = rig_->AddPort("p0", 1);
  ASSERT_EQ(port.state(), "up") << port.detail();
  EXPECT_EQ(port.info().at("mode"), "native");
  EXPECT_EQ(port.info().at("frags"), "yes");
}

TEST_F(PluginPortsTest, FollowsADeviceThatVanishesAndComesBack) {
  const Veth second({here_.get(), "p1"}, {there_.get(), "eth1"});
  ASSERT_EQ(rig_->AddPort("p0", 1).state(), "up");
  ASSERT_EQ(rig_->AddPort("p1", 2).state(), "up");
  const auto program = ProgramOf("p1");
  here_->Ip({"link", "del", "p0"});
  const auto gone = rig_->WaitForState("p0", "gone");
  EXPECT_TRUE(Contains(gone.detail(), "gone")) << gone.detail();
  EXPECT_EQ(ProgramOf("p1"), program);

  const auto refused = rig_->Put("in_port(p0)", "p1");
  EXPECT_EQ(refused.state(), v1::REFUSED);
  EXPECT_EQ(refused.reason(), "no_such_port");
  const auto no_output = rig_->Put("in_port(p1)", "p0");
  EXPECT_EQ(no_output.reason(), "no_such_port");
  EXPECT_EQ(no_output.detail(), "output p0 has no device at present");
  EXPECT_EQ(rig_->Put("in_port(p1)", "p1").state(), v1::INSTALLED);

  const Veth again({here_.get(), "p0"}, {there_.get(), "eth0"});
  const auto back = rig_->WaitForState("p0", "up");
  EXPECT_EQ(back.info().at("ifindex"), std::to_string(again.IfIndexA()));
  EXPECT_NE(ProgramOf("p0"), 0U);
  EXPECT_EQ(rig_->Put("in_port(p0)", "p1").state(), v1::INSTALLED);
  EXPECT_EQ(ProgramOf("p1"), program);
}

TEST_F(PluginPortsTest, ADeviceThatIsRenamedIsGone) {
  ASSERT_EQ(rig_->AddPort("p0", 1).state(), "up");
  here_->Ip({"link", "set", "p0", "down"});
  here_->Ip({"link", "set", "p0", "name", "q0"});
  EXPECT_TRUE(Contains(rig_->WaitForState("p0", "gone").detail(), "p0 is gone"));
  EXPECT_EQ(ProgramOf("q0"), 0U);
}

TEST_F(PluginPortsTest, OpensAPortWhenItsDeviceComes) {
  const auto failed = rig_->AddPort("late", 1);
  EXPECT_EQ(failed.state(), "failed");
  const Veth late({here_.get(), "late"}, {there_.get(), "late_peer"});
  EXPECT_EQ(rig_->WaitForState("late", "up").number(), 1U);
}

TEST_F(PluginPortsTest, WarnsOfALinkThatIsDownUntilItIsUp) {
  here_->Ip({"link", "set", "p0", "down"});
  const auto down = rig_->AddPort("p0", 1);
  ASSERT_EQ(down.state(), "up") << down.detail();
  EXPECT_TRUE(Contains(down.info().at("warning"), "p0 is down")) << down.info().at("warning");
  here_->Ip({"link", "set", "p0", "up"});
  rig_->WaitForPort("p0", [](const v1::Port& port) { return port.info().count("warning") == 0; });
}

TEST_F(PluginPortsTest, ResyncDropsPortsAndFlowsThatAreNotPutAgain) {
  const Veth second({here_.get(), "p1"}, {there_.get(), "eth1"});
  ASSERT_EQ(rig_->AddPort("p0", 1).state(), "up");
  ASSERT_EQ(rig_->AddPort("p1", 2).state(), "up");
  const auto program = ProgramOf("p0");
  rig_->Resync("e2");
  EXPECT_EQ(rig_->AddPort("p0", 1).state(), "up");
  rig_->Synced();
  EXPECT_EQ(ProgramOf("p0"), program);  // the same one: traffic went on
  EXPECT_EQ(ProgramOf("p1"), 0U);
}

TEST_F(PluginPortsTest, ResyncTakesNewNumbers) {
  const Veth second({here_.get(), "p1"}, {there_.get(), "eth1"});
  ASSERT_EQ(rig_->AddPort("p0", 1).state(), "up");
  ASSERT_EQ(rig_->AddPort("p1", 2).state(), "up");
  rig_->Resync("e2");
  EXPECT_EQ(rig_->AddPort("p1", 1).state(), "up");
  EXPECT_EQ(rig_->AddPort("p0", 2).state(), "up");
  rig_->Synced();
  EXPECT_NE(ProgramOf("p0"), 0U);
  EXPECT_NE(ProgramOf("p1"), 0U);
  EXPECT_EQ(rig_->Put("in_port(p0)", "p1").state(), v1::INSTALLED);
}

}  // namespace
}  // namespace sluice::test
