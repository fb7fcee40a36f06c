// SPDX-License-Identifier: Apache-2.0
#include "sluice/publisher.h"

#include <gtest/gtest.h>

#include <atomic>

#include "fake_core.h"
#include "sluice/wire.h"

namespace sluice {
namespace {

using test::FakeCore;

v1::Flow FlowTo(const std::string& port) {
  v1::Flow flow;
  flow.set_actions(port);
  return flow;
}

class PublisherTest : public testing::Test {
 protected:
  Publisher Connect(Publisher::Settings settings = {}) {
    settings.endpoint = EndpointsIn(dir_.path()).ingress;
    if (settings.name.empty()) settings.name = "test";
    settings.connect_timeout = connect_timeout_;
    auto publisher = Publisher::Connect(std::move(settings));
    EXPECT_TRUE(publisher);
    return std::move(*publisher);
  }
  template <typename Message>
  static Message Published(FakeCore& core, std::string_view topic) {
    Message message;
    const auto got = core.NextPublished();
    EXPECT_TRUE(got);
    if (got) {
      EXPECT_EQ(got->first, topic);
      EXPECT_TRUE(Decode(got->second, message));
    }
    return message;
  }

  test::TempDir dir_;
  std::chrono::milliseconds connect_timeout_ = test::kPatience;
};

TEST_F(PublisherTest, TheFirstMessageArrives) {
  // Many times, as a publisher that does not wait may be lucky once.
  FakeCore core(dir_.path());
  for (int i = 0; i < 20; ++i) {
    auto publisher = Connect();
    ASSERT_TRUE(publisher.Put(FlowTo("p" + std::to_string(i))));
    ASSERT_TRUE(publisher.Flush());
    const auto put = Published<v1::FlowPut>(core, "flow.put");
    EXPECT_EQ(put.flows(0).actions(), "p" + std::to_string(i));
    EXPECT_EQ(put.publisher(), "test");
    EXPECT_EQ(put.publisher_seq(), 1U);
  }
}

TEST_F(PublisherTest, WaitsForTheSubscriptionToItsTopic) {
  FakeCore core(dir_.path(), "e1", false);
  core.Listen("packet.");
  connect_timeout_ = std::chrono::milliseconds(100);
  auto publisher = Connect();
  ASSERT_TRUE(publisher.PacketOut({}));
  ASSERT_TRUE(publisher.Flush());
  const auto early = publisher.WaitReady();
  ASSERT_FALSE(early);
  EXPECT_EQ(early.error().reason, "no_daemon");
  core.Listen("flow.");
  EXPECT_TRUE(test::Eventually([&] { return bool(publisher.WaitReady()); }));
}

TEST_F(PublisherTest, WithoutADaemonNothingIsLost) {
  connect_timeout_ = std::chrono::milliseconds(50);
  auto publisher = Connect();
  ASSERT_TRUE(publisher.Put(FlowTo("p1")));
  const auto sent = publisher.Flush();
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().reason, "no_daemon");
  EXPECT_EQ(publisher.counters().messages, 0U);
  FakeCore core(dir_.path());
  ASSERT_TRUE(test::Eventually([&] { return bool(publisher.Flush()); }));
  EXPECT_EQ(Published<v1::FlowPut>(core, "flow.put").flows(0).actions(), "p1");
}

TEST_F(PublisherTest, NoticesThatTheDaemonHasGone) {
  auto publisher = Connect();
  {
    FakeCore core(dir_.path());
    ASSERT_TRUE(publisher.DeleteAll());
    Published<v1::FlowFlush>(core, "flow.flush");
    connect_timeout_ = std::chrono::milliseconds(50);
  }
  auto second = Connect();
  EXPECT_FALSE(second.WaitReady());
  FakeCore core(dir_.path(), "e2");
  ASSERT_TRUE(test::Eventually([&] { return bool(publisher.DeleteAll("p1")); }));
  EXPECT_EQ(Published<v1::FlowFlush>(core, "flow.flush").port(), "p1");
}

TEST_F(PublisherTest, CollectsAndKeepsTheOrder) {
  FakeCore core(dir_.path());
  Publisher::Settings settings;
  settings.batch = 2;
  auto publisher = Connect(settings);
  v1::FlowKey key;
  key.set_ufid("u");
  ASSERT_TRUE(publisher.Put(FlowTo("p1")));
  ASSERT_TRUE(publisher.Put(FlowTo("p2")));
  ASSERT_TRUE(publisher.Put(FlowTo("p3")));
  ASSERT_TRUE(publisher.Delete(key));
  ASSERT_TRUE(publisher.Modify(FlowTo("p4")));
  ASSERT_TRUE(publisher.DeleteAll("p0"));
  v1::PacketOut packet;
  for (const char* port : {"p0", "p1", "p2"}) {
    packet.set_in_port(port);
    ASSERT_TRUE(publisher.PacketOut(packet));
  }
  ASSERT_TRUE(publisher.Put(FlowTo("p5")));
  ASSERT_TRUE(publisher.Flush());

  EXPECT_EQ(Published<v1::FlowPut>(core, "flow.put").flows_size(), 2);
  EXPECT_EQ(Published<v1::FlowPut>(core, "flow.put").flows(0).actions(), "p3");
  EXPECT_EQ(Published<v1::FlowDel>(core, "flow.del").flows(0).ufid(), "u");
  EXPECT_EQ(Published<v1::FlowPut>(core, "flow.mod").flows(0).actions(), "p4");
  EXPECT_EQ(Published<v1::FlowFlush>(core, "flow.flush").port(), "p0");
  const auto packets = Published<v1::PacketOuts>(core, "packet.outs");
  ASSERT_EQ(packets.packets_size(), 2);
  EXPECT_EQ(packets.packets(1).in_port(), "p1");
  EXPECT_EQ(packets.publisher(), "test");
  EXPECT_EQ(packets.publisher_seq(), 6U);
  EXPECT_EQ(packets.publisher_records(), 6U);  // four flows, a key, a flush
  EXPECT_NE(packets.publisher_run(), 0U);
  const auto rest = Published<v1::PacketOuts>(core, "packet.outs");
  ASSERT_EQ(rest.packets_size(), 1);
  EXPECT_EQ(rest.packets(0).in_port(), "p2");
  EXPECT_EQ(Published<v1::FlowPut>(core, "flow.put").flows(0).actions(), "p5");
  EXPECT_EQ(publisher.counters().messages, 8U);
  EXPECT_EQ(publisher.counters().flows, 6U);
  EXPECT_EQ(publisher.counters().packets, 3U);
  EXPECT_EQ(publisher.counters().flushes, 1U);
}

TEST_F(PublisherTest, AFullQueueIsAnErrorAndLosesNothing) {
  FakeCore core(dir_.path());
  Publisher::Settings settings;
  settings.batch = 1;
  settings.high_water_mark = 2;
  auto publisher = Connect(settings);
  v1::Flow flow = FlowTo("p1");
  flow.set_match(std::string(1 << 16, 'x'));  // fills the sockets' buffers soon
  uint64_t taken = 0;
  Result<void> put;
  while ((put = publisher.Put(flow))) {
    ++taken;
    ASSERT_LT(taken, 5000U) << "nothing holds the publisher up";
  }
  EXPECT_EQ(put.error().reason, "would_block");
  EXPECT_GT(publisher.counters().would_block, 0U);
  uint64_t received = 0;
  uint64_t last_seq = 0;
  ASSERT_TRUE(test::Eventually([&] {
    (void)publisher.Flush();
    if (auto got = core.NextPublished(std::chrono::milliseconds(10))) {
      v1::FlowPut message;
      EXPECT_TRUE(Decode(got->second, message));
      EXPECT_EQ(message.publisher_seq(), ++last_seq);
      received += static_cast<uint64_t>(message.flows_size());
    }
    return received == taken;
  }));
}

TEST_F(PublisherTest, AnotherDaemonSeesAnotherRunFromItsBeginning) {
  auto publisher = Connect();
  uint64_t run = 0;
  {
    FakeCore core(dir_.path());
    ASSERT_TRUE(publisher.DeleteAll());
    ASSERT_TRUE(publisher.DeleteAll());
    run = Published<v1::FlowFlush>(core, "flow.flush").publisher_run();
    EXPECT_EQ(Published<v1::FlowFlush>(core, "flow.flush").publisher_seq(), 2U);
  }
  FakeCore core(dir_.path(), "e2");
  // What is sent before the subscription shows is of the old run still.
  v1::FlowFlush flush;
  ASSERT_TRUE(test::Eventually([&] {
    EXPECT_TRUE(publisher.DeleteAll());
    flush = Published<v1::FlowFlush>(core, "flow.flush");
    return flush.publisher_run() != run;
  }));
  EXPECT_EQ(flush.publisher_seq(), 1U);
  EXPECT_EQ(flush.publisher_records(), 0U);
  ASSERT_TRUE(publisher.DeleteAll());
  const auto second = Published<v1::FlowFlush>(core, "flow.flush");
  EXPECT_EQ(second.publisher_seq(), 2U);
  EXPECT_EQ(second.publisher_records(), 1U);
  EXPECT_EQ(second.publisher_run(), flush.publisher_run());
}

TEST_F(PublisherTest, SettlesWhenTheDaemonHasHadTheLastWord) {
  FakeCore core(dir_.path());
  Publisher::Settings settings;
  settings.control = core.endpoints().control;
  auto publisher = Connect(settings);
  std::atomic<int> asked = 0;
  core.SetHandler([&](const v1::Request& request) {
    v1::Reply reply = core.Yes();
    EXPECT_EQ(request.publisher_get().name(), "test");
    EXPECT_NE(request.publisher_get().run(), 0U);
    if (++asked == 1) {
      reply.set_ok(false);
      reply.set_reason("no_such_publisher");
      return reply;
    }
    v1::Publisher& told = *reply.add_publishers();
    told.set_accepted(1);
    told.set_refused(1);
    if (asked > 3) told.set_dropped(1);
    return reply;
  });
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(publisher.Put(FlowTo("p1")));
  const auto account = publisher.Settle(test::kPatience);
  ASSERT_TRUE(account) << account.error().detail;
  EXPECT_EQ(asked, 4);
  EXPECT_EQ(account->sent, 3U);
  EXPECT_EQ(account->accepted, 1U);
  EXPECT_EQ(account->refused, 1U);
  EXPECT_EQ(account->dropped, 1U);
  EXPECT_EQ(account->under_way, 0U);
  EXPECT_EQ(Published<v1::FlowPut>(core, "flow.put").flows_size(), 3);
  const auto last_word = Published<v1::FlowPut>(core, "flow.put");
  EXPECT_EQ(last_word.flows_size(), 0);
  EXPECT_EQ(last_word.publisher_seq(), 2U);
  EXPECT_EQ(last_word.publisher_records(), 3U);
  // Time is up: what is not known is said to be under way.
  asked = 1;
  ASSERT_TRUE(publisher.DeleteAll());
  core.SetHandler([&](const v1::Request&) { return core.Yes(); });
  const auto unknown = publisher.Settle(std::chrono::milliseconds(20));
  ASSERT_TRUE(unknown) << unknown.error().detail;
  EXPECT_EQ(unknown->under_way, 4U);
}

TEST_F(PublisherTest, SettlingNeedsTheControlEndpoint) {
  FakeCore core(dir_.path());
  auto publisher = Connect();
  const auto account = publisher.Settle();
  ASSERT_FALSE(account);
  EXPECT_EQ(account.error().reason, "bad_endpoint");
}

TEST_F(PublisherTest, WhatIsCollectedIsSentAtTheEnd) {
  FakeCore core(dir_.path());
  { ASSERT_TRUE(Connect().Put(FlowTo("p1"))); }
  EXPECT_EQ(Published<v1::FlowPut>(core, "flow.put").flows_size(), 1);
}

}  // namespace
}  // namespace sluice
