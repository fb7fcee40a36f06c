// SPDX-License-Identifier: Apache-2.0
#include "topic_numbers.h"

#include <gtest/gtest.h>

#include <map>

namespace sluice {
namespace {

v1::Event Numbered(const std::string& topic, uint64_t number) {
  v1::Event event;
  event.set_topic(topic);
  event.set_topic_seq(number);
  return event;
}

std::map<std::string, uint64_t> MissedAt(TopicNumbers& numbers, const std::map<std::string, uint64_t>& newest) {
  v1::Heartbeat heartbeat;
  for (const auto& [topic, number] : newest) (*heartbeat.mutable_topic_seq())[topic] = number;
  std::map<std::string, uint64_t> missed;
  numbers.OnHeartbeat(
      heartbeat, [](const std::string& topic) { return topic != "other"; },
      [&](const std::string& topic, uint64_t count) { missed[topic] = count; });
  return missed;
}

using Missed = std::map<std::string, uint64_t>;

TEST(TopicNumbers, TheFirstEventOfALateJoinerIsNoGap) {
  TopicNumbers numbers;
  EXPECT_EQ(numbers.OnEvent(Numbered("a", 100)), 0U);
  EXPECT_EQ(numbers.OnEvent(Numbered("a", 101)), 0U);
  EXPECT_EQ(numbers.OnEvent(Numbered("a", 105)), 3U);
  EXPECT_EQ(numbers.OnEvent(Numbered("b", 7)), 0U);
}

TEST(TopicNumbers, AHeartbeatTellsOfALostLastEvent) {
  TopicNumbers numbers;
  EXPECT_EQ(MissedAt(numbers, {{"a", 10}, {"other", 3}}), Missed());
  EXPECT_EQ(numbers.OnEvent(Numbered("a", 11)), 0U);
  EXPECT_EQ(MissedAt(numbers, {{"a", 13}, {"other", 9}}), (Missed{{"a", 2}}));
  EXPECT_EQ(MissedAt(numbers, {{"a", 13}}), Missed());
}

TEST(TopicNumbers, AfterAHeartbeatATopicsFirstEventCanBeMissed) {
  TopicNumbers numbers;
  EXPECT_EQ(MissedAt(numbers, {}), Missed());
  EXPECT_EQ(numbers.OnEvent(Numbered("a", 2)), 1U);
  EXPECT_EQ(MissedAt(numbers, {{"a", 2}, {"b", 1}}), (Missed{{"b", 1}}));
}

TEST(TopicNumbers, AnotherCoreStartsAnew) {
  TopicNumbers numbers;
  EXPECT_EQ(numbers.OnEvent(Numbered("a", 100)), 0U);
  numbers.Reset();
  EXPECT_EQ(numbers.OnEvent(Numbered("a", 1)), 0U);
  EXPECT_EQ(numbers.OnEvent(Numbered("a", 2)), 0U);
}

}  // namespace
}  // namespace sluice
