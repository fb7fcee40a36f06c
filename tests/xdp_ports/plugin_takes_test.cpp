// SPDX-License-Identifier: Apache-2.0
// Ports on devices that somebody else uses already: programs, and receive queues.
#include <bpf/bpf.h>
#include <gtest/gtest.h>

#include "af_xdp.h"
#include "attachment.h"
#include "device.h"
#include "trivial_program.h"
#include "two_hosts.h"

namespace sluice::test {
namespace {

bool Contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

class PluginTakesTest : public TwoHosts {
 protected:
  PluginTakesTest() { queues_ = 2; }
  void SetUp() override {
    TwoHosts::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    other_ = LoadTrivialProgram("other_tool", XDP_DROP);
  }
  xdp::Device Query(const std::string& name) const {
    xdp::Device device;
    here_->Do([&] { device = *xdp::QueryDevice(name); });
    return device;
  }
  void AttachOther(const std::string& name) const {
    here_->Do([&] { AttachByNetlink(static_cast<int>(here_->IfIndex(name)), other_.get()); });
  }
  std::unique_ptr<xdp::XskSocket> Occupy(uint32_t queue) const {
    std::unique_ptr<xdp::XskSocket> socket;
    here_->Do([&] {
      auto opened = xdp::XskSocket::Open("p0", queue);
      ASSERT_TRUE(opened) << opened.error().detail;
      socket = std::move(*opened);
    });
    return socket;
  }

  UniqueFd other_;
};

TEST_F(PluginTakesTest, AnotherProgramIsReplacedOnlyWhenTold) {
  AttachOther("p0");
  AttachOther("p1");
  const auto program = Query("p0").program_id;
  const auto refused = rig_->AddPort("p0", 1);
  EXPECT_EQ(refused.state(), "failed");
  EXPECT_TRUE(Contains(refused.detail(), "'other_tool' (id " + std::to_string(program) + "), in native mode"))
      << refused.detail();
  EXPECT_TRUE(Contains(refused.detail(), "--option replace=yes")) << refused.detail();
  EXPECT_EQ(Query("p0").program_id, program);

  const auto port = rig_->AddPort("p0", 1, {{"replace", "yes"}});
  ASSERT_EQ(port.state(), "up") << port.detail();
  EXPECT_EQ(port.info().at("replaced"), "'other_tool' (id " + std::to_string(program) + "), in native mode");
  EXPECT_EQ(port.info().at("program"), std::to_string(Query("p0").program_id));
  EXPECT_EQ(Query("p1").program_id, program) << "another device's";
  at_a_->Send(Udp(1));
  EXPECT_TRUE(rig_->NextUpcall());
}

TEST_F(PluginTakesTest, ALinkOfAnotherIsReplacedWhenTold) {
  UniqueFd link;
  here_->Do([&] {
    link = UniqueFd(bpf_link_create(other_.get(), static_cast<int>(here_->IfIndex("p0")), BPF_XDP, nullptr));
  });
  ASSERT_TRUE(link);
  const auto port = rig_->AddPort("p0", 1, {{"replace", "yes"}});
  ASSERT_EQ(port.state(), "up") << port.detail();
  EXPECT_TRUE(Contains(port.info().at("replaced"), "by bpf_link ")) << port.info().at("replaced");
  at_a_->Send(Udp(1));
  EXPECT_TRUE(rig_->NextUpcall());
}

TEST_F(PluginTakesTest, AProgramThatTakesOursPlaceIsNamedAndNotFought) {
  ASSERT_EQ(rig_->AddPort("p0", 1, {{"replace", "yes"}}).state(), "up");
  // The plugin has just looked at its ports, and does not see the moment without a program.
  at_a_->Send(Udp(1));
  rig_->WaitForPort("p0", [](const v1::Port& port) { return port.counters().at("upcall") == 1; });
  // Somebody with the same manners as ours.
  here_->Do([&] {
    const auto device = xdp::QueryDevice("p0");
    ASSERT_TRUE(xdp::Displaced::TakeOff(*device));
    AttachByNetlink(device->ifindex, other_.get());
  });
  const auto program = Query("p0").program_id;
  const auto failed = rig_->WaitForPort(
      "p0", [](const v1::Port& port) { return port.state() == "failed" && Contains(port.detail(), "other_tool"); });
  EXPECT_EQ(Query("p0").program_id, program) << failed.detail();
}

TEST_F(PluginTakesTest, ABusyQueueIsExplained) {
  const auto busy = Occupy(1);
  const auto refused = rig_->AddPort("p0", 1);
  EXPECT_EQ(refused.state(), "failed");
  EXPECT_TRUE(Contains(refused.detail(), "queue 1 of p0")) << refused.detail();
  EXPECT_TRUE(Contains(refused.detail(), "another program's AF_XDP socket has that queue")) << refused.detail();
  EXPECT_EQ(Query("p0").program_id, 0U);

  // Where packets without a flow do not go up it is no reason to refuse; the other queue has its way up.
  const auto port = rig_->AddPort("p0", 1, {{"miss", "drop"}});
  ASSERT_EQ(port.state(), "up") << port.detail();
  EXPECT_TRUE(Contains(port.info().at("warning"), "upcalls are lost from 1 of 2 receive queues: "))
      << port.info().at("warning");
  ASSERT_EQ(rig_->Put("in_port(p0)", "upcall").state(), v1::INSTALLED);
  constexpr uint16_t kSent = 64;  // to either queue, by their source port
  for (uint16_t i = 0; i < kSent; ++i) at_a_->Send(Udp(i));
  const auto counted = rig_->WaitForPort(
      "p0", [](const v1::Port& p) { return p.counters().at("upcall") + p.counters().at("upcall_failed") == kSent; });
  const uint64_t up = counted.counters().at("upcall");
  EXPECT_GT(up, 0U);
  EXPECT_LT(up, kSent);
  for (uint64_t i = 0; i < up; ++i) ASSERT_TRUE(rig_->NextUpcall()) << i;
}

TEST_F(PluginTakesTest, AQueueThatIsNotThereIsExplained) {
  here_->Do([&] {
    const auto opened = xdp::XskSocket::Open("p0", 2);
    ASSERT_FALSE(opened);
    EXPECT_TRUE(Contains(opened.error().detail, "queue 2 of p0")) << opened.error().detail;
    EXPECT_TRUE(Contains(opened.error().detail, "no receive queue of that number")) << opened.error().detail;
  });
}

}  // namespace
}  // namespace sluice::test
