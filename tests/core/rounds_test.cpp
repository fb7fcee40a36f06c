// SPDX-License-Identifier: Apache-2.0
// Unloaded means gone: a plugin in C is loaded and unloaded many times, and the daemon is as it was.
// SLUICE_LOAD_ROUNDS says how many times.
#include <gtest/gtest.h>
#include <signal.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>

#include "daemon_rig.h"

namespace sluice::core::test {
namespace {

namespace fs = std::filesystem;

// A process takes longer to start.
int Rounds(const std::string& isolation) {
  const char* given = std::getenv("SLUICE_LOAD_ROUNDS");
  if (given != nullptr) return std::atoi(given);
  return (isolation == "thread" ? 1'000 : 200) / (kSanitized ? 5 : 1);
}

// What a process has.
struct Belongings {
  std::multiset<std::string> descriptors;
  std::multiset<std::string> threads;
  std::set<std::string> files;  // mapped ones
  uint64_t resident_kb = 0;

  explicit Belongings(int pid) {
    const std::string proc = "/proc/" + std::to_string(pid);
    for (const auto& entry : fs::directory_iterator(proc + "/fd")) {
      std::error_code gone;
      std::string target = fs::read_symlink(entry, gone);
      if (target.starts_with("socket:")) target = "socket";  // each has its number
      descriptors.insert(target);
    }
    for (const auto& entry : fs::directory_iterator(proc + "/task")) {
      std::string name;
      std::getline(std::ifstream(entry.path() / "comm"), name);
      threads.insert(name);
    }
    std::ifstream maps(proc + "/maps");
    for (std::string line; std::getline(maps, line);) {
      const size_t path = line.find('/');
      if (path != std::string::npos) files.insert(line.substr(path));
    }
    std::ifstream status(proc + "/status");
    for (std::string line; std::getline(status, line);) {
      if (line.starts_with("VmRSS:")) resident_kb = std::stoull(line.substr(6));
    }
  }
};

class RoundsTest : public ::testing::TestWithParam<std::string> {
 protected:
  void Round() {
    ASSERT_TRUE(Accepts(daemon_, Load("session", GetParam(), {{"count", "1"}})));
    const int pid = PluginOf(daemon_, "session")["pid"];
    ASSERT_TRUE(Accepts(daemon_, {{"plugin_unload", {{"name", "session"}}}}));
    if (pid != 0) {
      ASSERT_EQ(kill(pid, 0), -1);
    }
  }
  // Connections of requests that have just been answered are on their way out.
  Belongings AtRest() {
    const int pid = daemon_.process().pid();
    size_t least = SIZE_MAX;
    for (int still = 0; still < 10; ++still) {
      const size_t now = Belongings(pid).descriptors.size();
      if (now < least) still = 0;
      least = std::min(least, now);
      EXPECT_EQ(usleep(20'000), 0);
    }
    return Belongings(pid);
  }
  Daemon daemon_{{"--log-level", "warn"}};
};

TEST_P(RoundsTest, LeaveNothing) {
  const int rounds = Rounds(GetParam());
  EXPECT_TRUE(Accepts(daemon_, PutFlow("eth_type(0x0800)", "drop")));
  for (int i = 0; i < rounds / 2; ++i) ASSERT_NO_FATAL_FAILURE(Round());  // what grows once may
  Belongings before = AtRest();
  // The allocator takes some MB in steps of its own; but what leaks grows in every thousand rounds.
  for (int again = 0;; ++again) {
    for (int i = 0; i < rounds; ++i) ASSERT_NO_FATAL_FAILURE(Round()) << i;
    Belongings after = AtRest();
    EXPECT_EQ(before.descriptors, after.descriptors);
    EXPECT_EQ(before.threads, after.threads);
    EXPECT_EQ(before.files, after.files);
    EXPECT_TRUE(fs::is_empty(daemon_.run_dir() + "/modules"));
    const bool grew = after.resident_kb > before.resident_kb + static_cast<uint64_t>(rounds);  // 1 kB in each
    if (HasFailure() || kSanitized || !grew) return;
    ASSERT_LT(again, 3) << rounds << " rounds: " << before.resident_kb << " kB before, " << after.resident_kb
                        << " kB after";
    before = std::move(after);
  }
}

INSTANTIATE_TEST_SUITE_P(Isolation, RoundsTest, ::testing::Values("thread", "process"),
                         [](const auto& tested) { return tested.param; });

}  // namespace
}  // namespace sluice::core::test
