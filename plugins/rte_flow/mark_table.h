// SPDX-License-Identifier: Apache-2.0
// From a mark to its flow: an array in pieces, which are there while marks in them are.
//
// One thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "datapath.h"

namespace sluice::rteflow {

class MarkTable {
 public:
  // nullptr: none has it.
  [[nodiscard]] DatapathFlow* Find(uint32_t mark) const {
    const size_t piece = mark / kPiece;
    if (piece >= pieces_.size() || pieces_[piece] == nullptr) return nullptr;
    return pieces_[piece]->flows[mark % kPiece];
  }
  // `flow` has its mark from now on, whichever had it before. Mark 0 is none.
  void Insert(DatapathFlow& flow);
  // Where the mark is still `flow`'s.
  void Remove(const DatapathFlow& flow);

  [[nodiscard]] size_t pieces() const;

 private:
  static constexpr size_t kPiece = 4096;
  struct Piece {
    std::array<DatapathFlow*, kPiece> flows{};
    size_t count = 0;
  };

  std::vector<std::unique_ptr<Piece>> pieces_;
};

}  // namespace sluice::rteflow
