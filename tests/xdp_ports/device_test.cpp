// SPDX-License-Identifier: Apache-2.0
#include "device.h"

#include <gtest/gtest.h>
#include <poll.h>

#include "ethtool.h"
#include "netns.h"
#include "support/netns.h"
#include "support/veth.h"
#include "trivial_program.h"

namespace sluice::xdp {
namespace {

class DeviceTest : public testing::Test {
 protected:
  void SetUp() override {
    if (const auto why = test::WhyNoKernelTests(); !why.empty()) GTEST_SKIP() << why;
    here_ = std::make_unique<test::Netns>("slp");
    there_ = std::make_unique<test::Netns>("slp");
    veth_ = std::make_unique<test::Veth>(test::VethEnd{here_.get(), "p0"}, test::VethEnd{there_.get(), "eth0"}, 2);
  }

  std::unique_ptr<test::Netns> here_;
  std::unique_ptr<test::Netns> there_;
  std::unique_ptr<test::Veth> veth_;
};

TEST_F(DeviceTest, TellsWhatADeviceIs) {
  here_->Ip({"link", "set", "p0", "mtu", "1450"});
  here_->Do([&] {
    const auto device = QueryDevice("p0");
    ASSERT_TRUE(device) << device.error().detail;
    EXPECT_EQ(device->ifindex, static_cast<int>(veth_->IfIndexA()));
    EXPECT_TRUE(device->IsVeth());
    EXPECT_EQ(device->driver, "veth");
    EXPECT_EQ(device->mtu, 1450U);
    EXPECT_TRUE(device->up);
    EXPECT_TRUE(device->running);
    EXPECT_EQ(device->rx_queues, 2U);
    EXPECT_EQ(device->program_id, 0U);
    EXPECT_EQ(device->peer_ifindex, static_cast<int>(veth_->IfIndexB()));
    ASSERT_TRUE(device->peer_nsid);
    const auto same = QueryDevice(device->ifindex);
    ASSERT_TRUE(same);
    EXPECT_EQ(same->name, "p0");
  });
  there_->Ip({"link", "set", "eth0", "down"});
  here_->Do([&] { EXPECT_FALSE(QueryDevice("p0")->running); });
}

TEST_F(DeviceTest, NamesADeviceThatIsNotThere) {
  here_->Do([&] {
    for (const std::string name : {"nowhere", "", "a_name_longer_than_any_device_has"}) {
      const auto device = QueryDevice(name);
      ASSERT_FALSE(device) << name;
      EXPECT_EQ(device.error().reason, "no_such_device");
      EXPECT_NE(device.error().detail.find(name), std::string::npos) << device.error().detail;
    }
  });
}

TEST_F(DeviceTest, SeesProgramsOfOthers) {
  here_->Do([&] {
    const auto program = test::LoadTrivialProgram("other_tool", XDP_PASS);
    test::AttachByNetlink(static_cast<int>(veth_->IfIndexA()), program.get());
    const auto device = QueryDevice("p0");
    ASSERT_TRUE(device);
    EXPECT_EQ(device->program_mode, "native");
    EXPECT_NE(device->program_id, 0U);
    EXPECT_EQ(DescribeProgram(device->program_id), "'other_tool' (id " + std::to_string(device->program_id) + ")");
  });
}

TEST_F(DeviceTest, FindsThePeersNamespaceAndWorksThere) {
  here_->Do([&] {
    const auto device = QueryDevice("p0");
    const auto netns = FindNetns(*device->peer_nsid);
    ASSERT_TRUE(netns) << netns.error().detail;
    EXPECT_EQ(netns->name, "netns " + there_->name());
    std::string seen;
    const auto ran = RunInNetns(netns->fd.get(), [&] { seen = QueryDevice(device->peer_ifindex)->name; });
    EXPECT_TRUE(ran);
    EXPECT_EQ(seen, "eth0");
    EXPECT_TRUE(QueryDevice("p0"));  // we have not moved
    EXPECT_EQ(FindNetns(12345).error().reason, "no_such_netns");
  });
}

TEST_F(DeviceTest, SetsFeaturesAndSaysWhichCannotBe) {
  here_->Do([&] {
    ASSERT_TRUE(SetFeatures("p0", {{"tx-checksum-ip-generic", false}, {"rx-gro", true}}));
    const auto features = ReadFeatures("p0");
    ASSERT_TRUE(features);
    EXPECT_FALSE(features->at("tx-checksum-ip-generic").active);
    EXPECT_TRUE(features->at("rx-gro").active);
    const auto fixed = SetFeatures("p0", {{"tx-lockless", false}});
    ASSERT_FALSE(fixed);
    EXPECT_EQ(fixed.error().detail, "p0 does not let tx-lockless be turned off");
    EXPECT_FALSE(SetFeatures("p0", {{"no-such-feature", true}}));
  });
}

TEST_F(DeviceTest, HearsOfChanges) {
  std::unique_ptr<LinkMonitor> monitor;
  here_->Do([&] { monitor = std::make_unique<LinkMonitor>(std::move(*LinkMonitor::Open())); });
  const int ifindex = static_cast<int>(veth_->IfIndexA());
  here_->Ip({"link", "del", "p0"});
  pollfd readable{monitor->fd(), POLLIN, 0};
  ASSERT_EQ(poll(&readable, 1, 5000), 1);
  bool heard = false;
  EXPECT_TRUE(monitor->Drain(
      [&](const LinkMonitor::Event& event) { heard = heard || (event.ifindex == ifindex && event.name == "p0"); }));
  EXPECT_TRUE(heard);
}

}  // namespace
}  // namespace sluice::xdp
