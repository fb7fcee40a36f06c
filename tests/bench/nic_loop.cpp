// SPDX-License-Identifier: Apache-2.0
// The rte_flow plugin's poll-mode loop on a device that matches by itself: net_sluice, which does so in a thread of its
// own, on another core, and hands packets over in rings. Cycles a packet of MARKed and of software-classified
// forwarding, and of a bare loop from receive to transmit, on the same two devices.
#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_flow.h>
#include <rte_mbuf.h>
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "bench/benches.h"
#include "bench/datapath.h"
#include "bench/loop_rig.h"
#include "bench/samples.h"
#include "eal.h"
#include "offload/pattern.h"
#include "packet_pool.h"

namespace sluice::bench {
namespace {

constexpr uint16_t kBurst = 32;

// Packets wait in the receive queue of one device, what the other sends comes back here.
class Bench {
 public:
  explicit Bench(const NicLoopOptions& options) {
    const std::string depth = ",depth=" + std::to_string(rte_align32pow2(options.packets + 1));
    source_ = OpenDevice("net_sluice_source,ring=in" + depth);
    from_ = OpenDevice("net_sluice_from,ring=in,thread=1,cpu=0" + depth);
    to_ = OpenDevice("net_sluice_to,ring=out" + depth);
    sink_ = OpenDevice("net_sluice_sink,ring=out" + depth);
    pool_ = rteflow::MakePacketPool("nic_loop", options.packets, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
    Must(pool_ != nullptr, "MakePacketPool");
    const auto frames = LoopFrames(options.flows);
    for (uint32_t i = 0; i < options.packets; ++i) {
      // Neighbours in the queue are no neighbours in the table.
      const reference::Bytes& frame = frames[(i * 2654435761U >> 8) % frames.size()];
      rte_mbuf* packet = rte_pktmbuf_alloc(pool_);
      Must(packet != nullptr, "rte_pktmbuf_alloc");
      std::memcpy(rte_pktmbuf_append(packet, static_cast<uint16_t>(frame.size())), frame.data(), frame.size());
      packets_.push_back(packet);
    }
    for (uint32_t number = 0; number < options.flows; ++number) {
      OrThrow(patterns_.emplace_back().Build(LoopMatch(number, options.masks), rteflow::PortItem::kNone, from_->id()));
    }
  }
  ~Bench() {
    source_.reset();
    from_.reset();
    to_.reset();
    sink_.reset();
    rte_mempool_free(pool_);
  }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  [[nodiscard]] uint16_t from() const { return from_->id(); }
  [[nodiscard]] uint16_t to() const { return to_->id(); }

  // Whether the device marks.
  void SetRules(bool marks) {
    rte_flow_error error{};
    Must(rte_flow_flush(from(), &error) == 0, "rte_flow_flush");
    rte_flow_attr attr{};
    attr.ingress = 1;
    uint32_t number = 0;
    for (const rteflow::Pattern& pattern : patterns_) {
      if (!marks) break;
      const rte_flow_action_mark mark{.id = ++number};
      const rte_flow_action actions[] = {{RTE_FLOW_ACTION_TYPE_MARK, &mark},
                                         {RTE_FLOW_ACTION_TYPE_COUNT, nullptr},
                                         {RTE_FLOW_ACTION_TYPE_END, nullptr}};
      Must(rte_flow_create(from(), &attr, pattern.Items(false), actions, &error) != nullptr, "rte_flow_create");
    }
  }
  // All packets into the receive queue, by way of the device's thread.
  void Fill() {
    const uint64_t before = Seen();
    for (size_t sent = 0; sent < packets_.size();) {
      const auto count = static_cast<uint16_t>(std::min<size_t>(kBurst, packets_.size() - sent));
      sent += rte_eth_tx_burst(source_->id(), 0, packets_.data() + sent, count);
    }
    while (Seen() - before < packets_.size()) Pause();
    Pause();  // the last are counted before they are in the queue
  }
  void Collect() {
    for (size_t count = 0; count < packets_.size();) {
      const uint16_t got = rte_eth_rx_burst(sink_->id(), 0, packets_.data() + count, kBurst);
      if (got == 0) throw std::runtime_error("packets were lost");
      count += got;
    }
  }
  [[nodiscard]] uint32_t packets() const { return static_cast<uint32_t>(packets_.size()); }

 private:
  static void Pause() { std::this_thread::sleep_for(std::chrono::milliseconds(1)); }
  // Packets that have passed the rules, or that no rule takes.
  [[nodiscard]] uint64_t Seen() const {
    uint64_t seen = 0;
    for (const char* name : {"rx_matched", "rx_unmatched"}) {
      uint64_t id = 0;
      uint64_t value = 0;
      Must(rte_eth_xstats_get_id_by_name(from(), name, &id) == 0, name);
      Must(rte_eth_xstats_get_by_id(from(), &id, &value, 1) == 1, name);
      seen += value;
    }
    return seen;
  }

  std::unique_ptr<rteflow::EthDevice> source_, from_, to_, sink_;
  rte_mempool* pool_ = nullptr;
  std::vector<rte_mbuf*> packets_;
  std::deque<rteflow::Pattern> patterns_;
};

// As testpmd's `io` forwards between two ports: what was received at one is sent at the other, and not looked at.
double BareCycles(const Bench& bench, int cpu) {
  double cycles = 0;
  OnCpu(cpu, [&] {
    rte_mbuf* burst[kBurst];
    uint32_t done = 0;
    const uint64_t start = rte_rdtsc();
    while (done < bench.packets()) {
      for (const auto& [from, to] : {std::pair{bench.from(), bench.to()}, {bench.to(), bench.from()}}) {
        const uint16_t received = rte_eth_rx_burst(from, 0, burst, kBurst);
        if (received == 0) continue;
        const uint16_t sent = rte_eth_tx_burst(to, 0, burst, received);
        if (sent < received) rte_pktmbuf_free_bulk(burst + sent, static_cast<unsigned>(received - sent));
        done += sent;
      }
    }
    cycles = static_cast<double>(rte_rdtsc() - start) / done;
  });
  return cycles;
}

}  // namespace

void NicLoop(const NicLoopOptions& options) {
  StartDpdk();
  OrThrow(rteflow::LoadDriver(SLUICE_NET_SLUICE));
  setpriority(PRIO_PROCESS, 0, -20);
  const int cpu = LoopCpu();
  Bench bench(options);
  LoopSubject subject(options.flows, options.masks, 2, kBurst, cpu);
  const auto sample = [&](bool marks, const std::function<double()>& forward) {
    bench.SetRules(marks);
    bench.Fill();
    const double cycles = forward();
    bench.Collect();
    return cycles;
  };
  const auto by_loop = [&](bool marks) {
    return sample(marks, [&] { return subject.Cycles(bench.from(), bench.to(), bench.packets(), marks); });
  };
  std::vector<Case> cases;
  cases.push_back(
      {"receive to transmit, bare", [&] { return sample(true, [&] { return BareCycles(bench, cpu); }); }, {}});
  cases.push_back({"MARKed", [&] { return by_loop(true); }, {}});
  cases.push_back({"software", [&] { return by_loop(false); }, {}});
  RunInterleaved(cases, options.rounds);
  std::printf(
      "nic-loop: %u flows under %u masks, one output each, bursts of %u, from one device of net_sluice, whose thread\n"
      "matches on CPU 0, to another; %u rounds of %u packets; ",
      options.flows, options.masks, kBurst, options.rounds, bench.packets());
  PrintLoop(cases);
}

}  // namespace sluice::bench
