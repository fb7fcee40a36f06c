// SPDX-License-Identifier: Apache-2.0
// Devices come and go; what they are told and tell.
#include <rte_dev.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>

#include "rig.h"

namespace sluice::netsluice {
namespace {

TEST(NetSluiceLife, ComesAndGoesUnderTheSameName) {
  for (int round = 0; round < 50; ++round) {
    const Wired wired(round % 2 == 0 ? "" : "thread=1");
    RuleSpec rule;
    ASSERT_NE(rule.Ipv4().Mark(1).OutOf(wired.nic).Queue(0).Create(wired.nic), nullptr) << rule.message();
    ASSERT_TRUE(wired.peer.Send(Named("udp4")));
    ASSERT_EQ(wired.nic.Await(1).size(), 1u) << round;
  }
  EXPECT_EQ(Port::PacketsInUse(), 0u);
  EXPECT_EQ(rte_eth_dev_count_avail(), 0);
}

TEST(NetSluiceLife, PacketsUnderWayGoWithTheirDevice) {
  for (const bool peer_first : {false, true}) {
    auto peer = std::make_unique<Port>("net_sluice_peer", "ring=wire");
    auto nic = std::make_unique<Port>("net_sluice_nic", "ring=wire");
    for (int i = 0; i < 10; ++i) {
      EXPECT_TRUE(peer->Send(Named("udp4")));
      EXPECT_TRUE(nic->Send(Named("udp4")));
    }
    EXPECT_EQ(Port::PacketsInUse(), 20u);
    (peer_first ? peer : nic).reset();
    EXPECT_EQ(Port::PacketsInUse(), 0u);
  }
}

TEST(NetSluiceLife, SaysWhatIsWrongWithItsArguments) {
  struct {
    const char* args;
    const char* says;
  } const cases[] = {
      {"", "iface"},
      {"ring=a,iface=lo", "iface"},
      {"ring=a,colour=red", "colour"},
      {"ring=a,profile=best", "profile"},
      {"ring=a,depth=1000", "depth"},
      {"ring=a,mac=01:00:00:00:00:00", "mac"},
      {"ring=a,thread=2", "thread"},
      {"ring=a,max_rules=many", "max_rules"},
      {"ring=a,query=maybe", "query"},
      {"iface=no_such_device", "no_such_device"},
  };
  for (const auto& one : cases) {
    testing::internal::CaptureStderr();
    EXPECT_NE(rte_dev_probe((std::string("net_sluice_bad,") + one.args).c_str()), 0) << one.args;
    const std::string log = testing::internal::GetCapturedStderr();
    EXPECT_NE(log.find(one.says), std::string::npos) << one.args << ": " << log;
  }
  const Wired wired;
  EXPECT_NE(rte_dev_probe("net_sluice_third,ring=wire"), 0);
  EXPECT_EQ(rte_eth_dev_count_avail(), 2);
}

TEST(NetSluiceLife, HasTheAddressItIsGiven) {
  const Wired wired("mac=02:00:00:00:00:55", {.promiscuous = false});
  rte_ether_addr mac{};
  ASSERT_EQ(rte_eth_macaddr_get(wired.nic.id(), &mac), 0);
  EXPECT_EQ(mac.addr_bytes[5], 0x55);
  reference::PacketSpec spec = NamedSpec("udp4");
  const auto comes = [&](const reference::Mac& dst) {
    spec.dst = dst;
    return wired.Through(reference::Build(spec)).size() == 1;
  };
  EXPECT_TRUE(comes({2, 0, 0, 0, 0, 0x55}));
  EXPECT_FALSE(comes({2, 0, 0, 0, 0, 0x56}));
  EXPECT_TRUE(comes({0xff, 0xff, 0xff, 0xff, 0xff, 0xff}));
  EXPECT_TRUE(comes({1, 0, 0x5e, 0, 0, 1}));
  EXPECT_EQ(wired.nic.Xstats().at("rx_filtered"), 1u);
  mac.addr_bytes[5] = 0x56;
  ASSERT_EQ(rte_eth_dev_default_mac_addr_set(wired.nic.id(), &mac), 0);
  EXPECT_TRUE(comes({2, 0, 0, 0, 0, 0x56}));
  ASSERT_EQ(rte_eth_promiscuous_enable(wired.nic.id()), 0);
  EXPECT_TRUE(comes({2, 0, 0, 0, 0, 0x57}));
}

TEST(NetSluiceLife, TakesFramesUpToItsMtu) {
  const Wired wired;
  ASSERT_EQ(rte_eth_dev_set_mtu(wired.nic.id(), 1000), 0);
  Bytes frame = Named("udp4");
  frame.resize(1000 + 14 + 8);
  EXPECT_EQ(wired.Through(frame).size(), 1u);
  frame.resize(frame.size() + 1);
  EXPECT_TRUE(wired.Through(frame).empty());
  EXPECT_EQ(wired.nic.Stats().ierrors, 1u);
}

TEST(NetSluiceLife, CountsWhatItReceivesAndSends) {
  const Wired wired;
  const Bytes frame = Named("udp4");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(wired.Through(frame).size(), 1u);
  EXPECT_TRUE(wired.nic.Send(frame));
  rte_eth_stats stats = wired.nic.Stats();
  EXPECT_EQ(stats.ipackets, 3u);
  EXPECT_EQ(stats.ibytes, 3 * frame.size());
  EXPECT_EQ(stats.opackets, 1u);
  EXPECT_EQ(stats.obytes, frame.size());
  EXPECT_EQ(stats.q_ipackets[0], 3u);
  ASSERT_EQ(rte_eth_stats_reset(wired.nic.id()), 0);
  stats = wired.nic.Stats();
  EXPECT_EQ(stats.ipackets + stats.opackets + stats.ibytes + stats.obytes, 0u);
}

std::atomic<int> g_changes{0};

int OnLinkChange(uint16_t /*port*/, rte_eth_event_type /*event*/, void* /*arg*/, void* /*ret*/) {
  ++g_changes;
  return 0;
}

TEST(NetSluiceLife, TheLinkIsUpWhenBothEndsAre) {
  const Wired wired;
  g_changes = 0;
  ASSERT_EQ(rte_eth_dev_callback_register(wired.nic.id(), RTE_ETH_EVENT_INTR_LSC, OnLinkChange, nullptr), 0);
  EXPECT_TRUE(wired.nic.AwaitLink(true));
  wired.peer.Stop();
  EXPECT_TRUE(wired.nic.AwaitLink(false));
  // It was told of before it could be seen, or just after.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (g_changes == 0 && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  EXPECT_GT(g_changes, 0);
  EXPECT_TRUE(wired.nic.Send(Named("udp4")));
  EXPECT_EQ(wired.nic.Xstats().at("tx_no_link"), 1u);
  wired.peer.Start();
  EXPECT_TRUE(wired.nic.AwaitLink(true));
  rte_eth_dev_callback_unregister(wired.nic.id(), RTE_ETH_EVENT_INTR_LSC, OnLinkChange, nullptr);
}

TEST(NetSluiceLife, KeepsItsRulesWhileStopped) {
  const Wired wired;
  RuleSpec rule;
  ASSERT_NE(rule.Ipv4().Mark(4).Create(wired.nic), nullptr);
  wired.nic.Stop();
  wired.nic.Start();
  EXPECT_EQ(wired.Through(Named("udp4")).at(0).mark, 4u);
  rte_flow_error error{};
  ASSERT_EQ(rte_flow_flush(wired.nic.id(), &error), 0);
  EXPECT_EQ(wired.Through(Named("udp4")).at(0).mark, std::nullopt);
  EXPECT_EQ(wired.nic.Xstats().at("flow_rules"), 0u);
}

// A packet that others have, too, or that is in pieces: the other end gets a copy in one piece.
TEST(NetSluiceLife, TheOtherEndGetsPacketsOfItsOwn) {
  const Wired wired;
  rte_mempool* pool = rte_mempool_lookup("packets");
  rte_mbuf* head = rte_pktmbuf_alloc(pool);
  rte_mbuf* tail = rte_pktmbuf_alloc(pool);
  const Bytes frame = Named("udp4");
  std::memcpy(rte_pktmbuf_append(head, 20), frame.data(), 20);
  const auto rest = static_cast<uint16_t>(frame.size() - 20);
  std::memcpy(rte_pktmbuf_append(tail, rest), frame.data() + 20, rest);
  ASSERT_EQ(rte_pktmbuf_chain(head, tail), 0);
  rte_mbuf* clone = rte_pktmbuf_clone(head, pool);
  ASSERT_NE(clone, nullptr);
  EXPECT_EQ(rte_eth_tx_burst(wired.peer.id(), 0, &clone, 1), 1);
  EXPECT_EQ(rte_eth_tx_burst(wired.peer.id(), 0, &head, 1), 1);
  const auto received = wired.nic.Receive();
  ASSERT_EQ(received.size(), 2u);
  EXPECT_EQ(received[0].frame, frame);
  EXPECT_EQ(received[1].frame, frame);
  EXPECT_EQ(Port::PacketsInUse(), 0u);
}

}  // namespace
}  // namespace sluice::netsluice
