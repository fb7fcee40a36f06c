// SPDX-License-Identifier: Apache-2.0
// Rules change and devices come and go while other threads have packets matched.
#include <atomic>
#include <thread>
#include <utility>
#include <vector>

#include "rig.h"

namespace sluice::netsluice {
namespace {

// Sends and receives until it is destroyed.
class Traffic {
 public:
  Traffic(const Port& from, const Port& to) : thread_([this, &from, &to] { Run(from, to); }) {}
  ~Traffic() {
    stop_ = true;
    thread_.join();
  }
  Traffic(const Traffic&) = delete;
  Traffic& operator=(const Traffic&) = delete;

  // Waits until so many more have come.
  void Await(uint64_t packets) const {
    const uint64_t until = received_ + packets;
    while (received_ < until) std::this_thread::yield();
  }
  [[nodiscard]] uint64_t received() const { return received_; }
  [[nodiscard]] uint64_t marked() const { return marked_; }

 private:
  void Run(const Port& from, const Port& to) {
    const Bytes frame = Named("udp4");
    while (!stop_) {
      for (int i = 0; i < 16; ++i) from.Send(frame);
      const auto all = to.Receive();
      for (const Received& one : all) {
        if (one.mark) ++marked_;
        ++received_;
      }
      if (all.empty()) std::this_thread::yield();  // to the device's own thread, on few cores
    }
  }

  std::atomic<bool> stop_{false};
  std::atomic<uint64_t> received_{0};
  std::atomic<uint64_t> marked_{0};
  std::thread thread_;
};

class NetSluiceThreads : public ::testing::TestWithParam<const char*> {};

TEST_P(NetSluiceThreads, ADestroyedRuleMatchesNothing) {
  const Wired wired(GetParam());
  const Traffic traffic(wired.peer, wired.nic);
  for (int round = 0; round < 50; ++round) {
    RuleSpec rule;
    rte_flow* flow = rule.Ipv4().Mark(1).Count().Create(wired.nic);
    ASSERT_NE(flow, nullptr) << rule.message();
    traffic.Await(20);
    Destroy(wired.nic, flow);
    const uint64_t matched = wired.nic.Xstats().at("rx_matched");
    traffic.Await(20);
    EXPECT_EQ(wired.nic.Xstats().at("rx_matched"), matched);
  }
  EXPECT_GT(traffic.marked(), 0u);
}

TEST_P(NetSluiceThreads, RulesOfManyMasksComeAndGo) {
  const Wired wired(GetParam());
  const Traffic traffic(wired.peer, wired.nic);
  RuleSpec last;
  ASSERT_NE(last.Priority(1000).Mark(7).Create(wired.nic), nullptr);
  std::vector<rte_flow*> flows;
  for (uint32_t n = 0; n < 5000; ++n) {
    rte_flow_item_ipv4 spec{};
    rte_flow_item_ipv4 mask{};
    spec.hdr.src_addr = rte_cpu_to_be_32(0x0b000000 + n);
    mask.hdr.src_addr = rte_cpu_to_be_32(0xffffffff << n % 8);
    RuleSpec rule;
    rule.Priority(n % 8).Eth().Item(RTE_FLOW_ITEM_TYPE_IPV4, spec, mask).UdpDst(static_cast<uint16_t>(n)).Drop();
    flows.push_back(rule.Create(wired.nic));
    ASSERT_NE(flows.back(), nullptr) << rule.message();
    if (flows[n / 2] != nullptr && n % 3 == 2) Destroy(wired.nic, std::exchange(flows[n / 2], nullptr));
  }
  traffic.Await(100);
  EXPECT_GT(traffic.marked(), 0u);
  rte_flow_error error{};
  EXPECT_EQ(rte_flow_flush(wired.nic.id(), &error), 0);
  EXPECT_EQ(wired.nic.Xstats().at("flow_rules"), 0u);
  traffic.Await(100);
}

TEST_P(NetSluiceThreads, TheTargetOfARuleComesAndGoes) {
  const Wired wired(GetParam());
  const Port far("net_sluice_far", "ring=out");
  const Traffic traffic(wired.peer, wired.nic);
  for (int round = 0; round < 20; ++round) {
    const Port out("net_sluice_out", "ring=out");
    RuleSpec rule;
    rte_flow* flow = rule.Ipv4().OutOf(out).Queue(0).Create(wired.nic);
    ASSERT_NE(flow, nullptr) << rule.message();
    traffic.Await(20);
    if (round % 2 == 0) Destroy(wired.nic, flow);
    for (const Received& one : far.Receive()) EXPECT_EQ(one.port, far.id());
  }
  traffic.Await(20);
}

TEST_P(NetSluiceThreads, CountersAreWholeWhateverAsks) {
  const Wired wired(GetParam());
  RuleSpec rule;
  rte_flow* flow = rule.Count().Create(wired.nic);
  ASSERT_NE(flow, nullptr);
  uint64_t counted = 0;
  {
    const Traffic traffic(wired.peer, wired.nic);
    for (int round = 0; round < 100; ++round) {
      traffic.Await(10);
      counted += Query(wired.nic, flow, true)->packets;
    }
  }
  const uint64_t sent = wired.peer.Xstats().at("wire_tx_packets");
  while (wired.nic.Xstats().at("rx_matched") < sent) static_cast<void>(wired.nic.Receive());
  counted += Query(wired.nic, flow, true)->packets;
  EXPECT_EQ(counted, sent);
}

INSTANTIATE_TEST_SUITE_P(All, NetSluiceThreads, ::testing::Values("thread=0", "thread=1"), [](const auto& test) {
  return std::string(test.param) == "thread=0" ? "polled" : "own_thread";
});

}  // namespace
}  // namespace sluice::netsluice
