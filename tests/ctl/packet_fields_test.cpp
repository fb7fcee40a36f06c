// SPDX-License-Identifier: Apache-2.0
#include "packet_fields.h"

#include <gtest/gtest.h>

#include "reference/checksum.h"
#include "reference/packet.h"
#include "reference/parser.h"

namespace sluice::ctl {
namespace {

// What the reference reads in the frame of these fields.
std::string Said(const std::string& fields) {
  const auto packet = ReadFields(fields, NumbersOnly());
  if (!packet) return Explain(packet.error(), fields);
  const reference::Parsed parsed = reference::Parse(packet->frame);
  EXPECT_EQ(parsed.malformed, reference::Malformed::kNo) << fields;
  EXPECT_GE(packet->frame.size(), 60U) << fields;
  return FormatMatch(parsed.key);
}

void ExpectRefused(const std::string& fields, const std::string& detail, uint32_t column) {
  const auto packet = ReadFields(fields, NumbersOnly());
  ASSERT_FALSE(packet) << fields;
  EXPECT_NE(packet.error().detail.find(detail), std::string::npos) << fields << ": " << packet.error().detail;
  EXPECT_EQ(packet.error().line, 1U) << fields;
  EXPECT_EQ(packet.error().column, column) << fields << ": " << packet.error().detail;
}

// The same without the addresses that are 0 where nobody says otherwise.
std::string SaidBeside(const std::string& fields) {
  const std::string zero = "eth(src=00:00:00:00:00:00,dst=00:00:00:00:00:00),";
  const std::string said = Said(fields);
  return said.starts_with(zero) ? said.substr(zero.size()) : said;
}

TEST(PacketFields, WhatIsNotSaidFollowsOrIsADefault) {
  EXPECT_EQ(SaidBeside("in_port(1)"), "eth_type(0x88b5)");
  EXPECT_EQ(SaidBeside("ipv4(dst=10.0.0.1)"),
            "eth_type(0x0800),ipv4(src=0.0.0.0,dst=10.0.0.1,proto=253,tos=0,ttl=64,frag=no)");
  EXPECT_EQ(SaidBeside("tcp(dst=80)"),
            "eth_type(0x0800),ipv4(src=0.0.0.0,dst=0.0.0.0,proto=6,tos=0,ttl=64,frag=no),tcp(src=0,dst=80),"
            "tcp_flags(syn)");
  EXPECT_EQ(SaidBeside("icmpv6(type=128)"),
            "eth_type(0x86dd),ipv6(src=::,dst=::,label=0,proto=58,tclass=0,hlimit=64,frag=no),"
            "icmpv6(type=128,code=0)");
  EXPECT_EQ(SaidBeside("eth_type(0x86dd),udp(dst=53)"),
            "eth_type(0x86dd),ipv6(src=::,dst=::,label=0,proto=17,tclass=0,hlimit=64,frag=no),udp(src=0,dst=53)");
  EXPECT_EQ(SaidBeside("vlan(vid=5)"), "eth_type(0x8100),vlan(vid=5,pcp=0),encap(eth_type(0x88b5))");
  EXPECT_EQ(SaidBeside("arp(tip=10.0.0.1)"),
            "eth_type(0x0806),arp(sip=0.0.0.0,tip=10.0.0.1,op=1,sha=00:00:00:00:00:00,tha=00:00:00:00:00:00)");
  EXPECT_TRUE(SaidBeside("tcp_flags(+ack-syn)").ends_with(",tcp_flags(ack)"));
}

TEST(PacketFields, WhatIsSaidIsInTheFrame) {
  const std::string eth = "eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02),";
  for (const std::string& fields :
       {eth + "eth_type(0x88b6)", eth + "eth_type(0x05ff)",
        eth + "eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=17,tos=0x10,ttl=3,frag=no),udp(src=1,dst=2)",
        eth + "eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=17,tos=0,ttl=3,frag=first),udp(src=1,dst=2)",
        eth + "eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=17,tos=0,ttl=3,frag=later)",
        eth + "eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=6,tos=0,ttl=3,frag=no),tcp(src=1,dst=2),"
              "tcp_flags(syn|ack|[800])",
        eth + "eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=132,tos=0,ttl=3,frag=no),sctp(src=1,dst=2)",
        eth + "eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=1,tos=0,ttl=0,frag=no),icmp(type=8,code=1)",
        eth + "eth_type(0x86dd),ipv6(src=fe80::1,dst=fe80::2,label=0xabcde,proto=17,tclass=0x5,hlimit=2,frag=first),"
              "udp(src=1,dst=2)",
        eth + "eth_type(0x86dd),ipv6(src=fe80::1,dst=fe80::2,label=0,proto=44,tclass=0,hlimit=2,frag=later)",
        eth + "eth_type(0x86dd),ipv6(src=fe80::1,dst=fe80::2,label=0,proto=58,tclass=0,hlimit=2,frag=no),"
              "icmpv6(type=135,code=0)",
        eth + "eth_type(0x8035),arp(sip=10.0.0.1,tip=10.0.0.2,op=3,sha=02:00:00:00:00:01,tha=02:00:00:00:00:02)",
        eth + "eth_type(0x88a8),vlan(vid=7,pcp=3),encap(eth_type(0x8100),vlan(vid=5,pcp=0),encap(eth_type(0x0806),"
              "arp(sip=10.0.0.1,tip=10.0.0.2,op=1,sha=02:00:00:00:00:01,tha=00:00:00:00:00:00)))"}) {
    EXPECT_EQ(Said(fields), fields);
  }
}

// But for the payload, and so the checksum, the last two bytes of a UDP header.
TEST(PacketFields, HeadersAreThoseThatTheReferenceBuilds) {
  constexpr size_t kPayload = 18;
  reference::Ipv6Spec ipv6;
  ipv6.src[15] = 1;
  ipv6.dst[15] = 2;
  reference::PacketSpec spec;
  spec.payload = kPayload;
  spec.l3 = ipv6;
  spec.l4 = reference::UdpSpec{1000, 53, true};
  const reference::Bytes built = reference::Build(spec);
  const auto made = ReadFields("ipv6(src=::1,dst=::2),udp(src=1000,dst=53)", NumbersOnly());
  ASSERT_TRUE(made);
  ASSERT_EQ(made->frame.size(), built.size());
  EXPECT_TRUE(std::equal(built.begin(), built.end() - kPayload - 2, made->frame.begin()))
      << reference::Hex(built) << "\n"
      << reference::Hex(made->frame);
}

TEST(PacketFields, ChecksumsAreRight) {
  for (const std::string transport : {"udp(dst=53)", "tcp(dst=80)", "icmp(type=8)"}) {
    const auto frame = ReadFields("ipv4(src=10.0.0.1,dst=10.0.0.2)," + transport, NumbersOnly())->frame;
    const std::span<const uint8_t> ip = std::span(frame).subspan(14, 20);
    EXPECT_EQ(reference::Checksum(ip), 0) << transport;
    const size_t length = static_cast<size_t>(ip[2]) << 8 | ip[3];
    reference::Bytes covered;
    if (transport[0] != 'i') {
      covered.assign(ip.begin() + 12, ip.end());
      covered.insert(covered.end(),
                     {0, ip[9], static_cast<uint8_t>((length - 20) >> 8), static_cast<uint8_t>(length - 20)});
    }
    covered.insert(covered.end(), frame.begin() + 34, frame.begin() + 14 + static_cast<ptrdiff_t>(length));
    EXPECT_EQ(reference::Checksum(covered), 0) << transport;
  }
}

TEST(PacketFields, TheInPortIsTold) {
  EXPECT_EQ(ReadFields("in_port(3)", NumbersOnly())->in_port, 3U);
  EXPECT_FALSE(ReadFields("eth_type(0x0800)", NumbersOnly())->in_port);
}

TEST(PacketFields, MasksAreRefused) {
  ExpectRefused("in_port(1),ipv4(dst=10.0.0.0/24)", "ipv4(dst) has a mask", 12);
  ExpectRefused("in_port(1/3)", "in_port has a mask", 1);
  ExpectRefused("vlan(tci=0x1005/0x1007)", "vlan has a mask", 1);
}

TEST(PacketFields, ContradictionsNameTheField) {
  ExpectRefused("eth_type(0x0800),ipv6(dst=::1)", "ipv6(dst)", 18);
  ExpectRefused("ipv4(dst=10.0.0.1),arp(op=1)", "arp(op)", 20);
  ExpectRefused("ipv4(proto=17),tcp(dst=80)", "tcp(dst)", 16);
  ExpectRefused("tcp(dst=80),udp(dst=53)", "udp(dst)", 13);
  ExpectRefused("eth_type(0x0800),vlan(vid=5)", "vlan", 18);
  ExpectRefused("ipv4(frag=later),udp(dst=53)", "udp(dst) is not in later fragments", 18);
  ExpectRefused("ipv6(proto=17,frag=later)", "ipv6(proto) contradicts the other fields", 1);
  ExpectRefused("ipv6(proto=0)", "contradict", 1);
  ExpectRefused("eth_type(0x0100)", "eth_type contradicts", 1);
  ExpectRefused("in_port(1),skb_mark(0x5)", "skb_mark is nothing that a packet has", 12);
  ExpectRefused("in_port(1),dp_hash(0x5)", "dp_hash", 12);
  ExpectRefused("ct_label(0x5)", "ct_label", 1);
  ExpectRefused("recirc_id(0x5/0xf)", "recirc_id has a mask", 1);
  ExpectRefused("icmpv6(type=135),nd(target=fe80::1)", "nd(target)", 18);
}

TEST(PacketFields, ZeroMetadataOfADumpIsReadOver) {
  EXPECT_TRUE(ReadFields("recirc_id(0),skb_mark(0),ct_state(0),in_port(1)", NumbersOnly()));
}

TEST(PacketFields, BadTextIsToldWithItsPlace) {
  ExpectRefused("in_port(1),eth_typ(0x0800)", "unknown match field 'eth_typ'", 12);
  ExpectRefused("ipv4(dst=10.0.0)", "", 10);
}

TEST(PacketFields, WhatPassesBeforeHaveLeft) {
  const auto beside = [](const std::string& fields) {
    const auto packet = ReadFields(fields, NumbersOnly());
    return packet ? FormatMatch(packet->beside) : Explain(packet.error(), fields);
  };
  EXPECT_EQ(beside("recirc_id(0x5),in_port(1),ipv4(dst=10.0.0.1)"), "recirc_id(0x5)");
  EXPECT_EQ(beside("recirc_id(0),tunnel(tun_id=0),ct_state(0),in_port(1)"), "");
  EXPECT_EQ(beside("tunnel(tun_id=0x7b,src=10.1.0.1,dst=10.1.0.2,tos=0,ttl=64,flags(csum|key)),in_port(9)"),
            "tunnel(tun_id=0x7b,src=10.1.0.1,dst=10.1.0.2,ttl=64,flags(csum|key))");
  EXPECT_EQ(beside("tunnel(flags(+key-df))"), "tunnel(flags(key))");
  EXPECT_EQ(beside("ct_state(+est-new),ct_zone(0x5),ct_mark(0x7)"), "ct_state(est|trk),ct_zone(0x5),ct_mark(0x7)");
}

}  // namespace
}  // namespace sluice::ctl
