// SPDX-License-Identifier: Apache-2.0
// Rules whose packets leave by another device, or come from the application.
#include <memory>

#include "rig.h"

namespace sluice::netsluice {
namespace {

// Two wires: peer - nic, and out - far, all in one process.
struct TwoWires : Wired {
  explicit TwoWires(const std::string& devargs = "")
      : Wired(devargs), far("net_sluice_far", "ring=out"), out("net_sluice_out", "ring=out") {}
  Port far;
  Port out;
};

rte_flow_action_ethdev To(const Port& port) { return {port.id()}; }

TEST(NetSluiceOutput, ARuleForwardsInsideTheDevice) {
  const TwoWires wires;
  RuleSpec rule;
  rte_flow* flow = rule.Ipv4().Count().OutOf(wires.out).Create(wires.nic);
  ASSERT_NE(flow, nullptr) << rule.message();
  const Bytes frame = Named("tcp4");
  EXPECT_TRUE(wires.Through(frame).empty());
  const auto received = wires.far.Receive();
  ASSERT_EQ(received.size(), 1u);
  EXPECT_EQ(received[0].frame, frame);
  EXPECT_EQ(received[0].port, wires.far.id());
  EXPECT_EQ(Query(wires.nic, flow), (Counts{1, frame.size()}));
  EXPECT_EQ(wires.out.Stats().opackets, 1u);
  EXPECT_EQ(wires.out.Xstats().at("tx_forwarded"), 1u);
  EXPECT_EQ(wires.Through(Named("udp6")).size(), 1u);
}

TEST(NetSluiceOutput, TransferAndTheOldPortIdDoTheSame) {
  const TwoWires wires;
  RuleSpec ipv4;
  RuleSpec ipv6;
  ASSERT_NE(ipv4.Transfer().Ipv4().OutOf(wires.out).Create(wires.nic), nullptr) << ipv4.message();
  ASSERT_NE(
      ipv6.Ipv6().Action(RTE_FLOW_ACTION_TYPE_PORT_ID, rte_flow_action_port_id{0, 0, wires.out.id()}).Create(wires.nic),
      nullptr)
      << ipv6.message();
  EXPECT_TRUE(wires.Through(Named("tcp4")).empty());
  EXPECT_TRUE(wires.Through(Named("tcp6")).empty());
  EXPECT_EQ(wires.far.Receive().size(), 2u);
}

TEST(NetSluiceOutput, BackByTheWireItCameFrom) {
  const Wired wired;
  RuleSpec rule;
  ASSERT_NE(rule.OutOf(wired.nic).Create(wired.nic), nullptr) << rule.message();
  const Bytes frame = Named("udp4");
  EXPECT_TRUE(wired.Through(frame).empty());
  const auto back = wired.peer.Receive();
  ASSERT_EQ(back.size(), 1u);
  EXPECT_EQ(back[0].frame, frame);
}

TEST(NetSluiceOutput, EachOutputSendsThePacketAsItIsByThen) {
  const TwoWires wires;
  RuleSpec rule;
  rule.OutOf(wires.out)
      .Action(RTE_FLOW_ACTION_TYPE_OF_PUSH_VLAN, rte_flow_action_of_push_vlan{RTE_BE16(0x8100)})
      .Action(RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_VID, rte_flow_action_of_set_vlan_vid{RTE_BE16(5)})
      .OutOf(wires.out)
      .OutOf(wires.nic)
      .Action(RTE_FLOW_ACTION_TYPE_OF_POP_VLAN)
      .Mark(3)
      .Queue(0);
  ASSERT_NE(rule.Create(wires.nic), nullptr) << rule.message();
  const Bytes frame = Named("udp4");
  Bytes tagged = frame;
  const Bytes tag = {0x81, 0, 0, 5};
  tagged.insert(tagged.begin() + 12, tag.begin(), tag.end());

  const auto own = wires.Through(frame);
  const auto far = wires.far.Receive();
  const auto back = wires.peer.Receive();
  ASSERT_EQ(far.size(), 2u);
  EXPECT_EQ(far[0].frame, frame);
  EXPECT_EQ(far[1].frame, tagged);
  ASSERT_EQ(back.size(), 1u);
  EXPECT_EQ(back[0].frame, tagged);
  ASSERT_EQ(own.size(), 1u);
  EXPECT_EQ(own[0].frame, frame);
  EXPECT_EQ(own[0].mark, 3u);
}

TEST(NetSluiceOutput, ARemovedTargetLosesPacketsAndNothingElse) {
  const Wired wired;
  auto far = std::make_unique<Port>("net_sluice_far", "ring=out");
  auto out = std::make_unique<Port>("net_sluice_out", "ring=out");
  RuleSpec rule;
  rte_flow* flow = rule.OutOf(*out).Create(wired.nic);
  ASSERT_NE(flow, nullptr) << rule.message();
  EXPECT_TRUE(wired.Through(Named("udp4")).empty());
  EXPECT_EQ(far->Receive().size(), 1u);
  out.reset();
  EXPECT_TRUE(wired.Through(Named("udp4")).empty());
  EXPECT_EQ(wired.nic.Xstats().at("tx_forward_failed"), 1u);
  // Another of its name, on the same wire, is not the rule's.
  out = std::make_unique<Port>("net_sluice_out", "ring=out");
  EXPECT_TRUE(wired.Through(Named("udp4")).empty());
  EXPECT_TRUE(far->Receive().empty());
  Destroy(wired.nic, flow);
  EXPECT_EQ(wired.Through(Named("udp4")).size(), 1u);
}

TEST(NetSluiceOutput, AStoppedTargetLosesPackets) {
  const TwoWires wires;
  RuleSpec rule;
  ASSERT_NE(rule.OutOf(wires.out).Create(wires.nic), nullptr) << rule.message();
  wires.out.Stop();
  EXPECT_TRUE(wires.Through(Named("udp4")).empty());
  EXPECT_EQ(wires.nic.Xstats().at("tx_forward_failed"), 1u);
  wires.out.Start();
  EXPECT_TRUE(wires.Through(Named("udp4")).empty());
  EXPECT_EQ(wires.far.Receive().size(), 1u);
}

TEST(NetSluiceOutput, ToTheApplicationOfAnotherPort) {
  const TwoWires wires;
  RuleSpec rule;
  ASSERT_NE(rule.Transfer().Mark(8).Action(RTE_FLOW_ACTION_TYPE_PORT_REPRESENTOR, To(wires.out)).Create(wires.nic),
            nullptr)
      << rule.message();
  const Bytes frame = Named("udp4");
  EXPECT_TRUE(wires.Through(frame).empty());
  const auto received = wires.out.Receive();
  ASSERT_EQ(received.size(), 1u);
  EXPECT_EQ(received[0].frame, frame);
  EXPECT_EQ(received[0].mark, 8u);
  EXPECT_EQ(received[0].port, wires.out.id());
}

// One device's rules about another's packets, as behind one switch.
TEST(NetSluiceOutput, PortItemsSayWhosePackets) {
  const TwoWires wires;
  RuleSpec wire;
  RuleSpec ethdev;
  rte_flow* from_wire = wire.Transfer()
                            .Item(RTE_FLOW_ITEM_TYPE_REPRESENTED_PORT, rte_flow_item_ethdev{wires.out.id()})
                            .Ipv4()
                            .Mark(5)
                            .Action(RTE_FLOW_ACTION_TYPE_PORT_REPRESENTOR, To(wires.nic))
                            .Create(wires.nic);
  ASSERT_NE(from_wire, nullptr) << wire.message();
  rte_flow* from_ethdev = ethdev.Transfer()
                              .Item(RTE_FLOW_ITEM_TYPE_PORT_REPRESENTOR, rte_flow_item_ethdev{wires.out.id()})
                              .Ipv4()
                              .Count()
                              .OutOf(wires.nic)
                              .Create(wires.nic);
  ASSERT_NE(from_ethdev, nullptr) << ethdev.message();

  EXPECT_TRUE(wires.far.Send(Named("udp4")));
  EXPECT_TRUE(wires.far.Send(Named("udp6")));
  EXPECT_EQ(wires.out.Receive().size(), 1u);  // the IPv6 one
  const auto received = wires.nic.Receive();
  ASSERT_EQ(received.size(), 1u);
  EXPECT_EQ(received[0].mark, 5u);

  EXPECT_TRUE(wires.out.Send(Named("udp4")));
  EXPECT_TRUE(wires.out.Send(Named("udp6")));
  EXPECT_EQ(wires.far.Receive().size(), 1u);
  EXPECT_EQ(wires.peer.Receive().size(), 1u);
  EXPECT_EQ(Query(wires.nic, from_ethdev)->packets, 1u);
  EXPECT_EQ(wires.Through(Named("udp4")).size(), 1u);  // of nic's own wire there is no rule

  Destroy(wires.nic, from_ethdev);
  EXPECT_TRUE(wires.out.Send(Named("udp4")));
  EXPECT_EQ(wires.far.Receive().size(), 1u);
}

}  // namespace
}  // namespace sluice::netsluice
