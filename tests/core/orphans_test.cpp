// SPDX-License-Identifier: Apache-2.0
// How the next daemon finds the hosts that outlived another: their files, and who holds them.
#include "orphans.h"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>

#include "support/temp_dir.h"

namespace sluice::core::test {
namespace {

namespace fs = std::filesystem;

// Runs `work` in a child, which lives until it is killed. Returns when that has been done.
class Child {
 public:
  explicit Child(const std::function<void()>& work) {
    int ready[2];
    EXPECT_EQ(pipe(ready), 0);
    pid_ = fork();
    if (pid_ == 0) {
      work();
      (void)!write(ready[1], "x", 1);
      for (;;) pause();
    }
    char byte = 0;
    EXPECT_EQ(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
  }
  ~Child() { Kill(); }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  void Kill() {
    if (pid_ == 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = 0;
};

Orphan OrphanOf(pid_t pid) {
  return {.spec = {.name = "xdp",
                   .path = "/x/xdp.so",
                   .process = true,
                   .options = {{"miss", "drop"}},
                   .keep_orphaned = true},
          .token = "e/xdp/1",
          .version = "0.1",
          .pid = pid};
}

class OrphansTest : public ::testing::Test {
 protected:
  // A host as long as it lives.
  Child Host() {
    return Child([this] {
      auto file = HostFile::Write(dir_.path(), OrphanOf(getpid()));
      if (file) static std::optional<HostFile> kept(std::move(*file));
    });
  }
  const sluice::test::TempDir dir_;
};

TEST_F(OrphansTest, TheLivingAreFoundAndTheDeadRemoved) {
  EXPECT_TRUE(FindOrphans(dir_.path()).empty());
  Child host = Host();
  const auto found = FindOrphans(dir_.path());
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].spec, OrphanOf(0).spec);
  EXPECT_EQ(found[0].token, "e/xdp/1");
  EXPECT_EQ(found[0].version, "0.1");
  EXPECT_EQ(found[0].pid, host.pid());
  EXPECT_TRUE(OpenOrphan(dir_.path(), found[0]));
  host.Kill();
  EXPECT_FALSE(OpenOrphan(dir_.path(), found[0]));
  EXPECT_TRUE(FindOrphans(dir_.path()).empty());
  EXPECT_TRUE(fs::is_empty(dir_.path() + "/hosts"));
}

TEST_F(OrphansTest, AnotherProcessOfThatNumberIsNotTaken) {
  { const auto file = HostFile::Write(dir_.path(), OrphanOf(getpid())); }
  EXPECT_TRUE(fs::is_empty(dir_.path() + "/hosts"));
  // As if it had died without a word, and its number were this process's now.
  std::ofstream(dir_.path() + "/hosts/xdp.json") << R"({"name": "xdp"})";
  EXPECT_FALSE(OpenOrphan(dir_.path(), OrphanOf(getpid())));
  EXPECT_TRUE(FindOrphans(dir_.path()).empty());
}

TEST_F(OrphansTest, WhoIsNotWantedIsEnded) {
  Child host = Host();
  const auto found = FindOrphans(dir_.path());
  ASSERT_EQ(found.size(), 1U);
  EndOrphan(dir_.path(), found[0], 5'000);
  int status = 0;
  EXPECT_EQ(waitpid(host.pid(), &status, WNOHANG), host.pid());
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

TEST_F(OrphansTest, WhoDoesNotEndIsKilled) {
  Child host([this] {
    std::signal(SIGTERM, SIG_IGN);
    auto file = HostFile::Write(dir_.path(), OrphanOf(getpid()));
    if (file) static std::optional<HostFile> kept(std::move(*file));
  });
  EndOrphan(dir_.path(), FindOrphans(dir_.path()).at(0), 100);
  int status = 0;
  EXPECT_EQ(waitpid(host.pid(), &status, WNOHANG), host.pid());
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

TEST_F(OrphansTest, AFileThatCannotBeReadIsLeftAndAnnoysNobody) {
  Child host([this] {
    auto file = HostFile::Write(dir_.path(), OrphanOf(getpid()));
    if (!file) return;
    static std::optional<HostFile> kept(std::move(*file));
    std::ofstream(dir_.path() + "/hosts/xdp.json") << "{";
  });
  EXPECT_TRUE(FindOrphans(dir_.path()).empty());
}

}  // namespace
}  // namespace sluice::core::test
