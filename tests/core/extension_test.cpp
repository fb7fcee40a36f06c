// SPDX-License-Identifier: Apache-2.0
// What one plugin brings for the others, plugins that take no flows, and one that asks to be told everything anew.
#include <gtest/gtest.h>

#include "core_rig.h"

namespace sluice::core::test {
namespace {

using Told = std::vector<std::string>;

// "session" is told of what "late" brings.
class ExtensionTest : public ::testing::Test, protected CoreRig {
 protected:
  static v1::Capabilities Brings(const std::string& value, bool no_flows = true) {
    v1::Capabilities capabilities;
    (*capabilities.mutable_provides())["xdp.passes"] = value;
    capabilities.set_no_flows(no_flows);
    return capabilities;
  }
  void SayBye(const std::string& plugin) {
    v1::FromPlugin bye;
    bye.set_bye(true);
    Say(plugin, bye);
    launcher.last().events.ended("");
    core->Turn();
  }
  void Return(const std::string& value) {
    launcher.last().events.started("1");
    to_plugins["late"].clear();
    SayHello("late", launcher.last().token, Brings(value));
  }
  // The one change there is.
  v1::Extension Extension() {
    const auto changes = Changes("session");
    EXPECT_EQ(changes.size(), 1U);
    return changes.empty() ? v1::Extension() : changes[0].extension();
  }
};

TEST_F(ExtensionTest, IsToldBeforePortsAndFlows) {
  LoadPlugin("late", false, Brings("/a"));
  LoadPlugin("session");
  AddPort("p0", "session");
  Put("in_port(p0)");
  Changes("session");
  SayHello("session", launcher.last().token);  // again: told everything
  const auto changes = Changes("session");
  ASSERT_GE(changes.size(), 2U);
  EXPECT_EQ(changes[0].extension().plugin(), "late");
  EXPECT_NE(changes[0].extension().serial(), 0U);
  EXPECT_EQ(changes[0].extension().provides().at("xdp.passes"), "/a");
  EXPECT_TRUE(changes[1].has_port_put());
}

TEST_F(ExtensionTest, IsToldOnArrivalToOthersOnly) {
  LoadPlugin("session");
  Put("eth_type(0x0800)");
  Changes("session");
  LoadPlugin("late", false, Brings("/a"));
  EXPECT_EQ(Extension().provides().at("xdp.passes"), "/a");
  EXPECT_TRUE(Changes("late").empty());
}

TEST_F(ExtensionTest, AReloadTellsItOnceItIsBackWithAnotherSerial) {
  LoadPlugin("session");
  LoadPlugin("late", false, Brings("/a"));
  const uint64_t first = Extension().serial();
  v1::Request reload;
  reload.mutable_plugin_reload()->set_name("late");
  AskLater(reload);
  SayBye("late");
  EXPECT_TRUE(Changes("session").empty());
  ASSERT_EQ(launcher.launched.size(), 3U);
  Return("/a");
  const v1::Extension again = Extension();
  EXPECT_NE(again.serial(), 0U);
  EXPECT_NE(again.serial(), first);
  EXPECT_EQ(again.provides().at("xdp.passes"), "/a");
}

TEST_F(ExtensionTest, AReloadThatFailsTellsThatItIsGone) {
  LoadPlugin("session");
  LoadPlugin("late", false, Brings("/a"));
  Changes("session");
  v1::Request reload;
  reload.mutable_plugin_reload()->set_name("late");
  AskLater(reload);
  SayBye("late");
  launcher.last().events.ended("it could not start");
  core->Turn();
  const v1::Extension gone = Extension();
  EXPECT_EQ(gone.plugin(), "late");
  EXPECT_EQ(gone.serial(), 0U);
}

TEST_F(ExtensionTest, AnUnloadTellsThatItIsGone) {
  LoadPlugin("session");
  LoadPlugin("late", false, Brings("/a"));
  Changes("session");
  v1::Request unload;
  unload.mutable_plugin_unload()->set_name("late");
  AskLater(unload);
  SayBye("late");
  EXPECT_EQ(Extension().serial(), 0U);
}

TEST_F(ExtensionTest, AnUnloadThatKeepsTellsNothingUntilItIsBack) {
  LoadPlugin("session");
  LoadPlugin("late", false, Brings("/a"));
  const uint64_t first = Extension().serial();
  v1::Request unload;
  unload.mutable_plugin_unload()->set_name("late");
  unload.mutable_plugin_unload()->set_keep(true);
  AskLater(unload);
  v1::FromPlugin kept;
  kept.set_kept(true);
  Say("late", kept);
  SayBye("late");
  EXPECT_TRUE(Changes("session").empty());
  late_replies.clear();
  LoadPlugin("late", false, Brings("/a"));
  EXPECT_NE(Extension().serial(), first);
}

TEST_F(ExtensionTest, AProcessThatDiedIsNotGoneUntilItIsParked) {
  LoadPlugin("session");
  LoadPlugin("late", true, Brings("/a"));
  uint64_t last = Extension().serial();
  for (int i = 0; Plugin("late").state() != "parked"; ++i) {
    ASSERT_LT(i, 20);
    EXPECT_TRUE(Changes("session").empty());
    launcher.last().events.ended("its process was killed by signal 9 (Killed)");
    if (Plugin("late").state() == "parked") break;
    // What a session says meanwhile keeps it from being taken for hung.
    while (Plugin("late").state() == "failed") {
      Pass(100);
      Say("session", v1::FromPlugin());
    }
    Return("/a");
    const uint64_t serial = Extension().serial();
    EXPECT_NE(serial, 0U);
    EXPECT_NE(serial, last);
    last = serial;
  }
  EXPECT_EQ(Extension().serial(), 0U);
}

TEST_F(ExtensionTest, AThreadThatFailedIsGone) {
  LoadPlugin("session");
  LoadPlugin("late", false, Brings("/a"));
  Changes("session");
  v1::FromPlugin bye;
  bye.set_bye(true);
  bye.set_error("an exception");
  Say("late", bye);
  launcher.last().events.ended("");
  core->Turn();
  EXPECT_EQ(Plugin("late").state(), "failed");
  EXPECT_EQ(Extension().serial(), 0U);
}

TEST_F(ExtensionTest, WhatIsSaidInAnotherHelloCounts) {
  LoadPlugin("session");
  LoadPlugin("late", false, Brings("/a"));
  const uint64_t first = Extension().serial();
  SayHello("late", launcher.last().token, Brings("/a"));
  EXPECT_TRUE(Changes("session").empty());  // nothing new
  SayHello("late", launcher.last().token, Brings("/b"));
  const v1::Extension changed = Extension();
  EXPECT_EQ(changed.provides().at("xdp.passes"), "/b");
  EXPECT_NE(changed.serial(), first);
  SayHello("late", launcher.last().token);
  EXPECT_EQ(Extension().serial(), 0U);
}

TEST_F(ExtensionTest, NoFlowIsOfferedToWhoTakesNoneAndNoneWaitsForIt) {
  const std::string ufid = Put("eth_type(0x0806)").ufids(0);
  LoadPlugin("late", false, Brings("/a"));
  LoadPlugin("session");
  Put("eth_type(0x0800)");
  EXPECT_TRUE(Changes("late").empty());
  EXPECT_EQ(Changes("session").size(), 3U);
  EXPECT_EQ(Plugin("late").pending(), 0U);
  EXPECT_EQ(Plugin("late").lag(), 0U);
  EXPECT_EQ(Plugin("session").pending(), 2U);
  const v1::Flow flow = Get(ufid);
  ASSERT_EQ(flow.offload_size(), 1);
  EXPECT_EQ(flow.offload(0).plugin(), "session");
  v1::Request del;
  del.mutable_flow_del()->add_flows()->set_ufid(ufid);
  Ask(del);
  EXPECT_TRUE(Changes("late").empty());
  EXPECT_EQ(Changes("session").size(), 1U);
}

TEST_F(ExtensionTest, WhoTakesNoFlowsHasPorts) {
  LoadPlugin("late", false, Brings("/a"));
  AddPort("p0", "late");
  v1::Request list;
  list.mutable_port_list();
  EXPECT_EQ(Ask(list).ports(0).state(), "up");
}

class RepeatTest : public ExtensionTest {
 protected:
  RepeatTest() {
    LoadPlugin("late", false, Brings("/a"));
    LoadPlugin("session");
    AddPort("p0", "session");
    ufid_ = Put("in_port(p0)").ufids(0);
    for (const v1::Change& change : Changes("session")) {
      if (change.has_put()) put_ = change;
    }
    Judge("session", put_, v1::INSTALLED);
    Events();
  }
  void AskForAll() {
    v1::FromPlugin message;
    message.set_resync(true);
    Say("session", message);
  }
  void ReportPort() {
    v1::FromPlugin message;
    message.add_ports()->set_name("p0");
    message.mutable_ports(0)->set_state("up");
    Say("session", message);
  }

  std::string ufid_;
  v1::Change put_;
};

TEST_F(RepeatTest, EverythingIsToldAndWhatWasSaidStays) {
  AskForAll();
  auto batches = Batches("session");
  ASSERT_EQ(batches.size(), 1U);
  EXPECT_TRUE(batches[0].resync());
  ASSERT_EQ(batches[0].changes_size(), 2);
  EXPECT_TRUE(batches[0].changes(0).has_extension());
  EXPECT_EQ(batches[0].changes(1).port_put().name(), "p0");
  ReportPort();
  batches = Batches("session");
  ASSERT_EQ(batches.size(), 1U);
  EXPECT_FALSE(batches[0].resync());
  EXPECT_TRUE(batches[0].synced());
  ASSERT_EQ(batches[0].changes_size(), 1);
  EXPECT_EQ(batches[0].changes(0).put().instance(), put_.put().instance());
  EXPECT_EQ(Get(ufid_).offload(0).state(), v1::INSTALLED);
  Judge("session", batches[0].changes(0), v1::INSTALLED);
  EXPECT_EQ(Topics(), Told{});  // nothing has changed
  Judge("session", batches[0].changes(0), v1::REFUSED, "needs_recirc");
  EXPECT_EQ(Topics(), Told{"flow.offload"});
}

TEST_F(RepeatTest, ADeletionThatIsNotConfirmedIsNotToldAgain) {
  v1::Request del;
  del.mutable_flow_del()->add_flows()->set_ufid(ufid_);
  Ask(del);
  const auto dels = Changes("session");
  ASSERT_EQ(dels.size(), 1U);
  AskForAll();
  ReportPort();
  for (const v1::Change& change : Changes("session")) EXPECT_FALSE(change.has_put() || change.has_del());
  Count("session", put_, 3);
  ConfirmDelete("session", dels[0]);
  const auto told = Events();
  ASSERT_FALSE(told.empty());
  EXPECT_EQ(told.back().topic(), "flow.del");
  EXPECT_EQ(told.back().flow().packets(), 3U);
}

TEST_F(RepeatTest, OnceASecondAtMostAndMeanwhileItIsFedAsEver) {
  AskForAll();
  ReportPort();
  Batches("session");
  AskForAll();
  AskForAll();
  EXPECT_TRUE(Batches("session").empty());
  Put("in_port(p0),eth_type(0x0800)");
  auto batches = Batches("session");
  ASSERT_EQ(batches.size(), 1U);
  EXPECT_FALSE(batches[0].resync());
  for (int i = 0; i < 11; ++i) {
    Pass(100);
    Say("session", v1::FromPlugin());
  }
  batches = Batches("session");
  ASSERT_FALSE(batches.empty());
  EXPECT_TRUE(batches[0].resync());
  Pass(2'000);
  EXPECT_EQ(core->counters().Of("plugin_repeats"), 2U);
}

TEST_F(RepeatTest, APortThatEndedAndCameAgainIsToldInItsOrder) {
  // Taken, but not acknowledged, until there is no credit.
  for (uint32_t i = 0; i < 8; ++i) {
    Put("in_port(p0),eth_type(" + std::to_string(0x0900 + i) + ")");
    Batches("session", false);
  }
  v1::Request del;
  del.mutable_port_del()->set_name("p0");
  AskLater(del);
  v1::Request add;
  add.mutable_port_add()->set_name("p0");
  add.mutable_port_add()->set_plugin("session");
  AskLater(add);
  AskForAll();
  v1::FromPlugin ack;
  ack.set_ack(UINT64_MAX);
  Told order;
  for (uint64_t batch = 1; batch < 100 && order.size() < 2; ++batch) {
    ack.set_ack(batch);
    Say("session", ack);
    for (const v1::Change& change : Changes("session")) {
      if (change.has_port_put()) order.push_back("put");
      if (change.has_port_del()) order.push_back("del");
    }
  }
  EXPECT_EQ(order, (Told{"del", "put"}));
}

}  // namespace
}  // namespace sluice::core::test
