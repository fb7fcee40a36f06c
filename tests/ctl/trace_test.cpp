// SPDX-License-Identifier: Apache-2.0
#include "trace.h"

#include <gtest/gtest.h>

#include "packet_fields.h"
#include "reference/packet.h"
#include "trace_print.h"
#include "trace_rig.h"

namespace sluice::ctl {
namespace {

std::vector<uint8_t> FrameOf(const std::string& fields) {
  const auto packet = ReadFields(fields, NumbersOnly());
  if (!packet) throw std::invalid_argument(Explain(packet.error(), fields));
  return packet->frame;
}

const std::string kUdp = "ipv4(src=10.0.0.1,dst=10.0.0.2),udp(src=1000,dst=53)";
const std::string kToNet = "in_port(p1),eth_type(0x0800),ipv4(dst=10.0.0.0/255.255.255.0)";

class TraceTest : public testing::Test {
 protected:
  [[nodiscard]] Trace Run(const std::string& fields = kUdp) const { return rig_.Run(FrameOf(fields)); }
  // The packet and its trace as text.
  [[nodiscard]] std::string Text(const std::string& fields = kUdp, bool bytes = false) const {
    const auto frame = FrameOf(fields);
    return TraceText({1, frame, frame.size()}, rig_.Place(), rig_.Run(frame), bytes);
  }
  // What the steps of the actions say.
  [[nodiscard]] std::vector<TraceStep> Steps(const std::string& actions, const std::string& fields = kUdp) {
    rig_.Put(1, "in_port(p1)", actions);
    return Run(fields).passes.at(0).steps;
  }

  TraceRig rig_;
};

TEST_F(TraceTest, WithoutAFlowTheMissPolicyDecides) {
  Trace trace = Run();
  EXPECT_EQ(trace.end, TraceEnd::kMiss);
  EXPECT_FALSE(trace.passes.at(0).flow);
  EXPECT_NE(trace.why.find("goes to the controller as an upcall, reason miss"), std::string::npos) << trace.why;
  rig_.miss = "drop";
  EXPECT_NE(Run().why.find("dropped"), std::string::npos);
  rig_.miss = "pass";
  EXPECT_NE(Run().why.find("kernel's own stack"), std::string::npos);
  rig_.miss = "";
  EXPECT_NE(Run().why.find("does not tell"), std::string::npos);
}

TEST_F(TraceTest, AMalformedPacketMatchesNothing) {
  rig_.Put(1, "", "p2");
  auto frame = FrameOf(kUdp);
  frame.resize(36);  // within the UDP header
  const Trace trace = rig_.Run(frame);
  EXPECT_EQ(trace.end, TraceEnd::kMalformed);
  EXPECT_EQ(trace.malformed, soft::Malformed::kLayer4);
  EXPECT_NE(trace.why.find("layer 4 header is cut short"), std::string::npos) << trace.why;
  EXPECT_NE(trace.why.find("reason malformed"), std::string::npos) << trace.why;
}

TEST_F(TraceTest, TheHigherPriorityWins) {
  rig_.Put(1, "in_port(p1)", "p2", 5);
  const std::string best = rig_.Put(2, kToNet, "p3", 6);
  rig_.Put(3, "in_port(p2)", "p4", 9);
  const TracePass pass = Run().passes.at(0);
  EXPECT_EQ(pass.flow->ufid(), best);
  EXPECT_EQ(pass.mask, "in_port,eth_type,ipv4(dst/255.255.255.0)");
  EXPECT_TRUE(pass.equals.empty());
  EXPECT_TRUE(pass.absent.empty());
  rig_.Remove(2);
  EXPECT_EQ(Run().passes.at(0).flow->ufid(), TraceRig::UfidOf(1));
}

TEST_F(TraceTest, AFlowWithoutInPortIsForAllPorts) {
  rig_.Put(1, "eth_type(0x0800)", "p2");
  EXPECT_TRUE(Run().passes.at(0).flow);
}

TEST_F(TraceTest, OfEqualsItSaysThatThereAreOthers) {
  rig_.Put(1, kToNet, "p2", 3);
  rig_.Put(2, "in_port(p1)", "p3", 3);
  rig_.Put(3, "in_port(p1)", "p4", 2);
  const TracePass pass = Run().passes.at(0);
  ASSERT_EQ(pass.equals.size(), 1U);
  EXPECT_NE(Text().find("same priority, and the datapath takes any of them"), std::string::npos) << Text();
}

TEST_F(TraceTest, WhatIsNotInTheDatapathTakesNothingAndIsTold) {
  rig_.Put(1, kToNet, "p2", 3);
  rig_.Put(2, "in_port(p1)", "ct(commit),p3", 4, v1::REFUSED);
  rig_.Put(3, "in_port(p1)", "p3", 3, v1::PENDING);
  rig_.Put(4, "in_port(p1)", "p3", 2, v1::FAILED);              // outranked anyway
  rig_.Put(5, "in_port(p1)", "p3", 9, v1::INSTALLED, "other");  // another plugin's verdict
  const TracePass pass = Run().passes.at(0);
  EXPECT_EQ(pass.flow->ufid(), TraceRig::UfidOf(1));
  ASSERT_EQ(pass.absent.size(), 3U);
  EXPECT_EQ(pass.absent[0].ufid(), TraceRig::UfidOf(5));
  EXPECT_EQ(pass.absent[1].ufid(), TraceRig::UfidOf(2));
  EXPECT_EQ(pass.absent[2].ufid(), TraceRig::UfidOf(3));
  const std::string text = Text();
  EXPECT_NE(text.find("not in the datapath; xdp: refused, unsupported_action: it cannot do that"), std::string::npos)
      << text;
  EXPECT_NE(text.find("would have come first, but is not"), std::string::npos) << text;
  EXPECT_NE(text.find("has the same priority, but is not"), std::string::npos) << text;
  EXPECT_NE(text.find("xdp: not offered to it"), std::string::npos) << text;
}

TEST_F(TraceTest, WithoutAFlowAllThatIsNotInTheDatapathIsTold) {
  rig_.Put(1, "in_port(p1)", "ct(commit),p3", 4, v1::REFUSED);
  rig_.Put(2, "in_port(p1)", "ct(commit),p3", 2, v1::FAILED);
  const Trace trace = Run();
  EXPECT_EQ(trace.end, TraceEnd::kMiss);
  EXPECT_EQ(trace.passes.at(0).absent.size(), 2U);
}

TEST_F(TraceTest, AFlowThatComesAgainCountsOnce) {
  rig_.Put(1, "in_port(p1)", "p2");
  rig_.Put(1, kToNet, "p3");
  EXPECT_EQ(rig_.table().size(), 1U);
  EXPECT_EQ(Run().passes.at(0).flow->actions(), "p3");
  rig_.Put(1, "in_port(p2)", "p3");  // of another port now
  EXPECT_EQ(rig_.table().size(), 0U);
  EXPECT_EQ(Run().end, TraceEnd::kMiss);
}

TEST_F(TraceTest, MatchesOfANewerDaemonAreCounted) {
  rig_.Put(1, "in_port(p1),no_such_field(1)", "p2");
  EXPECT_EQ(rig_.table().unreadable(), 1U);
  EXPECT_EQ(Run().end, TraceEnd::kMiss);
}

TEST_F(TraceTest, EveryActionSaysWhatItChanged) {
  const auto steps = Steps("set(ipv4(dst=10.0.0.9)),push_vlan(vid=5,pcp=0),dec_ttl,pop_vlan,p2");
  ASSERT_EQ(steps.size(), 5U);
  EXPECT_EQ(steps[0].now, "ipv4(dst=10.0.0.9)");
  EXPECT_EQ(steps[0].before, "ipv4(dst=10.0.0.2)");
  EXPECT_EQ(steps[1].now, "eth_type(0x8100),vlan(vid=5,pcp=0),encap(eth_type(0x0800))");
  EXPECT_EQ(steps[1].before, "eth_type(0x0800)");
  EXPECT_EQ(steps[1].frame.size(), 64U);
  EXPECT_EQ(steps[2].now, "ipv4(ttl=63)");
  EXPECT_EQ(steps[3].now, "eth_type(0x0800)");
  EXPECT_EQ(steps[3].before, "eth_type(0x8100),vlan(vid=5,pcp=0),encap(eth_type(0x0800))");
  EXPECT_EQ(steps[4].now, "");
  ASSERT_EQ(steps[4].outputs.size(), 1U);
  EXPECT_EQ(steps[4].outputs[0].port, 2U);
  EXPECT_EQ(steps[4].outputs[0].frame, FrameOf("ipv4(src=10.0.0.1,dst=10.0.0.9,ttl=63),udp(src=1000,dst=53)"));
}

TEST_F(TraceTest, EditsWithoutEffectSayWhy) {
  EXPECT_EQ(Steps("pop_vlan,p2")[0].note, "there is no tag: nothing changes");
  EXPECT_EQ(Steps("set(tcp(dst=1)),p2")[0].note, "the packet came in without such a header: nothing changes");
  EXPECT_EQ(Steps("set(ipv4(ttl=64)),p2")[0].note, "nothing changes");
  EXPECT_EQ(Steps("dec_ttl,p2", "arp(op=2)")[0].note, "the packet has no TTL: nothing changes");
}

TEST_F(TraceTest, AnExpiredTtlTakesItsOwnList) {
  const auto steps =
      Steps("set(ipv4(tos=4)),dec_ttl(le_1(set(ipv4(ttl=9)),p3,dec_ttl(le_1(p4)),p4)),p2", "ipv4(dst=10.0.0.2,ttl=1)");
  ASSERT_EQ(steps.size(), 6U);
  EXPECT_EQ(steps[1].action, "dec_ttl(le_1(set(ipv4(ttl=9)),p3,dec_ttl(le_1(p4)),p4))");
  EXPECT_NE(steps[1].note.find("it expires, and set(ipv4(ttl=9)),p3,dec_ttl(le_1(p4)),p4 is done instead"),
            std::string::npos);
  EXPECT_TRUE(steps[1].expired);
  EXPECT_FALSE(steps[4].expired);
  EXPECT_EQ(steps[2].now, "ipv4(ttl=9)");
  EXPECT_EQ(steps[3].outputs.at(0).port, 3U);
  EXPECT_EQ(steps[4].now, "ipv4(ttl=8)");
  EXPECT_EQ(steps[5].outputs.at(0).port, 4U);
}

TEST_F(TraceTest, ListsInListsExpireToo) {
  const auto steps = Steps("dec_ttl(le_1(dec_ttl(le_1(p4)),p3)),p2", "ipv4(dst=10.0.0.2,ttl=1)");
  ASSERT_EQ(steps.size(), 3U);
  EXPECT_EQ(steps[2].outputs.at(0).port, 4U);
}

TEST_F(TraceTest, EndsSayWhereThePacketWent) {
  rig_.Put(1, "in_port(p1)", "dec_ttl,p2");
  Trace trace = Run("ipv4(dst=10.0.0.2,ttl=1)");
  EXPECT_EQ(trace.end, TraceEnd::kDropped);
  EXPECT_EQ(trace.why, "the TTL has expired, and the packet went nowhere: it is dropped");
  rig_.Put(1, "in_port(p1)", "");
  EXPECT_EQ(Run().why, "the flow drops its packets");
  rig_.Put(1, "in_port(p1)", "push_vlan(vid=1)");
  EXPECT_EQ(Run().why, "the actions are done, and the packet went nowhere: it is dropped");
  rig_.Put(1, "in_port(p1)", "p2");
  EXPECT_EQ(Run().end, TraceEnd::kDone);
  EXPECT_EQ(Run().why, "the actions are done: it leaves by p2");
  rig_.Put(1, "in_port(p1)", "p2,p3,upcall");
  EXPECT_EQ(Run().why, "the actions are done: it leaves by p2,p3 and goes to the controller");
  rig_.Put(1, "in_port(p1)", "upcall");
  EXPECT_EQ(Run().why, "the actions are done: it goes to the controller");
}

TEST_F(TraceTest, ATruncatedCopyIsOneCopy) {
  const auto steps = Steps("trunc(20),p2,p3");
  EXPECT_EQ(steps[0].note, "the next copy is of 20 bytes at most");
  EXPECT_EQ(steps[1].outputs.at(0).frame.size(), 20U);
  EXPECT_EQ(steps[2].outputs.at(0).frame.size(), 60U);
  EXPECT_EQ(steps[2].frame.size(), 60U);
}

TEST_F(TraceTest, UpcallsAreCutAtMaxLen) {
  const auto steps = Steps("upcall(max_len=30),upcall,p2");
  EXPECT_EQ(steps[0].upcall->frame.size(), 30U);
  EXPECT_EQ(steps[0].upcall->length, 60U);
  EXPECT_EQ(steps[1].upcall->frame.size(), 60U);
}

TEST_F(TraceTest, FloodIsToTheOtherPortsOfThePlugin) {
  rig_.ports().Mutable(2)->set_state("gone");
  const auto steps = Steps("flood");
  ASSERT_EQ(steps[0].outputs.size(), 2U);
  EXPECT_EQ(steps[0].outputs[0].port, 2U);
  EXPECT_EQ(steps[0].outputs[1].port, 4U);
  for (auto& port : rig_.ports()) {
    if (port.name() != "p1") port.set_state("failed");
  }
  EXPECT_EQ(Run().passes.at(0).steps.at(0).note, "there is no other port");
  EXPECT_EQ(Run().why, "the actions are done: there was no port to flood it to");
}

TEST_F(TraceTest, WarnsOfOutputsThatDoNotLeave) {
  (*rig_.ports().Mutable(1)->mutable_info())["mtu"] = "41";
  rig_.ports().Mutable(2)->set_state("gone");
  const auto steps = Steps("p2,p3,77,p4");
  EXPECT_EQ(steps[0].outputs.at(0).warning, "longer than its MTU of 41 allows: the kernel drops it");
  EXPECT_EQ(steps[1].outputs.at(0).warning, "the port is gone");
  EXPECT_EQ(steps[2].outputs.at(0).warning, "there is no such port");
  EXPECT_EQ(steps[3].outputs.at(0).warning, "");
  (*rig_.ports().Mutable(1)->mutable_info())["mtu"] = "42";
  EXPECT_EQ(Run().passes.at(0).steps.at(0).outputs.at(0).warning, "");
}

TEST_F(TraceTest, ItEndsBeforeWhatItCannotTrace) {
  rig_.Put(1, "in_port(p1)", "p2,set(skb_mark(0x5)),p3");
  Trace trace = Run();
  EXPECT_EQ(trace.end, TraceEnd::kUntraceable);
  EXPECT_TRUE(trace.why.starts_with("the trace ends before set(skb_mark(0x5)): the software path cannot do "))
      << trace.why;
  EXPECT_EQ(trace.passes.at(0).steps.size(), 1U);
  rig_.Put(1, "in_port(p1)", "no_such_action(1)");
  EXPECT_NE(Run().why.find("not understood"), std::string::npos);
  rig_.Put(1, "in_port(p1)", "dec_ttl(le_1(set(skb_mark(0x5)))),p2");  // only for those that expire
  EXPECT_EQ(Run().end, TraceEnd::kDone);
  EXPECT_EQ(Run("ipv4(dst=10.0.0.2,ttl=1)").end, TraceEnd::kUntraceable);
}

TEST_F(TraceTest, MissPolicyIsThePluginsWordThenTheOptions) {
  google::protobuf::RepeatedPtrField<v1::Plugin> plugins;
  plugins.Add()->set_name("xdp");
  v1::Port port = rig_.ports()[0];
  EXPECT_EQ(MissPolicy(port, plugins), "");
  (*plugins.Mutable(0)->mutable_options())["miss"] = "drop";
  EXPECT_EQ(MissPolicy(port, plugins), "drop");
  (*port.mutable_options())["miss"] = "pass";
  EXPECT_EQ(MissPolicy(port, plugins), "pass");
  (*port.mutable_info())["miss"] = "upcall";
  EXPECT_EQ(MissPolicy(port, plugins), "upcall");
}

TEST_F(TraceTest, AsText) {
  rig_.Put(1, kToNet, "set(udp(dst=54)),p2", 7);
  const std::string text = Text();
  const std::string out = reference::Hex(FrameOf("ipv4(src=10.0.0.1,dst=10.0.0.2),udp(src=1000,dst=54)"));
  EXPECT_EQ(text, R"(packet 1: 60 bytes in by p1 (xdp)
  pass 1: in_port(p1),eth(src=00:00:00:00:00:00,dst=00:00:00:00:00:00),eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=17,tos=0,ttl=64,frag=no),udp(src=1000,dst=53)
    mask: in_port,eth_type,ipv4(dst/255.255.255.0)
    flow: ufid:00000000-0000-0000-0000-000000000001,in_port(p1),eth_type(0x0800),ipv4(dst=10.0.0.0/255.255.255.0), priority:7, actions:set(udp(dst=54)),p2
    in:   xdp: installed
    1. set(udp(dst=54))
       udp(dst=54), was udp(dst=53)
    2. p2
       out by p2, 60 bytes: )" +
                      out + "\n  end: the actions are done: it leaves by p2\n");
}

TEST_F(TraceTest, AsTextWithBytes) {
  rig_.Put(1, "in_port(p1)", "push_vlan(vid=5,pcp=0),p2");
  const std::string text = Text(kUdp, true);
  EXPECT_NE(text.find("now 64 bytes: 00000000000000000000000081000005"), std::string::npos) << text;
  const auto frame = FrameOf(kUdp);
  const std::string cut = TraceText({3, frame, 1514}, rig_.Place(), rig_.Run(frame), false);
  EXPECT_TRUE(cut.starts_with("packet 3: 1514 bytes in by p1 (xdp)\n  only 60 bytes of it were captured")) << cut;
}

TEST_F(TraceTest, AsJson) {
  rig_.Put(1, kToNet, "upcall(max_len=20),push_vlan(vid=5,pcp=0),p2", 7);
  const auto frame = FrameOf(kUdp);
  const auto json = TraceJson({2, frame, 99}, rig_.Place(), rig_.Run(frame));
  EXPECT_EQ(json["packet"], 2);
  EXPECT_EQ(json["in_port"], "p1");
  EXPECT_EQ(json["plugin"], "xdp");
  EXPECT_EQ(json["length"], 99);
  EXPECT_EQ(json["frame"].get<std::string>().size(), 120U);
  EXPECT_EQ(json["malformed"], "");
  ASSERT_EQ(json["passes"].size(), 1U);
  const auto& pass = json["passes"][0];
  EXPECT_EQ(pass["mask"], "in_port,eth_type,ipv4(dst/255.255.255.0)");
  EXPECT_EQ(pass["flow"]["ufid"], TraceRig::UfidOf(1));
  EXPECT_EQ(pass["flow"]["offload"][0]["state"], "installed");
  EXPECT_EQ(pass["equals"].size(), 0U);
  EXPECT_EQ(pass["absent"].size(), 0U);
  ASSERT_EQ(pass["steps"].size(), 3U);
  EXPECT_EQ(pass["steps"][0]["upcall"]["frame"].get<std::string>().size(), 40U);
  EXPECT_EQ(pass["steps"][1]["now"], "eth_type(0x8100),vlan(vid=5,pcp=0),encap(eth_type(0x0800))");
  ASSERT_EQ(json["outputs"].size(), 1U);
  EXPECT_EQ(json["outputs"][0]["port"], "p2");
  EXPECT_EQ(json["outputs"][0]["length"], 64);
  EXPECT_EQ(json["upcalls"].size(), 1U);
  EXPECT_EQ(json["end"]["reason"], "done");
  EXPECT_EQ(json["end"]["miss"], "upcall");
}

}  // namespace
}  // namespace sluice::ctl
