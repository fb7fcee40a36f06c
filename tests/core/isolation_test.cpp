// SPDX-License-Identifier: Apache-2.0
// Plugins that misbehave in a real sluiced: what they can break is themselves, and it is told.
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>

#include "daemon_rig.h"
#include "support/temp_dir.h"

namespace sluice::core::test {
namespace {

constexpr const char* kSegmentationFault = kSanitized ? "its process exited with status "  // the signal is caught
                                                      : "its process was killed by signal 11 (Segmentation fault)";

using Clock = std::chrono::steady_clock;

int64_t MsSince(Clock::time_point start) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - start).count();
}

std::string CounterOf(const Daemon& daemon, const std::string& name) {
  const json counters = AskJson(daemon, {{"status", json::object()}})["status"]["counters"];
  return counters.contains(name) ? counters[name].get<std::string>() : "0";
}

// A daemon whose plugins come back at once, three times.
class IsolationTest : public ::testing::Test {
 protected:
  std::string PutAndWait() {
    const std::string ufid = AskJson(daemon_, PutFlow("eth_type(0x0800)", "drop"))["ufids"][0];
    EXPECT_TRUE(Eventually([&] { return Installed(ufid); }));
    return ufid;
  }
  bool Installed(const std::string& ufid) {
    const json flow = FlowOf(daemon_, ufid);
    return flow.is_object() && flow["offload"].size() == 1 && flow["offload"][0]["state"] == "INSTALLED";
  }
  std::string StateOf(const std::string& plugin) {
    const json found = PluginOf(daemon_, plugin);
    return found.is_null() ? "" : found["state"].get<std::string>();
  }
  int PidOf(const std::string& plugin) { return PluginOf(daemon_, plugin)["pid"]; }
  bool Alive() { return Accepts(daemon_, PutFlow("eth_type(0x86dd)", "drop")); }

  const sluice::test::TempDir dir_;
  Daemon daemon_{{"--config", dir_.Write("c.toml",
                                         "[times]\nplugin_stop_ms = 500\nrestart_ms = 20\n"
                                         "[limits]\nrestarts = 3\n")}};
};

TEST_F(IsolationTest, APluginThatNeedsAProcessGetsOneAndIsRefusedAsAThread) {
  const json refused = AskJson(daemon_, Load("needs_process", "thread"));
  EXPECT_EQ(refused["reason"], "needs_process");
  EXPECT_EQ(refused["detail"], "plugin needs_process runs in a process of its own only: leave the isolation to it");
  EXPECT_TRUE(PluginOf(daemon_, "needs_process").is_null());
  EXPECT_TRUE(Accepts(daemon_, Load("needs_process", "")));
  EXPECT_EQ(PluginOf(daemon_, "needs_process")["isolation"], "process");
  EXPECT_TRUE(Accepts(daemon_, Load("session", "")));
  EXPECT_EQ(PluginOf(daemon_, "session")["isolation"], "thread");
}

TEST_F(IsolationTest, AFrozenHostIsNoticedWithinASecondAndComesBack) {
  EXPECT_TRUE(Accepts(daemon_, Load("session", "process")));
  const std::string ufid = PutAndWait();
  const int pid = PidOf("session");
  Listener listener(daemon_);
  const auto start = Clock::now();
  ASSERT_EQ(kill(pid, SIGSTOP), 0);
  const json silent = listener.Await("plugin.fail");
  const int64_t noticed_ms = MsSince(start);
  RecordProperty("noticed_ms", std::to_string(noticed_ms));
  ASSERT_FALSE(silent.is_null());
  EXPECT_TRUE(silent["plugin"]["detail"].get<std::string>().starts_with("it has said nothing for "));
  EXPECT_LT(noticed_ms, 2'500);  // 0.9 s on a machine with time to spare
  const json killed = listener.Await("plugin.fail");
  ASSERT_FALSE(killed.is_null());
  EXPECT_TRUE(killed["plugin"]["detail"].get<std::string>().ends_with(", and was killed"));
  EXPECT_TRUE(Eventually([&] { return Installed(ufid); }));
  EXPECT_NE(PidOf("session"), pid);
  EXPECT_EQ(kill(pid, 0), -1);
  EXPECT_TRUE(Eventually([&] { return PluginOf(daemon_, "session")["absence"]["cause"] == "restart"; }));
  EXPECT_EQ(PluginOf(daemon_, "session")["restarts"], 1);
}

TEST_F(IsolationTest, APluginThatKeepsDyingIsParkedUntilItIsReloaded) {
  EXPECT_TRUE(Accepts(daemon_, Load("session", "process")));
  const std::string ufid = PutAndWait();
  for (int death = 0; death < 4; ++death) {
    EXPECT_TRUE(Eventually([&] { return Installed(ufid); })) << death;
    const int pid = PidOf("session");
    ASSERT_GT(pid, 0);
    ASSERT_EQ(kill(pid, death % 2 == 0 ? SIGKILL : SIGSEGV), 0);
    EXPECT_TRUE(Eventually([&] { return PidOf("session") != pid; }));
  }
  EXPECT_TRUE(Eventually([&] { return StateOf("session") == "parked"; }));
  const std::string detail = PluginOf(daemon_, "session")["detail"];
  EXPECT_TRUE(detail.starts_with(kSegmentationFault)) << detail;
  EXPECT_NE(detail.find("parked after 3 restarts"), std::string::npos) << detail;
  const std::string shown = daemon_.Ctl({"status"}).out;
  EXPECT_NE(shown.find("parked after 3 restarts"), std::string::npos) << shown;
  EXPECT_TRUE(Accepts(daemon_, {{"plugin_reload", {{"name", "session"}}}}));
  EXPECT_TRUE(Eventually([&] { return Installed(ufid); }));
  EXPECT_EQ(CounterOf(daemon_, "plugin_restarts"), "3");
}

TEST_F(IsolationTest, AnExceptionEndsThePluginInItsThreadAndNothingElse) {
  EXPECT_TRUE(Accepts(daemon_, Load("throws")));
  EXPECT_TRUE(Accepts(daemon_, Load("session")));
  const std::string ufid = AskJson(daemon_, PutFlow("eth_type(0x0800)", "drop"))["ufids"][0];
  EXPECT_TRUE(Eventually([&] { return StateOf("throws") == "failed"; }));
  EXPECT_EQ(PluginOf(daemon_, "throws")["detail"], "the device caught fire");
  EXPECT_TRUE(Eventually([&] { return Installed(ufid); }));
  EXPECT_TRUE(Accepts(daemon_, {{"plugin_unload", {{"name", "throws"}}}}));
}

TEST_F(IsolationTest, AnExceptionParksThePluginInItsProcess) {
  EXPECT_TRUE(Accepts(daemon_, Load("throws", "process")));
  EXPECT_TRUE(Accepts(daemon_, PutFlow("eth_type(0x0800)", "drop")));
  EXPECT_TRUE(Eventually([&] { return StateOf("throws") == "parked"; }));
  const std::string detail = PluginOf(daemon_, "throws")["detail"];
  EXPECT_EQ(detail.rfind("the device caught fire; parked after 3 restarts", 0), 0U) << detail;
  EXPECT_TRUE(Alive());
}

TEST_F(IsolationTest, AThreadThatDoesNotStopIsLeftBehindAndCounted) {
  EXPECT_TRUE(Accepts(daemon_, Load("session", "thread", {{"hang_stop", "1"}})));
  const json reply = AskJson(daemon_, {{"plugin_unload", {{"name", "session"}}}});
  EXPECT_EQ(reply["reason"], "stop_failed");
  EXPECT_EQ(reply["detail"], "plugin session did not stop within 1 s: its thread is left behind");
  EXPECT_EQ(CounterOf(daemon_, "plugin_threads_lost"), "1");
  EXPECT_TRUE(Accepts(daemon_, Load("session")));
  PutAndWait();
  EXPECT_EQ(daemon_.process().Terminate(), 0);
}

TEST_F(IsolationTest, AProcessThatDoesNotStopIsKilled) {
  EXPECT_TRUE(Accepts(daemon_, Load("session", "process", {{"hang_stop", "1"}})));
  const int pid = PidOf("session");
  EXPECT_TRUE(Accepts(daemon_, {{"plugin_unload", {{"name", "session"}}}}));
  EXPECT_EQ(kill(pid, 0), -1);
  EXPECT_EQ(StateOf("session"), "");
}

TEST_F(IsolationTest, AMissingSymbolIsNamed) {
  for (const char* isolation : {"thread", "process"}) {
    const std::string detail = AskJson(daemon_, Load("undefined", isolation))["detail"];
    EXPECT_NE(detail.find("sluice_nobody_has_this"), std::string::npos) << detail;
  }
  EXPECT_EQ(StateOf("undefined"), "");
  EXPECT_TRUE(Alive());
}

TEST_F(IsolationTest, ANewFileAtTheSamePathTakesEffect) {
  namespace fs = std::filesystem;
  const std::string path = dir_.path() + "/renewed.so";
  const auto install = [&](const std::string& fixture) {
    fs::copy_file(std::string(FIXTURES) + "/" + fixture + ".so", path, fs::copy_options::overwrite_existing);
  };
  for (const char* isolation : {"thread", "process"}) {
    install("session");
    EXPECT_TRUE(Accepts(daemon_, {{"plugin_load", {{"name", path}, {"isolation", isolation}}}}));
    EXPECT_EQ(PluginOf(daemon_, "renewed")["version"], "1.0");
    install("session_two");
    EXPECT_EQ(PluginOf(daemon_, "renewed")["version"], "1.0");  // what runs is a copy
    const json reply = AskJson(daemon_, {{"plugin_reload", {{"name", "renewed"}}}});
    ASSERT_EQ(reply["plugins"].size(), 1U);
    EXPECT_EQ(reply["plugins"][0]["version"], "2.0");
    EXPECT_EQ(reply["plugins"][0]["absence"]["cause"], "reload");
    EXPECT_EQ(reply["plugins"][0]["absence"]["kept"], false);
    install("session");
    EXPECT_TRUE(Accepts(daemon_, {{"plugin_unload", {{"name", "renewed"}}}}));
    EXPECT_TRUE(Accepts(daemon_, {{"plugin_load", {{"name", path}, {"isolation", isolation}}}}));
    EXPECT_EQ(PluginOf(daemon_, "renewed")["version"], "1.0");
    EXPECT_TRUE(Accepts(daemon_, {{"plugin_unload", {{"name", "renewed"}}}}));
  }
}

TEST_F(IsolationTest, AReloadSaysItsGap) {
  EXPECT_TRUE(Accepts(daemon_, Load("session")));
  PutAndWait();
  const std::string said = daemon_.Ctl({"plugin", "reload", "session"}).out;
  EXPECT_NE(said.find("session: version 1.0, running (thread), reload in "), std::string::npos) << said;
  EXPECT_NE(said.find(" ms, a gap: the device did not forward"), std::string::npos) << said;
}

}  // namespace
}  // namespace sluice::core::test
