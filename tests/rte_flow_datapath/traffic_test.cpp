// SPDX-License-Identifier: Apache-2.0
// Flows that change while packets flow: none is lost, none is changed, and none takes an action that a fence has ended.
#include <array>
#include <atomic>
#include <cstring>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "rig.h"

namespace sluice::rteflow {
namespace {

constexpr size_t kSequenceAt = 42;  // behind the UDP header

class TrafficTest : public DatapathTest {
 protected:
  TrafficTest() {
    for (const uint32_t port : {1, 2, 3}) AddPort(port);
  }
  ~TrafficTest() override { Stop(); }
  // Once there is a flow: none may miss.
  void Start() {
    sender_ = std::thread([this] { Send(); });
  }
  void Stop() {
    stop_ = true;
    if (sender_.joinable()) sender_.join();
  }

  // Packets with a sequence number, marked and unmarked by turns, as if the device had rules of several ages. Never
  // more on the way than all rings hold.
  void Send() {
    const Bytes frame = NamedFrame("udp4");
    for (uint64_t sequence = 0; !stop_;) {
      if (sequence - received_ > 1000) {
        std::this_thread::yield();
        continue;
      }
      rte_mbuf* packet = pool_.Make(frame, marks_[sequence % marks_.size()]);
      std::memcpy(rte_pktmbuf_mtod(packet, uint8_t*) + kSequenceAt, &sequence, sizeof(sequence));
      if (Device(1).Inject(packet)) sent_ = ++sequence;
    }
  }

  // How many came out of `port`, in the order in which they went in, none of them twice.
  uint64_t Take(uint32_t port) {
    uint64_t count = 0;
    while (rte_mbuf* packet = Device(port).CollectOne()) {
      uint64_t sequence = 0;
      std::memcpy(&sequence, rte_pktmbuf_mtod(packet, uint8_t*) + kSequenceAt, sizeof(sequence));
      rte_pktmbuf_free(packet);
      EXPECT_GE(sequence, next_[port]) << "at port " << port;
      next_[port] = sequence + 1;
      if (sequence >= seen_.size()) seen_.resize(2 * sequence + 1);
      EXPECT_FALSE(seen_[sequence]) << sequence;
      seen_[sequence] = true;
      ++count;
    }
    received_ = received_ + count;
    return count;
  }
  void TakeSome(uint32_t port) {
    for (uint64_t count = 0; count < 50 && !HasFailure();) count += Take(port);
  }

  std::array<std::atomic<uint32_t>, 3> marks_{};
  std::atomic<bool> stop_{false};
  std::atomic<uint64_t> sent_{0};
  std::atomic<uint64_t> received_{0};
  std::map<uint32_t, uint64_t> next_;
  std::vector<bool> seen_;
  std::thread sender_;
};

// Modified: the new flow goes in, with a mark of its own, and the old one out. All the while packets come with the old
// mark, the new one and none.
TEST_F(TrafficTest, AfterTheFenceNoPacketTakesTheOldActions) {
  DatapathFlow* flow = &Put("in_port(1)", "2", 0, 1);
  marks_[1] = 1;
  Start();
  uint32_t port = 2;
  for (uint32_t round = 0; round < 300 && !HasFailure(); ++round) {
    TakeSome(port);
    const uint32_t old = port;
    port = port == 2 ? 3 : 2;
    DatapathFlow& next = MakeFlow(MatchOf("in_port(1)"), {Output{port}}, 0, round + 2);
    datapath_->Insert(next);
    marks_[round % 2] = next.mark;
    datapath_->Remove(*flow);
    Settle();
    Take(old);
    TakeSome(port);
    EXPECT_EQ(Take(old), 0u) << "round " << round;
    flow = &next;
  }
  Stop();
  Drain();
  Take(port);
  EXPECT_EQ(received_.load(), sent_.load()) << "packets were lost";
  ExpectAllAccountedFor(1, sent_);
  uint64_t counted = 0;
  for (const auto& each : flows_) counted += each->packets;
  EXPECT_EQ(counted, sent_.load());
  EXPECT_GT(datapath_->Counters(1).stale_mark, 0u);
}

TEST_F(TrafficTest, AfterTheFenceADeletedFlowTakesNothing) {
  Put("in_port(1)", "3");
  marks_[1] = 1;
  Start();
  for (uint32_t round = 0; round < 300 && !HasFailure(); ++round) {
    DatapathFlow& flow = Put("in_port(1),eth_type(0x0800)", "2", 5, 1);
    // What came before it went to the other port.
    Take(3);
    TakeSome(2);
    EXPECT_EQ(Take(3), 0u);
    Delete(flow);
    const uint64_t packets = flow.packets;
    Take(2);
    TakeSome(3);
    EXPECT_EQ(Take(2), 0u) << "round " << round;
    EXPECT_EQ(flow.packets, packets);
  }
  Stop();
}

// Other flows come and go by the thousand; the packets' own stays, and takes each of them.
TEST_F(TrafficTest, OtherFlowsDoNotDisturb) {
  DatapathFlow& flow = Put("in_port(1)", "2", 9, 1);
  marks_[1] = 1;
  Start();
  std::vector<DatapathFlow*> others;
  Match match = MatchOf("in_port(1),eth_type(0x0800)");
  for (uint32_t i = 0; i < 4000; ++i) {
    match.SetMasked(Field::ipv4_dst, i, UINT32_MAX << i % 16);
    others.push_back(&MakeFlow(match, {Output{3}}, i % 9, i + 10));
  }
  for (int round = 0; round < 5; ++round) {
    for (DatapathFlow* other : others) datapath_->Insert(*other);
    TakeSome(2);
    for (DatapathFlow* other : others) datapath_->Remove(*other);
    Settle();
    TakeSome(2);
  }
  Stop();
  Drain();
  Take(2);
  EXPECT_EQ(received_.load(), sent_.load()) << "packets were lost";
  EXPECT_EQ(flow.packets.load(), sent_.load());
  EXPECT_EQ(Take(3), 0u);
}

}  // namespace
}  // namespace sluice::rteflow
