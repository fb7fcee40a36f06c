// SPDX-License-Identifier: Apache-2.0
// Filters as net_tap makes them, right ones and wrong ones, held against the flows that were asked for.
#include <gtest/gtest.h>

#include "filter_message.h"
#include "sluice/flow_text.h"
#include "tap/readback_tap.h"

namespace sluice::rteflow {
namespace {

constexpr auto kTagged = TaggedFrames::kPossible;
constexpr auto kUntagged = TaggedFrames::kNever;

// "" or the detail.
std::string Compare(FilterMessage& message, const std::string& flow, TaggedFrames tagged) {
  const auto filter = ParseTcFilter(message.Finish());
  const auto match = ParseMatch(flow);
  EXPECT_TRUE(filter);
  EXPECT_TRUE(match) << match.error().detail;
  const auto compared = CompareWithTc(*filter, *match, tagged);
  if (compared) return "";
  EXPECT_EQ(compared.error().reason, "device_differs");
  return compared.error().detail;
}

FilterMessage Dns() {
  FilterMessage message(ETH_P_ALL);
  message.Big16(TCA_FLOWER_KEY_ETH_TYPE, ETH_P_IP)
      .Number8(TCA_FLOWER_KEY_IP_PROTO, 17)
      .Ipv4(TCA_FLOWER_KEY_IPV4_DST, "10.0.0.9")
      .Ipv4(TCA_FLOWER_KEY_IPV4_DST_MASK, "255.255.255.255")
      .Big16(TCA_FLOWER_KEY_UDP_DST, 53)
      .Big16(TCA_FLOWER_KEY_UDP_DST_MASK, 0xffff)
      .Drop();
  return message;
}

FilterMessage Tag(uint16_t vid) {
  FilterMessage message(ETH_P_8021Q);
  message.Host16(TCA_FLOWER_KEY_VLAN_ID, vid)
      .Big16(TCA_FLOWER_KEY_VLAN_ETH_TYPE, ETH_P_IP)
      .Big16(TCA_FLOWER_KEY_ETH_TYPE, ETH_P_IP)
      .Drop();
  return message;
}

constexpr const char* kDns = "in_port(1),eth_type(0x0800),ipv4(dst=10.0.0.9,proto=17),udp(dst=53)";

TEST(TapReadback, TheSameIsTheSame) {
  auto dns = Dns();
  EXPECT_EQ(Compare(dns, kDns, kUntagged), "");
  auto tag = Tag(5);
  EXPECT_EQ(Compare(tag, "in_port(1),eth_type(0x8100),vlan(vid=5),encap(eth_type(0x0800))", kTagged), "");
  FilterMessage address(ETH_P_ALL);
  address.Bytes(TCA_FLOWER_KEY_ETH_DST, {2, 0, 0, 0, 0, 9}).Drop();
  EXPECT_EQ(Compare(address, "in_port(1),eth(dst=02:00:00:00:00:09)", kTagged), "");
}

TEST(TapReadback, ARuleForUntaggedFramesTakesTaggedOnesToo) {
  auto dns = Dns();
  EXPECT_EQ(Compare(dns, kDns, kTagged),
            "the driver's TC filter for eth_type(0x0800) takes frames with VLAN tags as well");
}

TEST(TapReadback, AnotherVlan) {
  auto tag = Tag(4);
  EXPECT_EQ(Compare(tag, "in_port(1),eth_type(0x8100),vlan(vid=100),encap(eth_type(0x0800))", kTagged),
            "the driver's TC filter has vlan(vid=4) where the flow has vlan(vid=100)");
}

TEST(TapReadback, APriorityThatWasNotAskedForOrIsMissing) {
  FilterMessage asked(ETH_P_8021Q);
  asked.Host16(TCA_FLOWER_KEY_VLAN_ID, 5)
      .Number8(TCA_FLOWER_KEY_VLAN_PRIO, 5)
      .Big16(TCA_FLOWER_KEY_VLAN_ETH_TYPE, ETH_P_IP)
      .Drop();
  EXPECT_NE(Compare(asked, "in_port(1),eth_type(0x8100),vlan(vid=5),encap(eth_type(0x0800))", kTagged), "");
  auto tag = Tag(5);
  EXPECT_NE(Compare(tag, "in_port(1),eth_type(0x8100),vlan(vid=5,pcp=3),encap(eth_type(0x0800))", kTagged), "");
  auto both = Tag(5);
  both.Number8(TCA_FLOWER_KEY_VLAN_PRIO, 3);
  EXPECT_EQ(Compare(both, "in_port(1),eth_type(0x8100),vlan(vid=5,pcp=3),encap(eth_type(0x0800))", kTagged), "");
}

// What the driver makes of a tag without a type behind it.
TEST(TapReadback, ATypeThatNoFrameHas) {
  FilterMessage tag(ETH_P_8021Q);
  tag.Host16(TCA_FLOWER_KEY_VLAN_ID, 5)
      .Big16(TCA_FLOWER_KEY_VLAN_ETH_TYPE, ETH_P_ALL)
      .Big16(TCA_FLOWER_KEY_ETH_TYPE, ETH_P_ALL)
      .Drop();
  EXPECT_EQ(Compare(tag, "in_port(1),eth_type(0x8100),vlan(vid=5)", kTagged),
            "the driver's TC filter has encap(eth_type(0x0003)) where the flow has any vlan_eth_type");
}

// What it makes of a tag's type without more.
TEST(TapReadback, AFilterThatTakesEverything) {
  FilterMessage everything(ETH_P_ALL);
  everything.Drop();
  EXPECT_EQ(Compare(everything, "in_port(1),eth_type(0x8100)", kTagged),
            "the driver's TC filter has any eth_type where the flow has eth_type(0x8100)");
  EXPECT_NE(Compare(everything, kDns, kUntagged), "");
}

TEST(TapReadback, AddressesPortsAndMasks) {
  auto dns = Dns();
  EXPECT_EQ(Compare(dns, "in_port(1),eth_type(0x0800),ipv4(dst=10.0.0.9,proto=17),udp(dst=54)", kUntagged),
            "the driver's TC filter has udp(dst=53) where the flow has udp(dst=54)");
  EXPECT_NE(Compare(dns, "in_port(1),eth_type(0x0800),ipv4(dst=10.0.0.9/24,proto=17),udp(dst=53)", kUntagged), "");
  EXPECT_NE(Compare(dns, "in_port(1),eth_type(0x0800),ipv4(dst=10.0.0.9,proto=17)", kUntagged), "");
  EXPECT_NE(Compare(dns, "in_port(1),eth_type(0x0800),ipv4(src=10.0.0.9,proto=17),udp(dst=53)", kUntagged), "");
  EXPECT_NE(Compare(dns, "in_port(1),eth_type(0x0800),ipv4(dst=10.0.0.9,proto=17,tos=3),udp(dst=53)", kUntagged), "");
}

TEST(TapReadback, WhatNobodyAskedForAndAnotherAction) {
  FilterMessage tos(ETH_P_ALL);
  tos.Number8(TCA_FLOWER_KEY_IP_TOS, 3).Drop();
  EXPECT_NE(Compare(tos, "in_port(1)", kUntagged).find("which no rule asked for"), std::string::npos);
  FilterMessage goes_on(ETH_P_ALL);
  goes_on.Bytes(TCA_FLOWER_KEY_ETH_DST, {2, 0, 0, 0, 0, 9}).Actions({TC_ACT_UNSPEC});
  EXPECT_EQ(Compare(goes_on, "in_port(1),eth(dst=02:00:00:00:00:09)", kTagged), "the driver's TC filter does not drop");
}

TEST(TapReadback, WithoutATagBesideAnUntaggedFlow) {
  FilterMessage address(ETH_P_ALL);
  address.Bytes(TCA_FLOWER_KEY_ETH_DST, {2, 0, 0, 0, 0, 9}).Drop();
  Match untagged;
  untagged.SetExact(Field::eth_dst, 0x020000000009);
  untagged.SetMasked(Field::vlan_tci, 0, 0xffff);
  const auto filter = ParseTcFilter(address.Finish());
  EXPECT_FALSE(CompareWithTc(*filter, untagged, kTagged));
  EXPECT_TRUE(CompareWithTc(*filter, untagged, kUntagged));
}

TEST(TapReadback, NoInterfaceNoReadback) {
  const auto opened = TapReadback::Open(0, kTagged);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().reason, "no_readback");
}

TEST(TapReadback, NoFilterSeenIsADifference) {
  auto opened = TapReadback::Open(1, kTagged);
  ASSERT_TRUE(opened) << opened.error().detail;
  (*opened)->Begin();
  const auto checked = (*opened)->Check(*ParseMatch("in_port(1)"));
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().reason, "device_differs");
}

}  // namespace
}  // namespace sluice::rteflow
