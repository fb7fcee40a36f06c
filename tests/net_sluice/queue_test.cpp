// SPDX-License-Identifier: Apache-2.0
// To which receive queue packets go.
#include <set>

#include "rig.h"

namespace sluice::netsluice {
namespace {

const PortOptions kFour{.rx_queues = 4, .tx_queues = 2, .rss = true};

// UDP packets of many connections.
Bytes Connection(uint16_t port) {
  reference::PacketSpec spec = NamedSpec("udp4");
  std::get<reference::UdpSpec>(spec.l4).src = port;
  return reference::Build(spec);
}

TEST(NetSluiceQueues, ARuleNamesOne) {
  for (const char* thread : {"thread=0", "thread=1"}) {
    const Wired wired(thread, kFour);
    RuleSpec rule;
    ASSERT_NE(rule.Ipv4().Queue(3).Create(wired.nic), nullptr) << rule.message();
    for (uint16_t port = 1; port < 20; ++port) EXPECT_TRUE(wired.peer.Send(Connection(port)));
    const auto received = wired.nic.Await(19);
    ASSERT_EQ(received.size(), 19u);
    for (const Received& one : received) EXPECT_EQ(one.queue, 3);
  }
}

TEST(NetSluiceQueues, ARuleSpreadsOverSome) {
  const Wired wired("", kFour);
  const uint16_t queues[] = {1, 3};
  rte_flow_action_rss rss{};
  rss.types = RTE_ETH_RSS_IP;
  rss.queue_num = 2;
  rss.queue = queues;
  RuleSpec rule;
  ASSERT_NE(rule.Ipv4().Mark(6).Action(RTE_FLOW_ACTION_TYPE_RSS, rss).Create(wired.nic), nullptr) << rule.message();
  std::set<uint16_t> seen;
  for (uint16_t port = 1; port < 40; ++port) {
    EXPECT_TRUE(wired.peer.Send(Connection(port)));
    const auto received = wired.nic.Receive();
    ASSERT_EQ(received.size(), 1u);
    EXPECT_EQ(received[0].mark, 6u);
    seen.insert(received[0].queue);
  }
  EXPECT_EQ(seen, (std::set<uint16_t>{1, 3}));
}

TEST(NetSluiceQueues, ConnectionsStayTogetherAndOthersGoToTheFirst) {
  const Wired wired("", kFour);
  std::set<uint16_t> seen;
  for (uint16_t port = 1; port < 40; ++port) {
    std::set<uint16_t> queues;
    for (int i = 0; i < 3; ++i) queues.insert(wired.Through(Connection(port)).at(0).queue);
    EXPECT_EQ(queues.size(), 1u);
    seen.merge(queues);
  }
  EXPECT_EQ(seen.size(), 4u);
  EXPECT_EQ(wired.Through(Named("arp")).at(0).queue, 0);

  const Port lonely("net_sluice_lonely", "ring=alone", {.rx_queues = 2, .rss = false});
  const Port other("net_sluice_other", "ring=alone");
  for (uint16_t port = 1; port < 40; ++port) EXPECT_TRUE(other.Send(Connection(port)));
  for (const Received& one : lonely.Await(39)) EXPECT_EQ(one.queue, 0);
}

TEST(NetSluiceQueues, WhatDoesNotFitIsCountedAsMissed) {
  const Wired wired("depth=64", {.rx_queues = 2});
  RuleSpec rule;
  ASSERT_NE(rule.Queue(1).Create(wired.nic), nullptr) << rule.message();
  rte_mbuf* packets[32];
  for (int i = 0; i < 100; ++i) {
    EXPECT_TRUE(wired.peer.Send(Named("udp4")));
    EXPECT_EQ(rte_eth_rx_burst(wired.nic.id(), 0, packets, 32), 0);  // takes them from the wire, for the other queue
  }
  EXPECT_EQ(wired.nic.Receive().size(), 63u);
  EXPECT_EQ(wired.nic.Stats().imissed, 37u);
  EXPECT_EQ(Port::PacketsInUse(), 0u);
}

TEST(NetSluiceQueues, AWireThatIsFullTakesNoMore) {
  const Wired wired("depth=64");
  int sent = 0;
  while (sent < 2000 && wired.nic.Send(Named("udp4"))) ++sent;
  EXPECT_EQ(sent, 1023);  // the depth that the end made has that was there first
  EXPECT_EQ(wired.peer.Await(1023).size(), 1023u);
}

}  // namespace
}  // namespace sluice::netsluice
