// SPDX-License-Identifier: Apache-2.0
// tnl_push: the headers that packets get, byte for byte, and those that get none.
#include <gtest/gtest.h>
#include <linux/bpf.h>

#include <algorithm>
#include <array>
#include <set>

#include "frames.h"
#include "pass_rig.h"

namespace sluice::xdp {
namespace {

constexpr std::array<int, 3> kTypes = {SLUICE_TUNNEL_VXLAN, SLUICE_TUNNEL_GENEVE, SLUICE_TUNNEL_GRE};

Outer Of(int type, bool ipv6 = false) {
  Outer outer;
  outer.type = type;
  outer.ipv6 = ipv6;
  outer.df = !ipv6;
  return outer;
}

sluice_step StepOf(const Outer& outer, uint32_t flags = 0, bool choose_port = true) {
  sluice_step step = MakeStep(flags, SLUICE_ACTION_OUTPUT, 2);
  Bytes header = HeaderOf(outer);
  if (choose_port && outer.type != SLUICE_TUNNEL_GRE) Store16(header, outer.ipv6 ? 54 : 34, 0);
  step.header_length = static_cast<uint32_t>(header.size());
  std::copy(header.begin(), header.end(), step.header);
  return step;
}

// Where they differ first.
std::string Differs(const Bytes& got, const Bytes& wanted) {
  if (got == wanted) return "";
  const auto [a, b] = std::mismatch(got.begin(), got.end(), wanted.begin(), wanted.end());
  return "sizes " + std::to_string(got.size()) + " and " + std::to_string(wanted.size()) + ", from byte " +
         std::to_string(a - got.begin());
}

class Push : public testing::Test {
 protected:
  explicit Push(bool frags = false) : rig_({.frags = frags}) {}
  ~Push() override { EXPECT_EQ(rig_.Grown(SLUICE_COUNT_missed_tail_call), 0); }

  void PushAll(const sluice_step& step) {
    rig_.first->Flush();
    rig_.First("", {SLUICE_ACTION_TNL_PUSH, rig_.Step(step)});
  }
  void ExpectDropped(const Bytes& frame, sluice_pass_counter why) {
    rig_.PassGrown(why);
    EXPECT_EQ(rig_.Run(frame).verdict, XDP_DROP);
    EXPECT_EQ(rig_.PassGrown(why), 1);
  }

  PassRig rig_;
};

class PushFrags : public Push {
 protected:
  PushFrags() : Push(true) {}
};

TEST_F(Push, EveryKindByteForByte) {
  for (const int type : kTypes) {
    for (const bool ipv6 : {false, true}) {
      for (const bool csum : {false, true}) {
        Outer outer = Of(type, ipv6);
        outer.csum = csum || (ipv6 && type != SLUICE_TUNNEL_GRE);  // always over IPv6
        outer.option_words = type == SLUICE_TUNNEL_GENEVE ? 3 : 0;
        PushAll(StepOf(outer, csum ? SLUICE_STEP_CSUM : 0));
        for (const size_t size : {14UL, 64UL, 65UL, 555UL, 1400UL}) {
          Bytes inner = UdpFrame(0x0a000002);
          inner.resize(size, 0xa5);
          if (size == 14) inner[12] = 0x88;
          const auto ran = rig_.Run(inner);
          EXPECT_EQ(ran.verdict, XDP_REDIRECT);
          ASSERT_GT(ran.frame.size(), size);
          if (type != SLUICE_TUNNEL_GRE) outer.tp_src = Load16(ran.frame, ipv6 ? 54 : 34);
          EXPECT_EQ(Differs(ran.frame, Encapsulate(inner, outer)), "") << type << ipv6 << csum << " " << size;
          EXPECT_TRUE(ChecksumsAreRight(ran.frame));
        }
      }
    }
  }
}

TEST_F(Push, TheShortestOfAll) {
  Outer outer = Of(SLUICE_TUNNEL_GRE);
  outer.key = false;
  PushAll(StepOf(outer));
  Bytes inner(14, 1);
  const auto ran = rig_.Run(inner);
  EXPECT_EQ(ran.verdict, XDP_REDIRECT);
  EXPECT_EQ(Differs(ran.frame, Encapsulate(inner, outer)), "");
}

TEST_F(Push, WithoutDfTheIdentificationDiffers) {
  Outer outer = Of(SLUICE_TUNNEL_VXLAN);
  outer.df = false;
  PushAll(StepOf(outer));
  std::set<uint16_t> seen;
  for (int i = 0; i < 32; ++i) {
    const auto ran = rig_.Run(UdpFrame(1));
    EXPECT_TRUE(ChecksumsAreRight(ran.frame));
    seen.insert(Load16(ran.frame, 18));
  }
  EXPECT_GT(seen.size(), 24U);
}

TEST_F(Push, ThePortIsOneForEachFlow) {
  PushAll(StepOf(Of(SLUICE_TUNNEL_VXLAN)));
  std::set<uint16_t> ports;
  for (uint16_t flow = 0; flow < 100; ++flow) {
    Bytes inner = UdpFrame(0x0a000002, flow);
    const uint16_t port = Load16(rig_.Run(inner).frame, 34);
    EXPECT_GE(port, 32768);
    EXPECT_LE(port, 60999);
    ports.insert(port);
    inner[15] = 0x20;  // TOS
    inner[22] = 3;     // TTL
    inner.back() = 7;
    EXPECT_EQ(Load16(rig_.Run(inner).frame, 34), port);
  }
  EXPECT_GT(ports.size(), 92U);  // by chance 100 flows have 99.8
  PushAll(StepOf(Of(SLUICE_TUNNEL_VXLAN), 0, false));
  EXPECT_EQ(Load16(rig_.Run(UdpFrame(1)).frame, 34), 50000) << "the header says one";
}

TEST_F(Push, EditedPacketsGetThem) {
  PushAll(StepOf(Of(SLUICE_TUNNEL_VXLAN)));
  const Bytes inner = UdpFrame(1);
  rig_.first->Flush();
  rig_.First("", {SLUICE_ACTION_TNL_PUSH, rig_.Step(StepOf(Of(SLUICE_TUNNEL_VXLAN))),
                  "push_vlan(vid=1,pcp=0),push_vlan(vid=2,pcp=0)"});
  const auto ran = rig_.Run(inner);
  EXPECT_EQ(ran.verdict, XDP_REDIRECT);
  EXPECT_EQ(ran.frame.size(), inner.size() + 50 + 8);
}

TEST_F(Push, TheMtuIsThatOfTheOuterPacket) {
  for (const bool ipv6 : {false, true}) {
    sluice_step step = StepOf(Of(SLUICE_TUNNEL_VXLAN, ipv6));
    step.mtu = 1500;
    PushAll(step);
    Bytes inner = UdpFrame(1);
    inner.resize(1500 + 14 - step.header_length);
    EXPECT_EQ(rig_.Run(inner).verdict, XDP_REDIRECT);
    inner.resize(inner.size() + 1);
    ExpectDropped(inner, SLUICE_COUNT_tnl_mtu);
    EXPECT_EQ(rig_.PassGrown(SLUICE_COUNT_tnl_mtu_told), 0);
  }
}

TEST_F(Push, NoRoomInFrontOfTheFrame) {
  std::array<uint32_t, 6> steps{};
  for (uint32_t i = 0; i < steps.size(); ++i) {
    sluice_step step = StepOf(Of(SLUICE_TUNNEL_VXLAN, true));
    step.terminal = SLUICE_ACTION_TNL_PUSH;
    step.terminal_arg = i + 1;
    rig_.Step(step);
  }
  rig_.Step(StepOf(Of(SLUICE_TUNNEL_VXLAN)));
  rig_.First("", {SLUICE_ACTION_TNL_PUSH, 0});
  ExpectDropped(UdpFrame(1), SLUICE_COUNT_tnl_no_room);
}

TEST_F(Push, WhatWasPushedIsPopped) {
  PushAll(StepOf(Of(SLUICE_TUNNEL_GENEVE, true)));
  sluice_step pop = MakeStep(SLUICE_STEP_CSUM_REQUIRE, SLUICE_ACTION_RECIRC, 0);
  pop.tunnel_type = SLUICE_TUNNEL_GENEVE;
  pop.tp_dst = 4789;
  pop.tunnel_port = 9;
  const uint32_t at = rig_.Step(pop);
  rig_.Later("in_port(9)", {SLUICE_ACTION_OUTPUT, 2});
  for (const auto& [name, spec] : reference::NamedPackets()) {
    const Bytes inner = reference::Build(spec);
    PushAll(StepOf(Of(SLUICE_TUNNEL_GENEVE, true)));
    const auto pushed = rig_.Run(inner);
    EXPECT_EQ(pushed.verdict, XDP_REDIRECT) << name;
    rig_.first->Flush();
    rig_.First("", {SLUICE_ACTION_TNL_POP, at});
    const auto popped = rig_.Run(pushed.frame);
    EXPECT_EQ(popped.verdict, XDP_REDIRECT) << name;
    EXPECT_EQ(popped.frame, inner) << name;
  }
}

// Checksums over frames of several buffers.
TEST_F(PushFrags, JumboFrames) {
  for (const int type : kTypes) {
    Outer outer = Of(type);
    outer.csum = true;
    PushAll(StepOf(outer, SLUICE_STEP_CSUM));
    Bytes inner = UdpFrame(1);
    inner.resize(8800);
    for (size_t i = 64; i < inner.size(); ++i) inner[i] = static_cast<uint8_t>(i * 31 + (i >> 8) * 17);
    const auto ran = rig_.Run(inner);
    EXPECT_EQ(ran.verdict, XDP_REDIRECT);
    if (type != SLUICE_TUNNEL_GRE) outer.tp_src = Load16(ran.frame, 34);
    EXPECT_EQ(Differs(ran.frame, Encapsulate(inner, outer)), "") << type;
  }
}

// ---- The sender is told.

reference::PacketSpec Large(bool ipv6, size_t size) {
  reference::PacketSpec spec;
  spec.src = {2, 0, 0, 0, 0, 1};
  spec.dst = {2, 0, 0, 0, 0, 2};
  if (ipv6) {
    reference::Ipv6Spec ip;
    ip.src[0] = ip.dst[0] = 0xfd;
    ip.src[15] = 0x11;
    ip.dst[15] = 0x22;
    spec.l3 = ip;
  } else {
    reference::Ipv4Spec ip;
    ip.src = 0x0a000001;
    ip.dst = 0x0a000002;
    spec.l3 = ip;
  }
  spec.l4 = reference::UdpSpec{1000, 2000, true};
  spec.payload = static_cast<uint16_t>(size);
  return spec;
}

Bytes WithDf(Bytes frame, size_t l3) {
  Store16(frame, l3 + 6, 0x4000);
  Store16(frame, l3 + 10, static_cast<uint16_t>(Load16(frame, l3 + 10) - 0x4000));
  return frame;
}

sluice_step Telling(uint32_t mtu) {
  sluice_step step = StepOf(Of(SLUICE_TUNNEL_VXLAN), SLUICE_STEP_MTU_ICMP);
  step.mtu = mtu;
  return step;
}

TEST_F(Push, SendersOfIpv4AreToldByIcmp) {
  PushAll(Telling(1400));
  for (const size_t tags : {0UL, 1UL, 2UL}) {
    reference::PacketSpec spec = Large(false, 1400);
    spec.tags.assign(tags, {0x8100, 7});
    const size_t l3 = 14 + 4 * tags;
    const Bytes inner = WithDf(reference::Build(spec), l3);
    const auto ran = rig_.Run(inner);
    EXPECT_EQ(ran.verdict, XDP_REDIRECT) << "back to its port";
    ASSERT_EQ(ran.frame.size(), l3 + 576);
    EXPECT_TRUE(std::equal(ran.frame.begin(), ran.frame.begin() + 6, inner.begin() + 6));
    EXPECT_TRUE(std::equal(ran.frame.begin() + 6, ran.frame.begin() + 12, inner.begin()));
    Bytes plain = ran.frame;
    plain.erase(plain.begin() + 12, plain.begin() + 12 + static_cast<ptrdiff_t>(4 * tags));
    EXPECT_TRUE(ChecksumsAreRight(plain));
    EXPECT_EQ(Load16(plain, 16), 576);
    EXPECT_EQ(plain[23], 1);
    EXPECT_TRUE(std::equal(plain.begin() + 26, plain.begin() + 30, inner.begin() + static_cast<ptrdiff_t>(l3) + 16));
    EXPECT_TRUE(std::equal(plain.begin() + 30, plain.begin() + 34, inner.begin() + static_cast<ptrdiff_t>(l3) + 12));
    EXPECT_EQ(Load16(plain, 34), 0x0304);
    EXPECT_EQ(Load16(plain, 40), 1400 - 36 - l3) << "what then fits";
    EXPECT_TRUE(std::equal(plain.begin() + 42, plain.end(), inner.begin() + static_cast<ptrdiff_t>(l3)));
    EXPECT_EQ(rig_.PassGrown(SLUICE_COUNT_tnl_mtu), 1);
    EXPECT_EQ(rig_.PassGrown(SLUICE_COUNT_tnl_mtu_told), 1);
  }
}

TEST_F(Push, SendersOfIpv6AreToldByIcmpv6) {
  PushAll(Telling(1400));
  const Bytes inner = reference::Build(Large(true, 1400));
  const auto ran = rig_.Run(inner);
  EXPECT_EQ(ran.verdict, XDP_REDIRECT) << "back to its port";
  ASSERT_EQ(ran.frame.size(), 14 + 1280);
  EXPECT_TRUE(ChecksumsAreRight(ran.frame));
  EXPECT_EQ(Load16(ran.frame, 18), 1240);
  EXPECT_EQ(ran.frame[20], 58);
  EXPECT_TRUE(std::equal(ran.frame.begin() + 22, ran.frame.begin() + 38, inner.begin() + 38));
  EXPECT_EQ(Load16(ran.frame, 54), 0x0200);
  EXPECT_EQ(Load16(ran.frame, 60), 1400 - 36 - 14);
  EXPECT_TRUE(std::equal(ran.frame.begin() + 62, ran.frame.end(), inner.begin() + 14));
}

TEST_F(Push, SomeAreNotTold) {
  PushAll(Telling(1400));
  ExpectDropped(reference::Build(Large(false, 1400)), SLUICE_COUNT_tnl_mtu);  // without DF
  reference::PacketSpec many = Large(false, 1400);
  std::get<reference::Ipv4Spec>(many.l3).dst = 0xe0000001;
  ExpectDropped(WithDf(reference::Build(many), 14), SLUICE_COUNT_tnl_mtu);
  many = Large(true, 1400);
  std::get<reference::Ipv6Spec>(many.l3).dst[0] = 0xff;
  ExpectDropped(reference::Build(many), SLUICE_COUNT_tnl_mtu);
  reference::PacketSpec error = Large(false, 1400);
  error.l4 = reference::IcmpSpec{3, 4};
  ExpectDropped(WithDf(reference::Build(error), 14), SLUICE_COUNT_tnl_mtu);
  error = Large(true, 1400);
  error.l4 = reference::IcmpSpec{2, 0};
  ExpectDropped(reference::Build(error), SLUICE_COUNT_tnl_mtu);
  reference::PacketSpec other;
  other.eth_type = 0x88b5;
  other.payload = 1400;
  ExpectDropped(reference::Build(other), SLUICE_COUNT_tnl_mtu);
  EXPECT_EQ(rig_.PassGrown(SLUICE_COUNT_tnl_mtu_told), 0);
}

}  // namespace
}  // namespace sluice::xdp
