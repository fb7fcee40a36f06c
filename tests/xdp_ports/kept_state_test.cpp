// SPDX-License-Identifier: Apache-2.0
#include "kept_state.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "support/temp_dir.h"

namespace sluice::xdp {
namespace {

TEST(KeptState, IsThereForTheNextOne) {
  const test::TempDir dir;
  const KeptState::Entry entry{7, {{true, "rx-gro", true}, {false, "rx-vlan-hw-parse", false}}, true};
  KeptState(dir.path(), "xdp").Set("p0", entry);
  const KeptState next(dir.path(), "xdp");
  const auto* found = next.Find("p0", 7);
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->changes, entry.changes);
  EXPECT_TRUE(found->pinned);
  EXPECT_EQ(next.Find("p0", 8), nullptr);  // another device of that name
  EXPECT_EQ(next.Find("p1", 7), nullptr);
  EXPECT_EQ(KeptState(dir.path(), "other").Find("p0", 7), nullptr);
}

TEST(KeptState, LeavesNothingWhenThereIsNothing) {
  const test::TempDir dir;
  KeptState state(dir.path(), "xdp");
  state.Set("p0", {7, {}, false});
  EXPECT_FALSE(std::filesystem::is_empty(dir.path()));
  state.Erase("p0");
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}

TEST(KeptState, ReadsOverADamagedFile) {
  const test::TempDir dir;
  for (const std::string content : {"", "{", "[]", R"({"p0":{"ifindex":"seven"}})", R"({"p0":3})"}) {
    dir.Write("xdp-ports.json", content);
    EXPECT_TRUE(KeptState(dir.path(), "xdp").entries().empty()) << content;
  }
}

TEST(KeptState, PinsByRunDirectoryAndPlugin) {
  const KeptState state("/run/one", "xdp");
  EXPECT_EQ(state.PinPath(3), KeptState("/run/one", "xdp").PinPath(3));
  EXPECT_NE(state.PinPath(3), KeptState("/run/two", "xdp").PinPath(3));
  EXPECT_NE(state.PinPath(3), KeptState("/run/one", "xdp2").PinPath(3));
  // bpffs has no dots in names.
  EXPECT_EQ(state.PinPath(3).find('.'), std::string::npos);
}

}  // namespace
}  // namespace sluice::xdp
