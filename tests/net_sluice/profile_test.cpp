// SPDX-License-Identifier: Apache-2.0
// What each profile takes and what it refuses, and how.
#include <algorithm>
#include <functional>

#include "rig.h"

namespace sluice::netsluice {
namespace {

struct ProfileCase {
  std::string profile;
  std::string name;
  std::function<void(RuleSpec&)> rule;
  int code = 0;  // 0: taken
  rte_flow_error_type type = RTE_FLOW_ERROR_TYPE_NONE;
};

void PrintTo(const ProfileCase& one, std::ostream* out) { *out << one.profile << " " << one.name; }

RuleSpec& Rss(RuleSpec& rule) {
  rte_flow_action_rss rss{};
  return rule.Action(RTE_FLOW_ACTION_TYPE_RSS, rss);
}
RuleSpec& Passthru(RuleSpec& rule) { return rule.Action(RTE_FLOW_ACTION_TYPE_PASSTHRU); }
RuleSpec& Ttl(RuleSpec& rule) { return rule.Action(RTE_FLOW_ACTION_TYPE_SET_TTL, rte_flow_action_set_ttl{3}); }
RuleSpec& ToPort0(RuleSpec& rule) {
  return rule.Action(RTE_FLOW_ACTION_TYPE_REPRESENTED_PORT, rte_flow_action_ethdev{0});
}
RuleSpec& TtlItem(RuleSpec& rule) {
  rte_flow_item_ipv4 item{};
  item.hdr.time_to_live = 3;
  return rule.Item(RTE_FLOW_ITEM_TYPE_IPV4, item, item);
}

const auto kAction = RTE_FLOW_ERROR_TYPE_ACTION;

const std::vector<ProfileCase>& Cases() {
  static const std::vector<ProfileCase> kCases = {
      {"full", "mark", [](RuleSpec& r) { r.Ipv4().Mark(UINT32_MAX); }},
      {"full", "last_priority", [](RuleSpec& r) { r.Priority(65535).Ipv4().Mark(1); }},
      {"full", "priority_beyond", [](RuleSpec& r) { r.Priority(65536).Ipv4().Mark(1); }, EINVAL,
       RTE_FLOW_ERROR_TYPE_ATTR_PRIORITY},
      {"full", "group", [](RuleSpec& r) { r.Ipv4().Mark(1).attributes().group = 1; }, ENOTSUP,
       RTE_FLOW_ERROR_TYPE_ATTR_GROUP},
      {"full", "egress", [](RuleSpec& r) { r.Ipv4().Mark(1).attributes().egress = 1; }, ENOTSUP,
       RTE_FLOW_ERROR_TYPE_ATTR_EGRESS},
      {"full", "no_direction", [](RuleSpec& r) { r.Ipv4().Mark(1).attributes().ingress = 0; }, EINVAL,
       RTE_FLOW_ERROR_TYPE_ATTR_INGRESS},
      {"full", "transfer", [](RuleSpec& r) { ToPort0(Ttl(r.Transfer().Ipv4())).Count(); }},
      {"full", "output", [](RuleSpec& r) { ToPort0(Ttl(r.Ipv4())).Count(); }},
      {"full", "no_action", [](RuleSpec& r) { r.Ipv4(); }},

      {"mark-count", "mark", [](RuleSpec& r) { r.Ipv4().Mark(1).Count(); }},
      {"mark-count", "queue", [](RuleSpec& r) { r.Ipv4().Mark(1).Count().Queue(0); }},
      {"mark-count", "drop", [](RuleSpec& r) { r.Ipv4().Drop(); }},
      {"mark-count", "output", [](RuleSpec& r) { ToPort0(r.Ipv4()); }, ENOTSUP, kAction},
      {"mark-count", "edit", [](RuleSpec& r) { Ttl(r.Ipv4()).Queue(0); }, ENOTSUP, kAction},
      {"mark-count", "transfer", [](RuleSpec& r) { ToPort0(r.Transfer().Ipv4()); }, ENOTSUP,
       RTE_FLOW_ERROR_TYPE_ATTR_TRANSFER},

      {"mark-needs-queue", "mark", [](RuleSpec& r) { r.Ipv4().Mark(1).Count(); }, ENOTSUP, kAction},
      {"mark-needs-queue", "queue", [](RuleSpec& r) { r.Ipv4().Mark(1).Count().Queue(0); }},
      {"mark-needs-queue", "rss", [](RuleSpec& r) { Rss(r.Ipv4().Mark(1).Count()); }},
      {"mark-needs-queue", "drop", [](RuleSpec& r) { r.Ipv4().Count().Drop(); }},

      {"no-count", "mark", [](RuleSpec& r) { r.Ipv4().Mark(1); }, ENOTSUP, kAction},
      {"no-count", "count", [](RuleSpec& r) { r.Ipv4().Mark(1).Count().Queue(0); }, ENOTSUP, kAction},
      {"no-count", "rss", [](RuleSpec& r) { Rss(r.Ipv4().Mark(1)); }, ENOTSUP, kAction},
      {"no-count", "queue", [](RuleSpec& r) { r.Ipv4().Mark(1).Queue(0); }},
      {"no-count", "drop", [](RuleSpec& r) { r.Ipv4().Drop(); }},

      {"drop-only", "drop", [](RuleSpec& r) { r.Ipv4().Drop().Count(); }},
      {"drop-only", "mark", [](RuleSpec& r) { r.Ipv4().Mark(1); }, ENOTSUP, kAction},
      {"drop-only", "queue", [](RuleSpec& r) { r.Ipv4().Queue(0); }, ENOTSUP, kAction},
      {"drop-only", "nothing", [](RuleSpec& r) { r.Ipv4(); }, EINVAL, kAction},

      {"i40e", "mark", [](RuleSpec& r) { r.Eth().Ipv4().Udp().Mark(1); }},
      {"i40e", "queue_mark", [](RuleSpec& r) { r.Eth().Ipv4().Udp().Queue(0).Mark(1); }},
      {"i40e", "mark_queue", [](RuleSpec& r) { r.Eth().Ipv4().Udp().Mark(1).Queue(0); }, EINVAL, kAction},
      {"i40e", "mark_rss", [](RuleSpec& r) { Rss(r.Eth().Ipv4().Udp().Mark(1)); }},
      {"i40e", "passthru_rss", [](RuleSpec& r) { Rss(Passthru(r.Eth().Ipv4().Udp())); }},
      {"i40e", "queue_rss", [](RuleSpec& r) { Rss(r.Eth().Ipv4().Udp().Queue(0)); }, EINVAL, kAction},
      {"i40e", "three", [](RuleSpec& r) { Rss(Passthru(r.Eth().Ipv4().Udp()).Mark(1)); }, EINVAL, kAction},
      {"i40e", "drop", [](RuleSpec& r) { r.Eth().Ipv4().Udp().Drop(); }},
      {"i40e", "count", [](RuleSpec& r) { r.Eth().Ipv4().Udp().Mark(1).Count(); }, ENOTSUP, kAction},
      {"i40e", "priority", [](RuleSpec& r) { r.Priority(1).Eth().Ipv4().Mark(1); }, ENOTSUP,
       RTE_FLOW_ERROR_TYPE_ATTR_PRIORITY},
      {"i40e", "transfer", [](RuleSpec& r) { r.Transfer().Eth().Ipv4().Mark(1); }, ENOTSUP,
       RTE_FLOW_ERROR_TYPE_ATTR_TRANSFER},
      {"i40e", "arp", [](RuleSpec& r) { r.Eth().Item(RTE_FLOW_ITEM_TYPE_ARP_ETH_IPV4).Mark(1); }, ENOTSUP,
       RTE_FLOW_ERROR_TYPE_ITEM},

      {"mlx5", "mark", [](RuleSpec& r) { r.Eth().Ipv4().Mark(1).Count().Queue(0); }},
      {"mlx5", "mark_without_fate", [](RuleSpec& r) { r.Eth().Ipv4().Mark(1).Count(); }, EINVAL, kAction},
      {"mlx5", "last_mark", [](RuleSpec& r) { r.Eth().Ipv4().Mark(0xffffef).Queue(0); }},
      {"mlx5", "mark_beyond", [](RuleSpec& r) { r.Eth().Ipv4().Mark(0xfffff0).Queue(0); }, EINVAL,
       RTE_FLOW_ERROR_TYPE_ACTION_CONF},
      {"mlx5", "transfer", [](RuleSpec& r) { ToPort0(Ttl(r.Transfer().Eth().Ipv4())).Count(); }},
      {"mlx5", "mark_in_transfer", [](RuleSpec& r) { ToPort0(r.Transfer().Eth().Ipv4().Mark(1)); }, ENOTSUP, kAction},
      {"mlx5", "queue_in_transfer", [](RuleSpec& r) { r.Transfer().Eth().Ipv4().Queue(0); }, ENOTSUP, kAction},
      {"mlx5", "port_without_transfer", [](RuleSpec& r) { ToPort0(r.Eth().Ipv4()); }, ENOTSUP, kAction},
      {"mlx5", "two_tags", [](RuleSpec& r) { r.Eth().Vid(1).Vid(2).Queue(0); }, ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM},
      {"mlx5", "sctp", [](RuleSpec& r) { r.Eth().Ipv4().Item(RTE_FLOW_ITEM_TYPE_SCTP).Queue(0); }, ENOTSUP,
       RTE_FLOW_ERROR_TYPE_ITEM},

      {"net_tap", "drop", [](RuleSpec& r) { r.Eth().Ipv4().Udp().Drop(); }},
      {"net_tap", "queue", [](RuleSpec& r) { r.Eth().Vid(5).Ipv4().Queue(0); }},
      {"net_tap", "passthru", [](RuleSpec& r) { Passthru(r.Eth().Ipv4()); }},
      {"net_tap", "two_actions", [](RuleSpec& r) { Passthru(r.Eth().Ipv4()).Queue(0); }, ENOTSUP, kAction},
      {"net_tap", "mark", [](RuleSpec& r) { r.Eth().Ipv4().Mark(1); }, ENOTSUP, kAction},
      {"net_tap", "count", [](RuleSpec& r) { r.Eth().Ipv4().Count(); }, ENOTSUP, kAction},
      {"net_tap", "ttl_item", [](RuleSpec& r) { TtlItem(r.Eth()).Drop(); }, ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM_MASK},
      {"net_tap", "sctp", [](RuleSpec& r) { r.Eth().Ipv4().Item(RTE_FLOW_ITEM_TYPE_SCTP).Drop(); }, ENOTSUP,
       RTE_FLOW_ERROR_TYPE_ITEM},
      {"net_tap", "transfer", [](RuleSpec& r) { r.Transfer().Eth().Ipv4().Drop(); }, ENOTSUP,
       RTE_FLOW_ERROR_TYPE_ATTR_TRANSFER},
      {"net_tap", "priority_beyond", [](RuleSpec& r) { r.Priority(4088).Eth().Drop(); }, EINVAL,
       RTE_FLOW_ERROR_TYPE_ATTR_PRIORITY},
  };
  return kCases;
}

class NetSluiceProfile : public ::testing::TestWithParam<ProfileCase> {};

TEST_P(NetSluiceProfile, TakesOrRefuses) {
  const ProfileCase& test = GetParam();
  const Wired wired("profile=" + test.profile);
  RuleSpec rule;
  test.rule(rule);
  EXPECT_EQ(rule.Validate(wired.nic), -test.code) << rule.message();
  const rte_flow* flow = rule.Create(wired.nic);
  if (test.code == 0) {
    EXPECT_NE(flow, nullptr) << rule.message();
    EXPECT_EQ(wired.nic.Xstats().at("flow_rules"), 1u);
    return;
  }
  EXPECT_EQ(flow, nullptr);
  EXPECT_EQ(rte_errno, test.code);
  EXPECT_EQ(rule.error().type, test.type) << rule.message();
  EXPECT_FALSE(rule.message().empty());
  EXPECT_EQ(wired.nic.Xstats().at("flow_rules"), 0u);
  EXPECT_EQ(wired.nic.Xstats().at("flow_refused"), 1u);
}

INSTANTIATE_TEST_SUITE_P(All, NetSluiceProfile, ::testing::ValuesIn(Cases()), [](const auto& test) {
  std::string name = test.param.profile + "_" + test.param.name;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

// The two whose drivers say EEXIST for overlapping rules.
TEST(NetSluiceProfiles, SomeRefuseOverlappingRulesOfOnePriority) {
  for (const std::string profile : {"i40e", "net_tap", "full"}) {
    const Wired wired("profile=" + profile);
    RuleSpec wide;
    RuleSpec narrow;
    RuleSpec other;
    ASSERT_NE(wide.Eth().Ipv4().Drop().Create(wired.nic), nullptr) << wide.message();
    const bool taken = narrow.Eth().Ipv4().UdpDst(53).Drop().Create(wired.nic) != nullptr;
    EXPECT_EQ(taken, profile == "full");
    if (!taken) {
      EXPECT_EQ(rte_errno, EEXIST);
    }
    EXPECT_NE(other.Eth().Ipv6().Drop().Create(wired.nic), nullptr) << other.message();
  }
}

TEST(NetSluiceProfiles, TheHigherPriorityWins) {
  const Wired wired;
  RuleSpec low;
  RuleSpec high;
  ASSERT_NE(low.Priority(9).Ipv4().UdpDst(53).Mark(9).Create(wired.nic), nullptr);
  rte_flow* flow = high.Priority(3).Ipv4().Mark(3).Create(wired.nic);
  ASSERT_NE(flow, nullptr);
  EXPECT_EQ(wired.Through(Named("udp4")).at(0).mark, 3u);
  Destroy(wired.nic, flow);
  EXPECT_EQ(wired.Through(Named("udp4")).at(0).mark, 9u);
  RuleSpec highest;
  ASSERT_NE(highest.Udp().Mark(1).Create(wired.nic), nullptr);
  EXPECT_EQ(wired.Through(Named("udp4")).at(0).mark, 1u);
}

}  // namespace
}  // namespace sluice::netsluice
