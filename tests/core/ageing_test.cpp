// SPDX-License-Identifier: Apache-2.0
#include "ageing.h"

#include <gtest/gtest.h>

#include "table_rig.h"

namespace sluice::core::test {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;

class AgeingTest : public ::testing::Test, protected TableRig {
 protected:
  Flow& Put(uint32_t idle_ms, uint32_t hard_ms, uint64_t now) {
    FlowSpec spec = SpecOf(1, "m");
    spec.idle_timeout_ms = idle_ms;
    spec.hard_timeout_ms = hard_ms;
    EXPECT_TRUE(table.Put(spec, now));
    Flow& flow = *table.Find(UfidOf(1));
    ageing.Arm(flow);
    return flow;
  }
  bool There() const { return table.Find(UfidOf(1)) != nullptr; }
  Ageing ageing{table, 2 * kSecond};
};

TEST_F(AgeingTest, WithoutTimeoutsNothingEnds) {
  Put(0, 0, kSecond);
  EXPECT_FALSE(ageing.NextDeadline().has_value());
  EXPECT_EQ(ageing.Expire(1'000'000 * kSecond, 100), 0U);
  EXPECT_TRUE(There());
}

TEST_F(AgeingTest, HardTimeoutEndsAFlowInUse) {
  Flow& flow = Put(0, 5'000, 10 * kSecond);
  EXPECT_EQ(ageing.NextDeadline(), 15 * kSecond);
  flow.used_ns = 15 * kSecond - 1;
  ageing.Expire(15 * kSecond - 1, 100);
  EXPECT_TRUE(There());
  ageing.Expire(15 * kSecond, 100);
  EXPECT_FALSE(There());
  EXPECT_EQ(record.cause, Cause::hard_timeout);
}

TEST_F(AgeingTest, UseDefersTheIdleTimeout) {
  Flow& flow = Put(5'000, 0, 10 * kSecond);
  flow.used_ns = 12 * kSecond;
  ageing.Expire(15 * kSecond, 100);
  EXPECT_TRUE(There());
  EXPECT_EQ(ageing.NextDeadline(), 17 * kSecond);
  ageing.Expire(17 * kSecond, 100);
  EXPECT_FALSE(There());
  EXPECT_EQ(record.cause, Cause::idle_timeout);
}

TEST_F(AgeingTest, AnInstalledFlowHasTheTimeThatReportsTake) {
  Flow& flow = Put(5'000, 0, 10 * kSecond);
  Placement& placement = flow.placements.emplace_back();
  placement.state = v1::INSTALLED;
  ageing.Expire(16 * kSecond, 100);
  EXPECT_TRUE(There());
  ageing.Expire(17 * kSecond, 100);
  EXPECT_EQ(table.Find(UfidOf(1)), nullptr);
}

TEST_F(AgeingTest, PuttingItAgainKeepsItAlive) {
  Put(5'000, 0, 10 * kSecond);
  Put(5'000, 0, 14 * kSecond);
  ageing.Expire(16 * kSecond, 100);
  EXPECT_TRUE(There());
  ageing.Expire(19 * kSecond, 100);
  EXPECT_FALSE(There());
}

TEST_F(AgeingTest, TimeoutsMayBeTakenBackOrShortened) {
  Put(5'000, 0, 10 * kSecond);
  Put(0, 0, 11 * kSecond);
  ageing.Expire(100 * kSecond, 100);
  EXPECT_TRUE(There());
  Put(0, 50'000, 100 * kSecond);
  Put(0, 1'000, 100 * kSecond);
  ageing.Expire(101 * kSecond, 100);
  EXPECT_FALSE(There());
}

TEST_F(AgeingTest, AnotherFlowOfTheSameUfidHasItsOwnTime) {
  Flow& flow = Put(5'000, 0, 10 * kSecond);
  table.Delete(flow, Cause::request);
  Put(0, 0, 11 * kSecond);
  ageing.Expire(100 * kSecond, 100);
  EXPECT_TRUE(There());
}

TEST_F(AgeingTest, PuttingItOftenLeavesOneDeadline) {
  for (uint32_t i = 0; i < 10; ++i) Put(5'000 + i, 0, 10 * kSecond);
  table.Find(UfidOf(1))->used_ns = 20 * kSecond;
  EXPECT_EQ(ageing.Expire(20 * kSecond, 100), 10U);
  EXPECT_EQ(ageing.Expire(26 * kSecond, 100), 1U);
}

TEST_F(AgeingTest, ATurnLooksAtAFewOnly) {
  for (uint32_t i = 0; i < 10; ++i) {
    FlowSpec spec = SpecOf(i, std::to_string(i));
    spec.hard_timeout_ms = 1'000;
    ASSERT_TRUE(table.Put(spec, kSecond));
    ageing.Arm(*table.Find(UfidOf(i)));
  }
  EXPECT_EQ(ageing.Expire(5 * kSecond, 4), 4U);
  EXPECT_EQ(table.size(), 6U);
  EXPECT_LE(*ageing.NextDeadline(), 5 * kSecond);
}

}  // namespace
}  // namespace sluice::core::test
