// SPDX-License-Identifier: Apache-2.0
#include "mark_table.h"

#include <algorithm>

#include "single_writer.h"

namespace sluice::rteflow {

void MarkTable::Insert(DatapathFlow& flow, uint64_t now) {
  if (flow.mark == 0) return;
  const size_t at = flow.mark / kPiece;
  if (at >= pieces_.size()) pieces_.resize(at + 1);
  std::unique_ptr<Piece>& piece = pieces_[at];
  if (piece == nullptr) piece = std::make_unique<Piece>();
  MarkedFlow& marked = piece->flows[flow.mark % kPiece];
  if (marked.untold.both != 0) Tell(now);
  if (marked.flow == nullptr) ++piece->count;
  const bool forward = flow.plan.kind == DatapathFlow::Plan::Kind::kForward;
  marked = {};
  marked.flow = &flow;
  marked.way.kind = forward ? MarkedFlow::Kind::kForward : MarkedFlow::Kind::kOther;
  marked.way.output = flow.plan.output;
  marked.way.tcp = flow.plan.tcp;
}

void MarkTable::Remove(const DatapathFlow& flow, uint64_t now) {
  if (flow.mark == 0) return;
  MarkedFlow& marked = Find(flow.mark);
  if (marked.flow != &flow) return;
  if (marked.untold.both != 0) Tell(now);
  marked = {};
  std::unique_ptr<Piece>& piece = pieces_[flow.mark / kPiece];
  if (--piece->count == 0) piece.reset();
}

void MarkTable::Tell(uint64_t now) {
  for (MarkedFlow* marked : untold_) {
    DatapathFlow& flow = *marked->flow;
    Add(flow.packets, marked->untold.packets());
    Add(flow.bytes, marked->untold.bytes());
    flow.last_used.store(now, std::memory_order_relaxed);
    if (marked->tcp_flags != 0) Merge(flow.tcp_flags, marked->tcp_flags);
    marked->untold = {};
  }
  untold_.clear();
}

size_t MarkTable::pieces() const {
  return static_cast<size_t>(std::ranges::count_if(pieces_, [](const auto& piece) { return piece != nullptr; }));
}

}  // namespace sluice::rteflow
