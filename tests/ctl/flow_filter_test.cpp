// SPDX-License-Identifier: Apache-2.0
#include "flow_filter.h"

#include <gtest/gtest.h>

namespace sluice::ctl {
namespace {

google::protobuf::RepeatedPtrField<v1::Port> Ports() {
  google::protobuf::RepeatedPtrField<v1::Port> ports;
  v1::Port& port = *ports.Add();
  port.set_name("p0");
  port.set_number(1);
  return ports;
}

bool Overlaps(const std::string& expression, const std::string& match) {
  auto filter = FlowFilter::Parse(expression, Ports());
  EXPECT_TRUE(filter) << expression << ": " << filter.error().detail;
  return filter && filter->Overlaps(match);
}

constexpr const char* kNet = "in_port(p0),eth_type(0x0800),ipv4(dst=10.0.0.0/255.255.255.0)";
constexpr const char* kDns = "in_port(p0),eth_type(0x0800),ipv4(proto=17),udp(dst=53)";
constexpr const char* kArp = "in_port(p1),eth_type(0x0806),arp(op=1)";
constexpr const char* kTagged =
    "in_port(p0),eth_type(0x8100),vlan(vid=5),encap(eth_type(0x0800),ipv4(dst=10.0.0.5,proto=6),tcp(dst=80))";

TEST(FlowFilter, ValuesAgreeUnderBothMasks) {
  EXPECT_TRUE(Overlaps("ipv4(dst=10.0.0.5)", kNet));
  EXPECT_FALSE(Overlaps("ipv4(dst=10.0.1.5)", kNet));
  EXPECT_TRUE(Overlaps("ipv4(dst=10.0.0.0/8)", kNet));
  EXPECT_TRUE(Overlaps("ipv4(dst=10.0.0.5)", kTagged));
}

TEST(FlowFilter, AnOpenFieldOverlaps) {
  EXPECT_TRUE(Overlaps("ipv4(src=1.2.3.4)", kNet));
  EXPECT_TRUE(Overlaps("udp(dst=53)", kNet));
  EXPECT_TRUE(Overlaps("udp(dst=53)", "in_port(p0)"));
}

TEST(FlowFilter, ProtocolsExcludeEachOther) {
  EXPECT_TRUE(Overlaps("udp(dst=53)", kDns));
  EXPECT_FALSE(Overlaps("tcp(dst=53)", kDns));
  EXPECT_FALSE(Overlaps("udp(dst=53)", kArp));
  EXPECT_FALSE(Overlaps("ipv4(src=1.2.3.4)", kArp));
  EXPECT_FALSE(Overlaps("ipv6(src=::1)", kNet));
  EXPECT_FALSE(Overlaps("icmp(type=8)", kDns));
  EXPECT_FALSE(Overlaps("nd(target=fe80::1)", kNet));
  EXPECT_FALSE(Overlaps("udp(dst=80)", kTagged));
  EXPECT_TRUE(Overlaps("tcp(dst=80)", kTagged));
  EXPECT_FALSE(Overlaps("vlan(vid=5)", kNet));
  EXPECT_TRUE(Overlaps("vlan(vid=5)", kTagged));
}

TEST(FlowFilter, PortsByNameAndNumber) {
  EXPECT_TRUE(Overlaps("in_port(p0)", kNet));
  EXPECT_TRUE(Overlaps("in_port(1)", kNet));
  EXPECT_FALSE(Overlaps("in_port(p9)", kNet));
  EXPECT_FALSE(Overlaps("in_port(1)", kArp));
  EXPECT_TRUE(Overlaps("in_port(p1)", kArp));  // a port that is gone
}

TEST(FlowFilter, AllFieldsCount) {
  EXPECT_FALSE(Overlaps("in_port(p1),ipv4(dst=10.0.0.5)", kNet));
  EXPECT_TRUE(Overlaps("in_port(p0),ipv4(dst=10.0.0.5)", kNet));
}

TEST(FlowFilter, ABadExpressionIsToldWithItsPlace) {
  const auto filter = FlowFilter::Parse("ipv4(dst=10.0.0)", Ports());
  ASSERT_FALSE(filter);
  EXPECT_EQ(filter.error().reason, "bad_match");
  EXPECT_EQ(filter.error().line, 1U);
  EXPECT_GT(filter.error().column, 1U);
}

TEST(FlowFilter, WhatCannotBeReadIsShown) { EXPECT_TRUE(Overlaps("in_port(p0)", "no match at all")); }

}  // namespace
}  // namespace sluice::ctl
