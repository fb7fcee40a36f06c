// SPDX-License-Identifier: Apache-2.0
// Packets on all CPUs while flows come, change and go, in few records and few places of the cache, so that both are
// used again and again. What a packet gets must be what the flows of that moment say.
#include <gtest/gtest.h>
#include <linux/bpf.h>

#include <atomic>
#include <chrono>
#include <iostream>
#include <optional>
#include <random>
#include <thread>

#include "table_rig.h"

namespace sluice::xdp {
namespace {

constexpr uint32_t kHosts = 48;
constexpr auto kTime = std::chrono::seconds(4);

// What packets to one host must get now. Odd version: it is being changed.
struct Expected {
  std::atomic<uint64_t> version{0};
  std::atomic<uint32_t> vid{0};  // 0: a miss
};

class Torture {
 public:
  explicit Torture(uint32_t seed) : random_(seed) {}

  void Run() {
    std::vector<std::thread> readers;
    for (uint32_t i = 0; i < 2; ++i) readers.emplace_back([this, i] { Read(i); });
    const auto end = std::chrono::steady_clock::now() + kTime;
    while (std::chrono::steady_clock::now() < end && wrong_ == 0) Change();
    stop_ = true;
    for (auto& reader : readers) reader.join();
    EXPECT_EQ(wrong_, 0) << first_wrong_;
    // Where there is one CPU for all, few; but a run without any would prove nothing.
    EXPECT_GT(judged_, 1000);
    EXPECT_GT(changes_, 1000);
    EXPECT_GT(rig_.Grown(SLUICE_COUNT_hit_cache), 1000);
    std::cout << judged_ << " packets judged, " << changes_ << " changes\n";
  }

 private:
  struct Host {
    std::optional<FlowId> exact;
    uint32_t exact_vid = 0;
    uint32_t exact_priority = 0;
  };

  static ObjectOptions Options() {
    ObjectOptions options;
    options.max_flows = kHosts + 8;
    options.cache_entries = 64;
    options.subtable_entries = 16;
    options.miss_policy = SLUICE_MISS_PASS;
    return options;
  }

  // A wide flow under all of them, at priority 100, that is there or not.
  [[nodiscard]] uint32_t Best(const Host& host) const {
    if (host.exact && (!wide_ || host.exact_priority > 100)) return host.exact_vid;
    return wide_ ? wide_vid_ : 0;
  }

  void Begin(uint32_t host) { expected_[host].version.fetch_add(1); }
  void End(uint32_t host) {
    expected_[host].vid = Best(hosts_[host]);
    expected_[host].version.fetch_add(1);
  }

  FlowSpec ExactSpec(uint32_t host, uint32_t vid, uint32_t priority) {
    return rig_.Spec("eth_type(0x0800),ipv4(dst=10.0.0." + std::to_string(host) + ")",
                     "push_vlan(vid=" + std::to_string(vid) + ",pcp=0),1", priority);
  }

  void ChangeHost(uint32_t index) {
    Host& host = hosts_[index];
    // The id says whose flow it is, so that the flow of another host in the same record is noticed.
    const uint32_t vid = 1 + index + kHosts * (1 + random_() % 40);
    const uint32_t priority = random_() % 2 == 0 ? 50 + random_() % 10 : 150 + random_() % 10;
    Begin(index);
    if (!host.exact) {
      auto put = rig_.table->Put(ExactSpec(index, vid, priority));
      ASSERT_TRUE(put) << put.error().detail;
      host = {*put, vid, priority};
    } else if (random_() % 2 == 0) {
      ASSERT_TRUE(rig_.table->Modify(*host.exact, ExactSpec(index, vid, priority)));
      host.exact_vid = vid;
      host.exact_priority = priority;
    } else {
      rig_.table->Delete(*host.exact);
      host.exact.reset();
    }
    End(index);
  }

  void ChangeWide() {
    for (uint32_t host = 0; host < kHosts; ++host) Begin(host);
    if (wide_) {
      rig_.table->Delete(*wide_);
      wide_.reset();
    } else {
      wide_vid_ = 3000 + random_() % 1000;
      const auto put = rig_.table->Put(rig_.Spec("eth_type(0x0800),ipv4(dst=10.0.0.0/8)",
                                                 "push_vlan(vid=" + std::to_string(wide_vid_) + ",pcp=0),1", 100));
      ASSERT_TRUE(put) << put.error().detail;
      wide_ = *put;
    }
    for (uint32_t host = 0; host < kHosts; ++host) End(host);
  }

  void Change() {
    if (random_() % 20 == 0) {
      ChangeWide();
    } else {
      ChangeHost(random_() % kHosts);
    }
    if (++changes_ % 500 == 0) rig_.Stats();
    rig_.reclaimer->Poll();
  }

  void Read(uint32_t seed) {
    std::minstd_rand random(seed + 1);
    while (!stop_) {
      const uint32_t host = random() % kHosts;
      const uint64_t before = expected_[host].version;
      const uint32_t vid = expected_[host].vid;
      const Ran ran = RunProgram(rig_.object->program_fd(), UdpFrame(0x0a000000 + host));
      if (before % 2 == 1 || expected_[host].version != before) {
        // Changing: then at least nothing that was never meant for this host.
        const uint32_t got = ran.vid().value_or(0);
        if (got != 0 && got < 3000 && (got - 1) % kHosts != host) Wrong(host, vid, got);
        continue;
      }
      ++judged_;
      if (ran.vid().value_or(0) != vid) Wrong(host, vid, ran.vid().value_or(0));
      if (ran.verdict != (vid == 0 ? XDP_PASS : XDP_REDIRECT)) Wrong(host, vid, ran.verdict);
    }
  }

  void Wrong(uint32_t host, uint32_t expected, uint32_t got) {
    if (wrong_++ == 0) {
      first_wrong_ =
          "host " + std::to_string(host) + ": expected " + std::to_string(expected) + ", got " + std::to_string(got);
    }
  }

  TableRig rig_{Options()};
  std::minstd_rand random_;
  Expected expected_[kHosts];
  Host hosts_[kHosts];
  std::optional<FlowId> wide_;
  uint32_t wide_vid_ = 0;
  std::atomic<bool> stop_{false};
  std::atomic<uint64_t> judged_{0};
  std::atomic<uint64_t> wrong_{0};
  uint64_t changes_ = 0;
  std::string first_wrong_;
};

TEST(TableTorture, PacketsGetWhatTheFlowsSay) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  Torture(seed).Run();
}

// Packets to one host, each a while on its way, whose flow is changed all the time, while the records that it leaves
// are used for another host's, which drops. A packet that met no flow, or a record that was no longer its own, shows in
// the counters.
TEST(TableTorture, ChangedFlowIsNeverMissedNorAnothersRecordRun) {
  ObjectOptions options;
  options.path = SLUICE_TEST_SLOW_READER;
  options.max_flows = 4;
  options.miss_policy = SLUICE_MISS_PASS;
  TableRig rig(options);
  const FlowSpec mine[2] = {rig.Spec("eth_type(0x0800),ipv4(dst=10.0.0.2)", "1"),
                            rig.Spec("eth_type(0x0800),ipv4(dst=10.0.0.2)", "2")};
  const FlowSpec others = rig.Spec("eth_type(0x0800),ipv4(dst=10.0.0.3)", "drop");
  const auto my_id = rig.table->Put(mine[0]);
  auto others_id = rig.table->Put(others);
  ASSERT_TRUE(my_id && others_id);

  std::atomic<bool> stop{false};
  std::vector<std::thread> readers;
  for (int i = 0; i < 2; ++i) {
    readers.emplace_back([&] {
      while (!stop) RunProgram(rig.object->program_fd(), UdpFrame(0x0a000002), 100);
    });
  }
  uint64_t changes = 0;
  for (const auto end = std::chrono::steady_clock::now() + kTime; std::chrono::steady_clock::now() < end; ++changes) {
    // In this order, records freed too early would change sides at once.
    rig.table->Delete(*others_id);
    ASSERT_TRUE(rig.table->Modify(*my_id, mine[changes % 2]));
    others_id = rig.table->Put(others);
    ASSERT_TRUE(others_id) << others_id.error().detail;
    rig.reclaimer->Poll();
  }
  stop = true;
  for (auto& reader : readers) reader.join();
  EXPECT_GT(changes, 100);
  EXPECT_GT(rig.Grown(SLUICE_COUNT_output), 1000);
  EXPECT_EQ(rig.Grown(SLUICE_COUNT_miss), 0);
  EXPECT_EQ(rig.Grown(SLUICE_COUNT_drop), 0);
}

// One flow changed in actions and priority, again and again, above and below a wide one, under traffic from the cache
// and from the table. Both edits of its actions say which version it was: of two versions they would differ.
TEST(TableTorture, ModifiedInPlaceWithoutAMissOrAMixture) {
  constexpr uint32_t kChanges = 10000;
  ObjectOptions options;
  options.miss_policy = SLUICE_MISS_PASS;
  options.cache_entries = 64;
  TableRig rig(options);
  rig.Put("eth_type(0x0800),ipv4(dst=10.0.0.0/8)", "push_vlan(vid=4000,pcp=0),push_vlan(vid=4000,pcp=0),1", 100);
  const auto version = [&](uint32_t change) {
    const std::string push = "push_vlan(vid=" + std::to_string(1 + change % 3000) + ",pcp=0),";
    return rig.Spec("eth_type(0x0800),ipv4(dst=10.0.0.2)", push + push + "1", change % 3 == 0 ? 50 : 100 + change % 7);
  };
  const auto id = rig.table->Put(version(1));
  ASSERT_TRUE(id);

  std::atomic<bool> stop{false};
  std::atomic<uint64_t> packets{0};
  std::atomic<uint64_t> wrong{0};
  std::thread reader([&] {
    for (uint32_t i = 0; !stop; ++i) {
      // Every other packet to somebody else, who has the wide flow, in the few places of the cache.
      const Ran ran = RunProgram(rig.object->program_fd(), UdpFrame(i % 2 == 0 ? 0x0a000002 : 0x0a000100 + i % 512));
      const Bytes& frame = ran.frame;
      const bool ours = ran.verdict == XDP_REDIRECT && frame.size() == 72 && frame[12] == 0x81 && frame[16] == 0x81 &&
                        frame[14] == frame[18] && frame[15] == frame[19];
      if (!ours) ++wrong;
      ++packets;
    }
  });
  for (uint32_t change = 2; change < 2 + kChanges; ++change) {
    const auto changed = rig.table->Modify(*id, version(change));
    ASSERT_TRUE(changed) << changed.error().detail;
    rig.reclaimer->Poll();
  }
  while (packets < 1000) std::this_thread::yield();
  stop = true;
  reader.join();
  EXPECT_EQ(wrong, 0) << "of " << packets;
  EXPECT_EQ(rig.Grown(SLUICE_COUNT_miss), 0);
}

}  // namespace
}  // namespace sluice::xdp
