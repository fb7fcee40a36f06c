// SPDX-License-Identifier: Apache-2.0
// What is said to the core, and what it says to plugins, monitors and requesters. The fixtures' names stand for
// plugins; none of them is really loaded here.
#include <gtest/gtest.h>

#include "core_rig.h"
#include "sluice/wire.h"

namespace sluice::core::test {
namespace {

using Told = std::vector<std::string>;

class CoreTest : public ::testing::Test, protected CoreRig {
 protected:
  void SetUp() override {
    LoadPlugin("session");
    AddPort("p0", "session");
    AddPort("p1", "session");
    Batches("session");
    Events();
  }
};

TEST_F(CoreTest, APutIsOfferedAndToldInOneTurn) {
  EXPECT_TRUE(Put("in_port(p0)", "p1").ok());
  ASSERT_EQ(to_plugins["session"].size(), 1U);
  EXPECT_EQ(events.size(), 1U);
  const auto changes = Changes("session");
  ASSERT_EQ(changes.size(), 1U);
  EXPECT_EQ(changes[0].put().actions(), "p1");
  Judge("session", changes[0], v1::INSTALLED);
  const auto told = Events();
  ASSERT_EQ(told.size(), 2U);
  EXPECT_EQ(told[0].topic(), "flow.add");
  EXPECT_EQ(told[0].flow().match(), "in_port(p0)");
  EXPECT_EQ(told[0].flow().offload(0).state(), v1::PENDING);
  EXPECT_EQ(told[1].topic(), "flow.offload");
  EXPECT_EQ(told[1].flow().offload(0).plugin(), "session");
  EXPECT_EQ(told[1].flow().offload(0).state(), v1::INSTALLED);
  EXPECT_LT(told[0].seq(), told[1].seq());
}

TEST_F(CoreTest, VerdictsAndStatisticsOfTwoPluginsAreMerged) {
  LoadPlugin("silent");
  const std::string ufid = Put("in_port(p0)", "p1").ufids(0);
  const auto one = Changes("session");
  const auto two = Changes("silent");
  Judge("session", one[0], v1::INSTALLED);
  Judge("silent", two[0], v1::REFUSED, "unsupported_field");
  Count("session", one[0], 2);
  Count("silent", two[0], 3);
  v1::Flow flow = Get(ufid);
  ASSERT_EQ(flow.offload_size(), 2);
  EXPECT_EQ(flow.offload(0).state(), v1::INSTALLED);
  EXPECT_EQ(flow.offload(1).state(), v1::REFUSED);
  EXPECT_EQ(flow.offload(1).reason(), "unsupported_field");
  EXPECT_EQ(flow.packets(), 5U);
  EXPECT_EQ(flow.bytes(), 500U);
  EXPECT_EQ(flow.used_ms(), 0U);

  v1::Request request;
  request.mutable_flow_del()->add_flows()->set_ufid(ufid);
  const v1::Reply reply = Ask(request);
  ASSERT_EQ(reply.flows_size(), 1);
  EXPECT_EQ(reply.flows(0).packets(), 5U);
  EXPECT_EQ(Get(ufid).ufid(), "");
  Events();
  const auto last = Changes("session");
  Changes("silent");
  Count("session", one[0], 4);
  ConfirmDelete("session", last[0]);
  EXPECT_TRUE(Events().empty());
  ConfirmDelete("silent", last[0]);
  const auto told = Events();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].topic(), "flow.del");
  EXPECT_EQ(told[0].cause(), "request");
  EXPECT_EQ(told[0].flow().packets(), 9U);
}

TEST_F(CoreTest, RefusalsNamePlaceAndReasonAndTheOthersAreAccepted) {
  const v1::Reply reply = AskJson(
      R"j({"id":7,"flow_put":{"flows":[{"match":"in_port(p0)","actions":"p1"},{"match":"in_port(p9)"},
      {"match":"in_port(p0","actions":"p1"},{"match":"in_port(p1)","actions":"p9"},{"ufid":"zz","match":"in_port(p1)"}]}})j");
  EXPECT_EQ(reply.id(), 7U);
  EXPECT_FALSE(reply.ok());
  EXPECT_EQ(reply.accepted(), 1U);
  ASSERT_EQ(reply.refused_size(), 4);
  EXPECT_EQ(reply.refused(0).index(), 1U);
  EXPECT_EQ(reply.refused(0).reason(), "unknown_port");
  EXPECT_EQ(reply.refused(0).column(), 9U);
  EXPECT_EQ(reply.refused(1).reason(), "bad_match");
  EXPECT_EQ(reply.refused(2).reason(), "unknown_port");
  EXPECT_EQ(reply.refused(3).reason(), "bad_ufid");
  ASSERT_EQ(reply.ufids_size(), 5);
  EXPECT_NE(reply.ufids(0), "");
  EXPECT_EQ(reply.ufids(1), "");
  EXPECT_EQ(core->counters().Of("refused.unknown_port"), 2U);
}

TEST_F(CoreTest, MalformedRequestsAreRefused) {
  EXPECT_EQ(AskJson("{").reason(), "bad_request");
  EXPECT_EQ(AskJson("\xff\xff\xff").reason(), "bad_request");
  EXPECT_EQ(AskJson("").reason(), "bad_request");
  EXPECT_EQ(AskJson("{}").reason(), "bad_request");
  const v1::Reply unknown = AskJson(R"({"flow_put":{"flows":[{"macth":"x"}]}})");
  EXPECT_EQ(unknown.reason(), "bad_request");
  EXPECT_NE(unknown.detail().find("macth"), std::string::npos);
  EXPECT_EQ(AskJson(std::string(5 << 20, 'x')).reason(), "too_large");
}

TEST_F(CoreTest, IngressRefusalsAreToldOnceASecond) {
  const auto publish = [&](const std::string& json) { core->OnIngress("flow.put", json); };
  for (int i = 0; i < 100; ++i) publish(R"j({"publisher":"x","flows":[{"match":"in_port(nope)"}]})j");
  auto told = Events();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].refused().publisher(), "x");
  EXPECT_EQ(told[0].refused().count(), 100U);
  EXPECT_EQ(told[0].refused().topic(), "flow.put");
  EXPECT_EQ(told[0].refused().refused(0).reason(), "unknown_port");
  publish(R"j({"publisher":"x","flows":[{"match":"in_port(nope)"}]})j");
  EXPECT_TRUE(Events().empty());
  Pass(500);
  EXPECT_TRUE(Events().empty());
  Pass(600);
  told = Events();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].refused().count(), 1U);
  core->OnIngress("flow.putt", "");
  core->OnIngress("flow.del", "\xff");
  Pass(1'100);
  told = Events();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].refused().count(), 2U);
  EXPECT_EQ(told[0].refused().refused(0).reason(), "unknown_topic");
  EXPECT_EQ(told[0].refused().refused(1).reason(), "bad_payload");
}

TEST_F(CoreTest, PublishersAreAccountedForAndBounded) {
  CoreSettings settings = Settings();
  settings.publishers = 2;
  CoreRig rig(settings);
  const auto publish = [&](const std::string& name, uint64_t seq) {
    v1::FlowPut put;
    put.add_flows()->set_match("eth_type(0x0800)");
    put.set_publisher(name);
    put.set_publisher_seq(seq);
    rig.core->OnIngress("flow.put", Encode(put));
  };
  publish("a", 1);
  publish("a", 2);
  publish("a", 5);
  publish("b", 1);
  v1::Request request;
  request.mutable_status();
  v1::Reply reply = rig.Ask(request);
  ASSERT_EQ(reply.status().publishers_size(), 2);
  EXPECT_EQ(reply.status().publishers(1).name(), "a");
  EXPECT_EQ(reply.status().publishers(1).messages(), 3U);
  EXPECT_EQ(reply.status().publishers(1).missed(), 2U);
  EXPECT_EQ(reply.status().publishers(1).accepted(), 3U);
  publish("c", 1);
  reply = rig.Ask(request);
  EXPECT_EQ(reply.status().publishers_size(), 2);
  EXPECT_EQ(reply.status().counters().at("publishers_forgotten"), 1U);
}

TEST_F(CoreTest, APortThatFailsIsRefusedAndGone) {
  v1::Request request;
  request.mutable_port_add()->set_name("bad");
  request.mutable_port_add()->set_plugin("session");
  core->OnRequest(request, [&](v1::Reply reply) { late_replies.push_back(std::move(reply)); });
  core->Turn();
  Batches("session");
  v1::FromPlugin message;
  message.add_ports()->set_name("bad");
  message.mutable_ports(0)->set_state("failed");
  message.mutable_ports(0)->set_detail("there is no device bad");
  Say("session", message);
  ASSERT_EQ(late_replies.size(), 1U);
  EXPECT_EQ(late_replies[0].reason(), "port_failed");
  EXPECT_EQ(late_replies[0].detail(), "there is no device bad");
  v1::Request list;
  list.mutable_port_list();
  EXPECT_EQ(Ask(list).ports_size(), 2);
  EXPECT_TRUE(Events().empty());
}

TEST_F(CoreTest, PortRequestsEndInTime) {
  v1::Request request;
  request.mutable_port_add()->set_name("slow");
  request.mutable_port_add()->set_plugin("session");
  core->OnRequest(request, [&](v1::Reply reply) { late_replies.push_back(std::move(reply)); });
  Pass(9'000);
  EXPECT_TRUE(late_replies.empty());
  Pass(2'000);
  ASSERT_EQ(late_replies.size(), 1U);
  EXPECT_EQ(late_replies[0].reason(), "timeout");
  request.mutable_port_add()->set_plugin("nothing");
  EXPECT_EQ(Ask(request).reason(), "unknown_plugin");
}

TEST_F(CoreTest, APortThatComesOrGoesReoffersItsFlows) {
  Put("in_port(p0)", "p1");
  Put("in_port(p1)", "drop");
  Changes("session");
  v1::FromPlugin message;
  message.add_ports()->set_name("p0");
  message.mutable_ports(0)->set_state("gone");
  Say("session", message);
  const auto changes = Changes("session");
  ASSERT_EQ(changes.size(), 1U);
  EXPECT_EQ(changes[0].put().actions(), "p1");
}

TEST_F(CoreTest, PacketOutIsCheckedAndQueuedBehindWhatCameBefore) {
  v1::Request request;
  v1::PacketOut& packet = *request.mutable_packet_out();
  packet.set_in_port("p0");
  packet.set_data("short");
  EXPECT_EQ(Ask(request).reason(), "bad_packet");
  packet.set_data(std::string(60, 'x'));
  packet.set_in_port("p9");
  EXPECT_EQ(Ask(request).reason(), "unknown_port");
  packet.set_in_port("p0");
  packet.set_actions("outptu");
  EXPECT_FALSE(Ask(request).ok());
  packet.set_actions("p1");
  core->OnRequest(request, [](const v1::Reply& reply) { EXPECT_TRUE(reply.ok()); });
  Put("in_port(p0)", "p1");
  const auto changes = Changes("session");
  ASSERT_EQ(changes.size(), 2U);
  EXPECT_EQ(changes[0].packet_out().actions(), "p1");
  EXPECT_TRUE(changes[1].has_put());
}

TEST_F(CoreTest, ManyPacketsOutStandEachForItself) {
  v1::PacketOuts packets;
  packets.set_publisher("controller");
  packets.set_publisher_seq(1);
  for (const char* port : {"p0", "p9", "p1"}) {
    v1::PacketOut& packet = *packets.add_packets();
    packet.set_in_port(port);
    packet.set_data(std::string(60, port[1]));
    packet.set_actions("2");  // p1, by its number
    packet.set_publisher("not looked at");
  }
  core->OnIngress("packet.outs", Encode(packets));
  const auto changes = Changes("session");
  ASSERT_EQ(changes.size(), 2U);
  EXPECT_EQ(changes[0].packet_out().data(), std::string(60, '0'));
  EXPECT_EQ(changes[1].packet_out().in_port(), "p1");
  EXPECT_EQ(changes[1].packet_out().actions(), "p1");
  EXPECT_EQ(changes[1].packet_out().publisher(), "");
  EXPECT_LT(changes[0].seq(), changes[1].seq());
  v1::Request request;
  request.mutable_status();
  const v1::Reply told = Ask(request);
  const v1::Publisher& publisher = told.status().publishers(0);
  EXPECT_EQ(publisher.name(), "controller");
  EXPECT_EQ(publisher.messages(), 1U);
  EXPECT_EQ(publisher.accepted(), 2U);
  EXPECT_EQ(publisher.refused(), 1U);

  *request.mutable_packet_outs() = packets;
  const v1::Reply reply = Ask(request);
  EXPECT_EQ(reply.accepted(), 2U);
  ASSERT_EQ(reply.refused_size(), 1);
  EXPECT_EQ(reply.refused(0).index(), 1U);
  EXPECT_EQ(reply.refused(0).reason(), "unknown_port");
}

TEST_F(CoreTest, ActionsAreReadAnewWhenPortsHaveChanged) {
  v1::Request request;
  v1::PacketOut& packet = *request.mutable_packet_out();
  packet.set_in_port("p0");
  packet.set_data(std::string(60, 'x'));
  packet.set_actions("p1");
  EXPECT_TRUE(Ask(request).ok());
  v1::Request remove;
  remove.mutable_port_del()->set_name("p1");
  core->OnRequest(remove, [](const v1::Reply&) {});
  EXPECT_EQ(Ask(request).reason(), "unknown_port");
}

TEST_F(CoreTest, UpcallsThatNobodyHearsAreCounted) {
  v1::FromPlugin message;
  message.add_upcalls()->set_in_port("p0");
  Say("session", message);
  EXPECT_EQ(core->counters().Of("upcall_unheard"), 1U);
  core->OnSubscription("upcall", true);
  Say("session", message);
  EXPECT_EQ(Topics(), Told{"upcall"});
  EXPECT_EQ(core->counters().Of("upcall_unheard"), 1U);
}

TEST_F(CoreTest, SnapshotInChunksTellsOfDeletes) {
  std::string first;
  for (int i = 0; i < 5; ++i) {
    const std::string ufid = Put("eth_type(0x080" + std::to_string(i) + ")").ufids(0);
    if (i == 0) first = ufid;
  }
  v1::Request request;
  request.mutable_snapshot()->set_limit(2);
  v1::Reply reply = Ask(request);
  EXPECT_EQ(reply.flows_size(), 2);
  EXPECT_FALSE(reply.done());
  v1::Request del;
  del.mutable_flow_del()->add_flows()->set_ufid(first);
  Ask(del);
  for (const v1::Change& change : Changes("session")) {
    if (change.has_del()) ConfirmDelete("session", change);
  }
  std::vector<std::string> deleted;
  int flows = 2;
  while (!reply.done()) {
    request.mutable_snapshot()->set_after(reply.cursor());
    request.mutable_snapshot()->set_epoch(reply.epoch());
    reply = Ask(request);
    ASSERT_TRUE(reply.ok()) << reply.detail();
    flows += reply.flows_size();
    deleted.insert(deleted.end(), reply.deleted().begin(), reply.deleted().end());
  }
  EXPECT_EQ(flows, 5);
  EXPECT_EQ(deleted, Told{first});
  EXPECT_EQ(core->table().tombstones(), 0U);
  request.mutable_snapshot()->set_epoch("another");
  EXPECT_EQ(Ask(request).reason(), "epoch_changed");
  request.mutable_snapshot()->set_epoch("");
  request.mutable_snapshot()->set_after(1);
  EXPECT_EQ(Ask(request).reason(), "snapshot_expired");
}

TEST_F(CoreTest, SnapshotFilters) {
  Put("in_port(p0)", "p1");
  Put("in_port(p1)", "p0");
  const auto changes = Changes("session");
  Judge("session", changes[1], v1::INSTALLED);
  v1::Request request;
  request.mutable_snapshot()->set_port("p0");
  v1::Reply reply = Ask(request);
  ASSERT_EQ(reply.flows_size(), 1);
  EXPECT_EQ(reply.flows(0).match(), "in_port(p0)");
  request.mutable_snapshot()->clear_port();
  request.mutable_snapshot()->set_plugin("session");
  reply = Ask(request);
  ASSERT_EQ(reply.flows_size(), 1);
  EXPECT_EQ(reply.flows(0).match(), "in_port(p1)");
  request.mutable_snapshot()->set_plugin("nothing");
  EXPECT_EQ(Ask(request).reason(), "no_such_plugin");
}

TEST_F(CoreTest, UnloadWaitsForTheLastWordAndTheTableStays) {
  const std::string ufid = Put("in_port(p0)", "p1").ufids(0);
  const auto changes = Changes("session");
  Judge("session", changes[0], v1::INSTALLED);
  Events();
  v1::Request request;
  request.mutable_plugin_unload()->set_name("session");
  request.mutable_plugin_unload()->set_keep(true);
  core->OnRequest(request, [&](v1::Reply reply) { late_replies.push_back(std::move(reply)); });
  ASSERT_EQ(to_plugins["session"].size(), 1U);
  EXPECT_TRUE(to_plugins["session"].front().stop());
  EXPECT_TRUE(to_plugins["session"].front().keep());
  Count("session", changes[0], 3);
  v1::FromPlugin bye;
  bye.set_bye(true);
  EXPECT_FALSE(launcher.last().stopped);
  Say("session", bye);
  EXPECT_TRUE(launcher.last().stopped);
  EXPECT_TRUE(late_replies.empty());
  launcher.last().events.ended("");
  ASSERT_EQ(late_replies.size(), 1U);
  EXPECT_TRUE(late_replies[0].ok());
  EXPECT_TRUE(launcher.last().gone);
  EXPECT_EQ(Get(ufid).packets(), 3U);
  EXPECT_EQ(Get(ufid).offload_size(), 0);
  EXPECT_EQ(Topics(), (Told{"flow.stats", "port.mod", "port.mod", "plugin.unload"}));
  late_replies.clear();
  // Loaded again, it is told everything again: ports first.
  to_plugins.clear();
  LoadPlugin("session");
  const auto again = Changes("session");
  ASSERT_EQ(again.size(), 2U);
  EXPECT_TRUE(again[0].has_port_put());
  v1::FromPlugin up;
  for (const v1::Change& change : again) {
    up.add_ports()->set_name(change.port_put().name());
    up.mutable_ports(up.ports_size() - 1)->set_state("up");
  }
  Say("session", up);
  const auto flows = Changes("session");
  ASSERT_EQ(flows.size(), 1U);
  EXPECT_TRUE(flows[0].has_put());
}

TEST_F(CoreTest, UnloadEndsThoughThePluginSaysNothing) {
  v1::Request request;
  request.mutable_plugin_unload()->set_name("session");
  core->OnRequest(request, [&](v1::Reply reply) { late_replies.push_back(std::move(reply)); });
  Pass(5'100);
  EXPECT_TRUE(launcher.last().stopped);
  Pass(5'100);
  EXPECT_TRUE(launcher.last().killed);
  ASSERT_EQ(late_replies.size(), 1U);
  EXPECT_EQ(late_replies[0].reason(), "stop_failed");
  EXPECT_TRUE(core->plugins().LostThreads());
  EXPECT_TRUE(core->plugins().empty());
}

TEST_F(CoreTest, ReloadKeepsAndLoadsTheSameAgain) {
  v1::Request request;
  request.mutable_plugin_reload()->set_name("session");
  core->OnRequest(request, [&](v1::Reply reply) { late_replies.push_back(std::move(reply)); });
  EXPECT_TRUE(to_plugins["session"].front().keep());
  v1::FromPlugin bye;
  bye.set_bye(true);
  Say("session", bye);
  launcher.last().events.ended("");
  core->Turn();
  ASSERT_EQ(launcher.launched.size(), 2U);
  EXPECT_EQ(launcher.launched[0]->spec.path, launcher.launched[1]->spec.path);
  EXPECT_NE(launcher.launched[0]->token, launcher.launched[1]->token);
  EXPECT_TRUE(late_replies.empty());
  launcher.last().events.started("2");
  to_plugins.clear();
  SayHello("session", launcher.last().token);
  EXPECT_TRUE(late_replies.empty());  // it has not taken anything yet
  Batches("session");                 // ports
  v1::FromPlugin up;
  for (const char* port : {"p0", "p1"}) {
    up.add_ports()->set_name(port);
    up.mutable_ports(up.ports_size() - 1)->set_state("up");
  }
  Say("session", up);
  Batches("session");
  ASSERT_EQ(late_replies.size(), 1U);
  EXPECT_TRUE(late_replies[0].ok());
  EXPECT_EQ(late_replies[0].plugins(0).version(), "2");
}

TEST_F(CoreTest, LoadErrors) {
  v1::Request request;
  request.mutable_plugin_load()->set_name("session");
  EXPECT_EQ(Ask(request).reason(), "already_loaded");
  request.mutable_plugin_load()->set_name("nothing");
  EXPECT_EQ(Ask(request).reason(), "no_such_plugin");
  request.mutable_plugin_load()->set_name("/nowhere/x.so");
  EXPECT_EQ(Ask(request).reason(), "no_such_plugin");
  request.mutable_plugin_load()->set_isolation("vm");
  EXPECT_EQ(Ask(request).reason(), "bad_request");
  v1::Request unload;
  unload.mutable_plugin_unload()->set_name("nothing");
  EXPECT_EQ(Ask(unload).reason(), "no_such_plugin");

  RequestLoad("start_fails");
  launcher.last().events.ended("plugin start_fails could not start: no");
  ASSERT_EQ(late_replies.size(), 1U);
  EXPECT_EQ(late_replies[0].reason(), "start_failed");
  EXPECT_EQ(late_replies[0].detail(), "plugin start_fails could not start: no");
  v1::Request list;
  list.mutable_plugin_list();
  EXPECT_EQ(Ask(list).plugins_size(), 1);

  late_replies.clear();
  RequestLoad("silent");
  launcher.last().events.started("1");
  Pass(11'000);
  ASSERT_EQ(late_replies.size(), 1U);
  EXPECT_EQ(late_replies[0].detail(), "plugin silent has started but not said hello within 10 s");
  EXPECT_TRUE(launcher.last().stopped);
  launcher.last().events.ended("");
  EXPECT_EQ(Ask(list).plugins_size(), 1);
}

TEST_F(CoreTest, ASilentPluginIsToldAndMayComeBack) {
  Put("in_port(p0)", "p1");
  const auto changes = Changes("session");
  Events();
  Pass(4'000);
  EXPECT_EQ(Topics(), Told{"plugin.fail"});
  v1::Request list;
  list.mutable_plugin_list();
  EXPECT_EQ(Ask(list).plugins(0).state(), "failed");
  Judge("session", changes[0], v1::INSTALLED);
  EXPECT_EQ(Topics(), (Told{"plugin.load", "flow.offload"}));
  EXPECT_EQ(Ask(list).plugins(0).state(), "running");
  EXPECT_EQ(Ask(list).plugins(0).installed(), 1U);
}

TEST_F(CoreTest, APluginIsNotBlamedForALoopThatDidNotListen) {
  now_ns += 10'000'000'000;
  EXPECT_TRUE(Topics().empty());
  Pass(600);
  EXPECT_TRUE(Topics().empty());
  Pass(400);
  EXPECT_EQ(Topics(), Told{"plugin.fail"});
}

TEST_F(CoreTest, ACrashedProcessIsStartedAgainAFewTimes) {
  LoadPlugin("silent", true);
  const std::string ufid = Put("in_port(p0)", "p1").ufids(0);
  Judge("silent", Changes("silent")[0], v1::INSTALLED);
  EXPECT_EQ(Get(ufid).offload_size(), 2);
  size_t launches = launcher.launched.size();
  launcher.last().events.ended("its process was killed by signal 11 (Segmentation fault)");
  EXPECT_EQ(Get(ufid).offload_size(), 1);
  EXPECT_EQ(launcher.launched.size(), launches);
  Pass(600);
  ASSERT_EQ(launcher.launched.size(), ++launches);
  launcher.last().events.started("1");
  SayHello("silent", launcher.last().token);
  EXPECT_EQ(Changes("silent").size(), 1U);
  for (int i = 0; i < 10; ++i) {
    launcher.last().events.ended("again");
    Pass(60'000);
  }
  EXPECT_EQ(launcher.launched.size(), launches + 4);
  EXPECT_EQ(core->counters().Of("plugin_restarts"), 5U);
}

TEST_F(CoreTest, AByeThatNobodyAskedForIsAFailure) {
  v1::FromPlugin bye;
  bye.set_bye(true);
  bye.set_error("thrown in OnBatch");
  Events();
  Say("session", bye);
  EXPECT_TRUE(launcher.last().stopped);
  launcher.last().events.ended("");
  v1::Request list;
  list.mutable_plugin_list();
  EXPECT_EQ(Ask(list).plugins(0).state(), "failed");
  EXPECT_EQ(Ask(list).plugins(0).detail(), "thrown in OnBatch");
  LoadPlugin("session");
}

TEST_F(CoreTest, StrangersAreToldToGo) {
  SayHello("ghost", "a token of yesterday");
  ASSERT_EQ(to_plugins["ghost"].size(), 1U);
  EXPECT_TRUE(to_plugins["ghost"].front().stop());
  v1::FromPlugin stats;
  stats.add_stats();
  Say("nobody", stats);
  ASSERT_EQ(to_plugins["nobody"].size(), 1U);
  EXPECT_TRUE(to_plugins["nobody"].front().introduce());
  EXPECT_FALSE(to_plugins["nobody"].front().stop());
  EXPECT_EQ(core->counters().Of("plugin_strangers"), 2U);
  core->OnPlugin("session", "\xff\xff");
  EXPECT_EQ(core->counters().Of("plugin_messages_bad"), 1U);
}

TEST_F(CoreTest, APluginThatConfirmsNothingIsToldEverythingAnew) {
  CoreSettings settings = Settings();
  settings.flows.max_tombstones = 3;
  CoreRig rig(settings);
  rig.LoadPlugin("session");
  rig.Batches("session");
  bool resync = false;
  for (int i = 0; i < 5; ++i) {
    const std::string ufid = rig.Put("eth_type(0x080" + std::to_string(i) + ")").ufids(0);
    for (const v1::ToPlugin& batch : rig.Batches("session")) resync = resync || batch.resync();
    v1::Request del;
    del.mutable_flow_del()->add_flows()->set_ufid(ufid);
    rig.Ask(del);
  }
  EXPECT_TRUE(resync);
  EXPECT_LE(rig.core->table().tombstones(), 3U);
  EXPECT_EQ(rig.core->counters().Of("plugin_resyncs"), 1U);
}

TEST_F(CoreTest, StopAllEndsWhenAllHaveEnded) {
  bool stopped = false;
  core->plugins().StopAll([&] { stopped = true; });
  EXPECT_TRUE(to_plugins["session"].front().stop());
  EXPECT_FALSE(to_plugins["session"].front().keep());
  v1::FromPlugin bye;
  bye.set_bye(true);
  Say("session", bye);
  EXPECT_FALSE(stopped);
  launcher.last().events.ended("");
  EXPECT_TRUE(stopped);
}

}  // namespace
}  // namespace sluice::core::test
