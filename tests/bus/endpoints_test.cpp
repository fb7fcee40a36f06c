// SPDX-License-Identifier: Apache-2.0
#include "sluice/endpoints.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstdlib>

#include "fake_core.h"

namespace sluice {
namespace {

TEST(Endpoints, OfARunDirectory) {
  const auto endpoints = EndpointsIn("/run/x/");
  EXPECT_EQ(endpoints.ingress, "ipc:///run/x/ingress");
  EXPECT_EQ(endpoints.control, "ipc:///run/x/control");
  EXPECT_EQ(endpoints.events, "ipc:///run/x/events");
  EXPECT_EQ(endpoints.plugins, "ipc:///run/x/plugins");
}

TEST(Endpoints, TheEnvironmentNamesTheDefault) {
  unsetenv("SLUICE_RUN_DIR");
  EXPECT_EQ(DefaultRunDir(), "/run/sluice");
  setenv("SLUICE_RUN_DIR", "/run/other", 1);
  EXPECT_EQ(DefaultRunDir(), "/run/other");
  const auto found = FindEndpoints();
  ASSERT_TRUE(found);
  EXPECT_EQ(found->control, "ipc:///run/other/control");
  unsetenv("SLUICE_RUN_DIR");
}

TEST(Endpoints, AUrlIsAskedForTheOthers) {
  const test::TempDir dir;
  test::FakeCore core(dir.path());
  core.SetHandler([&](const v1::Request& request) {
    auto reply = core.Yes();
    EXPECT_TRUE(request.has_status());
    (*reply.mutable_status()->mutable_endpoints())["events"] = "tcp://host:1";
    (*reply.mutable_status()->mutable_endpoints())["ingress"] = "tcp://host:2";
    return reply;
  });
  const auto found = FindEndpoints(core.endpoints().control);
  ASSERT_TRUE(found) << found.error().detail;
  EXPECT_EQ(found->control, core.endpoints().control);
  EXPECT_EQ(found->events, "tcp://host:1");
  EXPECT_EQ(found->ingress, "tcp://host:2");
}

TEST(Endpoints, AUrlWithoutADaemon) {
  const test::TempDir dir;
  const auto found = FindEndpoints("ipc://" + dir.path() + "/control");
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().reason, "no_daemon");
  EXPECT_EQ(FindEndpoints("nonsense://x").error().reason, "bad_endpoint");
}

TEST(CheckReachable, SaysWhyNot) {
  const test::TempDir dir;
  const std::string control = EndpointsIn(dir.path()).control;
  EXPECT_EQ(CheckReachable(control).error().reason, "no_daemon");
  {
    const test::FakeCore core(dir.path());
    EXPECT_TRUE(CheckReachable(control));
  }
  EXPECT_EQ(CheckReachable("ipc:///" + std::string(200, 'x')).error().reason, "bad_endpoint");
  EXPECT_TRUE(CheckReachable("tcp://192.0.2.1:1"));
}

}  // namespace
}  // namespace sluice
