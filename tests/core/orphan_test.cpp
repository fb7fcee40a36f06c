// SPDX-License-Identifier: Apache-2.0
// Plugin hosts that outlive their daemon, with a real sluiced that is killed.
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "daemon_rig.h"
#include "support/temp_dir.h"

namespace sluice::core::test {
namespace {

namespace fs = std::filesystem;

constexpr int kRejoinMs = 1'500;

bool Lives(int pid) { return kill(pid, 0) == 0; }

class OrphanTest : public ::testing::Test {
 protected:
  // Whoever outlives the test as well ends by itself.
  explicit OrphanTest(int orphan_ms = 30'000)
      : args_{"--config", dir_.Write("c.toml", "[times]\nrejoin_ms = " + std::to_string(kRejoinMs) + "\norphan_ms = " +
                                                   std::to_string(orphan_ms) + "\nrestart_ms = 20\n")},
        daemon_(args_) {}

  bool LoadKeeping(const json& options = json::object()) {
    json request = Load("session", "process", options);
    request["plugin_load"]["orphan"] = "keep";
    return Accepts(daemon_, request);
  }
  void KillDaemon() {
    daemon_.process().Signal(SIGKILL);
    ASSERT_TRUE(daemon_.process().Wait().has_value());
  }
  json Plugin() { return PluginOf(daemon_, "session"); }
  bool Runs() {
    const json plugin = Plugin();
    return plugin.is_object() && plugin["state"] == "running";
  }
  std::string Put(const std::string& match) { return AskJson(daemon_, PutFlow(match, "drop"))["ufids"][0]; }
  bool Installed(const std::string& ufid) {
    const json flow = FlowOf(daemon_, ufid);
    return flow.is_object() && flow["offload"].size() == 1 && flow["offload"][0]["state"] == "INSTALLED";
  }
  // The lines that the plugin wrote of what it has.
  std::set<std::string> Recorded() {
    std::set<std::string> lines;
    std::ifstream file(record_);
    for (std::string line; std::getline(file, line);) lines.insert(line);
    return lines;
  }

  const sluice::test::TempDir dir_;
  const std::string record_ = dir_.path() + "/record";
  const std::vector<std::string> args_;
  Daemon daemon_;
};

TEST_F(OrphanTest, AHostThatIsToKeepOutlivesItsDaemonAndRejoinsTheNext) {
  ASSERT_TRUE(LoadKeeping({{"record", record_}}));
  EXPECT_EQ(Plugin()["orphan"], "keep");
  const int pid = Plugin()["pid"];
  EXPECT_TRUE(Eventually([&] { return fs::exists(daemon_.run_dir() + "/hosts/session.json"); }));
  EXPECT_TRUE(Installed(Put("eth_type(0x0800)")) || Eventually([&] { return Installed(Put("eth_type(0x0800)")); }));
  Put("eth_type(0x86dd)");
  const std::set<std::string> both = {"eth_type(0x0800) drop", "eth_type(0x86dd) drop"};
  EXPECT_TRUE(Eventually([&] { return Recorded() == both; }));
  for (int death = 0; death < 2; ++death) {
    const std::string epoch = AskJson(daemon_, {{"status", json::object()}})["epoch"];
    KillDaemon();
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    ASSERT_TRUE(Lives(pid));
    daemon_.StartAgain(args_);
    EXPECT_NE(AskJson(daemon_, {{"status", json::object()}})["epoch"], epoch);
    ASSERT_TRUE(Eventually([&] { return Runs(); })) << Plugin();
    const json plugin = Plugin();
    EXPECT_EQ(plugin["pid"], pid);
    EXPECT_EQ(plugin["adopted"], true);
    EXPECT_EQ(plugin["orphan"], "keep");
    EXPECT_EQ(plugin["version"], "1.0");
    EXPECT_EQ(plugin["options"]["record"], record_);
    // The publisher puts the one again, and not the other.
    const std::string again = Put("eth_type(0x0800)");
    EXPECT_TRUE(Eventually([&] { return Installed(again); }));
    fs::remove(record_);
    EXPECT_TRUE(Eventually([&] { return !Recorded().empty(); }));
    if (death == 0 && !Plugin()["detail"].get<std::string>().empty()) {
      EXPECT_EQ(Recorded(), both);  // kept as long as it may still be put again
    }
    EXPECT_TRUE(Eventually([&] { return Recorded() == std::set<std::string>{"eth_type(0x0800) drop"}; }));
    EXPECT_TRUE(Eventually([&] { return Plugin()["detail"] == ""; }));
  }
  EXPECT_EQ(AskJson(daemon_, Load("session", "process"))["reason"], "already_loaded");
  EXPECT_TRUE(Accepts(daemon_, {{"plugin_unload", {{"name", "session"}}}}));
  EXPECT_TRUE(Eventually([&] { return !Lives(pid); }));
  EXPECT_TRUE(Plugin().is_null());
  EXPECT_TRUE(fs::is_empty(daemon_.run_dir() + "/hosts"));
}

TEST_F(OrphanTest, AnAdoptedHostThatDiesIsStartedAgain) {
  ASSERT_TRUE(LoadKeeping());
  const int pid = Plugin()["pid"];
  KillDaemon();
  daemon_.StartAgain(args_);
  ASSERT_TRUE(Eventually([&] { return Runs(); }));
  ASSERT_EQ(kill(pid, SIGKILL), 0);
  EXPECT_TRUE(Eventually([&] {
    const json plugin = Plugin();
    return plugin["state"] == "running" && plugin["pid"] != pid;
  }));
  EXPECT_EQ(Plugin()["adopted"], false);
  EXPECT_TRUE(Eventually([&] { return Plugin()["absence"]["cause"] == "restart"; }));
  EXPECT_EQ(Plugin()["absence"]["detail"], "its process ended; how is not known, as another daemon had started it");
  // And outlives this one.
  const int second = Plugin()["pid"];
  KillDaemon();
  daemon_.StartAgain(args_);
  ASSERT_TRUE(Eventually([&] { return Runs(); }));
  EXPECT_EQ(Plugin()["pid"], second);
}

TEST_F(OrphanTest, TheDaemonsOrderlyEndIsTheEndOfAnAdoptedHost) {
  ASSERT_TRUE(LoadKeeping());
  const int pid = Plugin()["pid"];
  KillDaemon();
  daemon_.StartAgain(args_);
  ASSERT_TRUE(Eventually([&] { return Runs(); }));
  EXPECT_EQ(daemon_.process().Terminate(), 0);
  EXPECT_TRUE(Eventually([&] { return !Lives(pid); }));
}

TEST_F(OrphanTest, WhatIsConfiguredOtherwiseByNowIsEndedAndStartedAnew) {
  ASSERT_TRUE(LoadKeeping());
  const int pid = Plugin()["pid"];
  KillDaemon();
  const std::string path = std::string(FIXTURES) + "/session.so";
  daemon_.StartAgain({"--config", dir_.Write("d.toml", "[[plugin]]\nname = \"" + path +
                                                           "\"\nisolation = \"process\"\norphan = \"keep\"\n"
                                                           "options = { count = 1 }\n")});
  EXPECT_TRUE(Eventually([&] { return !Lives(pid); }));  // whoever reaps it may take a moment
  ASSERT_TRUE(Eventually([&] { return Runs(); }));
  EXPECT_NE(Plugin()["pid"], pid);
  EXPECT_EQ(Plugin()["options"]["count"], "1");
  // As configured it is adopted, and not started a second time.
  const int second = Plugin()["pid"];
  KillDaemon();
  daemon_.StartAgain({"--config", dir_.path() + "/d.toml"});
  ASSERT_TRUE(Eventually([&] { return Runs(); }));
  EXPECT_EQ(Plugin()["pid"], second);
  EXPECT_EQ(AskJson(daemon_, {{"plugin_list", json::object()}})["plugins"].size(), 1U);
}

TEST_F(OrphanTest, AThreadCannotOutliveItsDaemon) {
  json request = Load("session");
  request["plugin_load"]["orphan"] = "keep";
  EXPECT_EQ(AskJson(daemon_, request)["detail"], "orphan is keep, which only a plugin with isolation process can");
  request["plugin_load"]["orphan"] = "adopt";
  EXPECT_EQ(AskJson(daemon_, request)["detail"], "orphan is 'adopt'; it can be withdraw or keep");
}

class ImpatientOrphanTest : public OrphanTest {
 protected:
  ImpatientOrphanTest() : OrphanTest(300) {}
};

TEST_F(ImpatientOrphanTest, AnOrphanThatNobodyTakesWithdrawsAndEnds) {
  ASSERT_TRUE(LoadKeeping());
  const int pid = Plugin()["pid"];
  KillDaemon();
  EXPECT_TRUE(Eventually([&] { return !Lives(pid); }));
  EXPECT_TRUE(fs::is_empty(daemon_.run_dir() + "/hosts"));
  daemon_.StartAgain(args_);
  EXPECT_TRUE(Plugin().is_null());
}

}  // namespace
}  // namespace sluice::core::test
