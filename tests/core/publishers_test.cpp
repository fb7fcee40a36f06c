// SPDX-License-Identifier: Apache-2.0
// What is known of the records of publishers: sent = accepted + refused + dropped, by their own count.
#include "publishers.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace sluice::core {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;

class PublishersTest : public testing::Test {
 protected:
  static constexpr size_t kLimit = 3;

  // A message of `records` accepted records.
  void Take(const std::string& name, uint64_t run, uint64_t seq, std::optional<uint64_t> before, uint64_t records = 1) {
    publishers_.Take(Origin{name, run, seq, before}, "flow.put", records, 0, {}, now_);
  }
  void Refuse(const std::string& name, uint64_t refused) {
    google::protobuf::RepeatedPtrField<v1::Refusal> examples;
    for (uint64_t i = 0; i < refused; ++i) examples.Add()->set_index(static_cast<uint32_t>(i));
    publishers_.Take(Origin{name, 0, 0, {}}, "flow.put", 0, refused, examples, now_);
  }
  v1::Publisher Of(const std::string& name, uint64_t run = 0) {
    v1::Publisher told;
    EXPECT_TRUE(publishers_.Show(name, run, told)) << name << ' ' << run;
    EXPECT_EQ(told.sent(), told.accepted() + told.refused() + told.dropped());
    return told;
  }

  Counters counters_;
  Publishers publishers_{counters_, kLimit};
  uint64_t now_ = 1'000 * kSecond;
};

TEST_F(PublishersTest, AHoleInTheCountIsWhatNeverCame) {
  Take("a", 7, 1, 0, 3);
  Take("a", 7, 2, 3, 2);
  EXPECT_EQ(Of("a").missed(), 0U);
  Take("a", 7, 5, 25, 4);
  const v1::Publisher told = Of("a");
  EXPECT_EQ(told.messages(), 3U);
  EXPECT_EQ(told.accepted(), 9U);
  EXPECT_EQ(told.missed(), 2U);
  EXPECT_EQ(told.dropped(), 20U);
  EXPECT_EQ(told.sent(), 29U);
  EXPECT_EQ(told.run(), 7U);
  EXPECT_EQ(told.seq(), 5U);
  EXPECT_EQ(publishers_.total().dropped, 20U);
}

TEST_F(PublishersTest, WhatWasLostBeforeTheFirstMessageCounts) {
  Take("a", 7, 4, 10, 0);
  EXPECT_EQ(Of("a").missed(), 3U);
  EXPECT_EQ(Of("a").sent(), 10U);
}

TEST_F(PublishersTest, AMessageThatComesAgainLosesNothing) {
  Take("a", 7, 1, 0);
  Take("a", 7, 2, 1);
  Take("a", 7, 3, 2);
  Take("a", 7, 2, 1);
  Take("a", 7, 1, 0);
  Take("a", 7, 3, 2);
  Take("a", 7, 4, 3);
  EXPECT_EQ(Of("a").missed(), 0U);
  EXPECT_EQ(Of("a").dropped(), 0U);
  EXPECT_EQ(Of("a").replayed(), 3U);
  EXPECT_EQ(Of("a").runs(), 1U);
}

TEST_F(PublishersTest, ARestartIsNoGap) {
  Take("a", 7, 1, 0);
  Take("a", 7, 2, 1);
  Take("a", 8, 1, 0);
  Take("a", 8, 3, 9);
  EXPECT_EQ(Of("a").runs(), 2U);
  EXPECT_EQ(Of("a").dropped(), 8U);
  EXPECT_EQ(Of("a", 7).sent(), 2U);
  EXPECT_EQ(Of("a", 8).sent(), 10U);
  EXPECT_EQ(Of("a").run(), 8U);
  // Without a number of the run, it begins where the count does.
  for (int run = 0; run < 2; ++run) {
    Take("b", 0, 1, 0);
    Take("b", 0, 2, 1);
  }
  EXPECT_EQ(Of("b").missed(), 0U);
  EXPECT_EQ(Of("b").runs(), 2U);
}

TEST_F(PublishersTest, TwoProcessesOfOneNameAreToldApartByTheirRuns) {
  for (uint64_t seq = 1; seq <= 100; ++seq) {
    Take("a", 7, seq + 1000, (seq + 999) * 2, 2);
    if (seq % 10 != 0) Take("a", 8, seq, seq - 1);
  }
  EXPECT_EQ(Of("a", 7).missed(), 1000U);  // before the first
  EXPECT_EQ(Of("a", 7).sent(), 2200U);
  EXPECT_EQ(Of("a", 8).missed(), 9U);  // the tenth is not known to have been sent
  EXPECT_EQ(Of("a", 8).sent(), 99U);
  EXPECT_EQ(Of("a").sent(), 2299U);
}

TEST_F(PublishersTest, ManyRunsOfANameAreFollowedNoLonger) {
  for (uint64_t run = 1; run <= 20; ++run) Take("a", run, 1, 0);
  v1::Publisher told;
  EXPECT_FALSE(publishers_.Show("a", 1, told));
  Take("a", 1, 50, 70);  // was counted then: not a gap now
  EXPECT_EQ(Of("a").dropped(), 0U);
  Take("a", 1, 52, 80);
  EXPECT_EQ(Of("a").dropped(), 9U);
  EXPECT_EQ(Of("a").runs(), 21U);
}

TEST_F(PublishersTest, WhoCountsMessagesOnlyIsToldOfMessagesOnly) {
  Take("a", 7, 1, std::nullopt, 5);
  Take("a", 7, 4, std::nullopt, 5);
  EXPECT_EQ(Of("a").missed(), 2U);
  EXPECT_EQ(Of("a").dropped(), 0U);
  Take("", 0, 9, 100);
  Take("b", 0, 0, 100);
  EXPECT_EQ(Of("").missed() + Of("b").missed(), 0U);
}

TEST_F(PublishersTest, ACountThatCannotBeIsCountedAndNotBelieved) {
  Take("a", 7, 1, 0, 5);
  Take("a", 7, 2, 77, 5);  // nothing can be missing
  Take("a", 7, 5, 3, 5);   // fewer than before
  EXPECT_EQ(Of("a").dropped(), 0U);
  EXPECT_EQ(Of("a").missed(), 2U);
  EXPECT_EQ(counters_.Of("publisher_miscounts"), 2U);
}

TEST_F(PublishersTest, ByRequestNothingIsMissed) {
  publishers_.TakeRequest("a", 5, 2, now_);
  EXPECT_EQ(Of("a").sent(), 7U);
  EXPECT_EQ(Of("a").refused(), 2U);
  EXPECT_FALSE(publishers_.HasNews());
}

TEST_F(PublishersTest, ItIsToldOnceASecond) {
  Take("a", 7, 1, 0);
  for (uint64_t seq = 3; seq <= 21; seq += 2) Take("a", 7, seq, seq - 1);
  Refuse("a", 20);
  auto news = publishers_.Due(now_);
  ASSERT_EQ(news.gaps.size(), 1U);
  EXPECT_EQ(news.gaps[0].messages(), 10U);
  EXPECT_EQ(news.gaps[0].records(), 10U);
  EXPECT_EQ(news.gaps[0].publisher().name(), "a");
  EXPECT_EQ(news.gaps[0].publisher().sent(), 41U);
  ASSERT_EQ(news.refused.size(), 1U);
  EXPECT_EQ(news.refused[0].count(), 20U);
  EXPECT_EQ(news.refused[0].refused_size(), 8);
  EXPECT_FALSE(publishers_.HasNews());
  Take("a", 7, 25, 24);
  Take("a", 7, 28, 27);
  now_ += kSecond / 2;
  EXPECT_TRUE(publishers_.Due(now_).gaps.empty());
  EXPECT_TRUE(publishers_.HasNews());
  now_ += kSecond / 2;
  news = publishers_.Due(now_);
  ASSERT_EQ(news.gaps.size(), 1U);
  EXPECT_EQ(news.gaps[0].messages(), 5U);
  EXPECT_FALSE(publishers_.HasNews());
}

TEST_F(PublishersTest, TooManyAreOneTogether) {
  for (const char* name : {"a", "b", "c", "d", "e"}) Take(name, 7, 1, 0);
  EXPECT_EQ(publishers_.size(), kLimit);
  EXPECT_EQ(Of(Publishers::kOthers).sent(), 2U);
  // A flood of names does not take the place of one that is followed.
  Take("a", 7, 3, 2);
  EXPECT_EQ(Of("a").dropped(), 1U);
  // One that sleeps makes room, with all that is known of it.
  Refuse("b", 4);
  now_ += 61 * kSecond;
  Take("c", 7, 2, 1);
  Take("d", 7, 2, 1);
  Take("f", 7, 1, 0);
  v1::Publisher told;
  EXPECT_FALSE(publishers_.Show("a", 0, told));
  EXPECT_FALSE(publishers_.Show("b", 0, told));
  EXPECT_EQ(counters_.Of("publishers_folded"), 2U);
  EXPECT_EQ(Of(Publishers::kOthers).refused(), 4U);
  // What was counted there already is not missing here.
  EXPECT_EQ(Of("d").dropped(), 0U);
  EXPECT_EQ(Of("d").sent(), 1U);
  google::protobuf::RepeatedPtrField<v1::Publisher> all;
  publishers_.ShowAll(all);
  uint64_t sent = 0;
  for (const v1::Publisher& one : all) sent += one.sent();
  EXPECT_EQ(sent, publishers_.total().accepted + publishers_.total().refused + publishers_.total().dropped);
  const auto news = publishers_.Due(now_);
  ASSERT_EQ(news.refused.size(), 1U);
  EXPECT_EQ(news.refused[0].publisher(), Publishers::kOthers);
  EXPECT_EQ(news.refused[0].count(), 4U);
  ASSERT_EQ(news.gaps.size(), 1U);
  EXPECT_EQ(news.gaps[0].publisher().name(), Publishers::kOthers);
}

TEST_F(PublishersTest, WhateverIsLostOnTheWayTheSumIsExact) {
  struct Sender {
    uint64_t seq = 0;
    uint64_t records = 0;
    uint64_t arrived = 0;
    uint64_t lost = 0;
  };
  std::mt19937 random(11);
  std::map<std::pair<std::string, uint64_t>, Sender> senders;
  for (int i = 0; i < 100'000; ++i) {
    const std::string name(1, static_cast<char>('a' + random() % 3));
    const uint64_t run = 1 + random() % 4;
    Sender& sender = senders[{name, run}];
    const uint64_t records = random() % 5;
    const bool last = i >= 99'900;  // by then every sender's tail has been told of
    if (last || random() % 3 != 0) {
      Take(name, run, sender.seq + 1, sender.records, records);
      sender.arrived += records;
    } else {
      sender.lost += records;
    }
    ++sender.seq;
    sender.records += records;
  }
  std::map<std::string, uint64_t> sent;
  for (const auto& [who, sender] : senders) {
    const v1::Publisher told = Of(who.first, who.second);
    EXPECT_EQ(told.sent(), sender.records);
    EXPECT_EQ(told.accepted(), sender.arrived);
    EXPECT_EQ(told.dropped(), sender.lost);
    EXPECT_EQ(told.seq(), sender.seq);
    EXPECT_GT(told.dropped(), 0U);
    sent[who.first] += sender.records;
  }
  EXPECT_EQ(senders.size(), 12U);
  for (const auto& [name, records] : sent) EXPECT_EQ(Of(name).sent(), records);
}

}  // namespace
}  // namespace sluice::core
