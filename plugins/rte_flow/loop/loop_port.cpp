// SPDX-License-Identifier: Apache-2.0
#include "loop_port.h"

#include <rte_pause.h>

#include <algorithm>
#include <utility>

namespace sluice::rteflow {
namespace {

// How often a device is asked again that takes nothing. More would only hold up the packets of other ports.
constexpr int kTries = 16;

}  // namespace

LoopPort::LoopPort(const Datapath::Port& port, std::shared_ptr<DatapathPortCounters> counters)
    : port_(port), counters_(std::move(counters)), upcall_limit_(port.upcall_rate), drained_(port.rx_queues) {}

void LoopPort::Change(const Datapath::Port& port) {
  port_ = port;
  upcall_limit_ = TokenBucket(port.upcall_rate);
  drained_.assign(port.rx_queues, 0);
}

uint64_t LoopPort::drained() const { return drained_.empty() ? UINT64_MAX : *std::ranges::min_element(drained_); }

void LoopPort::Transmit(std::span<rte_mbuf*> packets, uint64_t bytes) {
  const auto count = static_cast<uint16_t>(packets.size());
  uint16_t sent = rte_eth_tx_burst(port_.ethdev, 0, packets.data(), count);
  for (int tries = 1; sent < count && tries < kTries; ++tries) {
    rte_pause();
    sent += rte_eth_tx_burst(port_.ethdev, 0, packets.data() + sent, static_cast<uint16_t>(count - sent));
  }
  if (sent < count) [[unlikely]] {
    for (rte_mbuf* packet : packets.subspan(sent)) {
      bytes -= packet->pkt_len;
      rte_pktmbuf_free(packet);
    }
    Add(counters_->tx_full, static_cast<uint64_t>(count - sent));
  }
  Add(counters_->tx_packets, sent);
  Add(counters_->tx_bytes, bytes);
  CountForwarded(sent);
}

void LoopPort::CountForwarded(uint64_t sent) {
  for (const Run* run = runs_.data(); sent > 0; ++run) {
    const uint64_t here = std::min<uint64_t>(run->count, sent);
    Add(run->from->counters_->forwarded, here);
    sent -= here;
  }
  run_count_ = 0;
}

}  // namespace sluice::rteflow
