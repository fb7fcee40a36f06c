// SPDX-License-Identifier: Apache-2.0
#include "marks.h"

#include <gtest/gtest.h>

#include <set>

namespace sluice::rteflow {
namespace {

constexpr uint64_t kLater = Marks::kDeviceNs;

TEST(Marks, AreUniqueSmallAndNeverZero) {
  Marks marks;
  std::set<uint32_t> taken;
  for (int i = 0; i < 70'000; ++i) EXPECT_TRUE(taken.insert(marks.Take()).second);
  EXPECT_EQ(*taken.begin(), 1U);
  EXPECT_EQ(*taken.rbegin(), 70'000U);
}

TEST(Marks, RestUntilQueuesAreDrainedAndTheDeviceHadItsTime) {
  Marks marks;
  EXPECT_EQ(marks.Take(), 1U);
  EXPECT_EQ(marks.Take(), 2U);
  marks.Release(1, 10, 0);
  marks.Rest(9, kLater);  // a queue may still hold one
  EXPECT_EQ(marks.Take(), 3U);
  marks.Rest(10, kLater - 1);  // the device may
  EXPECT_EQ(marks.Take(), 4U);
  EXPECT_EQ(marks.resting(), 1U);
  marks.Rest(10, kLater);
  EXPECT_EQ(marks.resting(), 0U);
  EXPECT_EQ(marks.Take(), 1U);
  EXPECT_EQ(marks.Take(), 5U);
}

TEST(Marks, TheLowestFreeOneComesFirst) {
  Marks marks;
  for (int i = 0; i < 5; ++i) marks.Take();
  for (const uint32_t mark : {4, 2, 5}) marks.Release(mark, 1, 0);
  marks.Rest(1, kLater);
  EXPECT_EQ(marks.Take(), 2U);
  EXPECT_EQ(marks.Take(), 4U);
  EXPECT_EQ(marks.Take(), 5U);
}

}  // namespace
}  // namespace sluice::rteflow
