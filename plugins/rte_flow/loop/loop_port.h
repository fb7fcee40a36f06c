// SPDX-License-Identifier: Apache-2.0
// A port as the loop has it: receives from the device's queues, collects what is to be sent and sends it in batches,
// and counts.
//
// The loop's thread, but for the counters, which any thread reads.
#pragma once

#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "datapath.h"
#include "single_writer.h"
#include "token_bucket.h"

namespace sluice::rteflow {

class LoopPort {
 public:
  LoopPort(const Datapath::Port& port, std::shared_ptr<DatapathPortCounters> counters);
  LoopPort(const LoopPort&) = delete;
  LoopPort& operator=(const LoopPort&) = delete;

  [[nodiscard]] uint32_t number() const { return port_.number; }
  [[nodiscard]] const Datapath::Port& settings() const { return port_; }
  [[nodiscard]] DatapathPortCounters& counters() { return *counters_; }
  [[nodiscard]] TokenBucket& upcall_limit() { return upcall_limit_; }

  // Nothing may be waiting to be sent.
  void Change(const Datapath::Port& port);

  // How many came. `fence`: the last that has passed, for drained().
  uint16_t Receive(uint16_t queue, std::span<rte_mbuf*> packets, uint64_t fence) {
    const uint16_t count = rte_eth_rx_burst(port_.ethdev, queue, packets.data(), static_cast<uint16_t>(packets.size()));
    if (count == 0) drained_[queue] = fence;
    return count;
  }
  // The newest fence behind which each receive queue was seen empty.
  [[nodiscard]] uint64_t drained() const;

  // Takes `packets` over, of so many bytes together, which came in by `from`; they are sent at Flush at the latest.
  void Send(std::span<rte_mbuf*> packets, uint64_t bytes, LoopPort& from) {
    if (waiting_count_ + packets.size() > kBatch) Flush();
    if (run_count_ == 0 || runs_[run_count_ - 1].from != &from) runs_[run_count_++] = {&from, 0};
    runs_[run_count_ - 1].count += static_cast<uint32_t>(packets.size());
    // Enough for a batch of their own.
    if (waiting_count_ == 0 && packets.size() >= kBatch / 2) return Transmit(packets, bytes);
    waiting_bytes_ += bytes;
    std::memcpy(waiting_.data() + waiting_count_, packets.data(), packets.size_bytes());
    waiting_count_ += static_cast<uint32_t>(packets.size());
  }
  void Send(rte_mbuf* packet, LoopPort& from) {
    ForgetReceipt(*packet);
    Send({&packet, 1}, packet->pkt_len, from);
  }
  // What was said of the packet on receipt would mislead who receives it next, on a device made of memory. Before Send.
  static void ForgetReceipt(rte_mbuf& packet) { packet.ol_flags &= RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL; }
  void Flush() {
    if (waiting_count_ == 0) return;
    const uint32_t count = std::exchange(waiting_count_, 0);
    Transmit(std::span(waiting_).first(count), std::exchange(waiting_bytes_, 0));
  }

 private:
  static constexpr size_t kBatch = 64;
  // Packets in a row that came in by the same port.
  struct Run {
    LoopPort* from;
    uint32_t count;
  };

  // All that runs_ tells of.
  void Transmit(std::span<rte_mbuf*> packets, uint64_t bytes);
  void CountForwarded(uint64_t sent);

  Datapath::Port port_;
  std::shared_ptr<DatapathPortCounters> counters_;
  TokenBucket upcall_limit_;
  std::vector<uint64_t> drained_;  // of each queue

  uint32_t waiting_count_ = 0;
  uint32_t run_count_ = 0;
  uint64_t waiting_bytes_ = 0;
  std::array<rte_mbuf*, kBatch> waiting_{};
  std::array<Run, kBatch> runs_{};
};

}  // namespace sluice::rteflow
