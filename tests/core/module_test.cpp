// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <filesystem>

#include "plugin_module.h"
#include "support/temp_dir.h"

namespace sluice::core::test {
namespace {

std::string Fixture(const std::string& name) {
  std::string path(FIXTURES);
  return path.append("/").append(name).append(".so");
}

class ModuleTest : public ::testing::Test {
 protected:
  Result<std::unique_ptr<PluginModule>> Load(const std::string& name) {
    return PluginModule::Load(name, Fixture(name), dir_.path());
  }
  std::string ErrorOf(const std::string& name) {
    auto loaded = Load(name);
    EXPECT_FALSE(loaded) << name;
    return loaded ? "" : loaded.error().detail;
  }
  sluice::test::TempDir dir_;
  PluginHostData host_{{"x", "{}", "inproc://none", "t", "/tmp", "/tmp"}, nullptr};
};

TEST_F(ModuleTest, WhatIsNoPluginIsRefusedAndWhy) {
  EXPECT_EQ(ErrorOf("wrong_abi"), "plugin wrong_abi has ABI 7, this daemon speaks 1");
  EXPECT_EQ(ErrorOf("no_symbol"), "plugin no_symbol is no Sluice plugin: it has no symbol sluice_plugin");
  EXPECT_EQ(ErrorOf("wrong_magic"), "plugin wrong_magic is no Sluice plugin: its descriptor has a wrong magic number");
  EXPECT_TRUE(ErrorOf("wrong_size").starts_with("plugin wrong_size has a descriptor of 8 bytes"));
  const std::string missing = ErrorOf("missing");
  EXPECT_TRUE(missing.starts_with("plugin missing: there is no file ")) << missing;
  const std::string text = dir_.Write("text.so", "this is no shared object");
  auto loaded = PluginModule::Load("text", text, dir_.path());
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().reason, "bad_plugin");
  EXPECT_TRUE(loaded.error().detail.starts_with("plugin text: " + text + " cannot be loaded: "))
      << loaded.error().detail;
  EXPECT_TRUE(std::filesystem::exists(text));
}

TEST_F(ModuleTest, StartErrorsAndExceptionsBecomeSentences) {
  for (const auto& [name, expected] :
       {std::pair<std::string, std::string>{"start_fails", "could not start: the device said no"},
        {"start_throws", "could not start: its start() threw: thrown on purpose"}}) {
    auto module = Load(name);
    ASSERT_TRUE(module) << module.error().detail;
    auto started = (*module)->Start(host_.get());
    ASSERT_FALSE(started);
    EXPECT_EQ(started.error().detail, "plugin " + name + " " + expected);
    EXPECT_TRUE((*module)->Stop());
    EXPECT_TRUE((*module)->Unload());
  }
}

TEST_F(ModuleTest, LoadsTheFileThatIsThereNow) {
  const std::string path = dir_.path() + "/changing.so";
  std::filesystem::copy_file(Fixture("silent"), path);
  auto first = PluginModule::Load("changing", path, dir_.path());
  ASSERT_TRUE(first);
  std::filesystem::copy_file(Fixture("start_fails"), path, std::filesystem::copy_options::overwrite_existing);
  auto second = PluginModule::Load("changing", path, dir_.path());
  ASSERT_TRUE(second);
  EXPECT_TRUE((*first)->Start(host_.get()));
  EXPECT_FALSE((*second)->Start(host_.get()));
  EXPECT_TRUE((*first)->Stop());
  EXPECT_TRUE((*first)->Unload());
  EXPECT_TRUE((*second)->Unload());
}

TEST_F(ModuleTest, LeavesNoCopyBehind) {
  auto module = Load("silent");
  ASSERT_TRUE(module);
  EXPECT_TRUE(std::filesystem::is_empty(dir_.path()));
}

}  // namespace
}  // namespace sluice::core::test
