// SPDX-License-Identifier: Apache-2.0
// VXLAN: matching inside, putting it on and taking it off; headers put on and taken off as raw bytes.
#include "reference/checksum.h"
#include "rig.h"

namespace sluice::netsluice {
namespace {

using reference::Ipv4Spec;
using reference::Ipv6Spec;
using reference::PacketSpec;
using reference::UdpSpec;

// RFC 7348: `inner` in an Ethernet frame.
Bytes Vxlan(const Bytes& inner, uint32_t vni, uint16_t port = 4789, bool ipv6 = false) {
  PacketSpec outer = NamedSpec(ipv6 ? "udp6" : "udp4");
  outer.l4 = UdpSpec{55555, port, false};
  outer.payload = static_cast<uint16_t>(8 + inner.size());
  Bytes frame = reference::Build(outer);
  const size_t at = frame.size() - outer.payload;
  const Bytes header = {8, 0, 0, 0, uint8_t(vni >> 16), uint8_t(vni >> 8), uint8_t(vni), 0};
  std::copy(header.begin(), header.end(), frame.begin() + static_cast<ptrdiff_t>(at));
  std::copy(inner.begin(), inner.end(), frame.begin() + static_cast<ptrdiff_t>(at + 8));
  return frame;
}

rte_flow_item_vxlan Vni(uint32_t vni) {
  rte_flow_item_vxlan item{};
  item.vni[0] = static_cast<uint8_t>(vni >> 16);
  item.vni[1] = static_cast<uint8_t>(vni >> 8);
  item.vni[2] = static_cast<uint8_t>(vni);
  return item;
}

std::optional<uint32_t> MarkOf(const Wired& wired, const Bytes& frame) {
  const auto received = wired.Through(frame);
  EXPECT_EQ(received.size(), 1u);
  return received.at(0).mark;
}

TEST(NetSluiceTunnel, MatchesTheVniAndWhatIsInside) {
  const Wired wired;
  RuleSpec inside;
  RuleSpec vni;
  inside.Eth().Ipv4().Udp().Item(RTE_FLOW_ITEM_TYPE_VXLAN, Vni(7)).Eth().Vid(5).Ipv4().UdpDst(53).Mark(1);
  vni.Priority(1).Eth().Ipv4().Udp().Item(RTE_FLOW_ITEM_TYPE_VXLAN, Vni(7)).Mark(2);
  ASSERT_NE(inside.Create(wired.nic), nullptr) << inside.message();
  ASSERT_NE(vni.Create(wired.nic), nullptr) << vni.message();
  EXPECT_EQ(MarkOf(wired, Vxlan(Named("udp4_vlan"), 7)), 1u);
  EXPECT_EQ(MarkOf(wired, Vxlan(Named("udp4"), 7)), 2u);
  EXPECT_EQ(MarkOf(wired, Vxlan(Named("udp4_vlan"), 8)), std::nullopt);
  EXPECT_EQ(MarkOf(wired, Vxlan(Named("udp4_vlan"), 7, 4790)), std::nullopt);  // another port
  EXPECT_EQ(MarkOf(wired, Named("udp4_vlan")), std::nullopt);
  Bytes cut = Vxlan(Named("tcp4"), 7);
  cut.resize(14 + 20 + 8 + 8 + 14 + 20 + 10);  // within TCP
  EXPECT_EQ(MarkOf(wired, cut), std::nullopt);
}

TEST(NetSluiceTunnel, OnAPortOfOnesOwn) {
  const Wired wired;
  RuleSpec rule;
  rule.Eth().Ipv6().UdpDst(8472).Item(RTE_FLOW_ITEM_TYPE_VXLAN).Mark(1);
  ASSERT_NE(rule.Create(wired.nic), nullptr) << rule.message();
  EXPECT_EQ(MarkOf(wired, Vxlan(Named("udp4"), 7, 8472, true)), 1u);
  EXPECT_EQ(MarkOf(wired, Vxlan(Named("udp4"), 7, 4789, true)), std::nullopt);
}

TEST(NetSluiceTunnel, IsTakenOff) {
  const Wired wired;
  RuleSpec rule;
  rule.Eth().Ipv4().Udp().Item(RTE_FLOW_ITEM_TYPE_VXLAN);
  rule.Action(RTE_FLOW_ACTION_TYPE_VXLAN_DECAP)
      .Action(RTE_FLOW_ACTION_TYPE_SET_TP_DST, rte_flow_action_set_tp{RTE_BE16(54)})
      .Mark(1);
  ASSERT_NE(rule.Create(wired.nic), nullptr) << rule.message();
  const auto received = wired.Through(Vxlan(Named("udp4_vlan"), 7));
  ASSERT_EQ(received.size(), 1u);
  PacketSpec inner = NamedSpec("udp4_vlan");
  std::get<UdpSpec>(inner.l4).dst = 54;
  EXPECT_EQ(received[0].frame, reference::Build(inner));
  EXPECT_EQ(received[0].mark, 1u);
}

TEST(NetSluiceTunnel, IsPutOn) {
  for (const bool ipv6 : {false, true}) {
    const Wired wired;
    // What the outer headers must be, but for their lengths, and so the definition.
    const Bytes inner = Named("tcp4");
    const Bytes expected = Vxlan(inner, 0x123456, 4789, ipv6);
    rte_flow_item_eth eth{};
    rte_flow_item_ipv4 ipv4{};
    rte_flow_item_ipv6 ipv6_item{};
    rte_flow_item_udp udp{};
    rte_flow_item_vxlan vxlan = Vni(0x123456);
    std::memcpy(&eth, expected.data(), 12);
    std::memcpy(&ipv4.hdr, expected.data() + 14, 20);
    std::memcpy(&ipv6_item.hdr, expected.data() + 14, 40);
    ipv4.hdr.total_length = ipv4.hdr.hdr_checksum = 0x5555;
    ipv6_item.hdr.payload_len = 0x5555;
    udp.hdr.src_port = rte_cpu_to_be_16(55555);
    std::array<rte_flow_item, 5> definition{};
    definition[0] = {RTE_FLOW_ITEM_TYPE_ETH, &eth, nullptr, nullptr};
    definition[1] = {RTE_FLOW_ITEM_TYPE_IPV4, &ipv4, nullptr, nullptr};
    if (ipv6) definition[1] = {RTE_FLOW_ITEM_TYPE_IPV6, &ipv6_item, nullptr, nullptr};
    definition[2] = {RTE_FLOW_ITEM_TYPE_UDP, &udp, nullptr, nullptr};
    definition[3] = {RTE_FLOW_ITEM_TYPE_VXLAN, &vxlan, nullptr, nullptr};
    RuleSpec rule;
    rule.Action(RTE_FLOW_ACTION_TYPE_SET_TTL, rte_flow_action_set_ttl{64})  // before: the inner one
        .Action(RTE_FLOW_ACTION_TYPE_VXLAN_ENCAP, rte_flow_action_vxlan_encap{definition.data()})
        .OutOf(wired.nic);
    ASSERT_NE(rule.Create(wired.nic), nullptr) << rule.message();
    EXPECT_TRUE(wired.Through(inner).empty());
    const auto received = wired.peer.Receive();
    ASSERT_EQ(received.size(), 1u);
    EXPECT_EQ(reference::Hex(received[0].frame), reference::Hex(expected));
  }
}

TEST(NetSluiceTunnel, ADefinitionThatIsNoneIsRefused) {
  const Wired wired;
  rte_flow_item_eth eth{};
  std::array<rte_flow_item, 3> definition{};
  definition[0] = {RTE_FLOW_ITEM_TYPE_ETH, &eth, nullptr, nullptr};
  RuleSpec half;
  half.Action(RTE_FLOW_ACTION_TYPE_VXLAN_ENCAP, rte_flow_action_vxlan_encap{definition.data()});
  EXPECT_EQ(half.Create(wired.nic), nullptr);
  EXPECT_NE(half.message().find("vxlan_encap"), std::string::npos) << half.message();
  definition[1] = {RTE_FLOW_ITEM_TYPE_UDP, &eth, nullptr, nullptr};
  RuleSpec gap;
  gap.Action(RTE_FLOW_ACTION_TYPE_VXLAN_ENCAP, rte_flow_action_vxlan_encap{definition.data()});
  EXPECT_EQ(gap.Create(wired.nic), nullptr);
  EXPECT_NE(gap.message().find("udp"), std::string::npos) << gap.message();
}

// As drivers make tunnels that have no action of their own.
TEST(NetSluiceTunnel, RawBytesArePutOnAndTakenOff) {
  const Wired wired;
  const Bytes inner = Named("udp4");
  Bytes outer = Vxlan(inner, 9);
  Bytes header(outer.begin(), outer.end() - static_cast<ptrdiff_t>(inner.size()));
  header[16] = header[17] = 0;  // lengths are made to fit
  header[38] = header[39] = 0;
  RuleSpec on;
  on.Priority(1).Action(RTE_FLOW_ACTION_TYPE_RAW_ENCAP,
                        rte_flow_action_raw_encap{header.data(), nullptr, header.size()});
  ASSERT_NE(on.Create(wired.nic), nullptr) << on.message();
  auto received = wired.Through(inner);
  ASSERT_EQ(received.size(), 1u);
  EXPECT_EQ(reference::Hex(received[0].frame), reference::Hex(outer));

  RuleSpec off;
  off.Ipv4().UdpDst(4789).Action(RTE_FLOW_ACTION_TYPE_RAW_DECAP, rte_flow_action_raw_decap{nullptr, header.size()});
  ASSERT_NE(off.Create(wired.nic), nullptr) << off.message();
  received = wired.Through(outer);
  ASSERT_EQ(received.size(), 1u);
  EXPECT_EQ(received[0].frame, inner);

  RuleSpec too_much;
  too_much.EthType(0x86dd).Action(RTE_FLOW_ACTION_TYPE_RAW_DECAP, rte_flow_action_raw_decap{nullptr, 2000});
  ASSERT_NE(too_much.Create(wired.nic), nullptr) << too_much.message();
  EXPECT_TRUE(wired.Through(Named("udp6")).empty());
  EXPECT_EQ(wired.nic.Xstats().at("rx_edit_failed"), 1u);
}

}  // namespace
}  // namespace sluice::netsluice
