// SPDX-License-Identifier: Apache-2.0
#include "reference/conntrack.h"

#include <gtest/gtest.h>

namespace sluice::reference {
namespace {

constexpr uint16_t kSyn = 0x02, kRst = 0x04, kAck = 0x10, kFin = 0x11, kSynAck = 0x12;
constexpr uint32_t kNew = kCtTrk | kCtNew, kEst = kCtTrk | kCtEst, kReply = kEst | kCtRpl, kInv = kCtTrk | kCtInv;

template <typename Layer4>
Bytes Frame(bool turned, Layer4 l4) {
  PacketSpec spec;
  Ipv4Spec ip;
  ip.src = 0x0a000001;
  ip.dst = 0x0a000002;
  if (turned) std::swap(ip.src, ip.dst);
  if constexpr (!std::is_same_v<Layer4, IcmpSpec>) {
    l4.src = turned ? 80 : 1000;
    l4.dst = turned ? 1000 : 80;
  }
  spec.l3 = ip;
  spec.l4 = l4;
  return Build(spec);
}

Ct Commit(uint16_t zone = 0) {
  Ct ct;
  ct.commit = true;
  ct.zone = zone;
  return ct;
}

class ConntrackTest : public testing::Test {
 protected:
  uint32_t Tcp(uint16_t flags, bool turned = false, const Ct& ct = Commit()) {
    return tracking_.Track(ct, Frame(turned, TcpSpec{.flags = flags})).state;
  }
  uint32_t Udp(bool turned = false, const Ct& ct = Commit()) {
    return tracking_.Track(ct, Frame(turned, UdpSpec{})).state;
  }

  Conntrack tracking_;
};

TEST_F(ConntrackTest, AConnectionOfTcp) {
  EXPECT_EQ(Tcp(kSyn), kNew);
  EXPECT_EQ(Tcp(kSyn), kNew);  // again: still nobody has answered
  EXPECT_EQ(Tcp(kSynAck, true), kReply);
  EXPECT_EQ(Tcp(kAck), kEst);
  EXPECT_EQ(Tcp(kAck, true), kReply);
  EXPECT_EQ(tracking_.size(), 1U);
  EXPECT_EQ(tracking_.committed(), 1U);
  EXPECT_EQ(Tcp(kFin), kEst);
  EXPECT_EQ(Tcp(kFin, true), kReply);
  EXPECT_EQ(Tcp(kAck), kEst);
  EXPECT_EQ(Tcp(kSyn), kNew);  // the next one
  EXPECT_EQ(tracking_.committed(), 2U);
  EXPECT_EQ(Tcp(kAck), kNew);
}

TEST_F(ConntrackTest, WithoutCommitNothingIsKept) {
  EXPECT_EQ(Tcp(kSyn, false, {}), kNew);
  EXPECT_EQ(Tcp(kSynAck, true, {}), kInv);
  EXPECT_EQ(tracking_.size(), 0U);
}

TEST_F(ConntrackTest, AResetOfOneThatNeverWasLeavesNothing) {
  Tcp(kSyn);
  EXPECT_EQ(Tcp(kRst | kAck, true), kReply);
  EXPECT_EQ(tracking_.size(), 0U);
  EXPECT_EQ(Tcp(kRst), kInv);
}

TEST_F(ConntrackTest, WhatCannotBegin) {
  for (const uint16_t flags : {kSynAck, kRst, kFin}) EXPECT_EQ(Tcp(flags), kInv) << flags;
  for (const uint16_t flags : {0x00, 0x03, 0x06, 0x08, 0x20}) EXPECT_EQ(Tcp(flags), kInv) << flags;
  EXPECT_EQ(Tcp(kAck), kNew);  // in its midst
}

TEST_F(ConntrackTest, UdpIsEstablishedByAnAnswer) {
  EXPECT_EQ(Udp(), kNew);
  EXPECT_EQ(Udp(), kNew);
  EXPECT_EQ(Udp(true), kReply);
  EXPECT_EQ(Udp(), kEst);
}

TEST_F(ConntrackTest, ZonesKnowNothingOfEachOther) {
  EXPECT_EQ(Udp(false, Commit(1)), kNew);
  EXPECT_EQ(Udp(true, Commit(2)), kNew);
  EXPECT_EQ(Udp(true, Commit(1)), kReply);
}

TEST_F(ConntrackTest, ForceReplacesOneOfTheOtherDirection) {
  Udp();
  Ct force = Commit();
  force.force = true;
  EXPECT_EQ(Udp(false, force), kNew);  // of this direction: it stays
  EXPECT_EQ(tracking_.committed(), 1U);
  EXPECT_EQ(Udp(true, force), kNew);
  EXPECT_EQ(tracking_.committed(), 2U);
  EXPECT_EQ(tracking_.size(), 1U);
  EXPECT_EQ(Udp(), kReply);
}

TEST_F(ConntrackTest, MarksAreWrittenByCommitAndRead) {
  Ct mark = Commit();
  mark.mark = {0x53, 0xff};
  EXPECT_EQ(tracking_.Track(mark, Frame(false, UdpSpec{})).mark, 0x53U);
  EXPECT_EQ(tracking_.Track({}, Frame(true, UdpSpec{})).mark, 0x53U);
  mark.mark = {0x20, 0xf0};
  EXPECT_EQ(tracking_.Track(mark, Frame(true, UdpSpec{})).mark, 0x23U);
  EXPECT_EQ(tracking_.Track(mark, Frame(true, UdpSpec{})).found_mark, 0x23U);
}

TEST_F(ConntrackTest, EchoBeginsWithARequest) {
  EXPECT_EQ(tracking_.Track(Commit(), Frame(true, IcmpSpec{0, 0})).state, kInv);
  EXPECT_EQ(tracking_.Track(Commit(), Frame(false, IcmpSpec{8, 0})).state, kNew);
  EXPECT_EQ(tracking_.Track(Commit(), Frame(true, IcmpSpec{0, 0})).state, kReply);
  EXPECT_EQ(tracking_.Track(Commit(), Frame(false, IcmpSpec{8, 0})).state, kEst);
  EXPECT_EQ(tracking_.Track(Commit(), Frame(false, IcmpSpec{13, 0})).state, kInv);  // a timestamp
}

TEST_F(ConntrackTest, AnErrorIsRelatedToWhatItQuotes) {
  const Bytes sent = Frame(false, UdpSpec{});
  const auto error = [&](uint32_t to, size_t quoted) {
    PacketSpec spec;
    Ipv4Spec ip;
    ip.src = 0x0a000009;
    ip.dst = to;
    spec.l3 = ip;
    spec.l4 = IcmpSpec{3, 1};
    spec.payload = static_cast<uint16_t>(quoted);
    Bytes frame = Build(spec);
    std::copy_n(sent.begin() + 14, quoted, frame.end() - static_cast<ptrdiff_t>(quoted));
    return tracking_.Track(Commit(), frame).state;
  };
  EXPECT_EQ(error(0x0a000001, 28), kInv);
  Udp();
  EXPECT_EQ(error(0x0a000001, 28), kCtTrk | kCtRel | kCtRpl);  // it comes back
  EXPECT_EQ(error(0x0a000001, 27), kInv);
  EXPECT_EQ(error(0x0a000002, 28), kInv);  // not to who sent it
}

TEST_F(ConntrackTest, WhatIsNotTracked) {
  for (const auto& [name, spec] : NamedPackets()) {
    const uint32_t state = Conntrack().Track({}, Build(spec)).state;
    if (name.starts_with("arp") || name == "rarp" || name == "other" || name == "ieee_802_3" ||
        name == "udp4_three_tags") {
      EXPECT_EQ(state, 0U) << name;
    } else if (name.find("later_fragment") != std::string::npos || name.starts_with("sctp") ||
               name.find("_other") != std::string::npos || name == "udp6_seven_extensions") {
      EXPECT_EQ(state, kInv) << name;
    } else {
      EXPECT_EQ(state, kNew) << name;
    }
  }
}

}  // namespace
}  // namespace sluice::reference
