// SPDX-License-Identifier: Apache-2.0
#include "flow_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace sluice::ctl {
namespace {

class TempFile {
 public:
  explicit TempFile(const std::string& text) {
    std::array<char, 64> path{"/tmp/sluice-flow-file-XXXXXX"};
    const int fd = mkstemp(path.data());
    if (fd >= 0) close(fd);
    path_ = path.data();
    std::ofstream(path_) << text;
  }
  ~TempFile() { std::filesystem::remove(path_); }
  TempFile(const TempFile&) = delete;
  TempFile& operator=(const TempFile&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::vector<std::string> Lines(const std::string& text) {
  const TempFile file(text);
  auto reader = LineReader::Open(file.path());
  EXPECT_TRUE(reader);
  std::vector<std::string> lines;
  while (reader) {
    auto line = reader->Next();
    if (!line) break;
    lines.push_back(*line);
  }
  EXPECT_TRUE(reader && reader->error().empty());
  return lines;
}

using Strings = std::vector<std::string>;

TEST(LineReader, ReadsEveryLine) {
  EXPECT_EQ(Lines(""), Strings{});
  EXPECT_EQ(Lines("a\nb\n"), (Strings{"a", "b"}));
  EXPECT_EQ(Lines("a\n\nb"), (Strings{"a", "", "b"}));
  const std::string large(70000, 'x');  // more than one read
  EXPECT_EQ(Lines(large + "\n" + large), (Strings{large, large}));
}

TEST(LineReader, WhatCannotBeReadIsAnError) {
  EXPECT_FALSE(LineReader::Open("/nonexistent/flows"));
  auto directory = LineReader::Open("/tmp");
  ASSERT_TRUE(directory);
  EXPECT_EQ(directory->Next(), std::nullopt);
  EXPECT_EQ(directory->error(), "Is a directory");
  const TempFile endless(std::string((1 << 20) + 100000, 'x'));
  auto reader = LineReader::Open(endless.path());
  ASSERT_TRUE(reader);
  EXPECT_EQ(reader->Next(), std::nullopt);
  EXPECT_NE(reader->error(), "");
}

TEST(Apply, TheFlowsOwnWordCounts) {
  FlowDefaults defaults;
  defaults.priority = 5;
  defaults.idle_timeout_ms = 1000;
  FlowLine line;
  line.priority = 7;
  Apply(defaults, line);
  EXPECT_EQ(line.priority, 7U);
  EXPECT_EQ(line.idle_timeout_ms, 1000U);
  EXPECT_EQ(line.hard_timeout_ms, std::nullopt);
}

}  // namespace
}  // namespace sluice::ctl
