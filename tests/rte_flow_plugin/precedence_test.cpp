// SPDX-License-Identifier: Apache-2.0
#include "precedence.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>

namespace sluice::rteflow {
namespace {

Match Destination(uint64_t value, uint64_t mask = 0xffffffffffff) {
  Match match;
  match.SetMasked(Field::eth_dst, value, mask);
  return match;
}

class PrecedenceTest : public testing::Test {
 protected:
  const DatapathFlow& Flow(uint32_t priority, const Match& match) {
    DatapathFlow& flow = flows_.emplace_back();
    flow.priority = priority;
    flow.match = match;
    return flow;
  }
  Precedence order_;
  std::deque<DatapathFlow> flows_;
};

TEST(OverlapTest, IsWhereNoBitThatBothNameDiffers) {
  EXPECT_TRUE(Overlap(Destination(5), Destination(5)));
  EXPECT_FALSE(Overlap(Destination(5), Destination(6)));
  EXPECT_TRUE(Overlap(Destination(4, 4), Destination(6)));
  EXPECT_FALSE(Overlap(Destination(4, 4), Destination(3)));
  EXPECT_TRUE(Overlap(Match(), Destination(3)));
  Match type;
  type.SetExact(Field::eth_type, 0x0800);
  EXPECT_TRUE(Overlap(type, Destination(3)));
}

TEST_F(PrecedenceTest, OnlyHigherUncoveredFlowsThatOverlapAreAbove) {
  const DatapathFlow& low = Flow(1, Destination(5));
  order_.AddUncovered(Flow(1, Destination(5)));  // among equals either may have the packet
  order_.AddUncovered(Flow(0, Destination(5)));
  order_.AddUncovered(Flow(2, Destination(6)));
  order_.AddRule(Flow(2, Destination(5)), false);  // the device has that one, and its priority
  EXPECT_EQ(order_.Above(low), nullptr);
  const DatapathFlow& high = Flow(2, Destination(4, 4));
  order_.AddUncovered(high);
  EXPECT_EQ(order_.Above(low), &high);
  order_.RemoveUncovered(high);
  EXPECT_EQ(order_.Above(low), nullptr);
}

TEST_F(PrecedenceTest, RulesOfLowerPriorityThatOverlapAreBelow) {
  const DatapathFlow& low = Flow(1, Destination(5));
  order_.AddRule(low, false);
  order_.AddRule(Flow(1, Destination(6)), false);
  order_.AddRule(Flow(2, Destination(5)), false);
  const DatapathFlow& high = Flow(2, Destination(5));
  order_.AddUncovered(high);
  EXPECT_EQ(order_.Below(high), std::vector<const DatapathFlow*>{&low});
  order_.RemoveRule(low, false);
  EXPECT_TRUE(order_.Below(high).empty());
}

// A device's switch is before its ports.
TEST_F(PrecedenceTest, ARuleOfTheSwitchMustNotOvertakeOneOfAPort) {
  const DatapathFlow& low = Flow(1, Destination(5));
  EXPECT_TRUE(order_.MayTransfer(low));
  order_.AddRule(low, true);
  const DatapathFlow& high = Flow(2, Destination(4, 4));
  EXPECT_TRUE(order_.MayTransfer(high));
  order_.AddRule(high, false);
  EXPECT_FALSE(order_.MayTransfer(low));
  EXPECT_EQ(order_.BelowIngress(high), std::vector<const DatapathFlow*>{&low});
  EXPECT_EQ(order_.Above(low), nullptr);  // it may still be in the device
  order_.RemoveRule(low, true);
  order_.AddRule(low, false);
  EXPECT_TRUE(order_.BelowIngress(high).empty());
  EXPECT_TRUE(order_.MayTransfer(Flow(1, Destination(3))));
}

// Looking at each would take a time that grows with the square of the flows: then all that are lower stay out.
TEST_F(PrecedenceTest, ACrowdIsNotLookedAtOneByOne) {
  const DatapathFlow& low = Flow(0, Destination(1));
  order_.AddRule(low, false);
  const DatapathFlow* last = nullptr;
  for (size_t i = 0; i < Precedence::kLookedAt; ++i) order_.AddUncovered(*(last = &Flow(7, Destination(100 + i))));
  EXPECT_EQ(order_.Above(low), nullptr);
  EXPECT_TRUE(order_.Below(*last).empty());
  last = &Flow(7, Destination(99));
  order_.AddUncovered(*last);
  EXPECT_NE(order_.Above(low), nullptr);
  EXPECT_EQ(order_.Below(*last), std::vector<const DatapathFlow*>{&low});
}

}  // namespace
}  // namespace sluice::rteflow
