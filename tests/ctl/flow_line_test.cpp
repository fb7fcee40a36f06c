// SPDX-License-Identifier: Apache-2.0
#include "flow_line.h"

#include <gtest/gtest.h>

namespace sluice::ctl {
namespace {

constexpr const char* kUfid = "6f0e8ac1-1d1c-4f0a-8b1e-0f3b6d3c9a01";

FlowLine Split(const std::string& text) {
  auto line = SplitFlow(text);
  EXPECT_TRUE(line) << text << ": " << line.error().detail;
  return line ? *line : FlowLine();
}

// Without the blanks that keep the columns.
std::string Bare(const std::string& text) {
  const size_t first = text.find_first_not_of(' ');
  return first == std::string::npos ? "" : text.substr(first);
}

TEST(SplitFlow, TellsMatchFromActions) {
  for (const char* text : {"in_port(p0),eth_type(0x0800),actions:p1,p2", "in_port(p0),eth_type(0x0800), actions:p1,p2",
                           "in_port(p0),eth_type(0x0800) actions:p1,p2"}) {
    const FlowLine line = Split(text);
    EXPECT_EQ(line.match, "in_port(p0),eth_type(0x0800)") << text;
    EXPECT_EQ(Bare(line.actions), "p1,p2") << text;
    EXPECT_TRUE(line.has_actions);
  }
}

TEST(SplitFlow, WithoutActionsThereAreNone) {
  const FlowLine line = Split("in_port(p0)");
  EXPECT_EQ(line.match, "in_port(p0)");
  EXPECT_FALSE(line.has_actions);
  EXPECT_EQ(line.actions, "");
}

TEST(SplitFlow, BothPartsKeepTheirColumns) {
  const std::string text = "ufid:" + std::string(kUfid) + ",in_port(p0), packets:7, eth_type(0x0800), actions:p1";
  const FlowLine line = Split(text);
  EXPECT_EQ(line.match.find("in_port"), text.find("in_port"));
  EXPECT_EQ(line.match.find("eth_type"), text.find("eth_type"));
  EXPECT_EQ(line.match.find("packets"), std::string::npos);
  EXPECT_EQ(line.actions.find("p1"), text.rfind("p1"));
}

TEST(SplitFlow, LinesStayLines) {
  const FlowLine line = Split("priority:3,\nin_port(p0),\nactions:p1");
  EXPECT_EQ(line.match, "           \nin_port(p0)");
  EXPECT_EQ(line.actions, "           \n            \n        p1");
}

TEST(SplitFlow, ReadsAttributes) {
  const FlowLine line = Split("ufid:" + std::string(kUfid) +
                              ",in_port(p0), priority:10, idle_timeout:1.5, hard_timeout:60s, actions:drop");
  EXPECT_EQ(line.ufid, kUfid);
  EXPECT_EQ(line.priority, 10U);
  EXPECT_EQ(line.idle_timeout_ms, 1500U);
  EXPECT_EQ(line.hard_timeout_ms, 60000U);
  EXPECT_EQ(Bare(line.match), "in_port(p0)");
  const v1::Flow flow = ToFlow(line);
  EXPECT_EQ(flow.ufid(), kUfid);
  EXPECT_EQ(flow.priority(), 10U);
  EXPECT_EQ(flow.idle_timeout_ms(), 1500U);
  EXPECT_EQ(flow.hard_timeout_ms(), 60000U);
}

TEST(SplitFlow, ReadsOverWhatADumpSays) {
  const FlowLine line = Split("ufid:" + std::string(kUfid) +
                              ",in_port(p0), packets:7, bytes:448, used:0.412s, flags:SF., offloaded:no, dp:xdp, "
                              "refused:rte_flow:unsupported_action(\"cannot do (a, b), or actions:x\"), actions:p1");
  EXPECT_EQ(Bare(line.match), "in_port(p0)");
  EXPECT_EQ(Bare(line.actions), "p1");
}

TEST(SplitFlow, ReadsOverWhatOvsPrintsAfterTheActions) {
  const FlowLine line =
      Split("in_port(1), packets:0, actions:set(eth(src=00:00:00:00:00:01)),2, dp-extra-info:miniflow_bits(4,1)");
  EXPECT_EQ(Bare(line.actions), "set(eth(src=00:00:00:00:00:01)),2");
}

TEST(SplitFlow, ColonsInsideParenthesesAreNoAttributes) {
  const FlowLine line = Split("eth(src=00:00:00:00:00:01),ipv6(dst=fe80::1)");
  EXPECT_EQ(line.match, "eth(src=00:00:00:00:00:01),ipv6(dst=fe80::1)");
}

TEST(SplitFlow, WhatItDoesNotKnowIsLeftToTheDaemon) {
  EXPECT_EQ(Split("bogus:1,in_port(p0)").match, "bogus:1,in_port(p0)");
  EXPECT_EQ(Split("in_port(p0,actions:p1").match, "in_port(p0,actions:p1");
  EXPECT_EQ(Split("").match, "");
  EXPECT_EQ(Split("\"").match, "\"");
}

struct BadAttribute {
  const char* text;
  uint32_t line;
  uint32_t column;
};

class SplitFlowRefuses : public testing::TestWithParam<BadAttribute> {};

TEST_P(SplitFlowRefuses, WithThePlace) {
  const auto line = SplitFlow(GetParam().text);
  ASSERT_FALSE(line);
  EXPECT_EQ(line.error().reason, "bad_flow");
  EXPECT_EQ(line.error().line, GetParam().line);
  EXPECT_EQ(line.error().column, GetParam().column);
}

INSTANTIATE_TEST_SUITE_P(Attributes, SplitFlowRefuses,
                         testing::Values(BadAttribute{"ufid:6f0e,in_port(p0)", 1, 6},
                                         BadAttribute{"in_port(p0), priority:high", 1, 23},
                                         BadAttribute{"in_port(p0), priority:-1", 1, 23},
                                         BadAttribute{"in_port(p0), priority:4294967296", 1, 23},
                                         BadAttribute{"in_port(p0),\n idle_timeout:soon", 2, 15},
                                         BadAttribute{"hard_timeout:-1", 1, 14}, BadAttribute{"hard_timeout:", 1, 14}));

TEST(SplitFlow, QuotesNothingThatATerminalWouldObey) {
  const auto line = SplitFlow("priority:\x1b[2J\xa1" + std::string(100, 'x'));
  ASSERT_FALSE(line);
  EXPECT_EQ(line.error().detail, "priority: '?[2J?" + std::string(35, 'x') + "' is not a number from 0 to 4294967295");
}

TEST(ParseSeconds, TakesFractionsAndAnS) {
  EXPECT_EQ(ParseSeconds("10"), 10000U);
  EXPECT_EQ(ParseSeconds("0.25s"), 250U);
  EXPECT_EQ(ParseSeconds("0"), 0U);
  for (const char* bad : {"", "s", "x", "1m", "-1", "1e3", "nan", "inf", "4294968"}) {
    EXPECT_EQ(ParseSeconds(bad), std::nullopt) << bad;
  }
}

}  // namespace
}  // namespace sluice::ctl
