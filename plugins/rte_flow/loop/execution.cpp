// SPDX-License-Identifier: Apache-2.0
#include "execution.h"

#include <algorithm>
#include <utility>

namespace sluice::rteflow {

void Execution::Execute(const Actions& actions, const soft::Headers& headers, rte_mbuf* packet, LoopPort& in,
                        const Ufid* ufid, bool once) {
  in_ = &in;
  ufid_ = ufid;
  frame_.Assign(BytesOf(*packet));
  const bool offered = once && IsOwn(*packet);
  reusable_ = offered ? packet : nullptr;
  soft::Execute(actions, frame_, headers, *this);
  const bool taken = offered && reusable_ == nullptr;
  reusable_ = nullptr;
  if (!taken) rte_pktmbuf_free(packet);
}

void Execution::Output(uint32_t port, std::span<const uint8_t> frame) {
  LoopPort* out = ports_.Find(port);
  if (out == nullptr) return Add(in_->counters().no_port, 1);
  SendCopy(*out, frame);
}

void Execution::Flood(std::span<const uint8_t> frame) {
  for (const auto& port : ports_.all()) {
    if (port.get() != in_) SendCopy(*port, frame);
  }
}

void Execution::SendCopy(LoopPort& out, std::span<const uint8_t> frame) {
  rte_mbuf* copy = nullptr;
  if (reusable_ != nullptr && Buffers::Replace(*reusable_, frame)) {
    copy = std::exchange(reusable_, nullptr);
  } else {
    copy = buffers_.Copy(frame);
  }
  if (copy == nullptr) return Add(in_->counters().no_buffer, 1);
  out.Send(copy, *in_);
}

void Execution::ToController(const sluice::ToController& action, std::span<const uint8_t> frame, size_t length) {
  if (action.max_len != 0 && action.max_len < frame.size()) frame = frame.first(action.max_len);
  SendUp(*in_, "action", ufid_, frame, length);
}

void Execution::Expired() { Add(in_->counters().ttl_expired, 1); }

void Execution::Dropped() { Add(in_->counters().dropped, 1); }

void Execution::NoPort(std::span<rte_mbuf*> packets, LoopPort& in) {
  Add(in.counters().no_port, packets.size());
  for (rte_mbuf* packet : packets) rte_pktmbuf_free(packet);
}

void Execution::SendUp(LoopPort& in, const char* reason, const Ufid* ufid, std::span<const uint8_t> frame,
                       size_t length) {
  DatapathPortCounters& counters = in.counters();
  if (!in.upcall_limit().Take(clock_.Now())) return Add(counters.upcall_rate, 1);
  const uint32_t most = in.settings().upcall_bytes;
  if (most != 0) frame = frame.first(std::min<size_t>(most, frame.size()));
  DatapathUpcall upcall{in.number(), reason, std::nullopt, {}, static_cast<uint32_t>(length)};
  if (ufid != nullptr) upcall.ufid = *ufid;
  upcall.data.assign(frame.begin(), frame.end());
  Add(upcalls_.Push(std::move(upcall)) ? counters.upcall : counters.upcall_full, 1);
}

}  // namespace sluice::rteflow
