// SPDX-License-Identifier: Apache-2.0
// The plugin goes and comes while packets flow; and does not start where it may not.
#include <linux/capability.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "capabilities.h"
#include "device.h"
#include "kept_state.h"
#include "support/process.h"
#include "two_hosts.h"

namespace sluice::test {
namespace {

bool Contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

class PluginLifeTest : public TwoHosts {
 protected:
  void SetUp() override {
    TwoHosts::SetUp();
    if (IsSkipped()) return;
    if (const auto bpffs = xdp::EnsureBpffs(); !bpffs) GTEST_SKIP() << bpffs.error().detail;
  }
  uint32_t ProgramOf(const std::string& device) {
    uint32_t id = 0;
    here_->Do([&] { id = xdp::QueryDevice(device)->program_id; });
    return id;
  }
  [[nodiscard]] std::string Pin(const Veth& veth) const {
    return xdp::KeptState(run_dir_.path(), "xdp").PinPath(static_cast<int>(veth.IfIndexA()));
  }
  void PutFlows() {
    ASSERT_EQ(rig_->Put("in_port(p0)", "p1").state(), v1::INSTALLED);
    ASSERT_EQ(rig_->Put("in_port(p1)", "p0").state(), v1::INSTALLED);
  }
  [[nodiscard]] std::string Features() const {
    std::string all;
    for (const auto* device : {"p0", "p1"}) all += RunOrThrow({"ethtool", "-k", device}, {.netns = here_.get()});
    for (const auto* host : {a_.get(), b_.get()}) all += RunOrThrow({"ethtool", "-k", "eth0"}, {.netns = host});
    return all;
  }
};

TEST_F(PluginLifeTest, AReloadLosesNoPacket) {
  const auto before = Features();
  AddPorts();
  PutFlows();
  std::atomic<bool> over = false;
  uint16_t sent = 0;
  std::thread traffic([&] {
    while (!over) {
      at_a_->Send(Udp(sent++));
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  });
  for (int round = 0; round < 3; ++round) {
    rig_->Stop(/*keep=*/true);
    const auto program = ProgramOf("p0");
    EXPECT_NE(program, 0U);
    EXPECT_TRUE(std::filesystem::exists(Pin(*veth_a_)));
    EXPECT_EQ(rig_->Start(), "");
    AddPorts();
    EXPECT_EQ(ProgramOf("p0"), program);  // the kept one forwards until the flows are in
    PutFlows();
    rig_->Synced();
    EXPECT_NE(ProgramOf("p0"), program);
    EXPECT_FALSE(std::filesystem::exists(Pin(*veth_a_)));
  }
  over = true;
  traffic.join();
  EXPECT_GT(sent, 100);
  for (uint16_t i = 0; i < sent; ++i) {
    const auto frame = at_b_->Receive();
    ASSERT_TRUE(frame && *frame == Udp(i)) << "packet " << i << " of " << sent << " was lost";
  }
  EXPECT_EQ(rig_->WaitForStats("in_port(p0)", sent).packets(), sent);
  rig_->Stop();
  EXPECT_EQ(ProgramOf("p0"), 0U);
  EXPECT_EQ(Features(), before);
  EXPECT_EQ(RunOrThrow({"ls", run_dir_.path()}), "");
}

TEST_F(PluginLifeTest, CountsOfAnotherCoresFlowsAreNotTaken) {
  AddPorts();
  PutFlows();
  rig_->Stop(/*keep=*/true);
  at_a_->Send(Udp(1));
  EXPECT_TRUE(at_b_->Expect(Udp(1)));
  rig_->SetEpoch("e2");
  ASSERT_EQ(rig_->Start(), "");
  AddPorts();
  PutFlows();
  rig_->Synced();
  at_a_->Send(Udp(2));
  EXPECT_TRUE(at_b_->Expect(Udp(2)));
  EXPECT_EQ(rig_->WaitForStats("in_port(p0)", 1).packets(), 1U);
}

TEST_F(PluginLifeTest, WhatWasKeptAndIsNotWantedAnyMoreGoes) {
  const auto before = Features();
  AddPorts();
  PutFlows();
  rig_->Stop(/*keep=*/true);
  at_a_->Send(Udp(1));
  EXPECT_TRUE(at_b_->Expect(Udp(1)));  // with no plugin there
  ASSERT_EQ(rig_->Start(), "");
  ASSERT_EQ(rig_->AddPort("p1", 2).state(), "up");
  rig_->Synced();
  EXPECT_EQ(ProgramOf("p0"), 0U);
  EXPECT_NE(ProgramOf("p1"), 0U);
  EXPECT_FALSE(std::filesystem::exists(Pin(*veth_a_)));
  rig_->Stop();
  EXPECT_EQ(Features(), before);
  EXPECT_FALSE(std::filesystem::exists(std::filesystem::path(Pin(*veth_a_)).parent_path()));
}

TEST_F(PluginLifeTest, AKeptPortTakesAnotherMode) {
  AddPorts();
  PutFlows();
  rig_->Stop(/*keep=*/true);
  ASSERT_EQ(rig_->Start(), "");
  const auto port = rig_->AddPort("p0", 1, {{"mode", "generic"}});
  ASSERT_EQ(port.state(), "up") << port.detail();
  EXPECT_EQ(port.info().at("mode"), "generic");
  rig_->Synced();
  rig_->Stop();
  EXPECT_EQ(ProgramOf("p0"), 0U);
}

TEST_F(PluginLifeTest, AKeptDeviceThatVanishedIsForgotten) {
  AddPorts();
  rig_->Stop(/*keep=*/true);
  here_->Ip({"link", "del", "p0"});
  ASSERT_EQ(rig_->Start(), "");
  EXPECT_EQ(rig_->AddPort("p0", 1).state(), "failed");
  ASSERT_EQ(rig_->AddPort("p1", 2).state(), "up");
  rig_->Synced();
  const auto pins = std::filesystem::path(Pin(*veth_b_)).parent_path();
  EXPECT_FALSE(std::filesystem::exists(pins)) << RunOrThrow({"ls", pins});
  rig_->Stop();
}

TEST_F(PluginLifeTest, AStopWhileKeptPortsAreNotYetTakenOverKeepsThem) {
  AddPorts();
  PutFlows();
  rig_->Stop(/*keep=*/true);
  ASSERT_EQ(rig_->Start(), "");
  AddPorts();
  rig_->Stop(/*keep=*/true);  // before synced
  at_a_->Send(Udp(1));
  EXPECT_TRUE(at_b_->Expect(Udp(1)));
  ASSERT_EQ(rig_->Start(), "");
  AddPorts();
  rig_->Stop();
  EXPECT_EQ(ProgramOf("p0"), 0U);
  EXPECT_FALSE(std::filesystem::exists(Pin(*veth_a_)));
}

TEST_F(PluginLifeTest, AStopBeforeAnyPortIsToldOfTakesDownWhatWasKept) {
  AddPorts();
  PutFlows();
  rig_->Stop(/*keep=*/true);
  EXPECT_NE(ProgramOf("p0"), 0U);
  ASSERT_EQ(rig_->Start(), "");
  rig_->Stop();
  EXPECT_EQ(ProgramOf("p0"), 0U);
  EXPECT_FALSE(std::filesystem::exists(std::filesystem::path(Pin(*veth_a_)).parent_path()));
}

TEST_F(PluginLifeTest, NothingIsLeftBehindByManyLives) {
  const auto open_files = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator());
  };
  const auto threads = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/task"), std::filesystem::directory_iterator());
  };
  AddPorts();
  PutFlows();
  rig_->Stop();
  const auto files = open_files();
  const auto tasks = threads();
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(rig_->Start(), "");
    AddPorts();
    PutFlows();
    rig_->Stop();
  }
  EXPECT_EQ(open_files(), files);
  EXPECT_EQ(threads(), tasks);
}

TEST_F(PluginLifeTest, DoesNotStartWithoutItsCapabilities) {
  rig_->Stop();
  // CAP_SYS_ADMIN stays: the rig enters a namespace, and the kernel lets it stand for CAP_BPF. Not for NET_ADMIN.
  const std::string said = WithCapabilities(1U << CAP_SYS_ADMIN, [this] { return rig_->Start(); });
  EXPECT_TRUE(Contains(said, "runs without CAP_NET_ADMIN")) << said;
}

}  // namespace
}  // namespace sluice::test
