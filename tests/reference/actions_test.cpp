// SPDX-License-Identifier: Apache-2.0
// What each action does beside what set_test.cpp proves for all packets: order, tags, TTL, truncation, odd cases.
#include "reference/actions.h"

#include <gtest/gtest.h>

#include <stdexcept>

#include "reference/checksum.h"
#include "sluice/flow_text.h"

namespace sluice::reference {
namespace {

const std::set<uint32_t> kPorts{1, 2, 3};

Outcome Do(const std::string& text, const Bytes& frame) {
  const auto actions = ParseActions(text);
  if (!actions) throw std::invalid_argument(text + ": " + actions.error().detail);
  return Execute(*actions, frame, 1, kPorts);
}

// The frame after the edits that the text names.
Bytes Edit(const std::string& text, const Bytes& frame) { return Do(text + ",2", frame).emissions.at(0).frame; }

PacketSpec NamedSpec(const std::string& name) {
  for (const auto& [n, spec] : NamedPackets()) {
    if (n == name) return spec;
  }
  throw std::out_of_range(name);
}
Bytes Named(const std::string& name) { return Build(NamedSpec(name)); }

Bytes Frame() { return {0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 1, 0x88, 0xb5, 0xaa, 0xbb}; }

Bytes First(Bytes frame, size_t bytes) {
  frame.resize(bytes);
  return frame;
}

TEST(Execute, OutputsSeeTheEditsBeforeThem) {
  const Bytes tagged{0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 1, 0x81, 0x00, 0x60, 0x05, 0x88, 0xb5, 0xaa, 0xbb};
  const Actions actions{Output{2}, PushVlan{0x8100, 0x7005}, Output{3}, PopVlan{}, Output{1}};
  const Outcome outcome = Execute(actions, Frame(), 1, kPorts);
  EXPECT_EQ(outcome.emissions, (std::vector<Emission>{{2, Frame()}, {3, tagged}, {1, Frame()}}));
}

TEST(Execute, FloodLeavesOutTheWayIn) {
  const Outcome outcome = Execute({Flood{}}, Frame(), 2, kPorts);
  EXPECT_EQ(outcome.emissions, (std::vector<Emission>{{1, Frame()}, {3, Frame()}}));
}

TEST(Execute, DropEndsTheList) {
  EXPECT_EQ(Execute({}, Frame(), 1, kPorts), Outcome{});
  EXPECT_EQ(Execute({Drop{}, Output{2}}, Frame(), 1, kPorts), Outcome{});
}

TEST(Execute, AfterAnUpcallTheListGoesOn) {
  const Outcome outcome = Do("upcall(max_len=4),push_vlan(vid=1),upcall,2", Frame());
  const Bytes tagged = Edit("push_vlan(vid=1)", Frame());
  EXPECT_EQ(outcome.upcalls, (std::vector<Bytes>{{0, 0, 0, 0}, tagged}));
  EXPECT_EQ(outcome.emissions, (std::vector<Emission>{{2, tagged}}));
}

TEST(Execute, RefusesWhatItDoesNotKnow) {
  EXPECT_THROW(Execute({Recirc{1}}, Frame(), 1, kPorts), std::logic_error);
  EXPECT_THROW(Do("set(skb_mark(1)),2", Frame()), std::logic_error);
  EXPECT_THROW(Execute({Output{1}}, First(Frame(), 13), 1, kPorts), std::logic_error);
}

TEST(Trunc, HoldsForTheNextOutputOnly) {
  const Bytes frame = Named("udp4");
  const Outcome outcome = Do("trunc(20),push_vlan(vid=1),pop_vlan,2,3,trunc(14),upcall,upcall,trunc(5000),2", frame);
  EXPECT_EQ(outcome.emissions, (std::vector<Emission>{{2, First(frame, 20)}, {3, frame}, {2, frame}}));
  EXPECT_EQ(outcome.upcalls, (std::vector<Bytes>{First(frame, 14), frame}));
}

TEST(Trunc, OfAFloodAndOfACappedUpcall) {
  const Bytes frame = Named("udp4");
  const Outcome outcome = Do("trunc(30),flood,trunc(40),upcall(max_len=20),trunc(20),upcall(max_len=40),2", frame);
  EXPECT_EQ(outcome.emissions, (std::vector<Emission>{{2, First(frame, 30)}, {3, First(frame, 30)}, {2, frame}}));
  EXPECT_EQ(outcome.upcalls, (std::vector<Bytes>{First(frame, 20), First(frame, 20)}));
}

// Edits see the whole packet: the checksum of SCTP is over bytes that the output does not get.
TEST(Trunc, DoesNotCutThePacket) {
  const Bytes whole = Edit("set(sctp(src=7))", Named("sctp4"));
  EXPECT_EQ(Edit("trunc(50),set(sctp(src=7))", Named("sctp4")), First(whole, 50));
}

TEST(Tags, PopWithoutATagChangesNothing) {
  EXPECT_EQ(Edit("pop_vlan,pop_vlan", Frame()), Frame());
  // The third tag is payload to the parser; it may be popped all the same, but nothing is seen behind it.
  const Bytes three = Named("udp4_three_tags");
  EXPECT_EQ(Edit("pop_vlan,pop_vlan,pop_vlan,pop_vlan,set(udp(src=9)),set(ipv4(ttl=9))", three), Named("udp4"));
}

// Where the frame ends in its third tag, that is none any more.
TEST(Tags, ATagIsWhole) {
  const Bytes cut = First(Named("udp4_three_tags"), 22);
  EXPECT_EQ(Edit("pop_vlan,pop_vlan,pop_vlan,set(vlan(vid=9))", cut).size(), 14U);
}

TEST(Tags, SetIsOfTheOutermostTagByThen) {
  PacketSpec spec = NamedSpec("tcp4_qinq");
  spec.tags[0].tci = 0x2009;
  EXPECT_EQ(Edit("set(vlan(vid=9))", Named("tcp4_qinq")), Build(spec));
  spec = NamedSpec("tcp4_qinq");
  spec.tags = {{0x8100, 0x6005}};
  EXPECT_EQ(Edit("pop_vlan,set(vlan(pcp=3))", Named("tcp4_qinq")), Build(spec));
  spec.tags = {{0x88a8, 0x0fff}, {0x88a8, 0x2064}, {0x8100, 5}};
  EXPECT_EQ(Edit("push_vlan(tpid=0x88a8,vid=1),set(vlan(vid=0xfff))", Named("tcp4_qinq")), Build(spec));
  EXPECT_EQ(Edit("set(vlan(vid=9))", Named("udp4")), Named("udp4"));
}

TEST(Tags, TheDropEligibleBitStays) {
  PacketSpec spec = NamedSpec("udp4_drop_eligible");  // 0x7005
  spec.tags[0].tci = 0xf005;
  EXPECT_EQ(Edit("set(vlan(pcp=7))", Named("udp4_drop_eligible")), Build(spec));
  spec = NamedSpec("udp4_vlan");  // 0x6005
  spec.tags[0].tci = 0x6007;
  EXPECT_EQ(Edit("set(vlan(tci=0x1007/0x1fff))", Named("udp4_vlan")), Build(spec));
}

TEST(Tags, MoveTheHeaders) {
  PacketSpec spec = NamedSpec("tcp6");
  std::get<TcpSpec>(spec.l4).dst = 81;
  spec.tags = {{0x8100, 2}, {0x8100, 1}};
  EXPECT_EQ(Edit("push_vlan(vid=1),push_vlan(vid=2),set(tcp(dst=81))", Named("tcp6")), Build(spec));
  spec.tags = {};
  EXPECT_EQ(Edit("push_vlan(vid=1),set(tcp(dst=81)),pop_vlan", Named("tcp6")), Build(spec));
  EXPECT_EQ(Edit("pop_vlan,pop_vlan,set(tcp(dst=81)),set(ipv6(hlimit=63))", Named("udp6_qinq")),
            Edit("set(ipv6(hlimit=63))", Named("udp6")));
}

TEST(DecTtl, CountsDownAndGoesOn) {
  PacketSpec spec = NamedSpec("udp4_vlan");
  std::get<Ipv4Spec>(spec.l3).ttl = 62;
  EXPECT_EQ(Edit("dec_ttl,dec_ttl", Named("udp4_vlan")), Build(spec));
  spec = NamedSpec("udp6_extensions");
  std::get<Ipv6Spec>(spec.l3).hlimit = 63;
  EXPECT_EQ(Edit("dec_ttl(le_1(3))", Named("udp6_extensions")), Build(spec));
  EXPECT_EQ(Edit("dec_ttl", Named("arp")), Named("arp"));
  EXPECT_EQ(Edit("dec_ttl", Named("udp4_three_tags")), Named("udp4_three_tags"));
}

TEST(DecTtl, ExpiredTakesTheOtherListInsteadOfTheRest) {
  for (const std::string name : {"udp4", "udp6"}) {
    for (const uint8_t ttl : {0, 1}) {
      PacketSpec spec = NamedSpec(name);
      if (auto* v4 = std::get_if<Ipv4Spec>(&spec.l3)) v4->ttl = ttl;
      if (auto* v6 = std::get_if<Ipv6Spec>(&spec.l3)) v6->hlimit = ttl;
      const Bytes frame = Build(spec);
      const Bytes tagged = Edit("push_vlan(vid=1)", frame);
      EXPECT_EQ(Do("dec_ttl,2", frame), Outcome{});
      EXPECT_EQ(Do("3,dec_ttl,2", frame).emissions, (std::vector<Emission>{{3, frame}}));
      EXPECT_EQ(Do("push_vlan(vid=1),dec_ttl(le_1(3,pop_vlan,1)),2", frame).emissions,
                (std::vector<Emission>{{3, tagged}, {1, frame}}));
      EXPECT_EQ(Do("dec_ttl(le_1(dec_ttl(le_1(upcall)),3)),2", frame), (Outcome{{}, {frame}}));
      EXPECT_EQ(Do("trunc(20),dec_ttl(le_1(3,3)),2", frame).emissions,
                (std::vector<Emission>{{3, First(frame, 20)}, {3, frame}}));
    }
  }
}

TEST(DecTtl, RunsOutOnTheWay) {
  PacketSpec spec = NamedSpec("udp4");
  std::get<Ipv4Spec>(spec.l3).ttl = 2;
  const Bytes frame = Build(spec);
  std::get<Ipv4Spec>(spec.l3).ttl = 1;
  EXPECT_EQ(Do("dec_ttl,1,dec_ttl(le_1(3)),2", frame).emissions,
            (std::vector<Emission>{{1, Build(spec)}, {3, Build(spec)}}));
}

// Only where the packet is of the protocol.
TEST(Set, OfAHeaderThatIsNotThereChangesNothing) {
  const std::string all =
      "set(arp(op=7)),set(ipv6(hlimit=7)),set(udp(src=7)),set(sctp(src=7)),set(icmp(type=7)),set(icmpv6(type=7))";
  EXPECT_EQ(Edit(all, Named("tcp4")), Named("tcp4"));
  EXPECT_EQ(Edit("set(ipv4(ttl=7)),set(icmp(type=7)),set(tcp(src=7)),set(udp(dst=7))", Named("icmp6")), Named("icmp6"));
  EXPECT_EQ(Edit("set(ipv4(ttl=7)),set(icmpv6(type=7))", Named("rarp")), Named("rarp"));
  EXPECT_EQ(Edit("set(icmpv6(code=7))", Named("icmp4")), Named("icmp4"));
}

TEST(Set, OfPortsInFragments) {
  for (const std::string kind : {"tcp4", "udp4", "sctp4"}) {
    const std::string set = "set(" + kind.substr(0, kind.size() - 1) + "(src=7))";
    EXPECT_EQ(Edit(set, Named(kind + "_later_fragment")), Named(kind + "_later_fragment"));
    const bool first = Edit(set, Named(kind + "_first_fragment")) != Named(kind + "_first_fragment");
    EXPECT_EQ(first, kind != "sctp4") << kind;
  }
  EXPECT_EQ(Edit("set(sctp(dst=7))", Named("sctp6_first_fragment")), Named("sctp6_first_fragment"));
}

// The pseudo header of a packet on its way through a routing header has another destination.
TEST(Set, OfTheDestinationBeforeARoutingHeaderWithSegmentsLeft) {
  for (const std::string name : {"udp6_routed", "tcp6_routed", "icmp6_routed"}) {
    const Bytes frame = Named(name);
    Bytes other = frame;
    other[14 + 24 + 15] = 0x77;
    EXPECT_EQ(Edit("set(ipv6(dst=fd00::77))", frame), other);
  }
}

TEST(Set, OfUdpWithAChecksumOfZeros) {
  PacketSpec spec = NamedSpec("udp4");
  Bytes frame = Build(spec);
  // The source port that makes the sum 0: what the checksum has more than it should, the port has less.
  const auto checksum = static_cast<uint16_t>(frame[40] << 8 | frame[41]);
  const auto port = static_cast<uint16_t>(1000 + checksum);
  std::get<UdpSpec>(spec.l4).src = port;
  const Bytes expected = Build(spec);
  ASSERT_EQ(expected[40] << 8 | expected[41], 0xffff);
  const Bytes got = Edit("set(udp(src=" + std::to_string(port) + "))", frame);
  EXPECT_EQ(got, expected);
  EXPECT_EQ(Edit("set(udp(src=1000))", got), frame);
  // In TCP a 0 is a checksum like any other.
  frame = Named("tcp4");
  const auto tcp = static_cast<uint16_t>(frame[50] << 8 | frame[51]);
  const Bytes zero = Edit("set(tcp(src=" + std::to_string((1000 + tcp) % 0xffff) + "))", frame);
  EXPECT_EQ(zero[50] << 8 | zero[51], 0);
  EXPECT_EQ(Edit("set(tcp(src=1000))", zero), frame);
}

// Of the length field it is believed what can be.
TEST(Set, OfSctpTakesTheMessageFromTheLength) {
  const auto crc_of = [](const Bytes& frame, size_t at, size_t end) {
    Bytes message(frame.begin() + static_cast<ptrdiff_t>(at), frame.begin() + static_cast<ptrdiff_t>(end));
    std::fill_n(message.begin() + 8, 4, 0);
    return Crc32c(message);
  };
  const auto field = [](const Bytes& frame, size_t at) {
    return static_cast<uint32_t>(frame[at + 8]) | static_cast<uint32_t>(frame[at + 9]) << 8 |
           static_cast<uint32_t>(frame[at + 10]) << 16 | static_cast<uint32_t>(frame[at + 11]) << 24;
  };
  struct Case {
    std::string name;
    size_t transport, end;
  };
  const size_t size4 = Named("sctp4").size();
  const size_t size6 = Named("sctp6").size();
  for (const auto& [name, at, end] :
       {Case{"sctp4", 34, size4}, Case{"sctp4_padding", 34, size4}, Case{"sctp4_short_length", 34, 14 + 44},
        Case{"sctp4_no_length", 34, size4}, Case{"sctp4_long_length", 34, size4}, Case{"sctp6", 54, size6},
        Case{"sctp6_padding", 54, size6}, Case{"sctp6_short_length", 54, 14 + 40 + 20}}) {
    const Bytes before = Named(name);
    const Bytes after = Edit("set(sctp(src=7,dst=8))", before);
    EXPECT_NE(field(before, at), field(after, at)) << name;
    EXPECT_EQ(field(before, at) ^ crc_of(before, at, end), field(after, at) ^ crc_of(after, at, end)) << name;
  }
}

}  // namespace
}  // namespace sluice::reference
