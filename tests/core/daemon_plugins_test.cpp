// SPDX-License-Identifier: Apache-2.0
// sluiced with real plugins, in both isolations.
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "daemon_rig.h"
#include "support/temp_dir.h"

namespace sluice::core::test {
namespace {

class BothIsolations : public ::testing::TestWithParam<std::string> {
 protected:
  std::string AddPortsAndFlow() {
    for (const char* port : {"p0", "p1"}) {
      EXPECT_TRUE(Accepts(daemon_, {{"port_add", {{"name", port}, {"plugin", "session"}}}}));
    }
    return AskJson(daemon_, PutFlow("in_port(p0)", "p1"))["ufids"][0];
  }
  bool Installed(const std::string& ufid) {
    const json flow = FlowOf(daemon_, ufid);
    return flow.is_object() && flow["offload"].size() == 1 && flow["offload"][0]["state"] == "INSTALLED";
  }
  std::string Maps() {
    std::ifstream maps("/proc/" + std::to_string(daemon_.process().pid()) + "/maps");
    std::ostringstream all;
    all << maps.rdbuf();
    return all.str();
  }
  Daemon daemon_{{}};
};

TEST_P(BothIsolations, FlowsAreInstalledCountedAndDeleted) {
  EXPECT_TRUE(Accepts(daemon_, Load("session", GetParam(), {{"count", "1"}})));
  const std::string ufid = AddPortsAndFlow();
  EXPECT_TRUE(Eventually([&] { return Installed(ufid); }));
  EXPECT_TRUE(Eventually([&] { return FlowOf(daemon_, ufid)["packets"] != "0"; }));
  EXPECT_EQ(FlowOf(daemon_, ufid)["tcp_flags"], 0x12);
  Listener listener(daemon_);
  EXPECT_TRUE(Accepts(daemon_, {{"flow_del", {{"flows", {{{"ufid", ufid}}}}}}}));
  const json del = listener.Await("flow.del");
  ASSERT_FALSE(del.is_null());
  EXPECT_EQ(del["flow"]["match"], "in_port(p0)");
  EXPECT_NE(del["flow"]["packets"], "0");
  const json plugin = PluginOf(daemon_, "session");
  EXPECT_EQ(plugin["isolation"], GetParam());
  EXPECT_EQ(plugin["pid"] != 0, GetParam() == "process");
  EXPECT_EQ(plugin["version"], "1.0");
}

TEST_P(BothIsolations, RefusalsOfAPluginAreShown) {
  EXPECT_TRUE(Accepts(daemon_, Load("session", GetParam(), {{"refuse", "tcp"}, {"fail_port", "bad"}})));
  AddPortsAndFlow();
  const std::string ufid =
      AskJson(daemon_, PutFlow("in_port(p0),eth_type(0x0800),ipv4(proto=6,frag=no),tcp(dst=80)", "p1"))["ufids"][0];
  EXPECT_TRUE(Eventually([&] { return FlowOf(daemon_, ufid)["offload"][0]["state"] == "REFUSED"; }));
  EXPECT_EQ(FlowOf(daemon_, ufid)["offload"][0]["reason"], "unsupported_field");
  EXPECT_EQ(FlowOf(daemon_, ufid)["offload"][0]["detail"], "this plugin cannot match tcp");
  const json refused = AskJson(daemon_, {{"port_add", {{"name", "bad"}, {"plugin", "session"}}}});
  EXPECT_EQ(refused["reason"], "port_failed");
  EXPECT_EQ(refused["detail"], "there is no device bad");
}

TEST_P(BothIsolations, UnloadLeavesNothingAndTheTableStays) {
  EXPECT_TRUE(Accepts(daemon_, Load("session", GetParam())));
  const std::string ufid = AddPortsAndFlow();
  EXPECT_TRUE(Eventually([&] { return Installed(ufid); }));
  EXPECT_EQ(Maps().find("session") != std::string::npos, GetParam() == "thread");
  const int pid = PluginOf(daemon_, "session")["pid"];
  EXPECT_TRUE(Accepts(daemon_, {{"plugin_unload", {{"name", "session"}}}}));
  EXPECT_EQ(Maps().find("session"), std::string::npos);
  if (pid != 0) {
    EXPECT_EQ(kill(pid, 0), -1);
  }
  EXPECT_TRUE(std::filesystem::is_empty(daemon_.run_dir() + "/modules"));
  EXPECT_TRUE(FlowOf(daemon_, ufid)["offload"].empty());
  const json list = AskJson(daemon_, {{"port_list", json::object()}});
  EXPECT_EQ(list["ports"].size(), 2U);
  for (const json& port : list["ports"]) EXPECT_EQ(port["state"], "pending");
  EXPECT_TRUE(Accepts(daemon_, Load("session", GetParam())));
  EXPECT_TRUE(Eventually([&] { return Installed(ufid); }));
}

TEST_P(BothIsolations, ReloadUnderPuts) {
  EXPECT_TRUE(Accepts(daemon_, Load("session", GetParam())));
  AddPortsAndFlow();
  for (int i = 0; i < 5; ++i) {
    const std::string ufid =
        AskJson(daemon_, PutFlow("in_port(p1),eth_type(0x080" + std::to_string(i) + ")", "p0"))["ufids"][0];
    EXPECT_TRUE(Accepts(daemon_, {{"plugin_reload", {{"name", "session"}}}}));
    EXPECT_TRUE(Eventually([&] { return Installed(ufid); }));
  }
  EXPECT_EQ(PluginOf(daemon_, "session")["installed"], "6");
}

TEST_P(BothIsolations, WhatDoesNotLoadIsRefusedInASentence) {
  const auto detail = [&](const std::string& fixture, const json& options = json::object()) {
    const json reply = AskJson(daemon_, Load(fixture, GetParam(), options));
    EXPECT_FALSE(reply["ok"].get<bool>());
    return reply["detail"].get<std::string>();
  };
  EXPECT_EQ(detail("wrong_abi"), "plugin wrong_abi has ABI 7, this daemon speaks 1");
  EXPECT_EQ(detail("start_throws"), "plugin start_throws could not start: its start() threw: thrown on purpose");
  EXPECT_EQ(detail("session", {{"start_error", "CAP_BPF is missing"}}),
            "plugin session could not start: CAP_BPF is missing");
  EXPECT_TRUE(AskJson(daemon_, {{"plugin_list", json::object()}})["plugins"].empty());
  EXPECT_EQ(AskJson(daemon_, {{"plugin_load", {{"name", "nonesuch"}}}})["reason"], "no_such_plugin");
}

INSTANTIATE_TEST_SUITE_P(Isolation, BothIsolations, ::testing::Values("thread", "process"),
                         [](const auto& tested) { return tested.param; });

TEST(DaemonPluginsTest, ACrashTakesNothingDownAndThePluginComesBack) {
  Daemon daemon({});
  EXPECT_TRUE(Accepts(daemon, Load("session", "process", {{"crash_port", "boom"}})));
  const std::string ufid = AskJson(daemon, PutFlow("eth_type(0x0800)", "drop"))["ufids"][0];
  const auto installed = [&] {
    const json flow = FlowOf(daemon, ufid);
    return flow["offload"].size() == 1 && flow["offload"][0]["state"] == "INSTALLED";
  };
  EXPECT_TRUE(Eventually(installed));
  const int pid = PluginOf(daemon, "session")["pid"];
  Listener listener(daemon);
  const json reply = AskJson(daemon, {{"port_add", {{"name", "boom"}, {"plugin", "session"}}}});
  EXPECT_EQ(reply["reason"], "plugin_gone");
  const json fail = listener.Await("plugin.fail");
  ASSERT_FALSE(fail.is_null());
  EXPECT_EQ(fail["plugin"]["detail"], "its process was killed by signal 6 (Aborted)");
  EXPECT_FALSE(listener.Await("plugin.load").is_null());
  EXPECT_TRUE(Eventually(installed));
  EXPECT_NE(PluginOf(daemon, "session")["pid"], pid);
}

TEST(DaemonPluginsTest, TwoPluginsMergeTheirVerdicts) {
  Daemon daemon({});
  EXPECT_TRUE(Accepts(daemon, Load("session", "thread", {{"count", "1"}})));
  EXPECT_TRUE(Accepts(daemon, Load("session_too", "process", {{"count", "1"}, {"refuse", "0x0806"}})));
  const std::string both = AskJson(daemon, PutFlow("eth_type(0x0800)", "drop"))["ufids"][0];
  const std::string one = AskJson(daemon, PutFlow("eth_type(0x0806)", "drop"))["ufids"][0];
  const auto states = [&](const std::string& ufid) {
    std::string all;
    const json flow = FlowOf(daemon, ufid);
    for (const json& offload : flow["offload"]) all += offload["state"].get<std::string>() + " ";
    return all;
  };
  EXPECT_TRUE(Eventually([&] { return states(both) == "INSTALLED INSTALLED "; })) << states(both);
  EXPECT_TRUE(Eventually([&] { return states(one) == "INSTALLED REFUSED "; })) << states(one);
  EXPECT_TRUE(Eventually([&] { return std::stoi(FlowOf(daemon, both)["packets"].get<std::string>()) >= 2; }));
}

TEST(DaemonPluginsTest, PluginsThatHangDelayNothingButTheirOwnRequest) {
  const sluice::test::TempDir dir;
  const std::string config = dir.Write("c.toml", "[times]\nplugin_start_ms = 300\nplugin_stop_ms = 300\n");
  Daemon daemon({"--config", config});
  EXPECT_EQ(AskJson(daemon, Load("hangs_in_start"))["detail"], "plugin hangs_in_start has not started within 1 s");
  EXPECT_EQ(AskJson(daemon, Load("hangs_in_start"))["reason"], "busy");
  EXPECT_TRUE(Eventually([&] { return PluginOf(daemon, "hangs_in_start").is_null(); }));
  EXPECT_EQ(AskJson(daemon, Load("hangs_in_start", "process"))["reason"], "timeout");
  EXPECT_TRUE(Accepts(daemon, PutFlow("eth_type(0x0800)", "drop")));
  daemon.process().Signal(SIGTERM);
  EXPECT_EQ(daemon.process().Wait(), 0);
}

TEST(DaemonPluginsTest, ThePluginHostEndsWithItsDaemon) {
  Daemon daemon({});
  EXPECT_TRUE(Accepts(daemon, Load("session", "process")));
  const int pid = PluginOf(daemon, "session")["pid"];
  daemon.process().Signal(SIGKILL);
  EXPECT_TRUE(daemon.process().Wait().has_value());
  EXPECT_TRUE(Eventually([&] { return kill(pid, 0) == -1; }));
}

TEST(DaemonPluginsTest, AHostWhosePluginHangsInStartEndsWithItsDaemon) {
  const sluice::test::TempDir dir;
  Daemon daemon({"--config", dir.Write("c.toml", "[[plugin]]\nname = \"" + std::string(FIXTURES) +
                                                     "/hangs_in_start.so\"\nisolation = \"process\"\n")});
  const int pid = PluginOf(daemon, "hangs_in_start")["pid"];
  ASSERT_GT(pid, 0);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));  // it has nothing to say from within start()
  daemon.process().Signal(SIGKILL);
  EXPECT_TRUE(daemon.process().Wait().has_value());
  EXPECT_TRUE(Eventually([&] { return kill(pid, 0) == -1; }));
}

TEST(DaemonPluginsTest, ConfiguredPortsWaitForTheirPlugin) {
  Daemon daemon({"--port", "p0=late"});
  const auto state = [&] {
    return AskJson(daemon, {{"port_list", json::object()}})["ports"][0]["state"].get<std::string>();
  };
  EXPECT_EQ(state(), "pending");
  EXPECT_TRUE(Accepts(daemon, Load("late")));
  EXPECT_TRUE(Eventually([&] { return state() == "up"; }));
}

}  // namespace
}  // namespace sluice::core::test
