// SPDX-License-Identifier: Apache-2.0
#include "run_dir.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "bus.h"
#include "support/temp_dir.h"

namespace sluice::core::test {
namespace {

mode_t ModeOf(const std::string& path) {
  struct stat info {};
  EXPECT_EQ(stat(path.c_str(), &info), 0) << path;
  return info.st_mode & 07777;
}

TEST(RunDirTest, IsMadeForTheGroupAndTakenOnce) {
  const sluice::test::TempDir parent;
  const std::string path = parent.path() + "/run";
  {
    auto first = RunDir::Take(path);
    ASSERT_TRUE(first) << first.error().detail;
    EXPECT_EQ(ModeOf(path), 0750U);
    auto second = RunDir::Take(path);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().detail, "another sluiced (pid " + std::to_string(getpid()) + ") is running in " + path);
  }
  EXPECT_TRUE(RunDir::Take(path));
}

TEST(RunDirTest, WhatCannotBeMadeIsSaidWithItsPath) {
  auto missing = RunDir::Take("/nowhere/run");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().detail, "the run directory /nowhere/run cannot be made: No such file or directory");
  const sluice::test::TempDir dir;
  const std::string file = dir.Write("file", "");
  auto is_file = RunDir::Take(file);
  ASSERT_FALSE(is_file);
  EXPECT_NE(is_file.error().detail.find(file), std::string::npos);
  EXPECT_NE(is_file.error().detail.find("Not a directory"), std::string::npos);
}

TEST(RunDirTest, SocketsAreForTheGroupAndReplaceStaleOnes) {
  const sluice::test::TempDir dir;
  const Endpoints endpoints = EndpointsIn(dir.path());
  {
    auto bus = Bus::Open(endpoints, {});
    ASSERT_TRUE(bus) << bus.error().detail;
    for (const char* name : {"ingress", "control", "events", "plugins"}) {
      EXPECT_EQ(ModeOf(dir.path() + "/" + name), 0660U) << name;
    }
  }
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
  const auto make_stale = [&] {
    zmq::context_t context;
    zmq::socket_t socket(context, zmq::socket_type::router);
    socket.bind(endpoints.control);
  };
  make_stale();
  EXPECT_TRUE(Bus::Open(endpoints, {}));
}

TEST(RunDirTest, AnotherKindOfFileIsLeftAloneAndTooLongIsSaid) {
  const sluice::test::TempDir dir;
  dir.Write("control", "precious");
  auto bus = Bus::Open(EndpointsIn(dir.path()), {});
  ASSERT_FALSE(bus);
  EXPECT_NE(bus.error().detail.find("cannot listen on ipc://" + dir.path() + "/control"), std::string::npos);
  EXPECT_TRUE(std::filesystem::exists(dir.path() + "/control"));
  auto too_long = Bus::Open(EndpointsIn("/tmp/" + std::string(200, 'x')), {});
  ASSERT_FALSE(too_long);
  EXPECT_NE(too_long.error().detail.find("File name too long"), std::string::npos);
}

}  // namespace
}  // namespace sluice::core::test
