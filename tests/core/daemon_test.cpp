// SPDX-License-Identifier: Apache-2.0
// sluiced as a process: start, end, and what goes through its sockets.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <filesystem>

#include "daemon_rig.h"
#include "sluice/sluice.pb.h"
#include "support/process.h"
#include "support/temp_dir.h"

namespace sluice::core::test {
namespace {

using sluice::test::BinDir;
using sluice::test::RunCommand;
using sluice::test::TempDir;

std::string Sluiced() { return BinDir() + "/sluiced"; }

TEST(DaemonTest, PutModifyDeleteByControlAsEventsTellIt) {
  Daemon daemon({});
  Listener listener(daemon);
  const json put = AskJson(daemon, {{"id", 5}, {"flow_put", {{"flows", {{{"match", "eth_type(0x0800)"}}}}}}});
  EXPECT_TRUE(put["ok"].get<bool>());
  EXPECT_EQ(put["id"], "5");
  const std::string ufid = put["ufids"][0];
  EXPECT_TRUE(Accepts(daemon, PutFlow("eth_type(0x0800)", "drop")));
  const json mod = {{"flow_mod", {{"flows", {{{"match", "eth_type(0x0800)"}, {"actions", "pop_vlan"}}}}}}};
  EXPECT_TRUE(Accepts(daemon, mod));
  EXPECT_TRUE(Accepts(daemon, {{"flow_del", {{"flows", {{{"ufid", ufid}}}}}}}));
  std::vector<std::string> topics;
  uint64_t last = 0;
  for (int i = 0; i < 3; ++i) {
    const json event = listener.Next();
    ASSERT_FALSE(event.is_null());
    topics.push_back(event["topic"]);
    const uint64_t seq = std::stoull(event["seq"].get<std::string>());
    EXPECT_GT(seq, last);
    last = seq;
    EXPECT_EQ(event["flow"]["ufid"], ufid);
  }
  EXPECT_EQ(topics, (std::vector<std::string>{"flow.add", "flow.mod", "flow.del"}));
  EXPECT_EQ(AskJson(daemon, mod)["reason"], "no_such_flow");
}

TEST(DaemonTest, IngressIsTheSameWithoutAnswers) {
  Daemon daemon({});
  Listener listener(daemon);
  Shouter shouter(daemon);
  shouter.Say("flow.put", R"j({"publisher":"t","publisher_seq":1,"flows":[{"match":"eth_type(0x0800)"}]})j");
  EXPECT_EQ(listener.Next()["topic"], "flow.add");
  v1::FlowPut put;
  put.add_flows()->set_match("eth_type(0x86dd)");
  put.set_publisher("t");
  put.set_publisher_seq(4);
  shouter.Say("flow.put", put.SerializeAsString());
  EXPECT_EQ(listener.Next()["topic"], "flow.add");
  const json gap = listener.Next();  // 2 and 3 never came
  EXPECT_EQ(gap["topic"], "publisher.gap");
  EXPECT_EQ(gap["gap"]["messages"], "2");
  EXPECT_EQ(gap["gap"]["publisher"]["name"], "t");
  shouter.Say("flow.put", R"j({"publisher":"t","publisher_seq":5,"flows":[{"match":"in_port(nope)"}]})j");
  json refused = listener.Next();
  EXPECT_EQ(refused["topic"], "refused");
  EXPECT_EQ(refused["refused"]["publisher"], "t");
  EXPECT_EQ(refused["refused"]["refused"][0]["reason"], "unknown_port");
  shouter.Say("flow.flush", "");
  EXPECT_EQ(listener.Next()["cause"], "flush");
  EXPECT_EQ(listener.Next()["topic"], "flow.del");
  shouter.Say("nonsense", "\xff");
  EXPECT_EQ(listener.Next()["refused"]["refused"][0]["reason"], "unknown_topic");
  const json status = AskJson(daemon, {{"status", json::object()}})["status"];
  EXPECT_EQ(status["counters"]["refused.unknown_topic"], "1");
  bool found = false;
  for (const json& publisher : status["publishers"]) {
    if (publisher["name"] != "t") continue;
    found = true;
    EXPECT_EQ(publisher["messages"], "3");
    EXPECT_EQ(publisher["missed"], "2");
  }
  EXPECT_TRUE(found);
}

TEST(DaemonTest, ADealerIsAnsweredInItsOwnFraming) {
  Daemon daemon({});
  zmq::context_t context;
  zmq::socket_t dealer(context, zmq::socket_type::dealer);
  dealer.set(zmq::sockopt::linger, 0);
  dealer.set(zmq::sockopt::rcvtimeo, 5'000);
  dealer.connect("ipc://" + daemon.run_dir() + "/control");
  v1::Request request;
  request.set_id(9);
  request.mutable_status();
  dealer.send(zmq::buffer(request.SerializeAsString()), zmq::send_flags::none);
  zmq::message_t answer;
  ASSERT_TRUE(dealer.recv(answer));
  EXPECT_FALSE(answer.more());
  v1::Reply reply;
  ASSERT_TRUE(reply.ParseFromArray(answer.data(), static_cast<int>(answer.size())));
  EXPECT_EQ(reply.id(), 9U);
  EXPECT_EQ(reply.status().endpoints().at("control"), "ipc://" + daemon.run_dir() + "/control");
  // Rubbish of every framing is survived.
  for (const std::string& rubbish : {std::string("\xff\xff"), std::string("{"), std::string()}) {
    dealer.send(zmq::buffer(rubbish), zmq::send_flags::none);
    ASSERT_TRUE(dealer.recv(answer));
  }
  for (int i = 0; i < 9; ++i) dealer.send(zmq::message_t(), zmq::send_flags::sndmore);
  dealer.send(zmq::message_t(), zmq::send_flags::none);
  EXPECT_TRUE(AskJson(daemon, {{"status", json::object()}})["ok"].get<bool>());
}

TEST(DaemonTest, TimeoutsEndFlows) {
  Daemon daemon({});
  Listener listener(daemon);
  EXPECT_TRUE(Accepts(daemon, {{"flow_put",
                                {{"flows",
                                  {{{"match", "eth_type(0x0800)"}, {"idle_timeout_ms", 50}},
                                   {{"match", "eth_type(0x0806)"}, {"hard_timeout_ms", 100}}}}}}}));
  EXPECT_EQ(listener.Await("flow.del")["cause"], "idle_timeout");
  EXPECT_EQ(listener.Await("flow.del")["cause"], "hard_timeout");
}

TEST(DaemonTest, ASecondDaemonIsRefusedByPid) {
  Daemon daemon({});
  const auto second = RunCommand({Sluiced(), "--run-dir", daemon.run_dir()});
  EXPECT_EQ(second.exit_code, 1);
  EXPECT_EQ(second.err, "sluiced: another sluiced (pid " + std::to_string(daemon.process().pid()) + ") is running in " +
                            daemon.run_dir() + "\n");
  EXPECT_TRUE(AskJson(daemon, {{"status", json::object()}})["ok"].get<bool>());
}

TEST(DaemonTest, ADirectoryThatCannotBeUsedIsSaid) {
  const TempDir dir;
  const std::string file = dir.Write("file", "");
  for (const std::string& path : {std::string("/proc/sluice"), file, file + "/x"}) {
    const auto ended = RunCommand({Sluiced(), "--run-dir", path});
    EXPECT_EQ(ended.exit_code, 1);
    EXPECT_TRUE(ended.err.starts_with("sluiced: the run directory " + path)) << ended.err;
    EXPECT_EQ(std::count(ended.err.begin(), ended.err.end(), '\n'), 1);
  }
}

TEST(DaemonTest, WrongUsageIsTwoAndHelpHasAnExample) {
  EXPECT_EQ(RunCommand({Sluiced(), "--nonsense"}).exit_code, 2);
  const TempDir dir;
  const std::string config = dir.Write("c.toml", "run_dir = 1\n");
  const auto wrong = RunCommand({Sluiced(), "--config", config});
  EXPECT_EQ(wrong.exit_code, 2);
  EXPECT_EQ(wrong.err, "sluiced: " + config + ":1:11: run_dir has to be a string and is an integer\n");
  const auto help = RunCommand({Sluiced(), "--help"});
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_NE(help.out.find("sluiced --plugin xdp --port eth1"), std::string::npos);
  EXPECT_TRUE(RunCommand({Sluiced(), "--version"}).out.starts_with("sluiced "));
}

TEST(DaemonTest, TermEndsItCleanly) {
  Daemon daemon({});
  EXPECT_TRUE(Accepts(daemon, Load("session")));
  EXPECT_TRUE(Accepts(daemon, Load("session_too", "process")));
  daemon.process().Signal(SIGTERM);
  EXPECT_EQ(daemon.process().Wait(), 0);
  EXPECT_NE(daemon.process().Err().find("plugin session is unloaded"), std::string::npos);
  EXPECT_NE(daemon.process().Err().find("plugin session_too is unloaded"), std::string::npos);
  for (const char* name : {"ingress", "control", "events", "plugins"}) {
    EXPECT_FALSE(std::filesystem::exists(daemon.run_dir() + "/" + name)) << name;
  }
}

TEST(DaemonTest, AStateOfOneHundredThousandFlows) {
  constexpr int kFlows = 100'000;
  constexpr int kBatch = 500;
  Daemon daemon({});
  EXPECT_TRUE(Accepts(daemon, Load("silent_session", "thread")));
  Shouter shouter(daemon);
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < kFlows; i += kBatch) {
    v1::FlowPut put;
    put.set_publisher("many");
    put.set_publisher_seq(static_cast<uint64_t>(i / kBatch) + 1);
    for (int j = i; j < i + kBatch; ++j) {
      v1::Flow& flow = *put.add_flows();
      flow.set_match("eth_type(0x0800),ipv4(dst=10." + std::to_string(j >> 16) + "." + std::to_string(j >> 8 & 255) +
                     "." + std::to_string(j & 255) + ")");
      flow.set_actions("push_vlan(vid=5,pcp=0),pop_vlan");
    }
    shouter.Say("flow.put", put.SerializeAsString());
  }
  const auto installed = [&] {
    const json plugin = PluginOf(daemon, "silent_session");
    return std::stoi(plugin["software"].get<std::string>()) + std::stoi(plugin["installed"].get<std::string>());
  };
  EXPECT_TRUE(Eventually([&] { return installed() == kFlows; }, std::chrono::seconds(60)));
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  std::printf("[ FIGURE   ] %d flows published and judged by a plugin: %.0f flows/s\n", kFlows, kFlows / took.count());
  RecordProperty("flows_per_second", static_cast<int>(kFlows / took.count()));
}

}  // namespace
}  // namespace sluice::core::test
