// SPDX-License-Identifier: Apache-2.0
#include "reference/passes.h"

#include <gtest/gtest.h>

#include "sluice/flow_text.h"

namespace sluice::reference {
namespace {

Bytes UdpFrame(uint16_t to = 53) {
  PacketSpec spec;
  Ipv4Spec ip;
  ip.src = 0x0a000001;
  ip.dst = 0x0a000002;
  spec.l3 = ip;
  spec.l4 = UdpSpec{1000, to};
  return Build(spec);
}

class PassesTest : public testing::Test {
 protected:
  void Put(const std::string& match, const std::string& actions) {
    const auto parsed = ParseMatch(match);
    ASSERT_TRUE(parsed) << match << ": " << parsed.error().detail;
    const auto list = ParseActions(actions);
    ASSERT_TRUE(list) << actions << ": " << list.error().detail;
    datapath_.Put({parsed->DeriveUfid(), *parsed, *list, ++priority_, {}});
  }

  Datapath datapath_{{1, 2, 3}};
  Passes passes_{datapath_, {{9, TunnelPort{}}, {8, {TunnelPort::Kind::kGre, 0, {}, 3}}}, 1500};
  uint32_t priority_ = 0;
};

TEST_F(PassesTest, TheNextPassHasTheIdAndTheEdits) {
  Put("in_port(1)", "set(udp(dst=54)),recirc(5)");  // no recirc_id: 0
  Put("recirc_id(5),eth_type(0x0800),ipv4(proto=17),udp(dst=54)", "2");
  const Journey journey = passes_.Run(1, UdpFrame());
  ASSERT_EQ(journey.passes.size(), 2U);
  EXPECT_EQ(journey.passes[1].frame, UdpFrame(54));
  ASSERT_EQ(journey.outcome.emissions.size(), 1U);
  EXPECT_EQ(journey.outcome.emissions[0].frame, UdpFrame(54));
  EXPECT_EQ(journey.counters.at("recirculated"), 1U);
}

TEST_F(PassesTest, AMissInALaterPass) {
  Put("in_port(1)", "recirc(5)");
  const Journey journey = passes_.Run(1, UdpFrame());
  ASSERT_EQ(journey.passes.size(), 2U);
  EXPECT_FALSE(journey.passes[1].flow);
  EXPECT_TRUE(journey.dropped.empty());
}

TEST_F(PassesTest, LoopsEnd) {
  Put("in_port(1)", "recirc(5)");
  Put("recirc_id(5)", "recirc(5)");
  const Journey journey = passes_.Run(1, UdpFrame());
  EXPECT_EQ(journey.passes.size(), 1 + Passes::kDepth);
  EXPECT_EQ(journey.dropped, "depth_exceeded");
  std::string many = "ct_clear";
  for (size_t i = 1; i < Passes::kHops; ++i) many += ",ct_clear";
  Put("in_port(2)", many + ",2");
  EXPECT_EQ(passes_.Run(2, UdpFrame()).dropped, "");
  Put("in_port(3)", many + ",ct_clear,2");
  EXPECT_EQ(passes_.Run(3, UdpFrame()).dropped, "depth_exceeded");
}

TEST_F(PassesTest, TrackingIsForTheNextPass) {
  Put("in_port(1)", "ct(commit,zone=3,mark=0x7),recirc(1)");
  Put("recirc_id(1),ct_state(+trk+new),ct_zone(3),ct_mark(7)", "ct_clear,recirc(2)");
  Put("recirc_id(2),ct_state(0),ct_zone(0)", "2");
  const Journey journey = passes_.Run(1, UdpFrame());
  EXPECT_EQ(journey.passes.size(), 3U);
  EXPECT_EQ(journey.outcome.emissions.size(), 1U);
  EXPECT_EQ(passes_.connections().size(), 1U);
}

// What has gone into a tunnel comes out as it was, whoever chose the ports and addresses.
TEST_F(PassesTest, ThroughTunnels) {
  for (const uint32_t port : {9, 8}) {
    Put("in_port(1)",
        "set(tunnel(tun_id=0x7b,src=172.16.0.1,dst=172.16.0.2,ttl=9,flags(df|csum|key)))," + std::to_string(port));
    Journey journey = passes_.Run(1, UdpFrame());
    ASSERT_EQ(journey.pushed.size(), 1U);
    const Encapsulated& packet = journey.pushed[0].second;
    const size_t size = packet.Expected({}).size();
    const Bytes frame = packet.Expected(Bytes(size));
    Put("in_port(2)", "tnl_pop(" + std::to_string(port) + ")");
    Put("in_port(" + std::to_string(port) + "),tunnel(tun_id=0x7b,dst=172.16.0.2,ttl=9)", "1");
    journey = passes_.Run(2, frame);
    ASSERT_EQ(journey.passes.size(), 2U) << journey.dropped;
    EXPECT_EQ(journey.passes[1].frame, UdpFrame());
    EXPECT_EQ(journey.outcome.emissions.size(), 1U);
  }
}

TEST_F(PassesTest, WhatIsNoTunnelsPacketOrTooLong) {
  Put("in_port(1)", "tnl_pop(9)");
  EXPECT_EQ(passes_.Run(1, UdpFrame(4789)).dropped, "tnl_malformed");
  Put("in_port(2)", "set(tunnel(dst=172.16.0.2)),9");
  Bytes frame = UdpFrame();
  frame.resize(1464);  // and 50 without its Ethernet header
  EXPECT_EQ(passes_.Run(2, frame).dropped, "");
  frame.resize(1465);
  EXPECT_EQ(passes_.Run(2, frame).dropped, "tnl_mtu");
}

// Byte by byte, as RFC 791, 768 and 7348 draw it.
TEST_F(PassesTest, APacketByHand) {
  const Bytes inner{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0, 0, 0, 0, 1, 0x88, 0xb5, 1, 2, 3, 4};
  const auto push = ParseActions(
      "tnl_push(tnl_port(9),header(size=50,type=4,eth(dst=02:00:00:00:00:02,src=02:00:00:00:00:01,dl_type=0x0800),"
      "ipv4(src=10.0.0.1,dst=10.0.0.2,proto=17,tos=0,ttl=64,frag=0x4000),udp(src=40000,dst=4789,csum=0x0),"
      "vxlan(flags=0x8000000,vni=0x7b)),out_port(1))");
  ASSERT_TRUE(push);
  const Encapsulated packet(std::get<TnlPush>(push->front()), inner);
  const Bytes frame = packet.Expected(Bytes(68));
  EXPECT_EQ(Hex(frame),
            "02000000000202000000000108004500003600004000401126b50a0000010a0000029c4012b50022000008000000"
            "00007b00ffffffffffff02000000000188b501020304");
  EXPECT_EQ(Decapsulate(TunnelPort{}, frame).frame, inner);
}

}  // namespace
}  // namespace sluice::reference
