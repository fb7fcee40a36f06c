// SPDX-License-Identifier: Apache-2.0
// How failures of plugins are noticed, and how they come back; by messages, without processes.
#include <gtest/gtest.h>

#include "core_rig.h"

namespace sluice::core::test {
namespace {

using Told = std::vector<std::string>;

v1::FromPlugin Beat(uint32_t busy_ms = 0) {
  v1::FromPlugin beat;
  beat.set_heartbeat(true);
  beat.set_busy_ms(busy_ms);
  return beat;
}

class PluginsFailureTest : public ::testing::Test, protected CoreRig {
 protected:
  explicit PluginsFailureTest(CoreSettings settings = Settings()) : CoreRig(std::move(settings)) {}

  // It runs again.
  void Restart(const std::string& name) {
    launcher.last().events.started("1");
    to_plugins.clear();
    SayHello(name, launcher.last().token);
  }
  void Reload(const std::string& name) {
    v1::Request request;
    request.mutable_plugin_reload()->set_name(name);
    AskLater(request);
  }
  // How long beats have to fail for the plugin to be shown as failed.
  uint64_t MsUntilFailed(const std::string& name) {
    for (uint64_t ms = 0; ms < 60'000; ms += 20) {
      if (Plugin(name).state() != "running") return ms;
      Pass(20);
    }
    return UINT64_MAX;
  }
};

TEST_F(PluginsFailureTest, AHungProcessIsNoticedWithinASecondKilledAndStartedAgain) {
  LoadPlugin("session", true);
  Put("eth_type(0x0800)");
  Changes("session");
  for (int i = 0; i < 20; ++i) {  // two beats in three are enough
    Pass(250);
    if (i % 3 != 0) Say("session", Beat());
  }
  EXPECT_EQ(Plugin("session").state(), "running");
  Events();
  const uint64_t noticed_ms = MsUntilFailed("session");
  EXPECT_GE(noticed_ms, 500U);
  EXPECT_LE(noticed_ms, 1'000U);
  EXPECT_EQ(Topics(), Told{"plugin.fail"});
  EXPECT_TRUE(Plugin("session").detail().starts_with("it has said nothing for ")) << Plugin("session").detail();
  EXPECT_FALSE(launcher.last().killed);
  Pass(1'100);
  EXPECT_TRUE(launcher.last().killed);
  EXPECT_FALSE(launcher.last().stopped);  // it would not hear
  EXPECT_EQ(core->counters().Of("plugins_killed"), 1U);
  EXPECT_EQ(core->counters().Of("plugin_failures"), 1U);
  EXPECT_NE(Plugin("session").detail().find("and was killed"), std::string::npos) << Plugin("session").detail();
  launcher.last().events.ended("its process was killed by signal 9 (Killed)");
  EXPECT_EQ(launcher.launched.size(), 1U);
  Pass(600);
  ASSERT_EQ(launcher.launched.size(), 2U);
  Restart("session");
  EXPECT_EQ(Changes("session").size(), 1U);  // caught up
  const v1::Plugin again = Plugin("session");
  EXPECT_EQ(again.state(), "running");
  EXPECT_EQ(again.detail(), "");
  EXPECT_EQ(again.restarts(), 1U);
  EXPECT_EQ(again.absence().cause(), "restart");
  EXPECT_NE(again.absence().detail().find("and was killed"), std::string::npos);
  EXPECT_FALSE(again.absence().kept());
  EXPECT_GE(again.absence().ms(), 500U);
}

TEST_F(PluginsFailureTest, AHungThreadIsShownAndLeftAlone) {
  LoadPlugin("session");
  Pass(10'000);
  EXPECT_EQ(Plugin("session").state(), "failed");
  EXPECT_FALSE(launcher.last().killed);
  Say("session", Beat());
  EXPECT_EQ(Plugin("session").state(), "running");
}

TEST_F(PluginsFailureTest, WhoComesBackBeforeItIsKilledIsNot) {
  LoadPlugin("session", true);
  Pass(1'500);
  EXPECT_EQ(Plugin("session").state(), "failed");
  Say("session", Beat());
  EXPECT_EQ(Plugin("session").state(), "running");
  Pass(700);
  EXPECT_FALSE(launcher.last().killed);
}

TEST_F(PluginsFailureTest, WhoSaysThatItIsBusyIsNotSilent) {
  LoadPlugin("session", true);
  Say("session", Beat(5'000));
  Pass(5'500);
  EXPECT_EQ(Plugin("session").state(), "running");
  EXPECT_LE(MsUntilFailed("session"), 500U);
  Say("session", Beat(5'000));
  Say("session", Beat());  // done sooner
  EXPECT_LE(MsUntilFailed("session"), 1'000U);
}

TEST_F(PluginsFailureTest, ALoopThatIsAlwaysLateStillNoticesAHang) {
  LoadPlugin("session", true);
  const uint64_t start = now_ns;
  while (Plugin("session").state() == "running" && now_ns - start < 60'000'000'000) {
    now_ns += 300'000'000;
    core->Turn();
  }
  EXPECT_LT(now_ns - start, 5'000'000'000U);
}

TEST_F(PluginsFailureTest, APluginThatKeepsDyingIsParkedWithItsReason) {
  LoadPlugin("session", true);
  std::vector<uint64_t> waited;
  for (int i = 0; i < 8; ++i) {
    const size_t launches = launcher.launched.size();
    launcher.last().events.ended("its process was killed by signal 11 (Segmentation fault)");
    waited.push_back(0);
    while (launcher.launched.size() == launches && waited.back() < 60'000) {
      Pass(100);
      waited.back() += 100;
    }
    ASSERT_EQ(launcher.launched.size(), launches + 1);
    Restart("session");
  }
  EXPECT_EQ(waited, (std::vector<uint64_t>{100, 200, 400, 800, 1'600, 3'200, 6'400, 12'800}));
  Events();
  launcher.last().events.ended("its process was killed by signal 11 (Segmentation fault)");
  const auto told = Events();
  ASSERT_EQ(told.size(), 2U);
  EXPECT_EQ(told[1].topic(), "plugin.fail");
  EXPECT_EQ(told[1].plugin().state(), "parked");
  EXPECT_EQ(told[1].plugin().detail(),
            "its process was killed by signal 11 (Segmentation fault); parked after 8 restarts, until it is loaded or "
            "reloaded");
  const size_t launches = launcher.launched.size();
  Pass(300'000);
  EXPECT_EQ(launcher.launched.size(), launches);
  EXPECT_EQ(Plugin("session").state(), "parked");
  EXPECT_EQ(core->counters().Of("plugins_parked"), 1U);
  // What it says now is a stranger's.
  const std::string token = launcher.last().token;
  SayHello("session", token);
  EXPECT_EQ(Plugin("session").state(), "parked");

  Reload("session");
  core->Turn();
  ASSERT_EQ(launcher.launched.size(), launches + 1);
  Restart("session");
  Batches("session");
  ASSERT_EQ(late_replies.size(), 1U);
  EXPECT_TRUE(late_replies[0].ok());
  EXPECT_EQ(Plugin("session").state(), "running");
  // It has all its tries again.
  launcher.last().events.ended("again");
  EXPECT_EQ(Plugin("session").state(), "failed");
}

TEST_F(PluginsFailureTest, AParkedPluginIsLoadedAnew) {
  CoreSettings settings = Settings();
  settings.plugins.restarts = 0;
  CoreRig rig(settings);
  rig.LoadPlugin("session", true);
  rig.launcher.last().events.ended("once is enough");
  v1::Request list;
  list.mutable_plugin_list();
  EXPECT_EQ(rig.Ask(list).plugins(0).state(), "parked");
  rig.LoadPlugin("session", true);
  EXPECT_EQ(rig.Ask(list).plugins(0).state(), "running");
  rig.launcher.last().events.ended("once is enough");
  v1::Request unload;
  unload.mutable_plugin_unload()->set_name("session");
  EXPECT_TRUE(rig.Ask(unload).ok());
  EXPECT_EQ(rig.Ask(list).plugins_size(), 0);
}

TEST_F(PluginsFailureTest, AReloadSaysTheGapOrThatThereWasNone) {
  LoadPlugin("session");
  Put("eth_type(0x0800)");
  Changes("session");
  for (const bool kept : {false, true}) {
    late_replies.clear();
    Reload("session");
    v1::FromPlugin bye;
    bye.set_ack(to_plugins["session"].back().batch());
    bye.set_kept(kept);
    bye.set_bye(true);
    Say("session", bye);
    Pass(300);
    launcher.last().events.ended("");
    Pass(200);
    Restart("session");
    Pass(100);
    EXPECT_TRUE(late_replies.empty());
    EXPECT_EQ(Changes("session").size(), 1U);
    ASSERT_EQ(late_replies.size(), 1U);
    ASSERT_TRUE(late_replies[0].ok());
    const v1::Absence& absence = late_replies[0].plugins(0).absence();
    EXPECT_EQ(absence.cause(), "reload");
    EXPECT_EQ(absence.kept(), kept);
    EXPECT_EQ(absence.ms(), 600U);
  }
}

TEST_F(PluginsFailureTest, AReloadEndsThoughTheNewOneDoesNotCatchUp) {
  LoadPlugin("session");
  Reload("session");
  v1::FromPlugin bye;
  bye.set_bye(true);
  Say("session", bye);
  launcher.last().events.ended("");
  core->Turn();
  Restart("session");
  for (int i = 0; i < 22; ++i) {
    EXPECT_TRUE(late_replies.empty() || i > 18);
    Pass(500);
    Say("session", Beat());
  }
  ASSERT_EQ(late_replies.size(), 1U);
  EXPECT_TRUE(late_replies[0].ok());
  EXPECT_FALSE(late_replies[0].plugins(0).has_absence());
  Batches("session");
  EXPECT_TRUE(Plugin("session").has_absence());
}

TEST_F(PluginsFailureTest, AReloadOfAPluginThatFailsMeanwhileIsAnswered) {
  LoadPlugin("session", true);
  Reload("session");
  v1::FromPlugin bye;
  bye.set_bye(true);
  Say("session", bye);
  launcher.last().events.ended("");
  core->Turn();
  Restart("session");
  launcher.last().events.ended("its process exited with status 3");
  ASSERT_EQ(late_replies.size(), 1U);
  EXPECT_EQ(late_replies[0].reason(), "plugin_failed");
}

TEST_F(PluginsFailureTest, ResyncsHaveTheirInterval) {
  CoreSettings settings = Settings();
  settings.flows.max_tombstones = 3;
  CoreRig rig(settings);
  rig.LoadPlugin("session");
  rig.Batches("session");
  const uint64_t start = rig.now_ns;
  uint64_t resyncs = 0;
  uint64_t most = 0;
  // It acknowledges and beats, and confirms no delete.
  for (int i = 0; i < 1'000; ++i) {
    const std::string ufid = rig.Put("eth_type(" + std::to_string(2'048 + i) + ")", "push_vlan(vid=1,pcp=0)").ufids(0);
    for (const v1::ToPlugin& batch : rig.Batches("session")) resyncs += batch.resync() ? 1 : 0;
    v1::Request del;
    del.mutable_flow_del()->add_flows()->set_ufid(ufid);
    rig.Ask(del);
    most = std::max(most, rig.core->table().tombstones());
    rig.Pass(10);
  }
  EXPECT_EQ((rig.now_ns - start) / 1'000'000'000, 10U);
  EXPECT_GE(resyncs, 8U);
  EXPECT_LE(resyncs, 11U);
  EXPECT_LE(most, 4U);
  // At rest, it is told all that there is.
  rig.Put("eth_type(0x0800)", "drop", "00000000-0000-0000-0000-000000000001");
  rig.Pass(1'100);
  bool told = false;
  for (const v1::Change& change : rig.Changes("session")) told = told || change.put().actions() == "drop";
  EXPECT_TRUE(told);
}

TEST_F(PluginsFailureTest, ABatchThatDidNotLeaveIsMadeUpForByAResync) {
  LoadPlugin("session");
  Batches("session");
  plugins_reachable = false;
  const std::string ufid = Put("eth_type(0x0800)").ufids(0);
  for (int i = 0; i < 20; ++i) {
    Pass(100);
    Say("session", Beat());
  }
  EXPECT_LE(core->counters().Of("plugin_resyncs"), 4U);  // not one in each turn
  EXPECT_GE(core->counters().Of("plugin_batches_dropped"), 2U);
  plugins_reachable = true;
  Pass(1'000);
  const auto batches = Batches("session");
  ASSERT_EQ(batches.size(), 1U);
  EXPECT_TRUE(batches[0].resync());
  EXPECT_TRUE(batches[0].synced());
  ASSERT_EQ(batches[0].changes_size(), 1);
  Judge("session", batches[0].changes(0), v1::INSTALLED);
  EXPECT_EQ(Get(ufid).offload(0).state(), v1::INSTALLED);
}

TEST_F(PluginsFailureTest, WhoSaysHelloAgainIsToldEverythingAnewButNotInEveryTurn) {
  LoadPlugin("session");
  Put("eth_type(0x0800)");
  Changes("session");
  uint64_t resyncs = 0;
  for (int i = 0; i < 50; ++i) {
    SayHello("session", launcher.last().token);
    for (const v1::ToPlugin& batch : Batches("session")) resyncs += batch.resync() ? 1 : 0;
    Pass(100);
  }
  EXPECT_GE(resyncs, 4U);
  EXPECT_LE(resyncs, 6U);
}

TEST_F(PluginsFailureTest, ALaggardSeesTheNewestStateOfEachFlowInBoundedMemory) {
  LoadPlugin("session");
  Batches("session");
  constexpr int kFlows = 3'000;
  constexpr int kRounds = 30;
  std::vector<std::string> ufids;
  for (int round = 0; round < kRounds; ++round) {
    v1::Request request;
    for (int i = 0; i < kFlows; ++i) {
      v1::Flow& flow = *request.mutable_flow_put()->add_flows();
      flow.set_match("eth_type(" + std::to_string(2'048 + i) + ")");
      flow.set_actions("push_vlan(vid=" + std::to_string(1 + round) + ",pcp=0)");
    }
    const v1::Reply reply = Ask(request);
    ufids.assign(reply.ufids().begin(), reply.ufids().end());
    Say("session", Beat());  // alive, and takes nothing
  }
  // Of 90,000 changes as many are under way as the credit allows, and the others are the table itself.
  EXPECT_LE(to_plugins["session"].size(), 8U);
  EXPECT_EQ(core->table().tombstones(), 0U);
  v1::Request del;
  for (int i = 0; i < 10; ++i) del.mutable_flow_del()->add_flows()->set_ufid(ufids[static_cast<size_t>(i)]);
  Ask(del);
  std::map<std::string, std::string> has;
  std::map<std::string, int> told;
  for (const v1::Change& change : Changes("session")) {
    if (change.has_put()) {
      has[change.put().ufid()] = change.put().actions();
      ++told[change.put().ufid()];
    } else {
      has.erase(change.del().ufid());
    }
  }
  EXPECT_EQ(has.size(), kFlows - 10U);
  for (const auto& [ufid, actions] : has) EXPECT_EQ(actions, "push_vlan(vid=30,pcp=0)");
  for (const auto& [ufid, times] : told) EXPECT_LE(times, 2);  // once under way, once its newest state
}

TEST_F(PluginsFailureTest, AnAdoptedPluginKeepsWhatItHasUntilPublishersHadTheirTime) {
  const Orphan orphan{.spec = {"session", "/x/session.so", true, {}, true},
                      .token = "yesterday/session/1",
                      .version = "1",
                      .pid = 4711};
  ASSERT_TRUE(core->plugins().Adopt(orphan));
  EXPECT_EQ(core->plugins().Adopt(orphan).error().reason, "already_loaded");
  // It learns that the core is another by what its first word is answered with.
  Say("session", Beat());
  ASSERT_EQ(to_plugins["session"].size(), 1U);
  EXPECT_TRUE(to_plugins["session"].front().introduce());
  EXPECT_EQ(to_plugins["session"].front().epoch(), "e");
  to_plugins.clear();
  SayHello("session", orphan.token);
  EXPECT_EQ(Plugin("session").state(), "running");
  EXPECT_TRUE(Plugin("session").adopted());
  EXPECT_EQ(Plugin("session").detail(), "what is not put again within 10 s is withdrawn");
  Put("eth_type(0x0800)");
  const auto batches = Batches("session");
  ASSERT_EQ(batches.size(), 2U);
  EXPECT_TRUE(batches[0].resync());
  EXPECT_EQ(batches[1].changes_size(), 1);
  const auto synced = [&] {
    bool any = false;
    for (const v1::ToPlugin& batch : Batches("session")) any = any || batch.synced();
    return any;
  };
  for (int i = 0; i < 19; ++i) {
    Pass(500);
    Say("session", Beat());
    EXPECT_FALSE(synced()) << i;
  }
  // A resync meanwhile does not shorten it.
  SayHello("session", orphan.token);
  EXPECT_FALSE(synced());
  Pass(600);
  Say("session", Beat());
  EXPECT_TRUE(synced());
  EXPECT_EQ(Plugin("session").detail(), "");
  // Its end is like that of any other.
  launcher.last().events.ended("its process ended");
  EXPECT_EQ(Plugin("session").state(), "failed");
  Pass(600);
  EXPECT_EQ(launcher.launched.size(), 2U);
  EXPECT_FALSE(Plugin("session").adopted());
}

TEST_F(PluginsFailureTest, AnOrphanThatSaysNothingIsEndedAndThePluginStarted) {
  const Orphan orphan{.spec = {"session", "/x/session.so", true, {}, true},
                      .token = "yesterday/session/1",
                      .version = "1",
                      .pid = 4711};
  ASSERT_TRUE(core->plugins().Adopt(orphan));
  Pass(11'000);
  EXPECT_TRUE(launcher.last().stopped);
  Pass(5'100);
  EXPECT_TRUE(launcher.last().killed);
  launcher.last().events.ended("");
  Pass(600);
  EXPECT_EQ(launcher.launched.size(), 2U);
}

}  // namespace
}  // namespace sluice::core::test
