// SPDX-License-Identifier: Apache-2.0
#include <rte_errno.h>

#include "rig.h"
#include "support/temp_dir.h"

namespace sluice::netsluice {
namespace {

RuleSpec Numbered(uint16_t n) {
  RuleSpec rule;
  rule.Eth().Ipv4().UdpDst(n).Mark(n).Count();
  return rule;
}

TEST(NetSluiceFaults, NoRoomAfterSoManyRules) {
  const Wired wired("max_rules=2");
  rte_flow* first = Numbered(1).Create(wired.nic);
  ASSERT_NE(first, nullptr);
  ASSERT_NE(Numbered(2).Create(wired.nic), nullptr);
  RuleSpec third = Numbered(3);
  EXPECT_EQ(third.Validate(wired.nic), 0);
  EXPECT_EQ(third.Create(wired.nic), nullptr);
  EXPECT_EQ(rte_errno, ENOSPC);
  EXPECT_EQ(third.error().type, RTE_FLOW_ERROR_TYPE_HANDLE);
  Destroy(wired.nic, first);
  EXPECT_NE(Numbered(3).Create(wired.nic), nullptr);
  const auto xstats = wired.nic.Xstats();
  EXPECT_EQ(xstats.at("flow_rules"), 2u);
  EXPECT_EQ(xstats.at("flow_created"), 3u);
  EXPECT_EQ(xstats.at("flow_destroyed"), 1u);
  EXPECT_EQ(xstats.at("flow_refused"), 1u);
}

TEST(NetSluiceFaults, OverlappingRulesAreRefused) {
  const Wired wired("eexist=1");
  ASSERT_NE(Numbered(1).Create(wired.nic), nullptr);
  EXPECT_EQ(Numbered(1).Create(wired.nic), nullptr);
  EXPECT_EQ(rte_errno, EEXIST);
  EXPECT_NE(Numbered(1).Priority(1).Create(wired.nic), nullptr);
  EXPECT_NE(Numbered(2).Create(wired.nic), nullptr);
  RuleSpec all;
  EXPECT_EQ(all.Drop().Create(wired.nic), nullptr);
  EXPECT_EQ(rte_errno, EEXIST);
}

TEST(NetSluiceFaults, ValidateMayLie) {
  const Wired wired("profile=drop-only,validate=lies");
  RuleSpec rule = Numbered(1);
  EXPECT_EQ(rule.Validate(wired.nic), 0);
  EXPECT_EQ(rule.Create(wired.nic), nullptr);
  EXPECT_EQ(rte_errno, ENOTSUP);
}

TEST(NetSluiceFaults, AFileSaysWhatIsBrokenNow) {
  const test::TempDir dir;
  const std::string path = dir.Write("faults", "create=fail\n");
  const Wired wired("faults=" + path);
  EXPECT_EQ(Numbered(1).Create(wired.nic), nullptr);
  EXPECT_EQ(rte_errno, EIO);

  dir.Write("faults", "# all is well\n");
  rte_flow* flow = Numbered(1).Create(wired.nic);
  ASSERT_NE(flow, nullptr);
  EXPECT_NE(Query(wired.nic, flow), std::nullopt);

  dir.Write("faults", "query=fail\ndestroy=fail\n");
  EXPECT_EQ(Query(wired.nic, flow), std::nullopt);
  EXPECT_EQ(rte_errno, EIO);
  rte_flow_error error{};
  EXPECT_NE(rte_flow_destroy(wired.nic.id(), flow, &error), 0);
  EXPECT_NE(rte_flow_flush(wired.nic.id(), &error), 0);
  EXPECT_EQ(wired.nic.Xstats().at("flow_rules"), 1u);

  dir.Write("faults", "query_noreset=1\nnonsense=1\nno equals\n");
  EXPECT_EQ(Query(wired.nic, flow, true), std::nullopt);
  EXPECT_EQ(rte_errno, ENOTSUP);
  EXPECT_EQ(Query(wired.nic, flow), (Counts{0, 0}));
  Destroy(wired.nic, flow);
}

TEST(NetSluiceFaults, ALostLinkIsToldOf) {
  const test::TempDir dir;
  const std::string path = dir.Write("faults", "");
  const Wired wired("faults=" + path);
  EXPECT_TRUE(wired.nic.AwaitLink(true));
  dir.Write("faults", "link=down\n");
  EXPECT_TRUE(wired.nic.AwaitLink(false));
  // Nothing comes, nothing goes.
  EXPECT_TRUE(wired.Through(Named("udp4")).empty());
  EXPECT_TRUE(wired.nic.Send(Named("udp4")));
  EXPECT_TRUE(wired.peer.Receive().empty());
  dir.Write("faults", "");
  EXPECT_TRUE(wired.nic.AwaitLink(true));
  EXPECT_EQ(wired.Through(Named("udp4")).size(), 1u);
}

}  // namespace
}  // namespace sluice::netsluice
