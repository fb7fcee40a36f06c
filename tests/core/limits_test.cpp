// SPDX-License-Identifier: Apache-2.0
// What the core makes of words that come twice, too late, or that nobody could mean; and its limits. Each is counted,
// and changes nothing.
#include <gtest/gtest.h>

#include "core_rig.h"
#include "publisher_shares.h"
#include "sluice/wire.h"

namespace sluice::core::test {
namespace {

class Words : public ::testing::Test, protected CoreRig {
 protected:
  void SetUp() override {
    LoadPlugin("session");
    AddPort("p0", "session");
    Batches("session");
    Events();
  }
  uint64_t Counted(const std::string& name) { return core->counters().Of(name); }
  v1::Plugin Plugin() {
    v1::Request list;
    list.mutable_plugin_list();
    return Ask(list).plugins(0);
  }
};

TEST_F(Words, AcknowledgementsOfWhatWasNotSentGiveNoCredit) {
  v1::FromPlugin ack;
  ack.set_ack(1'000);
  Say("session", ack);
  EXPECT_EQ(Counted("acks_unknown"), 1U);
  ack.set_ack(1);
  Say("session", ack);
  EXPECT_EQ(Counted("acks_late"), 1U);
  // Eight batches and no more, as ever.
  for (int i = 0; i < 12; ++i) Put("eth_type(0x08" + std::to_string(10 + i) + ")");
  EXPECT_EQ(Batches("session", false).size(), 8U);
  for (int i = 0; i < 3; ++i) Say("session", ack);
  ack.set_ack(~0ULL);
  Say("session", ack);
  EXPECT_TRUE(Batches("session", false).empty());
}

TEST_F(Words, VerdictsThatDoNotFitAreCounted) {
  const std::string ufid = Put("in_port(p0)").ufids(0);
  const auto changes = Changes("session");
  v1::FromPlugin message;
  const auto verdict = [&](const std::string& of, uint64_t instance, int state) -> v1::Verdict& {
    v1::Verdict& one = *message.add_verdicts();
    one.set_ufid(of);
    one.set_instance(instance);
    one.set_seq(changes[0].seq());
    one.set_state(static_cast<v1::OffloadState>(state));
    return one;
  };
  const std::string& known = changes[0].put().ufid();
  const uint64_t instance = changes[0].put().instance();
  verdict(std::string(16, 'x'), 1, v1::INSTALLED);  // no such flow
  verdict("short", 1, v1::INSTALLED);               // no ufid
  verdict(known, instance + 1, v1::INSTALLED);      // another instance
  verdict(known, instance, 77);                     // no such state
  verdict(known, instance, 0);
  verdict(known, instance, v1::INSTALLED).set_seq(1);  // of what it was before
  verdict(known, instance, 0).set_deleted(true);       // nobody has asked for that
  v1::FlowStats& stats = *message.add_stats();
  stats.set_ufid(std::string(16, 'x'));
  stats.set_packets(5);
  Say("session", message);
  EXPECT_EQ(Counted("verdicts_late"), 7U);
  EXPECT_EQ(Counted("stats_late"), 1U);
  EXPECT_EQ(Get(ufid).offload(0).state(), v1::PENDING);
  EXPECT_EQ(Get(ufid).packets(), 0U);
}

TEST_F(Words, TheSameMessageOfAPluginTwiceIsAsGoodAsOnce) {
  const std::string ufid = Put("in_port(p0)").ufids(0);
  const auto changes = Changes("session");
  for (int i = 0; i < 2; ++i) Judge("session", changes[0], v1::INSTALLED);
  EXPECT_EQ(Topics(), (std::vector<std::string>{"flow.add", "flow.offload"}));
  v1::Request del;
  del.mutable_flow_del()->add_flows()->set_ufid(ufid);
  Ask(del);
  const auto deletes = Changes("session");
  for (int i = 0; i < 2; ++i) ConfirmDelete("session", deletes[0]);
  EXPECT_EQ(Topics(), std::vector<std::string>{"flow.del"});
  EXPECT_EQ(Counted("verdicts_late"), 1U);
  // An old verdict says nothing about a new flow of that name.
  Put("in_port(p0)", "", ufid);
  Judge("session", changes[0], v1::INSTALLED);
  EXPECT_EQ(Get(ufid).offload(0).state(), v1::PENDING);
  EXPECT_EQ(Counted("verdicts_late"), 2U);
}

TEST_F(Words, RequestsTwiceAreAsGoodAsOnce) {
  const std::string put = R"j({"flow_put":{"flows":[{"match":"in_port(p0)","idle_timeout_ms":5000}]}})j";
  const std::string del = R"j({"flow_del":{"flows":[{"match":"in_port(p0)"}]}})j";
  const v1::Reply first = AskJson(put);
  const v1::Reply again = AskJson(put);
  EXPECT_TRUE(again.ok());
  EXPECT_EQ(again.ufids(0), first.ufids(0));
  EXPECT_EQ(Changes("session").size(), 1U);
  EXPECT_EQ(Topics(), std::vector<std::string>{"flow.add"});
  EXPECT_TRUE(AskJson(del).ok());
  EXPECT_EQ(AskJson(del).reason(), "no_such_flow");
  EXPECT_EQ(Changes("session").size(), 1U);
}

TEST_F(Words, ATokenOfYesterdayOpensNothing) {
  const std::string token = launcher.last().token;
  v1::Request request;
  request.mutable_plugin_reload()->set_name("session");
  core->OnRequest(request, [](const v1::Reply&) {});
  v1::FromPlugin bye;
  bye.set_bye(true);
  Say("session", bye);
  launcher.last().events.ended("");
  core->Turn();
  launcher.last().events.started("2");
  to_plugins.clear();
  SayHello("session", token);
  EXPECT_EQ(Plugin().state(), "starting");
  EXPECT_EQ(Counted("plugin_strangers"), 1U);
  ASSERT_EQ(to_plugins["session"].size(), 1U);
  EXPECT_TRUE(to_plugins["session"].front().stop());
  SayHello("session", launcher.last().token);
  EXPECT_EQ(Plugin().state(), "running");
}

TEST_F(Words, AHelloWithAnothersTokenIsNotTaken) {
  LoadPlugin("silent");
  const std::string others = launcher.last().token;
  Put("in_port(p0)");
  Batches("session");
  SayHello("session", others);
  EXPECT_EQ(Counted("plugin_strangers"), 1U);
  // Nothing was told anew.
  for (const v1::ToPlugin& batch : Batches("session")) EXPECT_TRUE(batch.stop());
  EXPECT_EQ(Plugin().state(), "running");
}

TEST_F(Words, ReportsOfPortsThatAreNoneAreCounted) {
  v1::FromPlugin message;
  for (const auto& [name, state] : {std::pair{"p7", "up"}, {"", "up"}, {"p0", "banana"}}) {
    v1::Port& port = *message.add_ports();
    port.set_name(name);
    port.set_state(state);
    port.set_detail("no");
  }
  Say("session", message);
  EXPECT_EQ(Counted("port_reports_late"), 3U);
  v1::Request list;
  list.mutable_port_list();
  const v1::Reply reply = Ask(list);
  ASSERT_EQ(reply.ports_size(), 1);
  EXPECT_EQ(reply.ports(0).state(), "up");
  EXPECT_EQ(reply.ports(0).detail(), "");
}

TEST_F(Words, WhatIsNoUtf8IsShownSoThatItCanBeRead) {
  core->OnIngress("\xff\xfe", "{}");
  core->OnIngress(std::string(63, 'a').append("\xc3\x9f"), "{}");
  // The rig reads what is published, or fails.
  const auto told = Events();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].refused().topic(), "??");
  EXPECT_EQ(told[0].refused().refused(0).detail(), "there is no ingress topic '\?\?'");
  EXPECT_EQ(Counted("refused.unknown_topic"), 2U);
  const std::string name = std::string(63, 'a').append("\xc3\x9f");
  v1::FlowPut put;
  put.set_publisher(name);
  put.add_flows()->set_ufid(name + name);
  core->OnIngress("flow.put", Encode(put));
  EXPECT_EQ(Events()[0].refused().publisher(), std::string(63, 'a'));
}

TEST_F(Words, SubscriptionsToNothingAreNotRemembered) {
  for (int i = 0; i < 100; ++i) core->OnSubscription("json:x" + std::to_string(i), true);
  core->OnSubscription("flow.adder", true);
  core->OnSubscription("nothing", false);
  EXPECT_EQ(Counted("subscriptions_unknown"), 101U);
}

TEST_F(Words, TooManyFlowsInAMessageAreNotEvenDecoded) {
  const auto request = [](int count) {
    v1::Request many;
    for (int i = 0; i < count; ++i) many.mutable_packet_outs()->add_packets();
    return many;
  };
  std::vector<v1::Reply> replies;
  const auto ask = [&](const std::string& payload) {
    core->OnControl(payload, [&](v1::Reply reply) { replies.push_back(std::move(reply)); });
  };
  std::string json = R"({"packets":[{})";
  for (int i = 0; i < 65'537; ++i) json += ",{}";
  json += "]}";
  for (const std::string& payload : {Encode(request(65'537)), R"({"packet_outs":)" + json + "}"}) {
    ask(payload);
    EXPECT_EQ(replies.back().reason(), "too_many");
  }
  ask(Encode(request(65'536)));
  EXPECT_EQ(replies.back().refused_size(), 65'536);
  core->OnIngress("packet.outs", json);
  core->OnIngress("packet.outs", Encode(request(65'537).packet_outs()));
  const auto told = Events();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].refused().count(), 2U);
  EXPECT_EQ(told[0].refused().refused(0).reason(), "too_many");
  EXPECT_EQ(Counted("refused.too_many"), 4U);
}

TEST(PublisherLimit, IsForEachOfThemAndForThoseWithoutAPlaceTogether) {
  CoreSettings settings = CoreRig::Settings();
  settings.flows.max_flows_per_publisher = 2;
  settings.flows.max_publishers = 2;
  CoreRig rig(settings);
  int flows = 0;
  const auto put = [&](const std::string& publisher, int type) {
    v1::Request request;
    request.mutable_flow_put()->set_publisher(publisher);
    request.mutable_flow_put()->add_flows()->set_match("eth_type(" + std::to_string(type) + ")");
    const v1::Reply reply = rig.Ask(request);
    flows += reply.ok() ? 1 : 0;
    return reply;
  };
  const auto del = [&](int type) {
    v1::Request request;
    request.mutable_flow_del()->add_flows()->set_match("eth_type(" + std::to_string(type) + ")");
    EXPECT_TRUE(rig.Ask(request).ok());
  };
  EXPECT_TRUE(put("a", 2'001).ok());
  EXPECT_TRUE(put("a", 2'002).ok());
  const v1::Reply refused = put("a", 2'003);
  EXPECT_EQ(refused.refused(0).reason(), "publisher_limit");
  EXPECT_EQ(refused.refused(0).detail(), "publisher 'a' has its limit of 2 flows");
  EXPECT_EQ(rig.core->counters().Of("refused.publisher_limit"), 1U);
  EXPECT_TRUE(put("a", 2'002).ok()) << "what it has it may change";
  EXPECT_TRUE(put("", 2'004).ok()) << "another, though without a name";
  EXPECT_TRUE(put("b", 2'005).ok()) << "there is no place of its own for it";
  EXPECT_TRUE(put("c", 2'006).ok());
  EXPECT_EQ(put("d", 2'007).reason(), "publisher_limit") << "b and c are counted as one, and d with them";
  // A flow stays its first publisher's.
  EXPECT_TRUE(put("", 2'001).ok());
  EXPECT_TRUE(put("", 2'008).ok());
  EXPECT_EQ(put("", 2'009).reason(), "publisher_limit");
  EXPECT_EQ(put("a", 2'009).reason(), "publisher_limit");
  del(2'001);
  EXPECT_TRUE(put("a", 2'009).ok());
  // Who has none left makes room for another name.
  del(2'004);
  del(2'008);
  EXPECT_TRUE(put("d", 2'010).ok());
  EXPECT_TRUE(put("d", 2'011).ok());
  EXPECT_EQ(put("d", 2'012).reason(), "publisher_limit");
}

TEST(PublisherLimit, CountsFlowsHoweverTheyEnd) {
  CoreSettings settings = CoreRig::Settings();
  settings.flows.max_flows_per_publisher = 1;
  CoreRig rig(settings);
  rig.LoadPlugin("session");
  const auto put = [&](const std::string& flow) {
    return rig.AskJson(R"j({"flow_put":{"publisher":"a","flows":[)j" + flow + "]}}").ok();
  };
  const std::string ufid = R"j("ufid":"00000000000000000000000000000001",)j";
  EXPECT_TRUE(put(R"j({"match":"eth_type(0x0800)","hard_timeout_ms":100})j"));
  EXPECT_FALSE(put(R"j({"match":"eth_type(0x0806)"})j"));
  rig.Pass(200);
  EXPECT_TRUE(put("{" + ufid + R"j("match":"eth_type(0x0806)"})j"));
  EXPECT_TRUE(put("{" + ufid + R"j("match":"eth_type(0x86dd)"})j")) << "another match in the place of the first";
  rig.AskJson(R"({"flow_flush":{}})");
  EXPECT_TRUE(put("{" + ufid + R"j("match":"eth_type(0x0800)"})j")) << "a tombstone's place";
  EXPECT_FALSE(put(R"j({"match":"eth_type(0x0806)"})j"));
}

TEST(PublisherShares, NothingIsCountedWithoutALimit) {
  PublisherShares shares(0, 1);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(shares.Take("a" + std::to_string(i)), std::optional<uint16_t>(0));
  shares.GiveBack(0);
  EXPECT_TRUE(shares.Take("a"));
}

}  // namespace
}  // namespace sluice::core::test
