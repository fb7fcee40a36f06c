// SPDX-License-Identifier: Apache-2.0
// Sets of output ports: made, shared, changed with their ports, and given back.
#include "groups.h"

#include <bpf/bpf.h>
#include <gtest/gtest.h>

#include "object.h"

namespace sluice::xdp {
namespace {

class GroupsTest : public testing::Test {
 protected:
  GroupsTest() {
    reclaimer_ = *Reclaimer::Start();
    Groups::Options options;
    options.max_groups = 16;
    options.spares = 4;
    groups_ = *Groups::Create(*reclaimer_, options);
    for (uint32_t number = 1; number <= 20; ++number) EXPECT_TRUE(groups_->SetPort(number, 1));
  }
  // Devices in a group's devmap, by its index.
  std::vector<uint32_t> Devices(uint32_t index) {
    uint32_t id = 0;
    if (bpf_map_lookup_elem(groups_->groups_fd(), &index, &id) != 0) return {};
    const int fd = bpf_map_get_fd_by_id(id);
    bpf_map_info info{};
    uint32_t size = sizeof info;
    bpf_obj_get_info_by_fd(fd, &info, &size);
    std::vector<uint32_t> devices;
    for (uint32_t i = 0; i < info.max_entries; ++i) {
      uint32_t ifindex = 0;
      if (bpf_map_lookup_elem(fd, &i, &ifindex) == 0 && ifindex != 0) devices.push_back(ifindex);
    }
    close(fd);
    return devices;
  }

  std::unique_ptr<Reclaimer> reclaimer_;
  std::unique_ptr<Groups> groups_;
};

TEST_F(GroupsTest, HoldTheDevicesOfTheirPorts) {
  const auto group = groups_->Acquire({3, 1, 2});
  ASSERT_TRUE(group);
  EXPECT_EQ(Devices((*group)->index).size(), 3);
  groups_->ClearPort(2);
  EXPECT_EQ(Devices((*group)->index).size(), 2);
  EXPECT_FALSE(groups_->HasPort(2));
  EXPECT_EQ(groups_->Acquire({2, 3}).error().reason, "no_such_port");
  ASSERT_TRUE(groups_->SetPort(2, 1));
  EXPECT_EQ(Devices((*group)->index).size(), 3);
}

TEST_F(GroupsTest, GoBackEmptyAndAreUsedAgain) {
  for (int round = 0; round < 50; ++round) {
    const auto group = groups_->Acquire({1, static_cast<uint32_t>(2 + round % 10)});
    ASSERT_TRUE(group) << group.error().detail;
    EXPECT_EQ(Devices((*group)->index).size(), 2);
  }
  EXPECT_EQ(groups_->groups_in_use(), 0);
  for (uint32_t index = 1; index < 16; ++index) EXPECT_TRUE(Devices(index).empty());
}

TEST_F(GroupsTest, LargeSetsFitToo) {
  std::vector<uint32_t> ports;
  for (uint32_t number = 1; number <= 20; ++number) ports.push_back(number);
  const auto group = groups_->Acquire(ports);
  ASSERT_TRUE(group);
  EXPECT_EQ(Devices((*group)->index).size(), 20);
}

TEST_F(GroupsTest, RunOutByName) {
  reclaimer_->Drain();
  std::vector<std::shared_ptr<const Group>> held;
  Error error;
  for (uint32_t i = 2; i <= 20 && error.reason.empty(); ++i) {
    auto group = groups_->Acquire({1, i});
    if (group) {
      held.push_back(*group);
    } else {
      error = group.error();
    }
    reclaimer_->Drain();
  }
  EXPECT_EQ(held.size(), 15);
  EXPECT_EQ(error.reason, "table_full");
  EXPECT_NE(error.detail.find("16"), std::string::npos) << error.detail;
}

TEST_F(GroupsTest, FloodGrowsWithThePorts) {
  EXPECT_EQ(Devices(SLUICE_GROUP_FLOOD).size(), 20);
  for (uint32_t number = 21; number <= 200; ++number) ASSERT_TRUE(groups_->SetPort(number, 1));
  EXPECT_EQ(Devices(SLUICE_GROUP_FLOOD).size(), 200);
  for (uint32_t number = 1; number <= 100; ++number) groups_->ClearPort(number);
  EXPECT_EQ(Devices(SLUICE_GROUP_FLOOD).size(), 100);
  ASSERT_TRUE(groups_->SetPort(500, 1));
  EXPECT_EQ(Devices(SLUICE_GROUP_FLOOD).size(), 101);
  EXPECT_FALSE(groups_->SetPort(0, 1));
  EXPECT_FALSE(groups_->SetPort(kMaxPort + 1, 1));
  EXPECT_FALSE(groups_->SetPort(1, 0x7fffffff)) << "there is no such device";
}

}  // namespace
}  // namespace sluice::xdp
