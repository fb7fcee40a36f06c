// SPDX-License-Identifier: Apache-2.0
// tnl_pop: what is taken for a tunnel's packet, what the next pass knows of it, and what is dropped.
#include <gtest/gtest.h>
#include <linux/bpf.h>

#include <array>

#include "frames.h"
#include "pass_rig.h"

namespace sluice::xdp {
namespace {

const Bytes kInner = UdpFrame(0x0a000002);
constexpr uint32_t kTunnelPort = 9;
constexpr std::array<int, 3> kTypes = {SLUICE_TUNNEL_VXLAN, SLUICE_TUNNEL_GENEVE, SLUICE_TUNNEL_GRE};

class Pop : public testing::Test {
 protected:
  Pop() { rig_.Later("in_port(9),recirc_id(0)", {SLUICE_ACTION_OUTPUT, 2}, 1); }
  ~Pop() override { EXPECT_EQ(rig_.Grown(SLUICE_COUNT_missed_tail_call), 0); }

  // Frames to this have their headers taken off from now on.
  void PopAll(int type, uint32_t flags = SLUICE_STEP_CSUM_VERIFY) {
    sluice_step step = MakeStep(flags, SLUICE_ACTION_RECIRC, 0);
    step.tunnel_type = static_cast<uint32_t>(type);
    step.tunnel_port = kTunnelPort;
    step.tp_dst = 4789;
    const uint32_t at = rig_.Step(step);
    rig_.first->Flush();
    rig_.First("", {SLUICE_ACTION_TNL_POP, at});
  }
  // Whether the inner frame comes out, and goes to port 2.
  bool Out(const Bytes& frame, const Bytes& inner = kInner) {
    const auto ran = rig_.Run(frame);
    return ran.verdict == XDP_REDIRECT && ran.frame == inner;
  }
  // Dropped for this reason, and as nothing else.
  void ExpectDropped(const Bytes& frame, sluice_pass_counter why, const std::string& what = "") {
    const uint64_t out = rig_.passes->ReadCounters(kPassSlot)[SLUICE_COUNT_rx_bytes];
    rig_.PassGrown(why);
    EXPECT_EQ(rig_.Run(frame).verdict, XDP_DROP) << what;
    EXPECT_EQ(rig_.PassGrown(why), 1) << what;
    EXPECT_EQ(rig_.passes->ReadCounters(kPassSlot)[SLUICE_COUNT_rx_bytes], out) << what;
  }

  PassRig rig_;
};

Outer Of(int type, bool ipv6 = false) {
  Outer outer;
  outer.type = type;
  outer.ipv6 = ipv6;
  return outer;
}

TEST_F(Pop, TheInnerFrameComesOutOfEveryKind) {
  for (const int type : kTypes) {
    PopAll(type);
    for (const bool ipv6 : {false, true}) {
      for (const bool csum : {false, true}) {
        for (const size_t size : {64UL, 65UL, 511UL, 512UL, 513UL, 1400UL}) {
          Bytes inner = kInner;
          inner.resize(size, 0x5a);
          Outer outer = Of(type, ipv6);
          outer.csum = csum;
          EXPECT_TRUE(Out(Encapsulate(inner, outer), inner)) << type << ipv6 << csum << " " << size;
        }
      }
    }
  }
}

TEST_F(Pop, OuterHeadersOfAllSorts) {
  for (const int type : kTypes) {
    PopAll(type);
    Outer outer = Of(type);
    outer.tags = {{0x88a8, 5}, {0x8100, 6}};
    outer.ip_options = 10;
    outer.csum = true;
    EXPECT_TRUE(Out(Encapsulate(kInner, outer)));
    outer.padding = 9;
    EXPECT_TRUE(Out(Encapsulate(kInner, outer))) << "what is behind the packet goes, too";
    outer = Of(type, true);
    outer.csum = true;
    outer.extensions = {{.type = 0, .words = 1}, {.type = 60}, {.type = 43}};
    EXPECT_TRUE(Out(Encapsulate(kInner, outer)));
  }
  PopAll(SLUICE_TUNNEL_GENEVE);
  for (const int words : {1, 7, 63}) {
    Outer outer = Of(SLUICE_TUNNEL_GENEVE);
    outer.option_words = static_cast<uint8_t>(words);
    outer.csum = true;
    EXPECT_TRUE(Out(Encapsulate(kInner, outer))) << words;
  }
  PopAll(SLUICE_TUNNEL_GRE);
  for (int bits = 0; bits < 8; ++bits) {
    Outer outer = Of(SLUICE_TUNNEL_GRE);
    outer.csum = bits & 1;
    outer.key = bits & 2;
    outer.sequence = bits & 4;
    EXPECT_TRUE(Out(Encapsulate(kInner, outer))) << bits;
  }
}

TEST_F(Pop, TheNextPassKnowsTheTunnel) {
  PopAll(SLUICE_TUNNEL_VXLAN);
  rig_.later->Flush();
  rig_.Later(
      "tunnel(tun_id=0x123456,src=192.168.0.1,dst=192.168.0.2,tos=0x14,ttl=63,tp_src=50000,tp_dst=4789,"
      "flags(-df-csum+key)),in_port(9),recirc_id(0),ct_state(-trk),eth_type(0x0800),ipv4(dst=10.0.0.2)",
      {SLUICE_ACTION_OUTPUT, 2}, 4);
  rig_.Later("tunnel(tun_id=0x123456,ipv6_src=fd00::1,ipv6_dst=fd00::2,tos=0x14,ttl=63,flags(-df+csum+key)),in_port(9)",
             {SLUICE_ACTION_OUTPUT, 2}, 6);
  Outer outer = Of(SLUICE_TUNNEL_VXLAN);
  EXPECT_TRUE(Out(Encapsulate(kInner, outer)));
  EXPECT_EQ(rig_.Taken(), 4);
  outer = Of(SLUICE_TUNNEL_VXLAN, true);
  outer.csum = true;
  EXPECT_TRUE(Out(Encapsulate(kInner, outer)));
  EXPECT_EQ(rig_.Taken(), 6);
  EXPECT_TRUE(Out(Encapsulate(kInner, Of(SLUICE_TUNNEL_VXLAN)))) << "nothing of the one before is left";
  EXPECT_EQ(rig_.Taken(), 4);
  outer.id = 0x123457;
  EXPECT_FALSE(Out(Encapsulate(kInner, outer)));
  EXPECT_EQ(rig_.PassGrown(SLUICE_COUNT_tnl_popped), 4);
}

TEST_F(Pop, GreKeysHave32Bits) {
  PopAll(SLUICE_TUNNEL_GRE);
  rig_.later->Flush();
  rig_.Later("tunnel(tun_id=0xfedcba98,flags(+key)),in_port(9)", {SLUICE_ACTION_OUTPUT, 2}, 1);
  rig_.Later("tunnel(tun_id=0x0,flags(-key)),in_port(9)", {SLUICE_ACTION_OUTPUT, 2}, 2);
  Outer outer = Of(SLUICE_TUNNEL_GRE);
  outer.id = 0xfedcba98;
  EXPECT_TRUE(Out(Encapsulate(kInner, outer)));
  EXPECT_EQ(rig_.Taken(), 1);
  outer.key = false;
  EXPECT_TRUE(Out(Encapsulate(kInner, outer)));
  EXPECT_EQ(rig_.Taken(), 2);
}

TEST_F(Pop, GeneveControlPacketsSayThatTheyAre) {
  PopAll(SLUICE_TUNNEL_GENEVE);
  rig_.later->Flush();
  rig_.Later("in_port(9),tunnel(flags(+oam+key))", {SLUICE_ACTION_OUTPUT, 2}, 1);
  Bytes frame = Encapsulate(kInner, Of(SLUICE_TUNNEL_GENEVE));
  EXPECT_FALSE(Out(frame));
  frame[43] = 0x80;
  EXPECT_TRUE(Out(frame));
}

TEST_F(Pop, CutAtEveryByte) {
  for (const int type : kTypes) {
    PopAll(type);
    for (const bool ipv6 : {false, true}) {
      Outer outer = Of(type, ipv6);
      outer.option_words = type == SLUICE_TUNNEL_GENEVE ? 2 : 0;
      outer.csum = outer.sequence = true;
      const Bytes whole = Encapsulate(kInner, outer);
      ASSERT_TRUE(Out(whole));
      for (size_t size = 14; size < whole.size(); ++size) {
        const Bytes cut(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size));
        const auto ran = rig_.Run(cut);
        // Headers that end early are the first pass's malformed ones already; its miss policy has them.
        EXPECT_NE(ran.verdict, XDP_REDIRECT) << size;
        EXPECT_EQ(ran.frame, cut) << size << ": untouched";
      }
      EXPECT_EQ(rig_.PassGrown(SLUICE_COUNT_tnl_checksum), 0);
    }
  }
}

// The same, where the outer lengths are those of what is left.
TEST_F(Pop, InnerFramesTooShortForEthernet) {
  for (const int type : kTypes) {
    PopAll(type);
    for (size_t size = 0; size < 14; ++size) {
      ExpectDropped(Encapsulate(Bytes(size, 1), Of(type)), SLUICE_COUNT_tnl_malformed, std::to_string(size));
    }
    EXPECT_TRUE(Out(Encapsulate(Bytes(14, 1), Of(type)), Bytes(14, 1)));
  }
}

TEST_F(Pop, WrongFlagsAndReservedBits) {
  PopAll(SLUICE_TUNNEL_VXLAN);
  const Bytes vxlan = Encapsulate(kInner, Of(SLUICE_TUNNEL_VXLAN));
  for (const size_t byte : {0, 1, 2, 3, 7}) {
    for (int bit = 0; bit < 8; ++bit) {
      Bytes wrong = vxlan;
      wrong[42 + byte] ^= static_cast<uint8_t>(1 << bit);
      ExpectDropped(wrong, SLUICE_COUNT_tnl_malformed, std::to_string(byte) + "." + std::to_string(bit));
    }
  }
  PopAll(SLUICE_TUNNEL_GENEVE);
  const Bytes geneve = Encapsulate(kInner, Of(SLUICE_TUNNEL_GENEVE));
  for (const auto& [byte, bits] : {std::pair{0, 0x40}, {0, 0x80}, {1, 0x40}, {2, 1}, {3, 1}}) {
    Bytes wrong = geneve;
    wrong[42 + byte] ^= static_cast<uint8_t>(bits);
    ExpectDropped(wrong, SLUICE_COUNT_tnl_malformed, std::to_string(byte));
  }
  PopAll(SLUICE_TUNNEL_GRE);
  const Bytes gre = Encapsulate(kInner, Of(SLUICE_TUNNEL_GRE));
  for (const auto& [byte, bits] : {std::pair{0, 0x40}, {0, 0x08}, {0, 1}, {1, 1}, {1, 7}, {1, 0x80}, {2, 1}, {3, 1}}) {
    Bytes wrong = gre;
    wrong[34 + byte] ^= static_cast<uint8_t>(bits);
    ExpectDropped(wrong, SLUICE_COUNT_tnl_malformed, std::to_string(byte));
  }
}

TEST_F(Pop, WhatIsNoPacketOfTheTunnel) {
  PopAll(SLUICE_TUNNEL_VXLAN);
  Outer outer = Of(SLUICE_TUNNEL_VXLAN);
  outer.tp_dst = 4790;
  ExpectDropped(Encapsulate(kInner, outer), SLUICE_COUNT_tnl_malformed, "another port");
  ExpectDropped(Encapsulate(kInner, Of(SLUICE_TUNNEL_GRE)), SLUICE_COUNT_tnl_malformed, "GRE");
  Bytes frame = Encapsulate(kInner, Of(SLUICE_TUNNEL_VXLAN));
  frame[20] = 0x20;  // a first fragment; the checksum follows
  Store16(frame, 24, static_cast<uint16_t>(Load16(frame, 24) - 0x2000));
  ExpectDropped(frame, SLUICE_COUNT_tnl_malformed, "a fragment");
  frame = Encapsulate(kInner, Of(SLUICE_TUNNEL_VXLAN));
  frame[25] ^= 1;
  ExpectDropped(frame, SLUICE_COUNT_tnl_malformed, "IPv4's checksum");
  outer = Of(SLUICE_TUNNEL_VXLAN);
  outer.ip_options = 2;
  frame = Encapsulate(kInner, outer);
  frame[36] ^= 1;
  ExpectDropped(frame, SLUICE_COUNT_tnl_malformed, "IPv4's checksum, in its options");
  for (const uint16_t length : {0, 7, 15, 29, 300}) {
    frame = Encapsulate(kInner, Of(SLUICE_TUNNEL_VXLAN));
    Store16(frame, 38, length);
    ExpectDropped(frame, SLUICE_COUNT_tnl_malformed, "UDP length " + std::to_string(length));
  }
  Bytes arp = kInner;
  Store16(arp, 12, 0x0806);
  ExpectDropped(arp, SLUICE_COUNT_tnl_malformed, "ARP");
  PopAll(SLUICE_TUNNEL_GRE);
  ExpectDropped(Encapsulate(kInner, Of(SLUICE_TUNNEL_VXLAN)), SLUICE_COUNT_tnl_malformed, "UDP");
}

TEST_F(Pop, ChecksumsByPolicy) {
  for (const int type : kTypes) {
    for (const bool ipv6 : {false, true}) {
      Outer outer = Of(type, ipv6);
      const Bytes without = Encapsulate(kInner, outer);
      outer.csum = true;
      const Bytes right = Encapsulate(kInner, outer);
      Bytes wrong = right;
      wrong.back() ^= 0x10;
      Bytes inner = kInner;
      inner.back() ^= 0x10;
      PopAll(type, 0);
      EXPECT_TRUE(Out(without));
      EXPECT_TRUE(Out(right));
      EXPECT_TRUE(Out(wrong, inner));
      PopAll(type, SLUICE_STEP_CSUM_VERIFY);
      EXPECT_TRUE(Out(without));
      EXPECT_TRUE(Out(right));
      ExpectDropped(wrong, SLUICE_COUNT_tnl_checksum);
      PopAll(type, SLUICE_STEP_CSUM_REQUIRE);
      ExpectDropped(without, SLUICE_COUNT_tnl_checksum);
      EXPECT_TRUE(Out(right));
      ExpectDropped(wrong, SLUICE_COUNT_tnl_checksum);
    }
  }
}

TEST_F(Pop, NestedTunnels) {
  PopAll(SLUICE_TUNNEL_VXLAN);
  sluice_step step = MakeStep(0, SLUICE_ACTION_RECIRC, 0);
  step.tunnel_type = SLUICE_TUNNEL_GENEVE;
  step.tunnel_port = 10;
  step.tp_dst = 4789;
  const uint32_t geneve = rig_.Step(step);
  rig_.later->Flush();
  rig_.Later("in_port(9),tunnel(tun_id=0x1)", {SLUICE_ACTION_TNL_POP, geneve}, 1);
  rig_.Later("in_port(10),tunnel(tun_id=0x2,ipv6_src=fd00::1,src=0.0.0.0)", {SLUICE_ACTION_OUTPUT, 2}, 2);
  Outer inside = Of(SLUICE_TUNNEL_GENEVE, true);
  inside.id = 2;
  Outer outside = Of(SLUICE_TUNNEL_VXLAN);
  outside.id = 1;
  EXPECT_TRUE(Out(Encapsulate(Encapsulate(kInner, inside), outside)));
  outside.id = 2;
  EXPECT_FALSE(Out(Encapsulate(Encapsulate(kInner, inside), outside)));
}

TEST_F(Pop, AMalformedInnerPacketGoesByTheMissPolicy) {
  PopAll(SLUICE_TUNNEL_VXLAN);
  Bytes inner = kInner;
  inner.resize(20);
  EXPECT_EQ(rig_.Run(Encapsulate(inner, Of(SLUICE_TUNNEL_VXLAN))).verdict, XDP_PASS);
  EXPECT_EQ(rig_.PassGrown(SLUICE_COUNT_malformed_ipv4), 1);
  EXPECT_EQ(rig_.PassGrown(SLUICE_COUNT_miss_pass), 1);
}

// What a later packet of another sort finds must not be this one's.
TEST_F(Pop, NothingLeaksIntoTheNextPacket) {
  PopAll(SLUICE_TUNNEL_VXLAN);
  rig_.Later(
      "recirc_id(0x5),in_port(1),ct_state(0),ct_mark(0),ct_zone(0),tunnel(tun_id=0x0,src=0.0.0.0,tp_dst=0,ttl=0)",
      {SLUICE_ACTION_OUTPUT, 3}, 5);
  EXPECT_TRUE(Out(Encapsulate(kInner, Of(SLUICE_TUNNEL_VXLAN))));
  rig_.Taken();
  Bytes arp = kInner;
  Store16(arp, 12, 0x0806);
  rig_.first->Flush();
  rig_.First("eth_type(0x0806)", {SLUICE_ACTION_RECIRC, 5});
  EXPECT_TRUE(Out(arp, arp));
  EXPECT_EQ(rig_.Taken(), 5);
}

}  // namespace
}  // namespace sluice::xdp
