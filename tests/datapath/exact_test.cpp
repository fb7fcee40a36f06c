// SPDX-License-Identifier: Apache-2.0
// Live frames on two CPUs while their flows are changed, put and deleted: every packet is in exactly one count.
#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <sched.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <random>
#include <thread>

#include "table_rig.h"

namespace sluice::xdp {
namespace {

constexpr uint32_t kHosts = 6;       // host 0's flow is changed and never deleted
constexpr uint32_t kBatch = 64;      // live frames of one system call
constexpr uint32_t kChanges = 4000;  // at least
constexpr uint64_t kPerCpu = 50'000;

void RunLiveFrames(int program, const Bytes& frame) {
  xdp_md context{};
  context.data_end = static_cast<uint32_t>(frame.size());
  context.ingress_ifindex = 1;
  LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame.data(), .data_size_in = static_cast<uint32_t>(frame.size()),
              .ctx_in = &context, .ctx_size_in = sizeof(context), .repeat = kBatch,
              .flags = BPF_F_TEST_XDP_LIVE_FRAMES);
  ASSERT_EQ(bpf_prog_test_run_opts(program, &run), 0) << errno;
}

std::string HostMatch(uint32_t host) { return "eth_type(0x0800),ipv4(dst=10.0.0." + std::to_string(host) + ")"; }

class TwoCpus {
 public:
  void Run() {
    for (uint32_t host = 0; host < kHosts; ++host) flows_[host] = rig_.Put(HostMatch(host), "drop", 10, host);
    std::vector<std::jthread> senders;
    for (uint32_t cpu = 0; cpu < 2; ++cpu) {
      senders.emplace_back([this, cpu](const std::stop_token& stop) { Send(cpu, stop); });
    }
    for (changes_ = 0; changes_ < kChanges || sent_[0].done < kPerCpu || sent_[1].done < kPerCpu; ++changes_) Change();
    senders.clear();
    for (auto& flow : flows_) {
      if (flow) rig_.table->Delete(*std::exchange(flow, std::nullopt));
    }
    rig_.reclaimer->Drain();
    Collect();
    Judge();
  }

 private:
  struct Sent {
    std::atomic<uint64_t> done{0};
    std::array<uint64_t, kHosts> to{};
  };

  static ObjectOptions Options() {
    ObjectOptions options;
    options.max_flows = 64;
    options.cache_entries = 64;
    options.subtable_entries = 16;
    options.miss_policy = SLUICE_MISS_DROP;
    return options;
  }

  void Send(uint32_t cpu, const std::stop_token& stop) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof(set), &set) != 0) ADD_FAILURE() << "there is no CPU " << cpu;
    for (uint32_t i = 0; !stop.stop_requested(); ++i) {
      const uint32_t host = i % kHosts;
      RunLiveFrames(rig_.object->program_fd(), UdpFrame(0x0a000000 + host));
      sent_[cpu].to[host] += kBatch;
      sent_[cpu].done += kBatch;
    }
  }

  // Cookies say the host: what its flows counted, of whatever record and instance, is added up.
  void Change() {
    const uint32_t host = random_() % kHosts;
    const auto spec = [&] {
      return rig_.Spec(HostMatch(host), random_() % 2 == 0 ? "drop" : "1", 10 + random_() % 5, host);
    };
    if (!flows_[host]) {
      const auto put = rig_.table->Put(spec());
      ASSERT_TRUE(put) << put.error().detail;
      flows_[host] = *put;
    } else if (host == 0 || random_() % 2 == 0) {
      ASSERT_TRUE(rig_.table->Modify(*flows_[host], spec()));
    } else {
      rig_.table->Delete(*std::exchange(flows_[host], std::nullopt));
    }
    if (random_() % 8 == 0) Collect();
    if (random_() % 4 == 0) rig_.reclaimer->Poll();
  }

  void Collect() {
    const auto add = [this](uint64_t host, const FlowStatsDelta& delta) {
      packets_[host] += delta.packets;
      bytes_ += delta.bytes;
    };
    rig_.table->ForEachChangedStats(add);
    for (const auto& [host, rest] : std::exchange(rig_.reclaimed, {})) add(host, rest);
  }

  void Judge() {
    uint64_t sent = 0;
    uint64_t counted = 0;
    for (uint32_t host = 0; host < kHosts; ++host) {
      const uint64_t to = sent_[0].to[host] + sent_[1].to[host];
      sent += to;
      counted += packets_[host];
      EXPECT_LE(packets_[host], to) << "host " << host;
      EXPECT_GT(packets_[host], 0U) << "host " << host;
    }
    const uint64_t hits = rig_.Grown(SLUICE_COUNT_hit_cache) + rig_.Grown(SLUICE_COUNT_hit_table);
    const uint64_t misses = rig_.Grown(SLUICE_COUNT_miss);
    EXPECT_EQ(packets_[0], sent_[0].to[0] + sent_[1].to[0]) << "a flow that was always there missed some";
    EXPECT_EQ(hits + misses, sent);
    EXPECT_EQ(counted, hits);
    EXPECT_EQ(bytes_, counted * 64);
    EXPECT_EQ(rig_.Grown(SLUICE_COUNT_drop) + rig_.Grown(SLUICE_COUNT_output), hits);
    EXPECT_EQ(rig_.Grown(SLUICE_COUNT_miss_drop), misses);
    EXPECT_GT(misses, 0U);
    EXPECT_GE(sent, 2 * kPerCpu);
  }

  std::minstd_rand random_{1};
  TableRig rig_{Options()};
  std::array<std::optional<FlowId>, kHosts> flows_;
  std::array<Sent, 2> sent_;
  std::array<uint64_t, kHosts> packets_{};
  uint64_t bytes_ = 0;
  uint32_t changes_ = 0;
};

TEST(Exact, EveryPacketOfTwoCpusIsCountedOnce) {
  cpu_set_t allowed;
  ASSERT_EQ(sched_getaffinity(0, sizeof allowed, &allowed), 0);
  if (!CPU_ISSET(0, &allowed) || !CPU_ISSET(1, &allowed)) GTEST_SKIP() << "needs CPUs 0 and 1";
  TwoCpus{}.Run();
}

}  // namespace
}  // namespace sluice::xdp
