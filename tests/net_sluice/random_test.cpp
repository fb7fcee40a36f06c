// SPDX-License-Identifier: Apache-2.0
// Random rules and random packets, against a scan over all rules with the software path's matching.
#include <bit>
#include <iostream>

#include "reference/rng.h"
#include "rig.h"
#include "sluice/match.h"
#include "soft/packet.h"

namespace sluice::netsluice {
namespace {

using reference::Rng;
using soft::Layer3;
using soft::Layer4;
using soft::Parsed;

struct RandomRule {
  Match match;
  bool network = false;    // it is about a layer 3 header, which ARP of other addresses has not
  bool transport = false;  // it is about a layer 4 header, which later fragments have not
  uint32_t priority = 0;
};

template <typename Item>
void Put(Item& item, size_t offset, std::span<const uint8_t> bytes) {
  std::memcpy(reinterpret_cast<uint8_t*>(&item) + offset, bytes.data(), bytes.size());
}

// An item in the making, from fields of a match.
template <typename Item>
struct Both {
  Item spec{};
  Item mask{};
  void Set(const Match& match, Field field, size_t offset) {
    Put(spec, offset, match.Value(field));
    Put(mask, offset, match.Mask(field));
  }
};

// A match that the packet meets: some of its fields, by some of their bits, down to a layer. Layers that are matched
// have their types matched exactly, as the flow model wants it.
RandomRule Random(Rng& rng, const Parsed& packet) {
  RandomRule rule;
  const Match all = soft::ToMatch(packet);
  const uint64_t depth = rng.Below(4);
  const auto take = [&](Field field, bool exact = false) {
    if (!all.Has(field) || (!exact && rng.OneIn(2))) return;
    std::vector<uint8_t> mask(Info(field).size, 0xff);
    if (!exact && rng.OneIn(2)) {
      for (uint8_t& byte : mask) byte = static_cast<uint8_t>(rng.Bits());
    }
    rule.match.Set(field, all.Value(field), mask);
  };
  const auto take_all = [&](std::initializer_list<Field> fields) {
    for (const Field field : fields) take(field);
  };
  take_all({Field::eth_src, Field::eth_dst});
  if (depth == 0) return rule;
  for (const Field type : {Field::eth_type, Field::vlan_eth_type, Field::cvlan_eth_type}) take(type, true);
  take_all({Field::vlan_tci, Field::cvlan_tci});
  if (depth == 1 || packet.headers.l3 == Layer3::kNone) return rule;
  rule.network = true;
  take_all({Field::ipv4_src, Field::ipv4_dst, Field::ipv4_tos, Field::ipv4_ttl, Field::ipv6_src, Field::ipv6_dst,
            Field::ipv6_label, Field::ipv6_tclass, Field::ipv6_hlimit, Field::arp_op, Field::arp_sip, Field::arp_tip});
  if (depth == 2 || packet.headers.l4 == Layer4::kNone) return rule;
  take(Field::ipv4_proto, true);
  take(Field::ipv6_proto, true);
  take_all({Field::tcp_src, Field::tcp_dst, Field::tcp_flags, Field::udp_src, Field::udp_dst, Field::sctp_src,
            Field::sctp_dst, Field::icmp_type, Field::icmp_code, Field::icmpv6_type, Field::icmpv6_code});
  rule.transport = true;
  return rule;
}

void Links(const Match& match, RuleSpec& spec) {
  Both<rte_flow_item_eth> eth;
  eth.Set(match, Field::eth_dst, 0);
  eth.Set(match, Field::eth_src, 6);
  eth.Set(match, Field::eth_type, 12);
  spec.Item(RTE_FLOW_ITEM_TYPE_ETH, eth.spec, eth.mask);
  const Field tags[2][2] = {{Field::vlan_tci, Field::vlan_eth_type}, {Field::cvlan_tci, Field::cvlan_eth_type}};
  for (const auto& [tci, type] : tags) {
    if (!match.Has(type)) return;
    Both<rte_flow_item_vlan> tag;
    tag.Set(match, tci, 0);
    tag.Set(match, type, 2);
    // In the flow model the bit says that there is a tag.
    tag.spec.tci &= RTE_BE16(0xefff);
    tag.mask.tci &= RTE_BE16(0xefff);
    spec.Item(RTE_FLOW_ITEM_TYPE_VLAN, tag.spec, tag.mask);
  }
}

void Networks(const Match& match, Layer3 l3, RuleSpec& spec) {
  if (l3 == Layer3::kIpv4) {
    Both<rte_flow_item_ipv4> ip;
    ip.Set(match, Field::ipv4_tos, 1);
    ip.Set(match, Field::ipv4_ttl, 8);
    ip.Set(match, Field::ipv4_proto, 9);
    ip.Set(match, Field::ipv4_src, 12);
    ip.Set(match, Field::ipv4_dst, 16);
    spec.Item(RTE_FLOW_ITEM_TYPE_IPV4, ip.spec, ip.mask);
  } else if (l3 == Layer3::kIpv6) {
    Both<rte_flow_item_ipv6> ip;
    ip.Set(match, Field::ipv6_proto, 6);
    ip.Set(match, Field::ipv6_hlimit, 7);
    ip.Set(match, Field::ipv6_src, 8);
    ip.Set(match, Field::ipv6_dst, 24);
    const auto first = [](uint64_t tclass, uint64_t label) {
      return rte_cpu_to_be_32(static_cast<uint32_t>(tclass << 20 | label));
    };
    ip.spec.hdr.vtc_flow = first(match.ValueOf(Field::ipv6_tclass), match.ValueOf(Field::ipv6_label));
    ip.mask.hdr.vtc_flow = first(match.MaskOf(Field::ipv6_tclass), match.MaskOf(Field::ipv6_label));
    spec.Item(RTE_FLOW_ITEM_TYPE_IPV6, ip.spec, ip.mask);
  } else if (l3 == Layer3::kArp) {
    Both<rte_flow_item_arp_eth_ipv4> arp;
    arp.Set(match, Field::arp_op, 6);
    arp.Set(match, Field::arp_sip, offsetof(rte_flow_item_arp_eth_ipv4, spa));
    arp.Set(match, Field::arp_tip, offsetof(rte_flow_item_arp_eth_ipv4, tpa));
    spec.Item(RTE_FLOW_ITEM_TYPE_ARP_ETH_IPV4, arp.spec, arp.mask);
  }
}

void Transports(const Match& match, Layer4 l4, RuleSpec& spec) {
  const auto two = [&](auto item, rte_flow_item_type type, Field first, Field second, size_t second_at) {
    Both<decltype(item)> both;
    both.Set(match, first, 0);
    both.Set(match, second, second_at);
    spec.Item(type, both.spec, both.mask);
  };
  switch (l4) {
    case Layer4::kTcp: {
      Both<rte_flow_item_tcp> tcp;
      tcp.Set(match, Field::tcp_src, 0);
      tcp.Set(match, Field::tcp_dst, 2);
      tcp.Set(match, Field::tcp_flags, 12);
      return static_cast<void>(spec.Item(RTE_FLOW_ITEM_TYPE_TCP, tcp.spec, tcp.mask));
    }
    case Layer4::kUdp:
      return two(rte_flow_item_udp{}, RTE_FLOW_ITEM_TYPE_UDP, Field::udp_src, Field::udp_dst, 2);
    case Layer4::kSctp:
      return two(rte_flow_item_sctp{}, RTE_FLOW_ITEM_TYPE_SCTP, Field::sctp_src, Field::sctp_dst, 2);
    case Layer4::kIcmp:
      return two(rte_flow_item_icmp{}, RTE_FLOW_ITEM_TYPE_ICMP, Field::icmp_type, Field::icmp_code, 1);
    case Layer4::kIcmpv6:
      return two(rte_flow_item_icmp6{}, RTE_FLOW_ITEM_TYPE_ICMP6, Field::icmpv6_type, Field::icmpv6_code, 1);
    case Layer4::kNone:
      return;
  }
}

// As deep as the match goes.
void Items(const RandomRule& rule, const soft::Headers& headers, RuleSpec& spec) {
  const Match& match = rule.match;
  Links(match, spec);
  if (rule.network) Networks(match, headers.l3, spec);
  if (rule.transport) Transports(match, headers.l4, spec);
}

TEST(NetSluiceRandom, TakesWhatAScanTakes) {
  const uint64_t seed = reference::SeedFromEnvironment();
  SCOPED_TRACE("SLUICE_SEED=" + std::to_string(seed));
  std::cout << "SLUICE_SEED=" << seed << "\n";
  Rng rng(seed);
  for (int round = 0; round < 8; ++round) {
    const Wired wired;
    std::vector<RandomRule> rules;
    std::vector<rte_flow*> flows;
    while (rules.size() < 300) {
      const Bytes frame = reference::Build(reference::RandomPacket(rng));
      const Parsed packet = soft::Parse(frame, 0);
      // Of frames with a length for a type the flow model keeps only that.
      if (packet.malformed != soft::Malformed::kNo || frame[12] < 0x06) continue;
      RandomRule rule = Random(rng, packet);
      if (rule.match.ValueOf(Field::vlan_eth_type) == 0x05ff || rule.match.ValueOf(Field::cvlan_eth_type) == 0x05ff)
        continue;
      rule.priority = static_cast<uint32_t>(rng.Below(4) * 1000 + rules.size());
      RuleSpec spec;
      Items(rule, packet.headers, spec);
      flows.push_back(spec.Priority(rule.priority).Mark(rule.priority).Create(wired.nic));
      ASSERT_NE(flows.back(), nullptr) << spec.message();
      rules.push_back(rule);
    }
    // Some go again.
    for (size_t n = 0; n < rules.size(); n += 3) {
      Destroy(wired.nic, flows[n]);
      rules[n].priority = UINT32_MAX;
    }
    size_t hits = 0;
    for (int n = 0; n < 1000; ++n) {
      Bytes frame = reference::Build(reference::RandomPacket(rng));
      if (rng.OneIn(10)) frame = reference::Damage(frame, rng);
      if (frame.size() < 14 || frame.size() > 1500) continue;
      const Parsed packet = soft::Parse(frame, 0);
      std::optional<uint32_t> expected;
      for (const RandomRule& rule : rules) {
        if (rule.priority == UINT32_MAX || (rule.network && packet.headers.l3 == Layer3::kNone) ||
            (rule.transport && packet.headers.l4 == Layer4::kNone)) {
          continue;
        }
        if (soft::Matches(rule.match, packet) && rule.priority < expected.value_or(UINT32_MAX))
          expected = rule.priority;
      }
      const auto received = wired.Through(frame);
      ASSERT_EQ(received.size(), 1u);
      ASSERT_EQ(received[0].mark, expected) << reference::Hex(frame);
      hits += expected ? 1 : 0;
    }
    EXPECT_GT(hits, 100u);
  }
}

}  // namespace
}  // namespace sluice::netsluice
