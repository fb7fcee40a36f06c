// SPDX-License-Identifier: Apache-2.0
#include "config.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <initializer_list>

#include "support/temp_dir.h"

namespace sluice::core::test {
namespace {

std::string ErrorOf(const std::string& text) {
  Config config;
  auto read = ReadConfigText(text, "f.toml", config);
  return read ? "" : read.error().detail;
}

CommandLine Read(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "sluiced");
  return ReadCommandLine(static_cast<int>(arguments.size()), arguments.data());
}

TEST(ConfigTest, ReadsEverything) {
  Config config;
  auto read = ReadConfigText(R"(
run_dir = "/tmp/x"
node = "n1"
log_level = "debug"
[limits]
max_flows = 10
[times]
heartbeat_ms = 50
[endpoints]
control = "ipc:///tmp/c"
[[plugin]]
name = "xdp"
isolation = "process"
orphan = "keep"
options = { a = "b", n = 5, t = true }
[[port]]
name = "p0"
options.mode = "generic"
[[port]]
name = "p1"
plugin = "rte_flow"
)",
                             "f.toml", config);
  ASSERT_TRUE(read) << read.error().detail;
  EXPECT_EQ(config.run_dir, "/tmp/x");
  EXPECT_EQ(config.node, "n1");
  EXPECT_EQ(config.log_level, "debug");
  EXPECT_EQ(config.max_flows, 10U);
  EXPECT_EQ(config.heartbeat_ms, 50U);
  EXPECT_EQ(config.endpoints.control, "ipc:///tmp/c");
  ASSERT_EQ(config.plugins.size(), 1U);
  EXPECT_EQ(config.plugins[0].isolation, "process");
  EXPECT_TRUE(config.plugins[0].keep_orphaned);
  EXPECT_EQ(config.plugins[0].options.at("n"), "5");
  EXPECT_EQ(config.plugins[0].options.at("t"), "true");
  ASSERT_EQ(config.ports.size(), 2U);
  EXPECT_EQ(config.ports[0].plugin, "xdp");
  EXPECT_EQ(config.ports[0].options.at("mode"), "generic");
  EXPECT_EQ(config.ports[1].plugin, "rte_flow");
}

TEST(ConfigTest, ErrorsNameFileLineAndColumn) {
  EXPECT_TRUE(ErrorOf("run_dir = \n").starts_with("f.toml:1:"));
  EXPECT_TRUE(ErrorOf("\n  run_dri = \"x\"\n").starts_with("f.toml:2:3: there is no setting 'run_dri'"));
  EXPECT_EQ(ErrorOf("run_dir = 7\n"), "f.toml:1:11: run_dir has to be a string and is an integer");
  EXPECT_EQ(ErrorOf("[limits]\nmax_flows = \"many\"\n"),
            "f.toml:2:13: limits.max_flows has to be an integer and is a string");
  EXPECT_EQ(ErrorOf("[limits]\nmax_flows = 0\n"), "f.toml:2:13: limits.max_flows is 0; it can be 1 to 4294967295");
  EXPECT_TRUE(ErrorOf("[limits]\nmax_flow = 1\n").starts_with("f.toml:2:1: there is no setting 'limits.max_flow'"));
  EXPECT_TRUE(ErrorOf("[plugin]\nname = \"x\"\n").starts_with("f.toml:1:1: write [[plugin]]"));
  EXPECT_TRUE(ErrorOf("[[plugin]]\nisolation = \"thread\"\n").starts_with("f.toml:1:1: this [[plugin]] has no name"));
  EXPECT_TRUE(ErrorOf("[[plugin]]\nname = \"x\"\nisolation = \"vm\"\n").starts_with("f.toml:3:13: plugin.isolation"));
  EXPECT_EQ(ErrorOf("[[plugin]]\nname = \"x\"\norphan = \"sell\"\n"),
            "f.toml:3:10: plugin.orphan is \"sell\"; it can be \"withdraw\" or \"keep\"");
  EXPECT_EQ(ErrorOf("[[plugin]]\nname = \"x\"\norphan = \"keep\"\n"),
            "f.toml:3:10: plugin.orphan is \"keep\", which only a plugin with isolation \"process\" can");
  EXPECT_TRUE(ErrorOf("log_level = \"loud\"\n").starts_with("f.toml:1:13: the log level is 'loud'"));
  EXPECT_TRUE(ErrorOf("[endpoints]\ncontrol = \"tcp://*:1\"\n").starts_with("f.toml:2:11: endpoints.control"));
  EXPECT_TRUE(ErrorOf("[[port]]\nname = \"p\"\noptions = { m = [1] }\n").starts_with("f.toml:3:17: port.options.m"));
}

TEST(ConfigTest, AMissingFileIsSaid) {
  Config config;
  auto read = ReadConfigFile("/nowhere/sluiced.toml", config);
  ASSERT_FALSE(read);
  EXPECT_NE(read.error().detail.find("/nowhere/sluiced.toml"), std::string::npos);
  EXPECT_NE(read.error().detail.find("No such file"), std::string::npos);
}

TEST(ConfigTest, PortArguments) {
  auto port = ReadPortArgument("p0=xdp:mode=generic,miss=drop");
  ASSERT_TRUE(port);
  EXPECT_EQ(port->name, "p0");
  EXPECT_EQ(port->plugin, "xdp");
  EXPECT_EQ(port->options.at("mode"), "generic");
  EXPECT_EQ(port->options.at("miss"), "drop");
  port = ReadPortArgument("p0");
  ASSERT_TRUE(port);
  EXPECT_EQ(port->plugin, "xdp");
  for (const char* bad : {"", "=xdp", "p0=", "p0=xdp:mode", "p0=xdp:=x"}) EXPECT_FALSE(ReadPortArgument(bad)) << bad;
}

TEST(ConfigTest, TheCommandLineWinsOverTheFile) {
  const sluice::test::TempDir dir;
  const std::string file = dir.Write("c.toml", "run_dir = \"/a\"\nlog_level = \"warn\"\n[[port]]\nname = \"p0\"\n");
  auto line = Read({"--config", file.c_str(), "--run-dir", "/b", "--port", "p0=one", "--port", "p1=two", "--plugin",
                    "/x/one.so", "--log-level", "error"});
  ASSERT_TRUE(line.config);
  EXPECT_EQ(line.config->run_dir, "/b");
  EXPECT_EQ(line.config->log_level, "error");
  ASSERT_EQ(line.config->ports.size(), 2U);
  EXPECT_EQ(line.config->ports[0].plugin, "one");
  // A port's plugin is loaded without being named.
  ASSERT_EQ(line.config->plugins.size(), 2U);
  EXPECT_EQ(line.config->plugins[0].name, "/x/one.so");
  EXPECT_EQ(line.config->plugins[1].name, "two");
}

TEST(ConfigTest, WrongUsageIsTwo) {
  for (const auto& wrong : std::initializer_list<std::vector<const char*>>{
           {"--nonsense"}, {"stray"}, {"--log-level", "loud"}, {"--port", "="}, {"--config", "/nowhere"}}) {
    auto line = Read(wrong);
    EXPECT_FALSE(line.config);
    EXPECT_EQ(line.status, 2) << wrong.front();
  }
  auto help = Read({"--help"});
  EXPECT_FALSE(help.config);
  EXPECT_EQ(help.status, 0);
}

TEST(ConfigTest, TheSampleIsRead) {
  Config config;
  auto read = ReadConfigFile(SAMPLE, config);
  EXPECT_TRUE(read) << read.error().detail;
}

}  // namespace
}  // namespace sluice::core::test
