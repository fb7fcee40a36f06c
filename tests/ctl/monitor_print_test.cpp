// SPDX-License-Identifier: Apache-2.0
#include "monitor_print.h"

#include <gtest/gtest.h>

namespace sluice::ctl {
namespace {

EventReceived Received(uint64_t seq) {
  EventReceived received{"host1", "e2", {}};
  received.event.set_seq(seq);
  received.event.set_topic("port.add");
  received.event.mutable_port()->set_name("p0");
  return received;
}

TEST(MonitorText, AnnouncesWhatIsNoEvent) {
  EXPECT_EQ(MonitorText(GapDetected{"flow.add", 3}), "-- gap: 3 events of flow.add were missed");
  EXPECT_EQ(MonitorText(EpochChanged{"e1", "e2"}), "-- restart: the daemon is another one now, epoch e2 after e1");
  EXPECT_EQ(MonitorText(Silent{std::chrono::milliseconds(3250)}),
            "-- silence: nothing from the daemon for 3.2 s; waiting");
  EXPECT_EQ(MonitorText(Problem{{"bad_payload", "cannot be read"}}), "-- problem: cannot be read");
  EXPECT_EQ(MonitorText(Synced{"e1", 17}), "-- snapshot: complete as of #17");
  EXPECT_NE(MonitorText(Received(4)).find("#4 port.add p0"), std::string::npos);
}

TEST(MonitorJson, EveryLineHasTheKeysOfAnEvent) {
  MonitorJson json("host1", "e1");
  const std::vector<MonitorItem> items = {SnapshotStarted{"e1"},
                                          SnapshotFlow{{}, 5},
                                          SnapshotDeleted{"u", 6},
                                          Synced{"e1", 7},
                                          Received(8),
                                          GapDetected{"flow.add", 3},
                                          Silent{},
                                          Problem{{"r", "d"}},
                                          EpochChanged{"e1", "e2"}};
  for (const MonitorItem& item : items) {
    const auto line = json(item);
    for (const char* key : {"node", "epoch", "seq", "time_ns", "topic"}) EXPECT_TRUE(line.contains(key)) << line.dump();
    EXPECT_EQ(line["node"], "host1");
    EXPECT_TRUE(line["time_ns"].is_number()) << line.dump();
  }
}

TEST(MonitorJson, NoticesTellWhereTheStreamWas) {
  MonitorJson json("host1", "e1");
  EXPECT_EQ(json(Received(8))["port"]["name"], "p0");
  const auto gap = json(GapDetected{"flow.add", 3});
  EXPECT_EQ(gap["topic"], "monitor.gap");
  EXPECT_EQ(gap["epoch"], "e2");
  EXPECT_EQ(gap["seq"], 8);
  EXPECT_EQ(gap["notice"].dump(), R"({"topic":"flow.add","missed":3})");
  const auto restart = json(EpochChanged{"e2", "e3"});
  EXPECT_EQ(restart["epoch"], "e3");
  EXPECT_EQ(restart["seq"], 0);
}

TEST(MonitorJson, SnapshotFlowsAreFlows) {
  MonitorJson json("host1", "e1");
  SnapshotFlow item{{}, 5};
  item.flow.set_ufid("u");
  const auto line = json(item);
  EXPECT_EQ(line["topic"], "snapshot.flow");
  EXPECT_EQ(line["seq"], 5);
  EXPECT_EQ(line["flow"]["ufid"], "u");
}

}  // namespace
}  // namespace sluice::ctl
