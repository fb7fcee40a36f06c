// SPDX-License-Identifier: Apache-2.0
// What a plugin has is what the table says, whatever happened in between.
#include <gtest/gtest.h>
#include <signal.h>

#include <fstream>
#include <random>
#include <set>

#include "daemon_rig.h"
#include "support/temp_dir.h"

namespace sluice::core::test {
namespace {

using Clock = std::chrono::steady_clock;

class ResyncTest : public ::testing::Test {
 protected:
  explicit ResyncTest(const std::string& config = "")
      : daemon_({"--config", dir_.Write("c.toml", "[times]\nrestart_ms = 50\n" + config)}) {}

  std::set<std::string> Recorded() {
    std::set<std::string> lines;
    std::ifstream file(record_);
    for (std::string line; std::getline(file, line);) lines.insert(line);
    return lines;
  }
  std::set<std::string> Table() {
    std::set<std::string> lines;
    const json reply = AskJson(daemon_, {{"snapshot", {{"limit", 10'000}}}});
    EXPECT_EQ(reply["done"], true);
    for (const json& flow : reply["flows"]) {
      lines.insert(flow["match"].get<std::string>() + " " + flow["actions"].get<std::string>());
    }
    return lines;
  }
  bool Agree() {
    const auto table = Table();
    return Eventually([&] { return Recorded() == table; }, std::chrono::seconds(20));
  }
  // Puts, changes and deletes of `flows` flows, some at a time.
  void Churn(int rounds, int flows) {
    for (int round = 0; round < rounds; ++round) {
      json puts = json::array();
      json dels = json::array();
      for (int i = 0; i < 60; ++i) {
        const std::string match = "eth_type(" + std::to_string(0x0900 + random_() % static_cast<uint32_t>(flows)) + ")";
        if (random_() % 3 == 0) {
          dels.push_back({{"match", match}});
        } else {
          const std::string vid = std::to_string(1 + random_() % 4'000);
          puts.push_back({{"match", match}, {"actions", "push_vlan(vid=" + vid + ",pcp=0)"}});
        }
      }
      AskJson(daemon_, {{"flow_put", {{"flows", puts}}}});
      AskJson(daemon_, {{"flow_del", {{"flows", dels}}}});
    }
  }
  uint64_t Counter(const std::string& name) {
    const json counters = AskJson(daemon_, {{"status", json::object()}})["status"]["counters"];
    return counters.contains(name) ? std::stoull(counters[name].get<std::string>()) : 0;
  }

  const sluice::test::TempDir dir_;
  const std::string record_ = dir_.path() + "/record";
  std::mt19937 random_{7};
  Daemon daemon_;
};

TEST_F(ResyncTest, AfterACrashUnderChangesPluginAndTableAgree) {
  EXPECT_TRUE(Accepts(daemon_, Load("session", "process", {{"record", record_}, {"nap_us", "100"}})));
  Churn(20, 1'000);
  ASSERT_EQ(kill(PluginOf(daemon_, "session")["pid"], SIGKILL), 0);
  Churn(20, 1'000);
  EXPECT_TRUE(Eventually([&] { return PluginOf(daemon_, "session")["state"] == "running"; }));
  Churn(5, 1'000);
  EXPECT_TRUE(Agree()) << Recorded().size() << " recorded, " << Table().size() << " in the table";
}

class LaggardTest : public ResyncTest {
 protected:
  LaggardTest() : ResyncTest("silence_ms = 20000\nresync_ms = 500\n[limits]\nmax_tombstones = 256\n") {}
};

TEST_F(LaggardTest, APluginThatIsTooFarBehindIsTakenUpToTheTableAtABoundedRate) {
  EXPECT_TRUE(Accepts(daemon_, Load("session", "process", {{"record", record_}})));
  Churn(20, 2'000);
  EXPECT_TRUE(Agree());
  const int pid = PluginOf(daemon_, "session")["pid"];
  const auto start = Clock::now();
  for (int time = 0; time < 3; ++time) {
    ASSERT_EQ(kill(pid, SIGSTOP), 0);
    const uint64_t before = Counter("plugin_resyncs");
    for (int i = 0; i < 200 && Counter("plugin_resyncs") == before; ++i) Churn(5, 2'000);
    EXPECT_GT(Counter("plugin_resyncs"), before);
    EXPECT_LE(Counter("tombstones"), 2'000U);
    ASSERT_EQ(kill(pid, SIGCONT), 0);
    EXPECT_TRUE(Agree()) << Recorded().size() << " recorded, " << Table().size() << " in the table";
  }
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(Clock::now() - start).count();
  EXPECT_LE(Counter("plugin_resyncs"), static_cast<uint64_t>(seconds) * 2 + 2);
  EXPECT_EQ(PluginOf(daemon_, "session")["restarts"], 0);
}

}  // namespace
}  // namespace sluice::core::test
