// SPDX-License-Identifier: Apache-2.0
// What publishers send is accepted, refused or dropped, and each counted, whatever the rate.
#include <gtest/gtest.h>

#include <cstdio>

#include "daemon_rig.h"
#include "sluice/publisher.h"
#include "support/temp_dir.h"

namespace sluice::core::test {
namespace {

using sluice::test::TempDir;

std::string MatchOf(uint64_t number) {
  return "eth_type(0x0800),ipv4(dst=" + std::to_string(10 + (number >> 24)) + '.' + std::to_string(number >> 16 & 255) +
         '.' + std::to_string(number >> 8 & 255) + '.' + std::to_string(number & 255) + ")";
}

// Room for few messages in the core's socket: a flood is dropped soon.
class AccountingTest : public testing::Test {
 protected:
  static std::vector<std::string> Narrow(const TempDir& dir) {
    return {"--config", dir.Write("narrow.toml", "[queues]\ningress = 8\n")};
  }
  static void ExpectExact(const v1::Publisher& told, const Flooder& flooder) {
    EXPECT_EQ(told.sent(), flooder.records());
    EXPECT_EQ(told.sent(), told.accepted() + told.refused() + told.dropped());
    EXPECT_EQ(told.messages() + told.missed(), flooder.messages());
  }

  TempDir dir_;
  Daemon daemon_{Narrow(dir_)};
};

TEST_F(AccountingTest, WhatAFloodLosesIsCountedToTheFlow) {
  constexpr uint64_t kMessages = 5'000;
  Listener listener(daemon_);
  Flooder flooder(daemon_, "flood", 200);
  ASSERT_TRUE(flooder.Conclude(daemon_));  // what came before the connection is lost, and counted
  uint64_t wrong_sent = 0;
  for (uint64_t i = 0; i < kMessages; ++i) {
    v1::FlowPut put;
    for (uint64_t flow = 0; flow < 1 + i % 7; ++flow) put.add_flows()->set_match(MatchOf(i * 8 + flow));
    if (i % 5 == 0) {
      put.add_flows()->set_match("nonsense");
      ++wrong_sent;
    }
    flooder.Send(put.SerializeAsString(), static_cast<uint64_t>(put.flows_size()));
  }
  ASSERT_TRUE(flooder.Conclude(daemon_));
  const v1::Publisher told = PublisherOf(daemon_, "flood");
  ExpectExact(told, flooder);
  EXPECT_GT(told.dropped(), 0U);
  EXPECT_GT(told.refused(), 0U);
  EXPECT_LT(told.refused(), wrong_sent);
  const v1::Status status = StatusOf(daemon_);
  EXPECT_EQ(status.flows(), told.accepted());  // each was another flow
  EXPECT_EQ(status.counters().at("refused.bad_match"), told.refused());
  EXPECT_EQ(status.drops().at("ingress.records"), told.dropped());
  EXPECT_EQ(status.drops().at("ingress.messages"), told.missed());
  std::printf("[ FIGURE   ] sent %lu, accepted %lu, refused %lu, dropped %lu\n", told.sent(), told.accepted(),
              told.refused(), told.dropped());

  // The gaps were told, a few times, and they add up. They are told within a second.
  uint64_t records = 0;
  uint64_t events = 0;
  while (records < told.dropped()) {
    const json event = listener.Await("publisher.gap");
    ASSERT_FALSE(event.is_null()) << "told of " << records << " of " << told.dropped();
    EXPECT_EQ(event["gap"]["publisher"]["name"], "flood");
    records += std::stoull(event["gap"]["records"].get<std::string>());
    ++events;
  }
  EXPECT_EQ(records, told.dropped());
  EXPECT_LE(events, 10U);
}

TEST_F(AccountingTest, AtTenTimesTheRateThatTheCoreTakesItIsExact) {
  constexpr auto kFlood = std::chrono::milliseconds(500);
  constexpr int kFlows = 64;
  v1::FlowPut put;
  for (int i = 0; i < kFlows; ++i) put.add_flows()->set_match(MatchOf(static_cast<uint64_t>(i)));
  put.add_flows()->set_match("nonsense");
  const std::string payload = put.SerializeAsString();
  Flooder flooder(daemon_, "flood", 8);
  ASSERT_TRUE(flooder.Conclude(daemon_));
  double times = 0;
  // Where the machine is busy with other things the flood is none: again.
  for (int attempt = 0; attempt < 10 && times < 10; ++attempt) {
    const v1::Publisher before = PublisherOf(daemon_, "flood");
    const auto end = std::chrono::steady_clock::now() + kFlood;
    while (std::chrono::steady_clock::now() < end) {
      for (int i = 0; i < 100; ++i) flooder.Send(payload, kFlows + 1);
    }
    ASSERT_TRUE(flooder.Conclude(daemon_));
    const v1::Publisher told = PublisherOf(daemon_, "flood");
    ExpectExact(told, flooder);
    EXPECT_EQ(told.accepted(), told.refused() * kFlows);
    const uint64_t taken = told.accepted() + told.refused() - before.accepted() - before.refused();
    ASSERT_GT(taken, 0U);
    times = static_cast<double>(told.sent() - before.sent()) / static_cast<double>(taken);
  }
  std::printf("[ FIGURE   ] sent %lu records, %.0f times what was taken\n", flooder.records(), times);
  EXPECT_GE(times, 10);
  EXPECT_EQ(StatusOf(daemon_).flows(), static_cast<uint64_t>(kFlows));
}

TEST_F(AccountingTest, APublisherOfTheLibraryIsHeldUpAndLosesNothing) {
  constexpr uint64_t kFlows = 20'000;
  auto publisher = Publisher::Connect({.endpoint = "ipc://" + daemon_.run_dir() + "/ingress",
                                       .name = "library",
                                       .batch = 4,
                                       .high_water_mark = 4,
                                       .control = "ipc://" + daemon_.run_dir() + "/control"});
  ASSERT_TRUE(publisher);
  for (uint64_t i = 0; i < kFlows; ++i) {
    v1::Flow flow;
    flow.set_match(i % 100 == 0 ? "nonsense" : MatchOf(i));
    Result<void> put;
    while (!(put = publisher->Put(flow))) ASSERT_EQ(put.error().reason, "would_block");
  }
  const auto account = publisher->Settle(std::chrono::seconds(30));
  ASSERT_TRUE(account) << account.error().detail;
  EXPECT_GT(publisher->counters().would_block, 0U);
  EXPECT_EQ(account->sent, kFlows);
  EXPECT_EQ(account->accepted, kFlows - kFlows / 100);
  EXPECT_EQ(account->refused, kFlows / 100);
  EXPECT_EQ(account->dropped, 0U);
  EXPECT_EQ(account->under_way, 0U);
  EXPECT_EQ(StatusOf(daemon_).flows(), account->accepted);
}

TEST_F(AccountingTest, EachOfSeveralIsExact) {
  Flooder one(daemon_, "one", 8);
  Flooder two(daemon_, "two", 8);
  ASSERT_TRUE(one.Conclude(daemon_));
  ASSERT_TRUE(two.Conclude(daemon_));
  v1::FlowPut put;
  for (int i = 0; i < 20; ++i) put.add_flows()->set_match(MatchOf(static_cast<uint64_t>(i)));
  const std::string payload = put.SerializeAsString();
  put.set_publisher("asks");
  v1::Request request;
  *request.mutable_flow_put() = put;
  for (int i = 0; i < 3'000; ++i) {
    one.Send(payload, 20);
    two.Send(payload, 20);
    if (i % 300 == 0) {
      EXPECT_EQ(daemon_.Ask(request).accepted(), 20U);
    }
  }
  ASSERT_TRUE(one.Conclude(daemon_));
  ASSERT_TRUE(two.Conclude(daemon_));
  ExpectExact(PublisherOf(daemon_, "one"), one);
  ExpectExact(PublisherOf(daemon_, "two"), two);
  EXPECT_EQ(PublisherOf(daemon_, "asks").accepted(), 200U);
  const v1::Status status = StatusOf(daemon_);
  uint64_t accepted = 0;
  for (const v1::Publisher& publisher : status.publishers()) accepted += publisher.accepted();
  EXPECT_EQ(status.counters().at("accepted"), accepted);
}

}  // namespace
}  // namespace sluice::core::test
