// SPDX-License-Identifier: Apache-2.0
#include "sluice/control_client.h"

#include <gtest/gtest.h>

#include "fake_core.h"
#include "sluice/wire.h"

namespace sluice {
namespace {

using test::FakeCore;

class ControlClientTest : public testing::Test {
 protected:
  ControlClient Connect(std::chrono::milliseconds timeout = test::kPatience, bool fail_fast = true) {
    auto client = ControlClient::Connect(
        {.endpoint = EndpointsIn(dir_.path()).control, .timeout = timeout, .fail_fast = fail_fast});
    EXPECT_TRUE(client);
    return std::move(*client);
  }
  static v1::Request Get(const std::string& ufid) {
    v1::Request request;
    request.mutable_flow_get()->set_ufid(ufid);
    return request;
  }

  test::TempDir dir_;
};

TEST_F(ControlClientTest, AsksAndIsAnswered) {
  FakeCore core(dir_.path());
  core.SetHandler([&](const v1::Request& request) {
    auto reply = core.Yes();
    reply.add_flows()->set_ufid(request.flow_get().ufid());
    return reply;
  });
  auto client = Connect();
  for (const std::string ufid : {"a", "b", "c"}) {
    const auto reply = client.Call(Get(ufid));
    ASSERT_TRUE(reply) << reply.error().detail;
    EXPECT_EQ(reply->flows(0).ufid(), ufid);
  }
}

TEST_F(ControlClientTest, ARefusalIsAReply) {
  FakeCore core(dir_.path());
  core.SetHandler([&](const v1::Request&) {
    auto reply = core.Yes();
    reply.set_ok(false);
    reply.set_reason("no_such_flow");
    return reply;
  });
  const auto reply = Connect().Call(Get("a"));
  ASSERT_TRUE(reply);
  EXPECT_FALSE(reply->ok());
  EXPECT_EQ(reply->reason(), "no_such_flow");
}

TEST_F(ControlClientTest, ARequestThatCouldNotBeReadIsARefusalToo) {
  FakeCore core(dir_.path());
  core.Do([&] { core.MisreadNextRequest(); });
  const auto reply = Connect().Call(Get("a"));
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->reason(), "bad_request");
}

TEST_F(ControlClientTest, WithoutADaemonItFailsAtOnce) {
  const auto started = std::chrono::steady_clock::now();
  const auto reply = Connect().Call(Get("a"));
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().reason, "no_daemon");
  EXPECT_NE(reply.error().detail.find(dir_.path()), std::string::npos);
  EXPECT_LT(std::chrono::steady_clock::now() - started, test::kPatience / 2);
}

TEST_F(ControlClientTest, WaitsForADaemonIfToldTo) {
  auto client = Connect(test::kPatience, false);
  std::optional<FakeCore> core;
  std::thread starter([&] { core.emplace(dir_.path()); });
  const auto reply = client.Call(Get("a"));
  starter.join();
  EXPECT_TRUE(reply) << reply.error().detail;
}

TEST_F(ControlClientTest, ALateAnswerIsNotTakenForTheNext) {
  FakeCore core(dir_.path());
  core.SetHandler([&](const v1::Request& request) {
    auto reply = core.Yes();
    reply.set_detail(request.flow_get().ufid());
    if (request.flow_get().ufid() == "lost") core.LoseNextReply();
    return reply;
  });
  auto client = Connect();
  const auto lost = client.Call(Get("lost"), std::chrono::milliseconds(50));
  ASSERT_FALSE(lost);
  EXPECT_EQ(lost.error().reason, "no_daemon");
  EXPECT_NE(lost.error().detail.find("50 ms"), std::string::npos) << lost.error().detail;
  const auto next = client.Call(Get("next"));
  ASSERT_TRUE(next);
  EXPECT_EQ(next->detail(), "next");
}

TEST_F(ControlClientTest, NothingIsLeftForADaemonThatStartsLater) {
  auto client = Connect();
  ASSERT_FALSE(client.Call(Get("early")));
  FakeCore core(dir_.path());
  std::vector<std::string> asked;
  core.SetHandler([&](const v1::Request& request) {
    asked.push_back(request.flow_get().ufid());
    return core.Yes();
  });
  ASSERT_TRUE(test::Eventually([&] { return bool(client.Call(Get("late"))); }));
  core.Do([&] { EXPECT_EQ(asked, std::vector<std::string>{"late"}); });
}

TEST_F(ControlClientTest, OversizedRequestsAreNotSent) {
  FakeCore core(dir_.path());
  const auto reply = Connect().Call(Get(std::string(kMaxPayload, 'x')));
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().reason, "too_large");
}

TEST_F(ControlClientTest, WalksASnapshotWithItsChanges) {
  FakeCore core(dir_.path());
  core.SetHandler([&](const v1::Request& request) {
    auto reply = core.Yes();
    const auto& snapshot = request.snapshot();
    EXPECT_EQ(snapshot.port(), "p0");
    const auto add = [&](const std::string& ufid, uint64_t packets) {
      auto& flow = *reply.add_flows();
      flow.set_ufid(ufid);
      flow.set_packets(packets);
    };
    if (snapshot.after() == 0) {
      add("a", 1);
      add("b", 1);
      add("c", 1);
      reply.set_cursor(3);
    } else {
      EXPECT_EQ(snapshot.after(), 3U);
      EXPECT_EQ(snapshot.epoch(), "e1");
      add("b", 2);  // changed meanwhile
      add("d", 1);
      reply.add_deleted("a");
      reply.set_done(true);
    }
    return reply;
  });
  v1::Snapshot filter;
  filter.set_port("p0");
  const auto flows = Connect().Flows(filter);
  ASSERT_TRUE(flows) << flows.error().detail;
  std::string seen;
  for (const auto& flow : *flows) seen += flow.ufid() + std::to_string(flow.packets()) + " ";
  EXPECT_EQ(seen, "c1 b2 d1 ");
}

TEST_F(ControlClientTest, AWalkEndsWhenTheEpochChanges) {
  FakeCore core(dir_.path());
  core.SetHandler([&](const v1::Request& request) {
    auto reply = core.Yes();
    reply.set_cursor(1);
    if (request.snapshot().after() != 0) {
      reply.set_ok(false);
      reply.set_reason("epoch_changed");
    }
    return reply;
  });
  const auto flows = Connect().Flows();
  ASSERT_FALSE(flows);
  EXPECT_EQ(flows.error().reason, "epoch_changed");
}

TEST(ControlClient, RefusesWhatIsNoEndpoint) {
  const auto client = ControlClient::Connect({.endpoint = "nonsense"});
  ASSERT_FALSE(client);
  EXPECT_EQ(client.error().reason, "bad_endpoint");
}

}  // namespace
}  // namespace sluice
