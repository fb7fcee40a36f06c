// SPDX-License-Identifier: Apache-2.0
#include "event_stream.h"

#include <gtest/gtest.h>

#include "sluice/wire.h"

namespace sluice::core::test {
namespace {

class EventStreamTest : public ::testing::Test {
 protected:
  struct Message {
    std::string topic;
    v1::Events events;
  };
  std::vector<Message> Sent() {
    events_.Flush();
    return std::exchange(sent_, {});
  }
  Sequence sequence_;
  Counters counters_;
  std::vector<Message> sent_;
  EventStream events_{sequence_, counters_, "node", "epoch",
                      [this](std::string_view topic, const std::string& payload) {
                        Message& message = sent_.emplace_back();
                        message.topic = topic;
                        EXPECT_TRUE(Decode(payload, message.events));
                        return true;
                      }};
};

TEST_F(EventStreamTest, WithoutSubscribersNumbersGoOnAndNothingIsMade) {
  EXPECT_EQ(events_.Add(Topic::upcall), nullptr);
  EXPECT_TRUE(Sent().empty());
  events_.Subscribed("", true);
  v1::Event* event = events_.Add(Topic::upcall);
  ASSERT_NE(event, nullptr);
  EXPECT_EQ(event->seq(), 2U);
  EXPECT_EQ(event->topic_seq(), 2U);
}

TEST_F(EventStreamTest, AnotherTopicBeginsAnotherMessage) {
  events_.Subscribed("", true);
  for (const Topic topic : {Topic::flow_add, Topic::flow_add, Topic::flow_del, Topic::flow_add}) events_.Add(topic);
  const auto sent = Sent();
  ASSERT_EQ(sent.size(), 3U);
  EXPECT_EQ(sent[0].topic, "flow.add");
  EXPECT_EQ(sent[0].events.events_size(), 2);
  EXPECT_EQ(sent[1].topic, "flow.del");
  EXPECT_EQ(sent[2].topic, "flow.add");
  EXPECT_EQ(sent[2].events.events(0).seq(), 4U);
  EXPECT_EQ(sent[2].events.events(0).topic_seq(), 3U);
  EXPECT_EQ(sent[0].events.node(), "node");
  EXPECT_EQ(sent[0].events.epoch(), "epoch");
}

TEST_F(EventStreamTest, MessagesHave64EventsAtMost) {
  events_.Subscribed("flow.", true);
  for (int i = 0; i < 130; ++i) events_.Add(Topic::flow_add);
  const auto sent = Sent();
  ASSERT_EQ(sent.size(), 3U);
  EXPECT_EQ(sent[0].events.events_size(), 64);
  EXPECT_EQ(sent[2].events.events_size(), 2);
}

TEST_F(EventStreamTest, EachEncodingForThoseWhoAskedForIt) {
  events_.Subscribed("json:flow.", true);
  EXPECT_TRUE(events_.Wanted(Topic::flow_add));
  EXPECT_FALSE(events_.Wanted(Topic::upcall));
  events_.Add(Topic::flow_add);
  auto sent = Sent();
  ASSERT_EQ(sent.size(), 1U);
  EXPECT_EQ(sent[0].topic, "json:flow.add");
  events_.Subscribed("flow.add", true);
  events_.Add(Topic::flow_add);
  EXPECT_EQ(Sent().size(), 2U);
  events_.Subscribed("json:flow.", false);
  events_.Add(Topic::flow_add);
  sent = Sent();
  ASSERT_EQ(sent.size(), 1U);
  EXPECT_EQ(sent[0].topic, "flow.add");
}

TEST_F(EventStreamTest, UpcallsGoAsTheyCameAndAreLentOnly) {
  google::protobuf::RepeatedPtrField<v1::Upcall> upcalls;
  for (int i = 0; i < 300; ++i) upcalls.Add()->set_data("packet " + std::to_string(i));
  events_.AddUpcalls(upcalls);
  EXPECT_TRUE(Sent().empty());
  events_.Subscribed("", true);
  events_.Add(Topic::flow_add);
  events_.AddUpcalls(upcalls);
  events_.Add(Topic::flow_add);
  const auto sent = Sent();
  ASSERT_EQ(sent.size(), 5U);
  EXPECT_EQ(sent[0].topic, "flow.add");
  EXPECT_EQ(sent[1].events.events_size(), 128);
  EXPECT_EQ(sent[2].events.events_size(), 128);
  ASSERT_EQ(sent[3].events.events_size(), 44);
  const v1::Event& first = sent[1].events.events(0);
  EXPECT_EQ(first.topic(), "upcall");
  EXPECT_EQ(first.seq(), 302U);  // the unheard have their numbers, too
  EXPECT_EQ(first.topic_seq(), 301U);
  EXPECT_EQ(sent[1].events.epoch(), "epoch");
  const v1::Event& last = sent[3].events.events(43);
  EXPECT_EQ(last.topic_seq(), 600U);
  EXPECT_EQ(last.upcall().data(), "packet 299");
  EXPECT_EQ(sent[4].events.events(0).seq(), 602U);
  EXPECT_EQ(upcalls.Get(299).data(), "packet 299");  // still whole
}

TEST_F(EventStreamTest, LargeUpcallsAreFewAMessage) {
  google::protobuf::RepeatedPtrField<v1::Upcall> upcalls;
  for (int i = 0; i < 10; ++i) upcalls.Add()->set_data(std::string(8'192, 'x'));
  events_.Subscribed("upcall", true);
  events_.AddUpcalls(upcalls);
  const auto sent = Sent();
  ASSERT_EQ(sent.size(), 3U);
  EXPECT_EQ(sent[0].events.events_size(), 4);
  EXPECT_EQ(sent[2].events.events_size(), 2);
}

// XPUB tells of each that subscribes, and of the last that no longer does.
TEST_F(EventStreamTest, ATopicIsWantedUntilTheLastSubscriptionGoes) {
  events_.Subscribed("upcall", true);
  events_.Subscribed("upcall", true);
  EXPECT_TRUE(events_.Wanted(Topic::upcall));
  events_.Subscribed("upcall", false);
  EXPECT_FALSE(events_.Wanted(Topic::upcall));
  events_.Subscribed("never there", false);
}

TEST_F(EventStreamTest, HeartbeatsTellTheNewestNumbers) {
  events_.Subscribed("heartbeat", true);
  events_.Add(Topic::flow_add);
  events_.Heartbeat(1'000);
  const auto sent = Sent();
  ASSERT_EQ(sent.size(), 1U);
  const v1::Heartbeat& beat = sent[0].events.events(0).heartbeat();
  EXPECT_EQ(beat.seq(), 2U);
  EXPECT_EQ(beat.topic_seq().at("flow.add"), 1U);
  EXPECT_EQ(beat.topic_seq().at("heartbeat"), 1U);
  EXPECT_EQ(beat.interval_ms(), 1'000U);
}

}  // namespace
}  // namespace sluice::core::test
