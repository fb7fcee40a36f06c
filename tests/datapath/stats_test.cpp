// SPDX-License-Identifier: Apache-2.0
// What flows count: exactly, on every CPU, across changes and deletion.
#include <gtest/gtest.h>
#include <sched.h>

#include <ctime>
#include <thread>

#include "table_rig.h"

namespace sluice::xdp {
namespace {

const char* const kToHost = "eth_type(0x0800),ipv4(dst=10.0.0.2)";
constexpr uint32_t kHost = 0x0a000002;

uint64_t MonotonicNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

TEST(Stats, OnlyWhatChangedIsReported) {
  TableRig rig;
  rig.Put(kToHost, "1", 0, 7);
  rig.Put("eth_type(0x0800),ipv4(dst=10.0.0.3)", "1", 0, 8);
  EXPECT_TRUE(rig.Stats().empty());
  rig.Run(UdpFrame(kHost));
  rig.Run(UdpFrame(kHost));
  auto stats = rig.Stats();
  ASSERT_EQ(stats.size(), 1);
  EXPECT_EQ(stats[7].packets, 2);
  EXPECT_EQ(stats[7].bytes, 128);
  EXPECT_EQ(stats[7].tcp_flags, 0);
  EXPECT_TRUE(rig.Stats().empty());
}

TEST(Stats, LastUseIsOnTheMonotonicClock) {
  TableRig rig;
  rig.Put(kToHost, "1", 0, 7);
  const uint64_t before = MonotonicNs();
  rig.Run(UdpFrame(kHost));
  const uint64_t after = MonotonicNs();
  // Read later: it must not be the time of reading.
  while (MonotonicNs() < after + 100'000'000) std::this_thread::yield();
  const uint64_t used = rig.Stats()[7].used_ns;
  constexpr uint64_t kCoarse = 25'000'000;
  EXPECT_GE(used + kCoarse, before);
  EXPECT_LE(used, after + kCoarse);
}

TEST(Stats, TcpFlagsAreOred) {
  TableRig rig;
  rig.Put("eth_type(0x0800),ipv4(proto=6)", "1", 0, 7);
  Bytes frame = UdpFrame(kHost);
  frame[23] = 6;
  frame[47] = 0x02;
  rig.Run(frame);
  EXPECT_EQ(rig.Stats()[7].tcp_flags, 0x002);
  frame[46] = 0x51;  // NS, below the data offset
  frame[47] = 0x10;
  rig.Run(frame);
  EXPECT_EQ(rig.Stats()[7].tcp_flags, 0x112);
}

TEST(Stats, ExactAcrossModifyAndDelete) {
  TableRig rig;
  const FlowId id = rig.Put(kToHost, "1", 0, 7);
  uint64_t packets = 0;
  uint64_t sent = 0;
  for (int i = 0; i < 50; ++i) {
    RunProgram(rig.object->program_fd(), UdpFrame(kHost), 10);
    sent += 10;
    ASSERT_TRUE(rig.table->Modify(id, rig.Spec(kToHost, i % 2 == 0 ? "2" : "1,2", i, 7)));
    if (i % 10 == 0) packets += rig.Stats()[7].packets;
    if (i % 15 == 0) rig.reclaimer->Drain();
  }
  RunProgram(rig.object->program_fd(), UdpFrame(kHost), 10);
  sent += 10;
  rig.table->Delete(id);
  EXPECT_TRUE(rig.reclaimed.empty()) << "not before the grace period";
  EXPECT_TRUE(rig.Stats().empty()) << "a deleted flow reports through OnReclaimed only";
  rig.reclaimer->Drain();
  ASSERT_EQ(rig.reclaimed.size(), 1);
  EXPECT_EQ(rig.reclaimed[0].first, 7);
  EXPECT_EQ(packets + rig.reclaimed[0].second.packets, sent);

  // The slots start from nothing for the next flows.
  for (int i = 0; i < 200; ++i) rig.Put("eth_type(0x0800),ipv4(dst=10.0.1." + std::to_string(i) + ")", "1", 0, 100 + i);
  EXPECT_TRUE(rig.Stats().empty());
}

TEST(Stats, ExactOnTwoCpus) {
  TableRig rig;
  rig.Put(kToHost, "1", 0, 7);
  cpu_set_t allowed;
  ASSERT_EQ(sched_getaffinity(0, sizeof allowed, &allowed), 0);
  std::vector<std::thread> threads;
  uint64_t sent = 0;
  for (int cpu = 0; cpu < CPU_SETSIZE && threads.size() < 4; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    sent += 100 * 1000;
    threads.emplace_back([&rig, cpu] {
      cpu_set_t one;
      CPU_ZERO(&one);
      CPU_SET(cpu, &one);
      sched_setaffinity(0, sizeof one, &one);
      for (int i = 0; i < 100; ++i) RunProgram(rig.object->program_fd(), UdpFrame(kHost), 1000);
    });
  }
  uint64_t packets = 0;
  uint64_t bytes = 0;
  for (int i = 0; i < 20; ++i) {
    for (const auto& [cookie, delta] : rig.Stats()) {
      packets += delta.packets;
      bytes += delta.bytes;
    }
  }
  for (auto& thread : threads) thread.join();
  for (const auto& [cookie, delta] : rig.Stats()) {
    packets += delta.packets;
    bytes += delta.bytes;
  }
  EXPECT_EQ(packets, sent);
  EXPECT_EQ(bytes, sent * 64);
  EXPECT_EQ(rig.Grown(SLUICE_COUNT_hit_cache) + rig.Grown(SLUICE_COUNT_hit_table), sent);
}

}  // namespace
}  // namespace sluice::xdp
