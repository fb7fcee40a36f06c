// SPDX-License-Identifier: Apache-2.0
// What a fence promises.
#include <rte_cycles.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "rig.h"

namespace sluice::rteflow {
namespace {

class FenceTest : public DatapathTest {
 protected:
  FenceTest() : DatapathTest(Patient()) {}

  // Sleeps far longer than a test may take: commands have to wake it.
  static Datapath::Settings Patient() {
    Datapath::Settings settings;
    settings.idle_us = 600'000'000;
    return settings;
  }
  const Bytes frame_ = NamedFrame("udp4");
};

TEST_F(FenceTest, CountsUp) {
  EXPECT_EQ(datapath_->passed_fence(), 0u);
  const uint64_t first = datapath_->Fence();
  const uint64_t second = datapath_->Fence();
  EXPECT_EQ(second, first + 1);
  datapath_->WaitFor(second);
  EXPECT_EQ(datapath_->passed_fence(), second);
  datapath_->WaitFor(first);
  datapath_->WaitFor(0);
}

TEST_F(FenceTest, CommandsWakeASleepingLoop) {
  for (int i = 0; i < 50; ++i) {
    const uint64_t rounds = datapath_->Load().rounds;
    Settle();
    // Until it sleeps: its rounds stand still.
    for (uint64_t last = rounds; last != datapath_->Load().rounds;) {
      last = datapath_->Load().rounds;
      std::this_thread::yield();
    }
  }
}

TEST_F(FenceTest, SleepBetweenCommandsIsNotWork) {
  Settle();
  const DatapathLoad before = datapath_->Load();
  const uint64_t start = rte_rdtsc();
  for (int i = 0; i < 200; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(3));
    Settle();
  }
  const uint64_t all = rte_rdtsc() - start;
  EXPECT_LT(datapath_->Load().busy_cycles - before.busy_cycles, all / 2);
}

TEST_F(FenceTest, ManyCommandsWaitForRoom) {
  AddPort(1);
  Match match = MatchOf("in_port(1),eth_type(0x0800)");
  for (uint32_t i = 0; i < 50000; ++i) {
    match.SetExact(Field::ipv4_dst, i);
    datapath_->Insert(MakeFlow(match, {}, 0, i + 1));
  }
  Settle();
  for (const auto& flow : flows_) datapath_->Remove(*flow);
  Settle();
  datapath_->PacketOut(1, frame_, std::nullopt);
  Settle();
  EXPECT_EQ(datapath_->Counters(1).miss, 1u);
}

TEST_F(FenceTest, PacketOutsBeforeItAreSent) {
  AddPort(1);
  for (int i = 0; i < 200; ++i) {
    datapath_->PacketOut(1, frame_, ActionsOf("1"));
    Settle();
    ASSERT_EQ(Collect(1).size(), 1u);
  }
}

TEST_F(FenceTest, WithoutPortsAllIsDrained) {
  const uint64_t fence = datapath_->Fence();
  while (datapath_->drained_fence() < fence) std::this_thread::yield();
  EXPECT_EQ(datapath_->drained_fence(), fence);
}

TEST_F(FenceTest, IsDrainedWhenEachQueueHasBeenEmpty) {
  AddPort(1, {.rx_queues = 3});
  AddPort(2);
  for (int i = 0; i < 300; ++i) {
    ASSERT_TRUE(Device(1).Inject(pool_.Make(frame_), static_cast<unsigned>(i % 3)));
    if (i % 3 == 0) Inject(2, frame_);
    const uint64_t fence = datapath_->Fence();
    while (datapath_->drained_fence() < fence) std::this_thread::yield();
    ASSERT_EQ(Device(1).waiting(), 0u);
    ASSERT_EQ(Device(2).waiting(), 0u);
    ASSERT_EQ(datapath_->Counters(1).rx_packets, static_cast<uint64_t>(i + 1));
  }
}

}  // namespace
}  // namespace sluice::rteflow
