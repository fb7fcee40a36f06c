// SPDX-License-Identifier: Apache-2.0
// Counters and priorities: what a device is found to be like.
#include <gtest/gtest.h>

#include <cerrno>

#include "offloader_rig.h"

namespace sluice::rteflow {
namespace {

constexpr const char* kIpv4 = "eth_type(0x0800)";

class Counted : public Rig {
 public:
  explicit Counted(const FakeDevice::Abilities& abilities = {}) : Rig(abilities), rule(*Put(kIpv4, "2")) {}

  void Pass(uint64_t packets) {
    FakeDevice::Of(rule.handle).packets += packets;
    FakeDevice::Of(rule.handle).bytes += packets * 100;
  }
  // Packets and bytes since the last time.
  std::pair<uint64_t, uint64_t> Read() {
    const auto counts = offloader.Query(rule);
    EXPECT_TRUE(counts) << counts.error().detail;
    return counts ? std::pair(counts->packets, counts->bytes) : std::pair<uint64_t, uint64_t>();
  }
  std::string Resets() { return offloader.Learnt().at("counters are reset when read"); }

  OffloadRule rule;
};

using Counts = std::pair<uint64_t, uint64_t>;

TEST(Counters, TellWhatCameSinceTheLastTime) {
  for (const bool resets : {true, false}) {
    FakeDevice::Abilities abilities;
    abilities.resets = resets;
    Counted rig(abilities);
    EXPECT_EQ(rig.Read(), Counts(0, 0));
    rig.Pass(5);
    EXPECT_EQ(rig.Read(), Counts(5, 500));
    EXPECT_EQ(rig.Resets(), "not yet known");
    rig.Pass(1000);
    EXPECT_EQ(rig.Read(), Counts(1000, 100000));
    EXPECT_EQ(rig.Resets(), resets ? "yes" : "no");
    for (int i = 1; i < 5; ++i) {
      rig.Pass(1000 * i);
      EXPECT_EQ(rig.Read(), Counts(1000 * i, 100000 * i));
      if (i == 2) {
        EXPECT_EQ(rig.Read(), Counts(0, 0));
      }
    }
    EXPECT_EQ(FakeDevice::Of(rig.rule.handle).packets, resets ? 0 : 11005);
  }
}

TEST(Counters, OfRulesFromBeforeTheDeviceWasKnownToReset) {
  Counted rig;
  auto other = rig.Put("eth_type(0x0806)", "2");
  ASSERT_TRUE(other);
  FakeDevice::Of(other->handle).packets = 40;
  EXPECT_EQ(rig.offloader.Query(*other)->packets, 40u);
  rig.Pass(100);
  EXPECT_EQ(rig.Read(), Counts(100, 10000));
  ASSERT_EQ(rig.Resets(), "yes");
  FakeDevice::Of(other->handle).packets += 7;
  EXPECT_EQ(rig.offloader.Query(*other)->packets, 7u);
  FakeDevice::Of(other->handle).packets += 3;
  EXPECT_EQ(rig.offloader.Query(*other)->packets, 3u);
}

TEST(Counters, ThatGoBackHaveBeenStartedAgain) {
  Counted rig;
  rig.Pass(50);
  EXPECT_EQ(rig.Read(), Counts(50, 5000));
  FakeDevice::Of(rig.rule.handle).packets = 20;
  FakeDevice::Of(rig.rule.handle).bytes = 2000;
  EXPECT_EQ(rig.Read(), Counts(20, 2000));
}

TEST(Counters, WithoutBytesSayZeroBytes) {
  FakeDevice::Abilities abilities;
  abilities.counts_bytes = false;
  Counted rig(abilities);
  rig.Pass(500);
  EXPECT_EQ(rig.Read(), Counts(500, 0));
  rig.Pass(1);
  EXPECT_EQ(rig.Read(), Counts(1, 0));
}

TEST(Counters, ThatFailAreAnError) {
  Counted rig;
  rig.Pass(5);
  rig.device.fail_query = EIO;
  const auto failed = rig.offloader.Query(rig.rule);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().reason, "device_failed");
  EXPECT_EQ(failed.error().detail, "the query of a rule's counter failed: as told (Input/output error)");
  EXPECT_TRUE(rig.rule.counts);
  rig.device.fail_query = 0;
  EXPECT_EQ(rig.Read(), Counts(5, 500)) << "nothing is lost";
}

TEST(Counters, ThatADeviceTookAndDoesNotTellAreNone) {
  Counted rig;
  rig.device.fail_query = ENOTSUP;
  const auto failed = rig.offloader.Query(rig.rule);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().reason, "not_counted");
  EXPECT_FALSE(rig.rule.counts);
  rig.device.fail_query = 0;
  EXPECT_FALSE(rig.offloader.Query(rig.rule)) << "it is not asked again";
}

TEST(Priorities, TheHigherWins) {
  Rig rig;
  const auto low = rig.Put(kIpv4, "2", 0);
  const auto high = rig.Put(kIpv4, "2", 10);
  ASSERT_TRUE(low && high);
  EXPECT_EQ(FakeDevice::Of(low->handle).attr.priority, 65535u);
  EXPECT_EQ(FakeDevice::Of(high->handle).attr.priority, 65525u);
  EXPECT_TRUE(rig.Extent(kIpv4, "2", 65536).starts_with("unsupported_priority: "));
}

TEST(Priorities, AreAsManyAsTheDeviceTakes) {
  for (const auto& [has, used] : std::vector<std::pair<uint32_t, uint32_t>>{
           {65536, 65536}, {5000, 4096}, {4096, 4096}, {17, 16}, {8, 8}, {3, 2}, {1, 1}}) {
    FakeDevice::Abilities abilities;
    abilities.priorities = has;
    Rig rig(abilities);
    EXPECT_EQ(rig.Extent(kIpv4, "2", 0), "full");
    EXPECT_EQ(rig.offloader.Learnt().at("priorities of transfer"), std::to_string(used));
    EXPECT_EQ(rig.Extent(kIpv4, "2", used - 1), "full");
    EXPECT_EQ(rig.Extent(kIpv4, "2", used).substr(0, 22), "unsupported_priority: ") << used;
    EXPECT_EQ(rig.Extent("eth_type(0x86dd)", "2", 0), "full");
  }
}

TEST(Priorities, ThatAFirstFlowCannotHaveAreNoLossToTheNext) {
  FakeDevice::Abilities abilities;
  abilities.priorities = 16;
  Rig rig(abilities);
  EXPECT_EQ(rig.Extent(kIpv4, "2", 100),
            "unsupported_priority: queue, mark of mark 7 was refused: ATTR_PRIORITY: priority 100 where the device has "
            "16 at most (Numerical result out of range)");
  EXPECT_EQ(rig.Extent(kIpv4, "2", 15), "full");
  EXPECT_EQ(rig.Extent(kIpv4, "2", 0), "full");
}

TEST(Priorities, DoNotChangeUnderRulesThatHaveThem) {
  Rig rig;
  EXPECT_EQ(rig.Extent(kIpv4, "2", 0), "full");
  rig.device.can.priorities = 16;
  EXPECT_TRUE(rig.Extent("eth_type(0x86dd)", "2", 0).starts_with("unsupported_priority: "));
  rig.device.can.priorities = 65536;
  EXPECT_EQ(rig.Extent("eth_type(0x86dd)", "2", 1), "full");
}

TEST(Priorities, OfTheSwitchAndOfThePortAreTheirOwn) {
  FakeDevice::Abilities abilities;
  abilities.priorities = 16;
  abilities.actions = {"mark", "count", "represented_port"};
  Rig rig(abilities);
  const auto full = rig.Put(kIpv4, "2");
  ASSERT_TRUE(full && full->transfer);
  rig.device.can.priorities = 4;
  const auto mark = rig.Put(kIpv4, "flood");
  ASSERT_TRUE(mark && !mark->transfer);
  EXPECT_EQ(rig.offloader.Learnt().at("priorities of transfer"), "16");
  EXPECT_EQ(rig.offloader.Learnt().at("priorities"), "4");
}

}  // namespace
}  // namespace sluice::rteflow
