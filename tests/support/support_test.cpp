// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "support/netns.h"
#include "support/process.h"
#include "support/temp_dir.h"
#include "support/veth.h"

namespace sluice::test {
namespace {

TEST(TempDir, IsThereThenGone) {
  std::string path;
  {
    const TempDir dir;
    path = dir.path();
    EXPECT_TRUE(std::filesystem::exists(dir.Write("a", "text")));
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(Process, CollectsBothStreamsAndTheExitCode) {
  const Completed done =
      RunCommand({"sh", "-c", "cat; echo oops >&2; echo $WHO; exit 3"}, {.env = {{"WHO", "me"}}, .input = "in\n"});
  EXPECT_EQ(done.exit_code, 3);
  EXPECT_EQ(done.out, "in\nme\n");
  EXPECT_EQ(done.err, "oops\n");
  EXPECT_EQ(RunCommand({"sluice-no-such-program"}).exit_code, 127);
  EXPECT_THROW(RunOrThrow({"false"}), std::runtime_error);
}

TEST(Process, WaitsForOutputAndTerminates) {
  Process process({"sh", "-c", "echo ready; exec sleep 100"});
  EXPECT_TRUE(process.WaitForOutput("ready"));
  EXPECT_FALSE(process.Wait(std::chrono::milliseconds(0)));
  EXPECT_EQ(process.Terminate(), 128 + SIGTERM);
  EXPECT_FALSE(process.WaitForOutput("never"));
}

TEST(Process, DoesNotOutliveItsOwner) {
  pid_t pid = 0;
  {
    const Process process({"sleep", "100"});
    pid = process.pid();
  }
  EXPECT_NE(kill(pid, 0), 0);
}

TEST(Veth, JoinsTwoNamespaces) {
  if (auto why = WhyNoKernelTests(); !why.empty()) GTEST_SKIP() << why;
  const Netns left;
  const Netns right;
  {
    const Veth veth({&left, "eth0"}, {&right, "eth1"});
    EXPECT_NE(veth.IfIndexA(), 0U);
    EXPECT_NE(veth.IfIndexB(), 0U);
    left.Ip({"addr", "add", "10.0.0.1/24", "dev", "eth0"});
    right.Ip({"addr", "add", "10.0.0.2/24", "dev", "eth1"});
    EXPECT_EQ(RunCommand({"ping", "-c1", "-W2", "10.0.0.2"}, {.netns = &left}).exit_code, 0);
    SetFeature(veth.b(), "tx", false);
  }
  EXPECT_EQ(left.IfIndex("eth0"), 0U);
  EXPECT_THROW(left.Ip({"link", "set", "eth0", "up"}), std::runtime_error);
}

}  // namespace
}  // namespace sluice::test
