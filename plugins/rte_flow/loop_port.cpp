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

void LoopPort::SendWaiting() {
  const uint16_t count = std::exchange(waiting_count_, uint16_t{0});
  uint64_t bytes = std::exchange(waiting_bytes_, 0);
  uint16_t sent = 0;
  for (int tries = 0; sent < count && tries < kTries; ++tries) {
    if (tries > 0) rte_pause();
    sent += rte_eth_tx_burst(port_.ethdev, 0, waiting_.data() + sent, static_cast<uint16_t>(count - sent));
  }
  if (sent < count) {
    for (uint16_t i = sent; i < count; ++i) bytes -= waiting_[i]->pkt_len;
    rte_pktmbuf_free_bulk(waiting_.data() + sent, static_cast<unsigned>(count - sent));
    Add(counters_->tx_full, static_cast<uint64_t>(count - sent));
  }
  Add(counters_->tx_packets, sent);
  Add(counters_->tx_bytes, bytes);
  CountForwarded(sent);
}

void LoopPort::SendInParts(std::span<rte_mbuf* const> packets, LoopPort& from) {
  while (!packets.empty()) {
    const auto part = packets.first(std::min<size_t>(kBatch, packets.size()));
    uint64_t bytes = 0;
    for (const rte_mbuf* packet : part) bytes += packet->pkt_len;
    Send(part, bytes, from);
    packets = packets.subspan(part.size());
  }
}

void LoopPort::CountForwarded(uint16_t sent) {
  for (uint16_t i = 0, left = sent; left > 0; ++i) {
    const uint16_t here = std::min(runs_[i].count, left);
    Add(runs_[i].from->counters_->forwarded, here);
    left = static_cast<uint16_t>(left - here);
  }
  run_count_ = 0;
}

}  // namespace sluice::rteflow
