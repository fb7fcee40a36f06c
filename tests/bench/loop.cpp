// SPDX-License-Identifier: Apache-2.0
// The rte_flow plugin's poll-mode loop: cycles a packet of MARKed and of software-classified forwarding, and a bare
// loop from receive to transmit on the same device.
#include <pthread.h>
#include <rte_cycles.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "bench/bench_flows.h"
#include "bench/benches.h"
#include "bench/samples.h"
#include "loop/datapath.h"
#include "packet_pool.h"

namespace sluice::bench {
namespace {

using rteflow::Datapath;
using rteflow::DatapathFlow;

constexpr uint32_t kPort = 1;
constexpr uint16_t kBurst = 32;

void Must(bool good, const char* what) {
  if (!good) throw std::runtime_error(std::string(what) + ": " + rte_strerror(rte_errno));
}

void StartEal() {
  const std::string prefix = "sluice_bench_" + std::to_string(getpid());
  std::vector<std::string> words{"sluice-bench",  "--no-huge", "--no-shconf", "--no-pci", "--no-telemetry",
                                 "--file-prefix", prefix,      "-m",          "256",      "--log-level",
                                 "error"};
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  Must(rte_eal_init(static_cast<int>(arguments.size()), arguments.data()) >= 0, "rte_eal_init");
}

// What the device says of the packets that it receives; each has its flow's mark in it already.
uint64_t received_flags = 0;

// As the receive function of a driver, which fills this in from the descriptor.
uint16_t Describe(uint16_t /*ethdev*/, uint16_t /*queue*/, rte_mbuf** packets, uint16_t count, uint16_t /*most*/,
                  void* /*context*/) {
  for (uint16_t i = 0; i < count; ++i) packets[i]->ol_flags = received_flags;
  return count;
}

// Receives what it sends. Packets go round as long as anybody forwards them.
class RoundDevice {
 public:
  RoundDevice(const std::vector<reference::Bytes>& frames, uint32_t packets) : packets_(packets) {
    pool_ = rteflow::MakePacketPool("bench", packets, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
    Must(pool_ != nullptr, "MakePacketPool");
    ring_ = rte_ring_create("bench", rte_align32pow2(packets + 1), SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
    Must(ring_ != nullptr, "rte_ring_create");
    const int made = rte_eth_from_rings("bench", &ring_, 1, &ring_, 1, 0);
    Must(made >= 0, "rte_eth_from_rings");
    ethdev_ = static_cast<uint16_t>(made);
    const rte_eth_conf conf{};
    Must(rte_eth_dev_configure(ethdev_, 1, 1, &conf) == 0, "rte_eth_dev_configure");
    Must(rte_eth_rx_queue_setup(ethdev_, 0, 512, 0, nullptr, pool_) == 0, "rte_eth_rx_queue_setup");
    Must(rte_eth_tx_queue_setup(ethdev_, 0, 512, 0, nullptr) == 0, "rte_eth_tx_queue_setup");
    describe_ = rte_eth_add_rx_callback(ethdev_, 0, Describe, nullptr);
    Must(describe_ != nullptr, "rte_eth_add_rx_callback");
    Must(rte_eth_dev_start(ethdev_) == 0, "rte_eth_dev_start");
    for (uint32_t i = 0; i < packets; ++i) {
      // Neighbours in the ring are no neighbours in the table.
      const uint32_t flow = (i * 2654435761U >> 8) % static_cast<uint32_t>(frames.size());
      const reference::Bytes& frame = frames[flow];
      rte_mbuf* packet = rte_pktmbuf_alloc(pool_);
      Must(packet != nullptr, "rte_pktmbuf_alloc");
      std::memcpy(rte_pktmbuf_append(packet, static_cast<uint16_t>(frame.size())), frame.data(), frame.size());
      packet->hash.fdir.hi = flow + 1;
      Must(rte_ring_enqueue(ring_, packet) == 0, "rte_ring_enqueue");
    }
  }
  ~RoundDevice() {
    rte_eth_dev_info info{};
    rte_eth_dev_info_get(ethdev_, &info);
    rte_eth_dev_stop(ethdev_);
    rte_eth_remove_rx_callback(ethdev_, 0, describe_);
    rte_eth_dev_close(ethdev_);
    rte_dev_remove(info.device);
    rte_ring_free(ring_);
    rte_mempool_free(pool_);
  }
  RoundDevice(const RoundDevice&) = delete;
  RoundDevice& operator=(const RoundDevice&) = delete;

  [[nodiscard]] uint16_t ethdev() const { return ethdev_; }
  [[nodiscard]] bool lost() const { return rte_ring_count(ring_) != packets_; }

 private:
  uint32_t packets_;
  rte_mempool* pool_ = nullptr;
  rte_ring* ring_ = nullptr;
  uint16_t ethdev_ = 0;
  const rte_eth_rxtx_callback* describe_ = nullptr;
};

// As testpmd's `io` forwards: what was received is sent, and not looked at.
double BareCycles(uint16_t ethdev, uint32_t packets, int cpu) {
  double cycles = 0;
  std::thread([&] {
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(static_cast<size_t>(cpu), &cpus);
    pthread_setaffinity_np(pthread_self(), sizeof cpus, &cpus);
    if (rte_thread_register() != 0) return;
    rte_mbuf* burst[kBurst];
    uint32_t done = 0;
    const uint64_t start = rte_rdtsc();
    while (done < packets) {
      const uint16_t received = rte_eth_rx_burst(ethdev, 0, burst, kBurst);
      const uint16_t sent = rte_eth_tx_burst(ethdev, 0, burst, received);
      if (sent < received) rte_pktmbuf_free_bulk(burst + sent, static_cast<unsigned>(received - sent));
      done += sent;
    }
    cycles = static_cast<double>(rte_rdtsc() - start) / done;
    rte_thread_unregister();
  }).join();
  return cycles;
}

// A loop with flows of one kind, all of which send packets back to where they came from.
class Subject {
 public:
  Subject(uint32_t flows, uint32_t masks, uint8_t protocol, int cpu) : flows_(flows) {
    auto started = Datapath::Start({.cpu = cpu, .idle_us = 1'000'000, .burst = kBurst, .copies = 255});
    if (!started) throw std::runtime_error(started.error().detail);
    datapath_ = *std::move(started);
    for (uint32_t i = 0; i < flows; ++i) {
      DatapathFlow& flow = flows_[i];
      flow.match = BenchMatch(i, i % masks);
      flow.match.SetExact(Field::in_port, kPort);
      if (protocol != 0) flow.match.SetExact(Field::ipv4_proto, protocol);
      flow.actions = {Output{kPort}};
      flow.mark = i + 1;
      datapath_->Insert(flow);
    }
    datapath_->WaitFor(datapath_->Fence());
  }

  // Of the loop's thread, a packet, while it never waits for one.
  double Cycles(uint16_t ethdev, uint32_t packets, bool marked) {
    received_flags = marked ? RTE_MBUF_F_RX_FDIR | RTE_MBUF_F_RX_FDIR_ID : 0;
    const rteflow::DatapathLoad before = datapath_->Load();
    datapath_->AddPort({.number = kPort, .ethdev = ethdev});
    while (datapath_->Load().packets - before.packets < packets) {
      std::this_thread::sleep_for(std::chrono::microseconds(500));
    }
    const auto counters = datapath_->Counters(kPort);
    datapath_->RemovePort(kPort);
    datapath_->WaitFor(datapath_->Fence());
    if ((marked ? counters.hit_software : counters.marked) != 0 || counters.miss != 0 || counters.tx_full != 0) {
      throw std::runtime_error("packets did not go the way that is measured");
    }
    const rteflow::DatapathLoad after = datapath_->Load();
    return static_cast<double>(after.busy_cycles - before.busy_cycles) /
           static_cast<double>(after.packets - before.packets);
  }

 private:
  std::vector<DatapathFlow> flows_;
  std::unique_ptr<Datapath> datapath_;
};

std::vector<reference::Bytes> FramesOf(uint32_t flows) {
  std::vector<reference::Bytes> frames;
  for (uint32_t flow = 0; flow < flows; ++flow) {
    reference::Bytes frame = BenchFrame();
    const auto put = [&](size_t at, uint32_t value, int bytes) {
      while (bytes-- > 0) frame[at++] = static_cast<uint8_t>(value >> 8 * bytes);
    };
    put(26, 0x0a000000 + flow, 4);
    put(30, 0x0b000000 + flow, 4);
    put(36, flow, 2);
    frames.push_back(frame);
  }
  return frames;
}

}  // namespace

void Loop(const LoopOptions& options) {
  StartEal();
  setpriority(PRIO_PROCESS, 0, -20);
  const int cpu = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)) - 1;
  const RoundDevice device(FramesOf(options.flows), options.in_flight);
  Subject many(options.flows, options.masks, 0, cpu);

  std::vector<Case> cases;
  cases.push_back({"receive to transmit, bare", [&] { return BareCycles(device.ethdev(), options.packets, cpu); }, {}});
  cases.push_back({"MARKed", [&] { return many.Cycles(device.ethdev(), options.packets, true); }, {}});
  cases.push_back({"software", [&] { return many.Cycles(device.ethdev(), options.packets, false); }, {}});
  RunInterleaved(cases, options.rounds);

  const double hz = static_cast<double>(rte_get_tsc_hz());
  std::printf(
      "loop: %u flows under %u masks, one output each, bursts of %u, %u packets going round a memory ring,\n"
      "cycles of the time stamp counter (%.2f GHz) a packet, %u rounds of %u packets\n",
      options.flows, options.masks, kBurst, options.in_flight, hz / 1e9, options.rounds, options.packets);
  std::printf("%-30s %8s %8s %8s %8s\n", "", "median", "least", "most", "Mpps");
  for (const Case& one : cases) {
    std::printf("%-30s %8.1f %8.1f %8.1f %8.2f\n", one.name.c_str(), Median(one), Quantile(one.samples, 0),
                Quantile(one.samples, 1), hz / Median(one) / 1e6);
  }
  std::printf("software over MARKed, cycles:        %.2f (by round %.2f)\n", Median(cases[2]) / Median(cases[1]),
              MedianRatio(cases[2], cases[1]));
  std::printf("MARKed over bare, packets a second:  %.2f (by round %.2f)\n", Median(cases[0]) / Median(cases[1]),
              MedianRatio(cases[0], cases[1]));
  if (device.lost()) std::printf("packets were lost\n");
}

}  // namespace sluice::bench
