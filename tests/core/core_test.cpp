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
  // With a plugin that is not silent meanwhile.
  const auto pass = [&](int half_seconds) {
    v1::FromPlugin beat;
    beat.set_heartbeat(true);
    for (; half_seconds > 0; --half_seconds) {
      Say("session", beat);
      Pass(500);
    }
  };
  for (int i = 0; i < 100; ++i) publish(R"j({"publisher":"x","flows":[{"match":"in_port(nope)"}]})j");
  auto told = Events();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].refused().publisher(), "x");
  EXPECT_EQ(told[0].refused().count(), 100U);
  EXPECT_EQ(told[0].refused().topic(), "flow.put");
  EXPECT_EQ(told[0].refused().refused(0).reason(), "unknown_port");
  publish(R"j({"publisher":"x","flows":[{"match":"in_port(nope)"}]})j");
  EXPECT_TRUE(Events().empty());
  pass(1);
  EXPECT_TRUE(Events().empty());
  pass(2);
  told = Events();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].refused().count(), 1U);
  core->OnIngress("flow.putt", "");
  core->OnIngress("flow.del", "\xff");
  pass(3);
  told = Events();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].refused().count(), 2U);
  EXPECT_EQ(told[0].refused().refused(0).reason(), "unknown_topic");
  EXPECT_EQ(told[0].refused().refused(1).reason(), "bad_payload");
}

TEST_F(CoreTest, RecordsOfAPublisherAreAccountedForExactly) {
  core->OnSubscription("publisher.", true);
  uint64_t seq = 0;
  uint64_t records = 0;
  const auto send = [&](std::string_view topic, auto message, uint64_t count, bool arrives = true) {
    message.set_publisher("a");
    message.set_publisher_run(3);
    message.set_publisher_seq(++seq);
    message.set_publisher_records(records);
    records += count;
    if (arrives) core->OnIngress(topic, Encode(message));
  };
  v1::FlowPut put;
  for (const char* match : {"eth_type(0x0800)", "nonsense", "eth_type(0x0806)"}) put.add_flows()->set_match(match);
  send("flow.put", put, 3);
  v1::FlowDel del;
  del.add_flows()->set_match("eth_type(0x0800)");
  del.add_flows()->set_match("eth_type(0x0801)");
  send("flow.del", del, 2);
  send("flow.put", put, 3, false);
  send("flow.flush", v1::FlowFlush(), 1);
  v1::FlowFlush nowhere;
  nowhere.set_port("p77");
  send("flow.flush", nowhere, 1);
  v1::PacketOuts packets;
  packets.add_packets()->set_in_port("p77");
  send("packet.outs", packets, 1);
  send("packet.out", v1::PacketOut(), 1, false);
  // One that cannot be read has no publisher, but is missing.
  core->OnIngress("flow.put", "\xff");
  ++seq;
  records += 5;
  send("flow.put", v1::FlowPut(), 0);

  v1::Request request;
  request.mutable_publisher_get()->set_name("a");
  v1::Reply reply = Ask(request);
  ASSERT_EQ(reply.publishers_size(), 1);
  const v1::Publisher& told = reply.publishers(0);
  EXPECT_EQ(told.sent(), records);
  EXPECT_EQ(told.accepted(), 4U);  // two flows, a key, a flush
  EXPECT_EQ(told.refused(), 4U);
  EXPECT_EQ(told.dropped(), 9U);
  EXPECT_EQ(told.missed(), 3U);
  EXPECT_EQ(told.seq(), seq);
  request.mutable_publisher_get()->set_run(3);
  EXPECT_EQ(Ask(request).publishers(0).sent(), records);
  request.mutable_publisher_get()->set_run(4);
  reply = Ask(request);
  EXPECT_EQ(reply.reason(), "no_such_publisher");
  EXPECT_EQ(reply.detail(), "nothing has come from a publisher 'a' with a run 4");
  EXPECT_EQ(reply.publishers_size(), 0);

  std::vector<v1::Event> gaps;
  for (v1::Event& event : Events()) {
    if (event.topic() == "publisher.gap") gaps.push_back(std::move(event));
  }
  ASSERT_EQ(gaps.size(), 1U);
  EXPECT_EQ(gaps[0].gap().messages(), 3U);
  EXPECT_EQ(gaps[0].gap().records(), 9U);
  EXPECT_EQ(gaps[0].gap().publisher().sent(), records);
}

TEST_F(CoreTest, StatusTellsWhatWaitsAndWhatWasLost) {
  CoreSettings settings = Settings();
  settings.socket_queues = {{"ingress", 77}};
  settings.feed.packets = 1;
  CoreRig rig(settings);
  rig.LoadPlugin("session");
  rig.AddPort("p0", "session");
  rig.Batches("session");
  v1::PacketOuts packets;
  for (int i = 0; i < 3; ++i) {
    packets.add_packets()->set_in_port("p0");
    packets.mutable_packets(i)->set_data(std::string(60, 'x'));
  }
  rig.core->OnIngress("packet.outs", Encode(packets));
  v1::FromPlugin report;
  report.add_ports()->set_name("p0");
  report.mutable_ports(0)->set_state("up");
  (*report.mutable_ports(0)->mutable_counters())["upcall_dropped"] = 5;
  rig.core->OnPlugin("session", Encode(report));
  v1::Request request;
  request.mutable_status();
  v1::Reply reply;
  rig.core->OnRequest(request, [&](v1::Reply answer) { reply = std::move(answer); });
  std::map<std::string, std::pair<std::string, uint64_t>> queues;
  for (const v1::Queue& queue : reply.status().queues()) {
    queues[queue.name()] = {queue.has_depth() ? std::to_string(queue.depth()) : "-", queue.limit()};
  }
  using Queue = std::pair<std::string, uint64_t>;
  EXPECT_EQ(queues.at("socket.ingress"), Queue("-", 77));
  EXPECT_EQ(queues.at("plugin.session.packets"), Queue("1", 1));
  EXPECT_EQ(queues.at("plugin.session.packet_bytes"), Queue("60", uint64_t{64} << 20));
  EXPECT_EQ(queues.at("plugin.session.batches"), Queue("0", 8));
  EXPECT_EQ(queues.at("snapshots"), Queue("0", 16));
  const auto& drops = reply.status().drops();
  EXPECT_EQ(drops.at("plugins.packets"), 2U);
  EXPECT_EQ(drops.at("ports.upcalls"), 5U);
  EXPECT_EQ(drops.at("ingress.records"), 0U);
  // What waits for a plugin that goes is lost.
  v1::FromPlugin bye;
  bye.set_bye(true);
  rig.core->OnPlugin("session", Encode(bye));
  EXPECT_EQ(rig.Ask(request).status().drops().at("plugins.packets"), 3U);
}

TEST_F(CoreTest, StatusHasRatesOfTheLastSeconds) {
  v1::Request request;
  request.mutable_status();
  for (int second = 0; second < 30; ++second) {
    v1::FlowPut put;
    for (int i = 0; i < 50; ++i) put.add_flows()->set_match("eth_type(" + std::to_string(second * 50 + i + 2000) + ")");
    core->OnIngress("flow.put", Encode(put));
    Pass(1'000);
  }
  auto rates = Ask(request).status().rates();
  EXPECT_EQ(rates.at("records"), 50U);
  EXPECT_EQ(rates.at("events_sent"), 50U);
  EXPECT_NEAR(static_cast<double>(rates.at("events")), 51, 1);  // the heartbeat, which nobody hears
  for (int second = 0; second < 5; ++second) Pass(1'000);
  EXPECT_EQ(Ask(request).status().rates().at("records"), 22U);  // four of nine
  for (int second = 0; second < 6; ++second) Pass(1'000);
  EXPECT_EQ(Ask(request).status().rates().at("records"), 0U);
}

TEST_F(CoreTest, ASlowWalkDoesNotHoldDeletedFlowsWithoutEnd) {
  CoreSettings settings = Settings();
  settings.snapshots.held = 100;
  CoreRig rig(settings);
  for (int i = 0; i < 10; ++i) rig.Put("eth_type(" + std::to_string(2000 + i) + ")");
  v1::Request walk;
  walk.mutable_snapshot()->set_limit(1);
  v1::Reply chunk = rig.Ask(walk);
  v1::Request status;
  status.mutable_status();
  const auto tombstones = [&] { return rig.Ask(status).status().counters().at("tombstones"); };
  for (int i = 0; i < 300; ++i) {
    const std::string ufid = rig.Put("eth_type(" + std::to_string(3000 + i) + ")").ufids(0);
    v1::Request del;
    del.mutable_flow_del()->add_flows()->set_ufid(ufid);
    rig.Ask(del);
    if (i == 50) {
      EXPECT_EQ(tombstones(), 51U);  // what it has yet to be told of
    }
    if (i % 50 != 0) continue;
    rig.Pass(1'000);
    walk.mutable_snapshot()->set_after(chunk.cursor());
    const v1::Reply next = rig.Ask(walk);
    if (next.ok()) chunk = next;
  }
  EXPECT_LE(tombstones(), 100U);
  walk.mutable_snapshot()->set_after(chunk.cursor());
  EXPECT_EQ(rig.Ask(walk).reason(), "snapshot_expired");
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
  Pass(150);
  ASSERT_EQ(launcher.launched.size(), ++launches);
  launcher.last().events.started("1");
  SayHello("silent", launcher.last().token);
  EXPECT_EQ(Changes("silent").size(), 1U);
  for (int i = 0; i < 10; ++i) {
    launcher.last().events.ended("again");
    Pass(60'000);
  }
  EXPECT_EQ(launcher.launched.size(), launches + 7);
  EXPECT_EQ(core->counters().Of("plugin_restarts"), 8U);
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
