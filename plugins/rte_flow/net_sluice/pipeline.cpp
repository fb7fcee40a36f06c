// SPDX-License-Identifier: Apache-2.0
#include "pipeline.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "device.h"

namespace sluice::netsluice {

void Outbox::Add(Device& device, uint32_t way, rte_mbuf* packet) {
  size_t n = 0;
  while (n < used_ && (batches_[n].device != &device || batches_[n].way != way)) ++n;
  if (n == used_) {
    if (used_ == batches_.size()) Flush();
    n = used_++;
    batches_[n].device = &device;
    batches_[n].way = way;
  }
  Batch& batch = batches_[n];
  batch.packets[batch.count++] = packet;
  if (batch.count == batch.packets.size()) Flush(batch);
}

void Outbox::Flush(Batch& batch) {
  if (batch.count == 0) return;
  if (batch.way == kWire) {
    batch.device->Forward(batch.packets.data(), batch.count, from_);
  } else {
    batch.device->Deliver(static_cast<uint16_t>(batch.way), batch.packets.data(), batch.count);
  }
  batch.count = 0;
}

void Outbox::Flush() {
  for (size_t n = 0; n < used_; ++n) Flush(batches_[n]);
  used_ = 0;
}

void Pipeline::Run(rte_mbuf** packets, uint16_t count, const RuleTable& table) {
  matched_ = unmatched_ = malformed_ = 0;
  for (uint16_t i = 0; i < count; ++i) One(packets[i], table);
  outbox_.Flush();
  if (way_ != Way::kReceive) return;
  if (matched_ != 0) device_.counters().Add(Counter::kRxMatched, matched_);
  if (unmatched_ != 0) device_.counters().Add(Counter::kRxUnmatched, unmatched_);
  if (malformed_ != 0) device_.counters().Add(Counter::kRxMalformed, malformed_);
}

void Pipeline::One(rte_mbuf* packet, const RuleTable& table) {
  packet_ = packet;
  editor_.reset();
  wire_ = nullptr;
  queue_ = nullptr;
  marked_ = flagged_ = false;
  headers_ = {};
  Key key;
  if (!ReadKey(Bytes(), table.looks_inside(), key, headers_)) {
    ++malformed_;
    return Finish();
  }
  const size_t size = packet->data_len;
  const Rule* rule = table.Find(key);
  ++(rule != nullptr ? matched_ : unmatched_);
  for (; rule != nullptr; rule = table.Find(key, rule)) {
    if (rule->program().count) rule->Count(size);
    if (!Execute(rule->program())) {
      if (pending()) return Finish();
      rte_pktmbuf_free(packet_);
      return;
    }
    if (!rule->program().passthru) break;
  }
  Finish();
}

bool Pipeline::Execute(const Program& program) {
  if (program.mark) {
    marked_ = true;
    mark_ = *program.mark;
  }
  flagged_ = flagged_ || program.flag;
  for (const Step& step : program.steps) {
    if (pending()) SendCopy();
    if (!std::visit([this](const auto& one) { return Do(one); }, step)) return false;
  }
  if (program.drop) device_.counters().Add(Counter::kRxDropped);
  return !program.drop;
}

std::span<const uint8_t> Pipeline::Bytes() const {
  if (editor_) return frame_.bytes();
  return {rte_pktmbuf_mtod(packet_, const uint8_t*), packet_->data_len};
}

bool Pipeline::Write(std::span<const uint8_t> bytes, rte_mbuf* packet) {
  if (bytes.size() > packet->buf_len) {
    device_.counters().Add(Counter::kRxEditFailed);
    rte_pktmbuf_free(packet);
    return false;
  }
  packet->data_off = static_cast<uint16_t>(std::min<size_t>(RTE_PKTMBUF_HEADROOM, packet->buf_len - bytes.size()));
  std::memcpy(rte_pktmbuf_mtod(packet, uint8_t*), bytes.data(), bytes.size());
  packet->data_len = static_cast<uint16_t>(bytes.size());
  packet->pkt_len = packet->data_len;
  return true;
}

void Pipeline::SendCopy() {
  rte_mbuf* copy = rte_pktmbuf_alloc(packet_->pool);
  if (copy == nullptr) {
    device_.counters().Add(Counter::kRxNoMbuf);
  } else if (Write(Bytes(), copy)) {
    Emit(copy);
  }
  wire_ = nullptr;
  queue_ = nullptr;
}

void Pipeline::Finish() {
  if (editor_ && !Write(frame_.bytes(), packet_)) return;
  Emit(packet_);
}

// To where it is pending, or where packets go that are sent nowhere else.
void Pipeline::Emit(rte_mbuf* packet) {
  if (wire_ != nullptr) return outbox_.ToWire(*wire_->device, packet);
  if (queue_ != nullptr) return EmitToQueue(*queue_->device, queue_->queues, packet);
  if (way_ == Way::kTransmit) return outbox_.ToWire(device_, packet);
  EmitToQueue(device_, {}, packet);
}

void Pipeline::EmitToQueue(Device& device, const std::vector<uint16_t>& queues, rte_mbuf* packet) {
  if (marked_ || flagged_) packet->ol_flags |= RTE_MBUF_F_RX_FDIR;
  if (marked_) {
    packet->ol_flags |= RTE_MBUF_F_RX_FDIR_ID;
    packet->hash.fdir.hi = mark_;
  }
  const size_t count = queues.empty() ? device.DefaultQueues() : queues.size();
  uint16_t queue = queues.empty() ? 0 : queues.front();
  if (count > 1) {
    // What was edited has its headers elsewhere, perhaps.
    const auto* frame = rte_pktmbuf_mtod(packet, const uint8_t*);
    const uint32_t hash = RssHash(frame, editor_ ? soft::Parse({frame, packet->data_len}, 0).headers : headers_);
    packet->hash.rss = hash;
    packet->ol_flags |= RTE_MBUF_F_RX_RSS_HASH;
    queue = static_cast<uint16_t>(hash % count);
    if (!queues.empty()) queue = queues[queue];
  }
  outbox_.ToQueue(device, queue, packet);
}

}  // namespace sluice::netsluice
