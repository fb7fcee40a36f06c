// SPDX-License-Identifier: Apache-2.0
#include "mark_table.h"

#include <algorithm>
#include <utility>

namespace sluice::rteflow {

void MarkTable::Insert(DatapathFlow& flow) {
  if (flow.mark == 0) return;
  const size_t at = flow.mark / kPiece;
  if (at >= pieces_.size()) pieces_.resize(at + 1);
  std::unique_ptr<Piece>& piece = pieces_[at];
  if (piece == nullptr) piece = std::make_unique<Piece>();
  if (std::exchange(piece->flows[flow.mark % kPiece], &flow) == nullptr) ++piece->count;
}

void MarkTable::Remove(const DatapathFlow& flow) {
  if (flow.mark == 0 || Find(flow.mark) != &flow) return;
  std::unique_ptr<Piece>& piece = pieces_[flow.mark / kPiece];
  piece->flows[flow.mark % kPiece] = nullptr;
  if (--piece->count == 0) piece.reset();
}

size_t MarkTable::pieces() const {
  return static_cast<size_t>(std::ranges::count_if(pieces_, [](const auto& piece) { return piece != nullptr; }));
}

}  // namespace sluice::rteflow
