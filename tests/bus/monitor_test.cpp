// SPDX-License-Identifier: Apache-2.0
#include "sluice/monitor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "fake_core.h"
#include "sluice/flow_mirror.h"
#include "sluice/wire.h"

namespace sluice {
namespace {

using test::FakeCore;

constexpr auto kSlice = std::chrono::milliseconds(10);

class MonitorTest : public testing::Test {
 protected:
  Monitor Open(bool snapshot, std::vector<std::string> topics = {"flow."},
               std::chrono::milliseconds resync_interval = std::chrono::milliseconds(1)) {
    auto monitor = Monitor::Open({.endpoints = EndpointsIn(dir_.path()),
                                  .topics = std::move(topics),
                                  .snapshot = snapshot,
                                  .resync_interval = resync_interval});
    EXPECT_TRUE(monitor);
    return std::move(*monitor);
  }

  // Feeds items to the mirror until `enough` of them; what came is in words in log_.
  bool Until(Monitor& monitor, const std::function<bool(const MonitorItem&)>& enough) {
    return test::Eventually([&] {
      const auto item = monitor.Next(kSlice);
      if (!item) return false;
      mirror_.Apply(*item);
      log_.push_back(Words(*item));
      return enough(*item);
    });
  }
  template <typename Kind>
  bool UntilA(Monitor& monitor) {
    return Until(monitor, [](const MonitorItem& item) { return std::holds_alternative<Kind>(item); });
  }

  static std::string Words(const MonitorItem& item) {
    if (const auto* it = std::get_if<EventReceived>(&item)) {
      return it->event.topic() + " " + it->event.flow().ufid() + std::to_string(it->event.flow().packets());
    }
    if (const auto* it = std::get_if<SnapshotFlow>(&item)) return "snapshot " + it->flow.ufid();
    if (const auto* it = std::get_if<SnapshotDeleted>(&item)) return "deleted " + it->ufid;
    if (const auto* it = std::get_if<GapDetected>(&item)) return "gap " + it->topic + std::to_string(it->missed);
    if (const auto* it = std::get_if<EpochChanged>(&item)) return "epoch " + it->from + it->to;
    if (const auto* it = std::get_if<Problem>(&item)) return "problem " + it->error.reason;
    if (std::holds_alternative<SnapshotStarted>(item)) return "started";
    if (std::holds_alternative<Synced>(item)) return "synced";
    return "silent";
  }

  // A core that answers snapshot requests from `table_`, one flow a chunk. `between` runs after each chunk.
  void Serve(FakeCore& core, std::function<void(uint64_t chunk)> between = nullptr) {
    core.SetHandler([this, &core, between](const v1::Request& request) {
      auto reply = core.Yes();
      const uint64_t chunk = request.snapshot().after();
      if (chunk < table_.size()) {
        auto& flow = *reply.add_flows();
        flow.set_ufid(table_[chunk].first);
        flow.set_packets(table_[chunk].second);
      }
      for (const auto& ufid : deleted_) reply.add_deleted(ufid);
      reply.set_cursor(chunk + 1);
      reply.set_done(chunk + 1 >= table_.size());
      if (between) between(chunk);
      return reply;
    });
  }

  test::TempDir dir_;
  FlowMirror mirror_;
  std::vector<std::string> log_;
  // Of the core's thread.
  std::vector<std::pair<std::string, uint64_t>> table_;
  std::vector<std::string> deleted_;
};

using Log = std::vector<std::string>;

TEST_F(MonitorTest, ALateJoinerGetsTheTableThenTheStream) {
  FakeCore core(dir_.path());
  Serve(core);
  core.Do([&] {
    table_ = {{"a", 1}, {"b", 2}};
    core.PublishFlow("flow.add", "a");
    core.PublishFlow("flow.add", "b");
  });
  auto monitor = Open(true);
  ASSERT_TRUE(UntilA<Synced>(monitor));
  core.Do([&] { core.PublishFlow("flow.add", "c", 3); });
  ASSERT_TRUE(UntilA<EventReceived>(monitor));
  EXPECT_EQ(log_, (Log{"started", "snapshot a", "snapshot b", "synced", "flow.add c3"}));
  EXPECT_EQ(mirror_.size(), 3U);
  EXPECT_EQ(monitor.counters().missed, 0U);
}

TEST_F(MonitorTest, EventsDuringTheWalkComeAfterItOnceAndInOrder) {
  FakeCore core(dir_.path());
  table_ = {{"a", 1}, {"b", 1}, {"c", 1}};
  Serve(core, [&](uint64_t chunk) {
    if (chunk == 0) {
      core.PublishFlow("flow.stats", "a", 50);  // after a's chunk: news
      core.PublishFlow("flow.stats", "b", 40);  // before b's chunk: old by then
    } else if (chunk == 2) {
      core.PublishFlow("flow.add", "d", 4);  // after the last chunk
    }
  });
  auto monitor = Open(true);
  ASSERT_TRUE(Until(monitor, [](const MonitorItem& item) { return Words(item) == "flow.add d4"; }));
  EXPECT_EQ(log_,
            (Log{"started", "snapshot a", "snapshot b", "snapshot c", "synced", "flow.stats a50", "flow.add d4"}));
  EXPECT_EQ(mirror_.Find("a")->packets(), 50U);
  EXPECT_EQ(mirror_.Find("b")->packets(), 1U);
}

TEST_F(MonitorTest, AFlowDeletedDuringTheWalkStaysDeleted) {
  FakeCore core(dir_.path());
  table_ = {{"a", 1}, {"b", 1}};
  Serve(core, [&](uint64_t chunk) {
    if (chunk != 0) return;
    core.PublishFlow("flow.stats", "a", 9);
    core.PublishFlow("flow.del", "a");
    deleted_ = {"a"};
  });
  auto monitor = Open(true);
  ASSERT_TRUE(UntilA<Synced>(monitor));
  core.Do([&] { core.PublishFlow("flow.mod", "b", 2); });
  ASSERT_TRUE(UntilA<EventReceived>(monitor));
  EXPECT_EQ(log_, (Log{"started", "snapshot a", "deleted a", "snapshot b", "synced", "flow.mod b2"}));
  EXPECT_EQ(mirror_.Find("a"), nullptr);
}

TEST_F(MonitorTest, AFlowDeletedAfterItsChunkWithoutATombstoneGoesByItsEvent) {
  FakeCore core(dir_.path());
  table_ = {{"a", 1}, {"b", 1}};
  Serve(core, [&](uint64_t chunk) {
    if (chunk == 0) core.PublishFlow("flow.del", "a");
  });
  auto monitor = Open(true);
  ASSERT_TRUE(UntilA<EventReceived>(monitor));
  EXPECT_EQ(log_, (Log{"started", "snapshot a", "snapshot b", "synced", "flow.del a0"}));
  EXPECT_EQ(mirror_.Find("a"), nullptr);
}

TEST_F(MonitorTest, AGapIsToldAndHealedByAnotherWalk) {
  FakeCore core(dir_.path());
  Serve(core);
  core.Do([&] { table_ = {{"a", 1}, {"b", 1}}; });
  auto monitor = Open(true);
  ASSERT_TRUE(UntilA<Synced>(monitor));
  log_.clear();
  core.Do([&] {
    core.PublishFlow("flow.del", "a");
    core.PublishFlow("flow.del", "b", 0, true);
    core.PublishFlow("flow.del", "x", 0, true);
    table_ = {{"c", 1}};
    core.PublishFlow("flow.del", "y");
  });
  ASSERT_TRUE(UntilA<Synced>(monitor));
  EXPECT_EQ(log_, (Log{"flow.del a0", "flow.del y0", "gap flow.del2", "started", "snapshot c", "synced"}));
  EXPECT_EQ(mirror_.size(), 1U);
  EXPECT_NE(mirror_.Find("c"), nullptr);
  EXPECT_EQ(monitor.counters().missed, 2U);
  EXPECT_EQ(monitor.counters().walks, 2U);
}

TEST_F(MonitorTest, ALostLastEventIsNoticedByTheHeartbeat) {
  FakeCore core(dir_.path());
  Serve(core);
  auto monitor = Open(true);
  ASSERT_TRUE(UntilA<Synced>(monitor));
  core.Do([&] {
    table_ = {{"a", 1}};
    core.PublishFlow("flow.add", "a", 0, true);  // the first of its topic, and the last
    core.Beat();
  });
  ASSERT_TRUE(UntilA<Synced>(monitor));
  EXPECT_EQ(log_, (Log{"started", "synced", "gap flow.add1", "started", "snapshot a", "synced"}));
}

TEST_F(MonitorTest, APrefixOnlyLooksAtItsOwnTopics) {
  FakeCore core(dir_.path());
  auto monitor = Open(false, {"upcall"});
  ASSERT_TRUE(test::Eventually([&] {
    v1::Event event;
    event.mutable_upcall();
    core.Do([&] {
      core.PublishFlow("flow.add", "a");
      core.Publish("upcall", event);
    });
    const auto item = monitor.Next(kSlice);
    return item && Words(*item) == "upcall 0";
  }));
  core.Do([&] {
    core.PublishFlow("flow.add", "b");
    core.Publish("upcall", {}, true);
    core.Beat();
  });
  ASSERT_TRUE(UntilA<GapDetected>(monitor));
  EXPECT_EQ(log_.back(), "gap upcall1");
  EXPECT_EQ(monitor.counters().missed, 1U);
  EXPECT_EQ(monitor.counters().walks, 0U);
}

TEST_F(MonitorTest, AnotherCoreIsToldAndWalked) {
  FakeCore core(dir_.path());
  Serve(core);
  core.Do([&] {
    for (int i = 0; i < 100; ++i) core.PublishFlow("flow.add", "old");
    table_ = {{"old", 1}};
  });
  auto monitor = Open(true);
  ASSERT_TRUE(UntilA<Synced>(monitor));
  log_.clear();
  core.Do([&] {
    core.StartEpoch("e2");
    table_ = {{"new", 1}};
    core.Beat();
  });
  ASSERT_TRUE(UntilA<Synced>(monitor));
  core.Do([&] { core.PublishFlow("flow.stats", "new", 7); });
  ASSERT_TRUE(UntilA<EventReceived>(monitor));
  EXPECT_EQ(log_, (Log{"epoch e1e2", "started", "snapshot new", "synced", "flow.stats new7"}));
  EXPECT_EQ(mirror_.size(), 1U);
}

TEST_F(MonitorTest, GapsAreToldAtALimitedRate) {
  FakeCore core(dir_.path());
  auto monitor = Open(false, {"flow."}, std::chrono::seconds(60));
  ASSERT_TRUE(test::Eventually([&] {
    core.Do([&] { core.PublishFlow("flow.add", "a"); });
    return monitor.Next(kSlice).has_value();
  }));
  core.Do([&] {
    for (int i = 0; i < 50; ++i) {
      core.PublishFlow("flow.add", "a", 0, true);
      core.PublishFlow("flow.add", "a", 0);
    }
    core.PublishFlow("flow.add", "end");
  });
  ASSERT_TRUE(Until(monitor, [](const MonitorItem& item) { return Words(item) == "flow.add end0"; }));
  EXPECT_EQ(std::count(log_.begin(), log_.end(), "gap flow.add1"), 1);
  EXPECT_EQ(monitor.counters().missed, 50U);
}

TEST_F(MonitorTest, ALostChunkIsAskedForAgain) {
  FakeCore core(dir_.path());
  table_ = {{"a", 1}};
  bool lost = false;
  Serve(core, [&](uint64_t) {
    if (!std::exchange(lost, true)) core.LoseNextReply();
  });
  auto monitor = Monitor::Open({.endpoints = EndpointsIn(dir_.path()),
                                .topics = {"flow."},
                                .snapshot = true,
                                .resync_interval = std::chrono::milliseconds(1),
                                .walk_timeout = std::chrono::milliseconds(50)});
  ASSERT_TRUE(monitor);
  ASSERT_TRUE(UntilA<Problem>(*monitor));
  EXPECT_EQ(log_.back(), "problem no_daemon");
  ASSERT_TRUE(test::Eventually([&] {
    core.Do([&] { core.Beat(); });
    return UntilA<Synced>(*monitor);
  }));
  EXPECT_EQ(mirror_.size(), 1U);
}

TEST_F(MonitorTest, SaysWhenTheDaemonIsSilentAndGoesOnAfterwards) {
  auto core = std::make_unique<FakeCore>(dir_.path());
  Serve(*core);
  auto monitor = Open(true);
  ASSERT_TRUE(UntilA<Synced>(monitor));
  core->Do([&] { core->Beat(10); });
  ASSERT_TRUE(UntilA<Silent>(monitor));
  core.reset();
  core = std::make_unique<FakeCore>(dir_.path(), "e2");
  Serve(*core);
  ASSERT_TRUE(UntilA<EpochChanged>(monitor));
  ASSERT_TRUE(UntilA<Synced>(monitor));
}

TEST_F(MonitorTest, WhatCannotBeReadIsToldAndSkipped) {
  FakeCore core(dir_.path());
  Serve(core);
  auto monitor = Open(true);
  ASSERT_TRUE(UntilA<Synced>(monitor));
  core.Do([&] {
    core.PublishRaw("flow.add", "\xff\xff\xff");
    core.PublishFlow("flow.add", "a");
  });
  ASSERT_TRUE(UntilA<EventReceived>(monitor));
  EXPECT_EQ(log_, (Log{"started", "synced", "problem bad_payload", "flow.add a0"}));
}

TEST_F(MonitorTest, HeartbeatsAreDeliveredOnRequestOnly) {
  FakeCore core(dir_.path());
  auto all = Open(false, {});
  auto asked = Open(false, {"heartbeat"});
  ASSERT_TRUE(Until(asked, [](const MonitorItem& item) { return Words(item) == "heartbeat 0"; }));
  ASSERT_TRUE(test::Eventually([&] {
    core.Do([&] {
      core.Beat();
      core.PublishFlow("flow.add", "a");
    });
    const auto item = all.Next(kSlice);
    EXPECT_TRUE(!item || Words(*item) == "flow.add a0") << Words(*item);
    return item.has_value();
  }));
}

TEST_F(MonitorTest, UpcallsComeAMessageAtATimeAndGapsShow) {
  FakeCore core(dir_.path());
  auto opened = Monitor::Open({.endpoints = EndpointsIn(dir_.path()),
                               .topics = {"upcall", "flow.", "heartbeat"},
                               .whole_upcalls = true,
                               .resync_interval = std::chrono::milliseconds(1)});
  ASSERT_TRUE(opened);
  ASSERT_TRUE(UntilA<EventReceived>(*opened));  // the heartbeat: the subscription is in force
  v1::Events message;
  message.set_epoch("e1");
  for (const uint64_t number : {1, 2, 5}) {
    v1::Event& event = *message.add_events();
    event.set_topic("upcall");
    event.set_topic_seq(number);
    event.mutable_upcall()->set_data("packet " + std::to_string(number));
  }
  core.Do([&] {
    core.PublishRaw("upcall", Encode(message));
    core.PublishFlow("flow.add", "a");
  });
  std::shared_ptr<v1::Events> received;
  ASSERT_TRUE(Until(*opened, [&](const MonitorItem& item) {
    if (const auto* upcalls = std::get_if<UpcallsReceived>(&item)) received = upcalls->message;
    return received != nullptr;
  }));
  ASSERT_TRUE(UntilA<EventReceived>(*opened));
  ASSERT_EQ(received->events_size(), 3);
  EXPECT_EQ(received->events(2).upcall().data(), "packet 5");
  EXPECT_EQ(opened->counters().missed, 2U);
  EXPECT_NE(std::find(log_.begin(), log_.end(), "gap upcall2"), log_.end());
  EXPECT_EQ(log_.back(), "flow.add a0");
}

}  // namespace
}  // namespace sluice
