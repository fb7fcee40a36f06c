// SPDX-License-Identifier: Apache-2.0
// Tunnels against the reference, which was written for itself from the RFCs. SLUICE_SEED=N runs one seed again.
#include "soft/tunnel.h"

#include <gtest/gtest.h>

#include <iostream>
#include <map>

#include "compare/tunnel_frames.h"
#include "execution.h"
#include "reference/tunnel.h"
#include "sluice/flow_text.h"

namespace sluice::soft {
namespace {

using Kind = reference::TunnelPort::Kind;
using Checksum = reference::TunnelPort::Checksum;

TunnelType TypeOf(Kind kind) {
  return kind == Kind::kVxlan ? TunnelType::kVxlan : kind == Kind::kGeneve ? TunnelType::kGeneve : TunnelType::kGre;
}

OuterChecksum PolicyOf(Checksum policy) {
  return policy == Checksum::kIgnore   ? OuterChecksum::kIgnore
         : policy == Checksum::kVerify ? OuterChecksum::kVerify
                                       : OuterChecksum::kRequire;
}

Match Parsable(const std::string& fields) {
  const auto match = ParseMatchPart(fields);
  if (!match) throw std::invalid_argument(Explain(match.error(), fields));
  return *match;
}

TEST(Tunnel, NamesAndPorts) {
  EXPECT_EQ(TunnelTypeOf("vxlan"), TunnelType::kVxlan);
  EXPECT_EQ(TunnelTypeOf("geneve"), TunnelType::kGeneve);
  EXPECT_EQ(TunnelTypeOf("gre"), TunnelType::kGre);
  EXPECT_FALSE(TunnelTypeOf("stt"));
  EXPECT_EQ(DefaultTunnelPort(TunnelType::kVxlan), 4789);
  EXPECT_EQ(DefaultTunnelPort(TunnelType::kGeneve), 6081);
}

TEST(Tunnel, PopsWhatTheReferencePops) {
  const uint64_t seed = reference::SeedFromEnvironment();
  std::cout << "seed " << seed << "\n";
  reference::Rng rng(seed);
  std::map<std::string, int> seen;
  for (int i = 0; i < 60000; ++i) {
    const reference::TunnelPort port{static_cast<Kind>(rng.Below(3)), 4789, static_cast<Checksum>(rng.Below(3)), 0};
    Bytes inner = reference::Build(reference::RandomPacket(rng));
    if (rng.OneIn(10)) inner.resize(rng.Below(30));
    Bytes frame = compare::InTunnel(rng, port, inner);
    if (rng.OneIn(6)) frame = reference::Damage(frame, rng);
    const reference::Decapsulated expected = reference::Decapsulate(port, frame);
    const auto popped = PopTunnel(frame, TypeOf(port.kind), port.udp_port, PolicyOf(port.checksum));
    const std::string wrong = popped ? "" : popped.error().reason;
    ASSERT_EQ(wrong, expected.wrong) << "SLUICE_SEED=" << seed << " " << reference::Hex(frame);
    ++seen[wrong];
    if (!popped) continue;
    const Bytes rest(frame.begin() + static_cast<ptrdiff_t>(popped->inner),
                     frame.begin() + static_cast<ptrdiff_t>(popped->end));
    ASSERT_EQ(rest, expected.frame);
    ASSERT_EQ(FormatMatch(popped->tunnel), FormatMatch(expected.tunnel));
  }
  EXPECT_GT(seen[""], 20000);
  EXPECT_GT(seen["tnl_malformed"], 1000);
  EXPECT_GT(seen["tnl_checksum"], 1000);
}

TEST(Tunnel, CutAtEveryByteItIsMalformed) {
  reference::Rng rng(1);
  const Bytes inner = reference::Build(Named("udp4"));
  for (const Kind kind : {Kind::kVxlan, Kind::kGeneve, Kind::kGre}) {
    const reference::TunnelPort port{kind, 4789, Checksum::kVerify, 0};
    Bytes frame;
    do {
      frame = compare::InTunnel(rng, port, inner);
    } while (!reference::Decapsulate(port, frame).wrong.empty());
    const size_t padding = frame.size() - PopTunnel(frame, TypeOf(kind), 4789, OuterChecksum::kVerify)->end;
    for (size_t size = 0; size + padding < frame.size(); ++size) {
      const auto popped = PopTunnel(std::span(frame).first(size), TypeOf(kind), 4789, OuterChecksum::kVerify);
      ASSERT_FALSE(popped) << size;
      EXPECT_EQ(popped.error().reason, "tnl_malformed") << size;
    }
  }
}

TEST(Tunnel, PushesWhatTheReferencePushes) {
  const Bytes inner = reference::Build(Named("tcp4"));
  const std::string v4 = "tun_id=0x7b,src=172.16.0.1,dst=172.16.0.2";
  const std::string v6 = "tun_id=0xffffff,ipv6_src=fd00::1,ipv6_dst=fd00::2";
  for (const Kind kind : {Kind::kVxlan, Kind::kGeneve, Kind::kGre}) {
    for (const std::string& addresses : {v4, v6}) {
      for (const std::string more : {"", ",tos=0x4,ttl=9", ",tp_src=5000,tp_dst=4790", ",flags(df|csum|key)",
                                     ",flags(csum)", ",flags(oam)", ",ttl=1,flags(key)"}) {
        const Match set = Parsable("tunnel(" + addresses + more + ")");
        const reference::TunnelPort port{kind, 4789, Checksum::kVerify, 0};
        Frame frame;
        frame.Assign(inner);
        const auto pushed = PushTunnel(frame, TunnelHeader(TypeOf(kind), 4789, set), 0);
        ASSERT_TRUE(pushed) << pushed.error().detail;
        const Bytes seen(frame.bytes().begin(), frame.bytes().end());
        EXPECT_EQ(reference::Hex(seen), reference::Hex(reference::Encapsulated(port, set, inner).Expected(seen)))
            << FormatMatch(set);
      }
    }
  }
}

TEST(Tunnel, HeadersOfTnlPush) {
  const Bytes inner = reference::Build(Named("udp6"));
  const std::string head = "tnl_push(tnl_port(9),header(";
  const std::string eth = "eth(dst=02:00:00:00:00:02,src=02:00:00:00:00:01,dl_type=";
  for (const std::string& header : {"size=50,type=4," + eth +
                                        "0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=17,tos=0,ttl=64,frag=0x4000),"
                                        "udp(src=0,dst=4789,csum=0x0),vxlan(flags=0x8000000,vni=0x7b)",
                                    "size=50,type=4," + eth +
                                        "0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=17,tos=0,ttl=64,frag=0x0),"
                                        "udp(src=4000,dst=4789,csum=0xffff),vxlan(flags=0x8000000,vni=0x7b)",
                                    "size=70,type=5," + eth +
                                        "0x86dd),ipv6(src=fd00::1,dst=fd00::2,label=5,proto=17,tclass=0x4,hlimit=64),"
                                        "udp(src=0,dst=6081,csum=0x0),geneve(vni=0x7b)",
                                    "size=46,type=3," + eth +
                                        "0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=47,tos=0,ttl=64,frag=0x4000),"
                                        "gre((flags=0xa000,proto=0x6558),csum=0x0,key=0x7b)",
                                    "size=58,type=109," + eth +
                                        "0x86dd),ipv6(src=fd00::1,dst=fd00::2,label=0,proto=47,tclass=0x0,hlimit=64),"
                                        "gre((flags=0x0,proto=0x6558))"}) {
    const Actions actions = soft::Parsable(head + header + "),out_port(1))");
    const auto& push = std::get<TnlPush>(actions.front());
    Frame frame;
    frame.Assign(inner);
    ASSERT_TRUE(PushTunnel(frame, push.header, 0)) << header;
    const Bytes seen(frame.bytes().begin(), frame.bytes().end());
    EXPECT_EQ(reference::Hex(seen), reference::Hex(reference::Encapsulated(push, inner).Expected(seen))) << header;
  }
}

TEST(Tunnel, WhatDoesNotFitStaysAsItWas) {
  const Bytes inner = reference::Build(Named("udp4"));
  const std::string header =
      TunnelHeader(TunnelType::kVxlan, 4789, Parsable("tunnel(tun_id=0x1,src=10.0.0.1,dst=10.0.0.2)"));
  const size_t size = inner.size() + 36;
  Frame frame;
  frame.Assign(inner);
  auto pushed = PushTunnel(frame, header, size - 1);
  ASSERT_FALSE(pushed);
  EXPECT_EQ(pushed.error().reason, "tnl_mtu");
  EXPECT_EQ(Bytes(frame.bytes().begin(), frame.bytes().end()), inner);
  for (size_t cut = 0; cut < 42; ++cut) {
    pushed = PushTunnel(frame, std::string_view(header).substr(0, cut), 0);
    ASSERT_FALSE(pushed) << cut;
    EXPECT_EQ(pushed.error().reason, "tnl_no_room") << cut;
  }
  EXPECT_TRUE(PushTunnel(frame, header, size));
}

}  // namespace
}  // namespace sluice::soft
