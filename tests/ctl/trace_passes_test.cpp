// SPDX-License-Identifier: Apache-2.0
// Traces of packets that take more than one pass: recirculation, tunnels, connection tracking.
#include <gtest/gtest.h>

#include "packet_fields.h"
#include "reference/packet.h"
#include "reference/parser.h"
#include "trace.h"
#include "trace_ct.h"
#include "trace_print.h"
#include "trace_rig.h"

namespace sluice::ctl {
namespace {

const std::string kUdp = "ipv4(src=10.0.0.1,dst=10.0.0.2),udp(src=1000,dst=53)";

FieldsPacket PacketOf(const std::string& fields) {
  const auto packet = ReadFields(fields, NumbersOnly());
  if (!packet) throw std::invalid_argument(Explain(packet.error(), fields));
  return *packet;
}

class TracePassesTest : public testing::Test {
 protected:
  [[nodiscard]] Trace Run(const std::string& fields = kUdp) const {
    const FieldsPacket packet = PacketOf(fields);
    return rig_.Run({packet.frame, packet.beside});
  }
  // Puts a flow for each pair of match and actions; in order.
  void Put(const std::vector<std::pair<std::string, std::string>>& flows) {
    for (size_t i = 0; i < flows.size(); ++i) rig_.Put(i + 1, flows[i].first, flows[i].second);
  }

  TraceRig rig_;
};

TEST_F(TracePassesTest, TheNextPassSeesThePacketAsRewritten) {
  Put({{"in_port(p1),recirc_id(0)", "set(ipv4(dst=10.0.0.9)),recirc(0x5)"},
       {"recirc_id(0x5),eth_type(0x0800),ipv4(dst=10.0.0.9)", "p2"}});
  const Trace trace = Run();
  ASSERT_EQ(trace.passes.size(), 2U);
  EXPECT_EQ(trace.passes[0].steps.at(1).now, "recirc_id(0x5)");
  EXPECT_EQ(trace.passes[1].packet.substr(0, 30), "recirc_id(0x5),in_port(p1),eth");
  EXPECT_EQ(trace.passes[1].mask, "recirc_id,eth_type,ipv4(dst)");
  EXPECT_EQ(trace.passes[1].flow->ufid(), TraceRig::UfidOf(2));
  EXPECT_EQ(trace.passes[1].steps.at(0).outputs.at(0).frame,
            PacketOf("ipv4(src=10.0.0.1,dst=10.0.0.9),udp(src=1000,dst=53)").frame);
  EXPECT_EQ(trace.why, "the actions are done: it leaves by p2");
}

// Where headers are is found anew in each pass: what was behind a third tag is there once that is gone.
TEST_F(TracePassesTest, HeadersAreFoundAnew) {
  Put({{"in_port(p1),recirc_id(0)", "pop_vlan,recirc(1)"}, {"recirc_id(1)", "set(ipv4(ttl=9)),p2"}});
  const Trace trace = Run("eth_type(0x8100),vlan(vid=5),encap(eth_type(0x0800)),ipv4(ttl=64)");
  EXPECT_EQ(trace.passes.at(1).steps.at(0).now, "ipv4(ttl=9)");
}

TEST_F(TracePassesTest, ARecircIdThatNoFlowHas) {
  Put({{"in_port(p1),recirc_id(0)", "recirc(0x7)"}});
  Trace trace = Run();
  EXPECT_EQ(trace.end, TraceEnd::kMiss);
  EXPECT_EQ(trace.why, "no flow has recirc_id(0x7); miss=upcall: it goes to the controller as an upcall, reason miss");
  rig_.Put(2, "recirc_id(0x7),eth_type(0x0806)", "p2");
  EXPECT_TRUE(Run().why.starts_with("no flow takes it; ")) << Run().why;
  rig_.Remove(2);
  EXPECT_TRUE(Run().why.starts_with("no flow has recirc_id(0x7); ")) << Run().why;
}

TEST_F(TracePassesTest, ALoopEnds) {
  Put({{"in_port(p1),recirc_id(0)", "recirc(1)"}, {"recirc_id(1)", "dec_ttl,recirc(1)"}});
  const Trace trace = Run();
  EXPECT_EQ(trace.end, TraceEnd::kTooDeep);
  EXPECT_EQ(trace.passes.size(), 1 + kMostPasses);
  EXPECT_EQ(trace.why, "it would begin more than 8 passes after its first: it is dropped, counted as depth_exceeded");
}

TEST_F(TracePassesTest, WhatExpiresMayGoOnToo) {
  Put({{"in_port(p1),recirc_id(0)", "dec_ttl(le_1(recirc(2))),p2"}, {"recirc_id(2)", "p3"}});
  EXPECT_EQ(Run().passes.size(), 1U);
  const Trace trace = Run("ipv4(ttl=1)");
  ASSERT_EQ(trace.passes.size(), 2U);
  EXPECT_EQ(trace.why, "the actions are done: it leaves by p3");
}

TEST_F(TracePassesTest, AMalformedPacketOfALaterPass) {
  Put({{"in_port(p1),recirc_id(0)", "set(eth(dst=02:00:00:00:00:09)),pop_vlan,recirc(2)"}, {"recirc_id(2)", "p3"}});
  FieldsPacket packet = PacketOf("eth_type(0x8100),vlan(vid=5),encap(eth_type(0x88b5))");
  packet.frame.resize(12);  // a header cut short behind a third tag
  for (const uint8_t byte : {0x81, 0, 0, 5, 0x81, 0, 0, 6, 0x81, 0, 0, 7, 0x08, 0, 0x45}) packet.frame.push_back(byte);
  const Trace trace = rig_.Run({packet.frame, {}});
  ASSERT_EQ(trace.passes.size(), 2U);
  EXPECT_EQ(trace.end, TraceEnd::kMalformed);
  EXPECT_EQ(trace.malformed, soft::Malformed::kIpv4);
}

TEST_F(TracePassesTest, ItBeginsWhereTheFieldsSay) {
  Put({{"in_port(p1)", "p4"}, {"recirc_id(0x5),ct_state(+trk+est)", "p2"}});  // no recirc_id: 0
  const Trace trace = Run("recirc_id(0x5),ct_state(+est)," + kUdp);
  ASSERT_EQ(trace.passes.size(), 1U);
  EXPECT_TRUE(trace.passes[0].packet.starts_with("recirc_id(0x5),ct_state(est|trk),in_port(p1),eth("))
      << trace.passes[0].packet;
  EXPECT_EQ(trace.passes[0].flow->ufid(), TraceRig::UfidOf(2));
}

TEST_F(TracePassesTest, CtFindsWhatWasAskedFor) {
  Put({{"in_port(p1),recirc_id(0)", "ct(zone=5),recirc(1)"},
       {"recirc_id(1),ct_state(+trk+new),ct_zone(0x5)", "ct(commit,zone=5,mark=0x3/0xf),recirc(2)"},
       {"recirc_id(1),ct_state(+trk+est),ct_zone(0x5),ct_mark(0x11)", "ct_clear,recirc(3)"},
       {"recirc_id(2)", "p2"},
       {"recirc_id(3)", "p3"}});
  Trace trace = Run();
  ASSERT_EQ(trace.passes.size(), 3U);
  EXPECT_EQ(trace.passes[0].steps.at(0).now, "ct_state(new|trk),ct_zone(0x5),ct_mark(0)");
  EXPECT_EQ(trace.passes[1].steps.at(0).now, "ct_mark(0x3)");
  EXPECT_EQ(trace.why, "the actions are done: it leaves by p2");
  rig_.tracking = {{0x22}, 0x11};
  trace = Run();
  ASSERT_EQ(trace.passes.size(), 3U);
  EXPECT_EQ(trace.passes[1].steps.at(0).before, "ct_state(est|trk),ct_zone(0x5),ct_mark(0x11)");
  EXPECT_EQ(trace.why, "the actions are done: it leaves by p3");
  EXPECT_EQ(trace.passes[2].packet.find("ct_"), std::string::npos);
}

TEST_F(TracePassesTest, OneCtAfterTheOther) {
  Put({{"in_port(p1),recirc_id(0)", "ct(zone=1),recirc(1)"},
       {"recirc_id(1)", "ct(zone=2),recirc(2)"},
       {"recirc_id(2)", "ct(zone=3),recirc(3)"}});
  rig_.tracking = {{0x21, 0x2a}, 0};
  const Trace trace = Run();
  ASSERT_EQ(trace.passes.size(), 4U);
  EXPECT_EQ(trace.passes[1].steps.at(0).now, "ct_state(est|rpl|trk),ct_zone(0x2)");
  EXPECT_EQ(trace.passes[2].steps.at(0).now, "ct_zone(0x3)");
}

TEST_F(TracePassesTest, WhatIsNotTracked) {
  Put({{"in_port(p1),recirc_id(0)", "ct(zone=5),recirc(1)"}});
  Trace trace = Run("arp(op=1)");
  EXPECT_EQ(trace.passes.at(0).steps.at(0).note, "only IP is tracked");
  EXPECT_EQ(trace.passes.at(1).packet.find("ct_state(new"), std::string::npos);
  trace = Run("ipv4(proto=17,frag=later)");
  EXPECT_TRUE(trace.passes.at(0).steps.at(0).now.starts_with("ct_state(inv|trk)"));
  EXPECT_EQ(trace.passes.at(0).steps.at(0).note, "a later fragment has no header of layer 4");
}

TEST_F(TracePassesTest, WithoutAConnectionItIsNewOrInvalid) {
  Put({{"in_port(p1)", "ct(zone=5),recirc(1)"}});
  const auto state = [&](const std::string& fields) {
    const std::string now = Run(fields).passes.at(0).steps.at(0).now;
    return now.substr(0, now.find(','));
  };
  EXPECT_EQ(state("tcp(dst=80),tcp_flags(syn)"), "ct_state(new|trk)");
  EXPECT_EQ(state("tcp(dst=80),tcp_flags(ack)"), "ct_state(new|trk)");
  for (const std::string flags : {"syn|ack", "rst", "fin|ack", "syn|fin", "psh", "0"}) {
    EXPECT_EQ(state("tcp(dst=80),tcp_flags(" + flags + ")"), "ct_state(inv|trk)") << flags;
  }
  EXPECT_EQ(state("icmp(type=8)"), "ct_state(new|trk)");
  EXPECT_EQ(state("icmp(type=0)"), "ct_state(inv|trk)");
  EXPECT_EQ(state("icmpv6(type=129)"), "ct_state(inv|trk)");
  EXPECT_EQ(state("icmp(type=3)"), "ct_state(inv|trk)");
  EXPECT_EQ(state("sctp(dst=3)"), "ct_state(inv|trk)");
  rig_.tracking = {{kCtEst}, 0};
  EXPECT_EQ(state("tcp(dst=80),tcp_flags(syn|ack)"), "ct_state(est|trk)");
  EXPECT_EQ(state("tcp(dst=80),tcp_flags(syn|fin)"), "ct_state(inv|trk)");
  EXPECT_EQ(state("icmp(type=3)"), "ct_state(est|trk)");
  EXPECT_EQ(state("sctp(dst=3)"), "ct_state(inv|trk)");
}

TEST_F(TracePassesTest, TooManyProgramsOnTheWay) {
  std::string clears;
  for (int i = 0; i < 8; ++i) clears += "ct_clear,";
  for (int pass = 0; pass < 6; ++pass) {
    const std::string id = std::to_string(pass);
    rig_.Put(10 + pass, "recirc_id(" + id + ")", clears + "recirc(" + std::to_string(pass + 1) + ")");
  }
  const Trace trace = Run();
  EXPECT_EQ(trace.end, TraceEnd::kTooDeep);
  EXPECT_EQ(trace.passes.size(), 5U);
  EXPECT_NE(trace.why.find("more than 32 times"), std::string::npos) << trace.why;
}

// What set(tunnel(...)) and a tunnel port send comes in again by tnl_pop as it was.
TEST_F(TracePassesTest, OutByATunnelPortAndInAgain) {
  struct Kind {
    const char* name;
    const char* tp_dst;
    size_t more;
  };
  for (const auto& [name, tp_dst, more] : {Kind{"vx0", "4789", 50}, Kind{"gen0", "6081", 50}, Kind{"gre0", "", 42}}) {
    Put({{"in_port(p1),recirc_id(0)", "set(tunnel(tun_id=0x7b,src=172.16.0.1,dst=172.16.0.2,tos=0x4,ttl=9,flags(" +
                                          std::string(*tp_dst != 0 ? "df|csum|key" : "df") + ")))," + name}});
    Trace trace = Run();
    ASSERT_EQ(trace.passes.size(), 1U);
    const TraceStep& step = trace.passes[0].steps.at(1);
    ASSERT_EQ(step.outputs.size(), 1U) << trace.why;
    const TraceOutput& output = step.outputs[0];
    EXPECT_EQ(output.port, 2U);
    EXPECT_EQ(output.tunnel, name);
    EXPECT_EQ(output.frame.size(), 60 + more);
    EXPECT_EQ(step.note,
              std::string("0 here, and chosen for each packet: the Ethernet addresses, by the kernel's routes") +
                  (*tp_dst != 0 ? "; the source port, by the inner flow" : ""));
    EXPECT_EQ(trace.why, "the actions are done: it leaves by p2");

    Put({{"in_port(p1),recirc_id(0)", "tnl_pop(" + std::string(name) + ")"},
         {"in_port(" + std::string(name) + "),tunnel(tun_id=0x7b,dst=172.16.0.2)", "p3"}});
    trace = rig_.Run({output.frame, {}});
    ASSERT_EQ(trace.passes.size(), 2U) << trace.why;
    EXPECT_EQ(trace.passes[1].frame, PacketOf(kUdp).frame);
    EXPECT_NE(trace.passes[1].packet.find("src=172.16.0.1,dst=172.16.0.2,tos=0x4,ttl=9,"), std::string::npos)
        << trace.passes[1].packet;
    EXPECT_NE(trace.passes[1].packet.find(std::string("flags(") + (*tp_dst != 0 ? "csum|" : "") + "key)),in_port(" +
                                          name + ")"),
              std::string::npos)
        << trace.passes[1].packet;
    if (*tp_dst != 0) {
      EXPECT_NE(trace.passes[1].packet.find(std::string(",tp_dst=") + tp_dst), std::string::npos);
    }
    EXPECT_EQ(trace.why, "the actions are done: it leaves by p3");
  }
}

TEST_F(TracePassesTest, PushedHeadersLeaveByTheirPort) {
  Put({{"in_port(p1),recirc_id(0)",
        "tnl_push(tnl_port(vx0),header(size=50,type=4,eth(dst=f8:bc:12:44:34:b6,src=f8:bc:12:46:58:e0,dl_type=0x0800),"
        "ipv4(src=1.1.2.88,dst=1.1.2.92,proto=17,tos=0,ttl=64,frag=0x4000),udp(src=0,dst=4789,csum=0x0),"
        "vxlan(flags=0x8000000,vni=0x7b)),out_port(p2))"}});
  const Trace trace = Run();
  ASSERT_EQ(trace.passes.size(), 1U);
  const TraceStep& step = trace.passes[0].steps.at(0);
  ASSERT_EQ(step.outputs.size(), 1U) << trace.why;
  EXPECT_EQ(step.outputs[0].port, 2U);
  EXPECT_EQ(step.outputs[0].tunnel, "vx0");
  const reference::Parsed outer = reference::Parse(step.outputs[0].frame);
  EXPECT_EQ(outer.key.ValueOf(Field::udp_dst), 4789U);
  EXPECT_EQ(trace.end, TraceEnd::kDone);
  EXPECT_EQ(trace.why, "the actions are done: it leaves by p2");
  const auto frame = PacketOf(kUdp).frame;
  EXPECT_NE(TraceText({1, frame, frame.size()}, rig_.Place(), trace, false).find("out by p2 through vx0, 110 bytes: "),
            std::string::npos);
  const auto json = TraceJson({1, frame, frame.size()}, rig_.Place(), trace);
  EXPECT_EQ(json["outputs"][0]["tunnel"], "vx0");
}

TEST_F(TracePassesTest, AboveTheMtuItIsDropped) {
  (*rig_.ports().Mutable(1)->mutable_info())["mtu"] = "95";
  Put({{"in_port(p1),recirc_id(0)", "set(tunnel(tun_id=0x7b,src=172.16.0.1,dst=172.16.0.2)),vx0"}});
  const Trace trace = Run();
  EXPECT_EQ(trace.end, TraceEnd::kTunnel);
  EXPECT_EQ(trace.why,
            "with its outer headers the packet has 96 bytes, which is above the MTU of 95: it is dropped, counted as "
            "tnl_mtu");
  EXPECT_TRUE(trace.passes.at(0).steps.at(1).outputs.empty());
}

TEST_F(TracePassesTest, WhatIsNoTunnelPacketIsDropped) {
  Put({{"in_port(p1),recirc_id(0)", "tnl_pop(vx0)"}, {"in_port(vx0)", "p2"}});
  const Trace trace = Run();
  EXPECT_EQ(trace.end, TraceEnd::kTunnel);
  EXPECT_EQ(trace.why, "the outer packet is for another UDP port: it is dropped, counted as tnl_malformed");
}

TEST_F(TracePassesTest, PortsThatAreNoTunnels) {
  Put({{"in_port(p1),recirc_id(0)", "tnl_pop(p2)"}});
  EXPECT_EQ(Run().end, TraceEnd::kUntraceable);
  EXPECT_EQ(Run().why, "the trace ends here: p2 is no tunnel port");
  Put({{"in_port(p1),recirc_id(0)", "vx0"}});
  EXPECT_EQ(Run().passes.at(0).steps.at(0).outputs.at(0).warning,
            "it is a tunnel port, and no set(tunnel(...)) says where to");
  Put({{"in_port(p1),recirc_id(0)", "flood"}});
  const Trace flooded = Run();
  for (const TraceOutput& output : flooded.passes.at(0).steps.at(0).outputs) EXPECT_LE(output.port, 4U);
}

TEST_F(TracePassesTest, AsTextAndJson) {
  Put({{"in_port(p1),recirc_id(0)", "ct(zone=5),recirc(0x1)"}, {"recirc_id(0x1),ct_state(+trk+new)", "p2"}});
  const auto frame = PacketOf(kUdp).frame;
  const Trace trace = Run();
  const std::string text = TraceText({1, frame, frame.size()}, rig_.Place(), trace, false);
  EXPECT_NE(
      text.find(
          "    1. ct(zone=5)\n       ct_state(new|trk),ct_zone(0x5),ct_mark(0)\n    2. recirc(0x1)\n"
          "       recirc_id(0x1)\n  pass 2: recirc_id(0x1),ct_state(new|trk),ct_zone(0x5),ct_mark(0),in_port(p1)"),
      std::string::npos)
      << text;
  const auto json = TraceJson({1, frame, frame.size()}, rig_.Place(), trace);
  ASSERT_EQ(json["passes"].size(), 2U);
  EXPECT_EQ(json["passes"][1]["frame"], reference::Hex(frame));
  EXPECT_EQ(json["end"]["reason"], "done");
}

}  // namespace
}  // namespace sluice::ctl
