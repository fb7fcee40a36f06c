// SPDX-License-Identifier: Apache-2.0
#include "sluice/flow_mirror.h"

#include <gtest/gtest.h>

#include "sluice/wire.h"

namespace sluice {
namespace {

v1::Flow NamedFlow(const std::string& ufid, uint64_t packets) {
  v1::Flow flow;
  flow.set_ufid(ufid);
  flow.set_match("in_port(p0)");
  flow.set_packets(packets);
  return flow;
}

MonitorItem EventOf(std::string_view topic, uint64_t seq, const v1::Flow& flow) {
  EventReceived received;
  received.event.set_topic(std::string(topic));
  received.event.set_seq(seq);
  *received.event.mutable_flow() = flow;
  return received;
}

TEST(FlowMirror, FollowsEvents) {
  FlowMirror mirror;
  EXPECT_TRUE(mirror.Apply(EventOf(topic::kFlowAdded, 1, NamedFlow("a", 0))));
  EXPECT_TRUE(mirror.Apply(EventOf(topic::kFlowAdded, 2, NamedFlow("b", 0))));
  EXPECT_TRUE(mirror.Apply(EventOf(topic::kFlowModified, 3, NamedFlow("a", 5))));
  EXPECT_TRUE(mirror.Apply(EventOf(topic::kFlowDeleted, 4, NamedFlow("b", 0))));
  EXPECT_EQ(mirror.size(), 1U);
  ASSERT_NE(mirror.Find("a"), nullptr);
  EXPECT_EQ(mirror.Find("a")->packets(), 5U);
  EXPECT_EQ(mirror.Find("b"), nullptr);
}

TEST(FlowMirror, StatisticsAndVerdictsTouchNothingElse) {
  FlowMirror mirror;
  mirror.Apply(EventOf(topic::kFlowAdded, 1, NamedFlow("a", 0)));
  v1::Flow counted;
  counted.set_ufid("a");
  counted.set_packets(9);
  EXPECT_TRUE(mirror.Apply(EventOf(topic::kFlowStats, 2, counted)));
  v1::Flow judged;
  judged.set_ufid("a");
  judged.add_offload()->set_state(v1::INSTALLED);
  EXPECT_TRUE(mirror.Apply(EventOf(topic::kFlowOffload, 3, judged)));
  const auto& flow = *mirror.Find("a");
  EXPECT_EQ(flow.match(), "in_port(p0)");
  EXPECT_EQ(flow.packets(), 9U);
  EXPECT_EQ(flow.offload(0).state(), v1::INSTALLED);
}

TEST(FlowMirror, LastStatisticsOfADeletedFlowDoNotBringItBack) {
  FlowMirror mirror;
  EXPECT_FALSE(mirror.Apply(EventOf(topic::kFlowStats, 2, NamedFlow("a", 9))));
  EXPECT_EQ(mirror.size(), 0U);
}

TEST(FlowMirror, TheHigherNumberWins) {
  FlowMirror mirror;
  mirror.Apply(SnapshotStarted{"e"});
  mirror.Apply(SnapshotFlow{NamedFlow("a", 7), 10});
  mirror.Apply(Synced{"e", 10});
  EXPECT_FALSE(mirror.Apply(EventOf(topic::kFlowStats, 9, NamedFlow("a", 6))));
  EXPECT_FALSE(mirror.Apply(EventOf(topic::kFlowDeleted, 8, NamedFlow("a", 0))));
  EXPECT_EQ(mirror.Find("a")->packets(), 7U);
  EXPECT_TRUE(mirror.Apply(EventOf(topic::kFlowStats, 11, NamedFlow("a", 8))));
  EXPECT_EQ(mirror.Find("a")->packets(), 8U);
}

TEST(FlowMirror, AWalkRemovesWhatItDoesNotShow) {
  FlowMirror mirror;
  mirror.Apply(EventOf(topic::kFlowAdded, 1, NamedFlow("gone", 0)));
  mirror.Apply(EventOf(topic::kFlowAdded, 2, NamedFlow("stays", 0)));
  mirror.Apply(GapDetected{"flow.del", 1});
  EXPECT_FALSE(mirror.synced());
  mirror.Apply(SnapshotStarted{"e"});
  mirror.Apply(SnapshotFlow{NamedFlow("stays", 1), 5});
  mirror.Apply(SnapshotFlow{NamedFlow("dies", 1), 5});
  mirror.Apply(SnapshotDeleted{"dies", 6});
  EXPECT_EQ(mirror.size(), 2U);
  EXPECT_TRUE(mirror.Apply(Synced{"e", 6}));
  EXPECT_TRUE(mirror.synced());
  EXPECT_EQ(mirror.size(), 1U);
  EXPECT_NE(mirror.Find("stays"), nullptr);
}

TEST(FlowMirror, AnotherCoreBringsItsOwnTable) {
  FlowMirror mirror;
  mirror.Apply(EventOf(topic::kFlowAdded, 100, NamedFlow("old", 0)));
  mirror.Apply(EpochChanged{"e1", "e2"});
  EXPECT_EQ(mirror.size(), 0U);
  EXPECT_TRUE(mirror.Apply(EventOf(topic::kFlowAdded, 1, NamedFlow("new", 0))));
  size_t seen = 0;
  mirror.ForEach([&](const v1::Flow& flow) { seen += flow.ufid() == "new" ? 1 : 100; });
  EXPECT_EQ(seen, 1U);
}

}  // namespace
}  // namespace sluice
