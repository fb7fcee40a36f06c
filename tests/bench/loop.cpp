// SPDX-License-Identifier: Apache-2.0
// The rte_flow plugin's poll-mode loop: cycles a packet of MARKed and of software-classified forwarding, and a bare
// loop from receive to transmit on the same device.
#include <rte_cycles.h>
#include <rte_dev.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <sys/resource.h>

#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "bench/benches.h"
#include "bench/loop_rig.h"
#include "bench/samples.h"
#include "packet_pool.h"

namespace sluice::bench {
namespace {

constexpr uint16_t kBurst = 32;

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
  OnCpu(cpu, [&] {
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
  });
  return cycles;
}

// With flows that send packets back to where they came from.
double LoopCycles(LoopSubject& subject, uint16_t ethdev, uint32_t packets, bool marked) {
  received_flags = marked ? RTE_MBUF_F_RX_FDIR | RTE_MBUF_F_RX_FDIR_ID : 0;
  return subject.Cycles(ethdev, ethdev, packets, marked);
}

}  // namespace

void Loop(const LoopOptions& options) {
  StartDpdk();
  setpriority(PRIO_PROCESS, 0, -20);
  const int cpu = LoopCpu();
  const RoundDevice device(LoopFrames(options.flows), options.in_flight);
  LoopSubject subject(options.flows, options.masks, 1, kBurst, cpu);

  const uint16_t ethdev = device.ethdev();
  std::vector<Case> cases;
  cases.push_back({"receive to transmit, bare", [&] { return BareCycles(ethdev, options.packets, cpu); }, {}});
  cases.push_back({"MARKed", [&] { return LoopCycles(subject, ethdev, options.packets, true); }, {}});
  cases.push_back({"software", [&] { return LoopCycles(subject, ethdev, options.packets, false); }, {}});
  RunInterleaved(cases, options.rounds);

  std::printf(
      "loop: %u flows under %u masks, one output each, bursts of %u, %u packets going round a memory ring,\n"
      "%u rounds of %u packets; ",
      options.flows, options.masks, kBurst, options.in_flight, options.rounds, options.packets);
  PrintLoop(cases);
  if (device.lost()) std::printf("packets were lost\n");
}

}  // namespace sluice::bench
