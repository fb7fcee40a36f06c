// SPDX-License-Identifier: Apache-2.0
// From a mark to its flow: an array in pieces, which are there while marks in them are. With all that most packets want
// of their flow, in half a line of the cache: a flow itself lies anywhere in memory, and is told now and then what
// happened to it.
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

struct MarkedFlow {
  enum class Kind : uint8_t { kNone, kForward, kOther };

  DatapathFlow* flow = nullptr;
  uint64_t bytes = 0;    // of packets executed that `flow` was not told of yet
  uint32_t packets = 0;  // these
  uint32_t output = 0;   // kForward
  uint16_t tcp_flags = 0;
  Kind kind = Kind::kNone;  // kNone: nobody has the mark, and the rest means nothing
  bool tcp = false;
};

class MarkTable {
 public:
  MarkTable() { untold_.reserve(kMostUntold); }

  // May be of kind kNone, and is not read here: there is time to fetch it.
  [[nodiscard]] MarkedFlow& Find(uint32_t mark) {
    const size_t piece = mark / kPiece;
    if (piece >= pieces_.size() || pieces_[piece] == nullptr) return none_;
    return pieces_[piece]->flows[mark % kPiece];
  }
  // What Find gives for a packet without a mark.
  [[nodiscard]] MarkedFlow& none() { return none_; }

  // `flow`, with its plan, has its mark from now on, whichever had it before. Mark 0 is none.
  void Insert(DatapathFlow& flow, uint64_t now);
  // Where the mark is still `flow`'s.
  void Remove(const DatapathFlow& flow, uint64_t now);

  void Count(MarkedFlow& marked, uint32_t bytes) {
    if (marked.packets++ == 0) untold_.push_back(&marked);
    marked.bytes += bytes;
  }
  // Tells the flows. `now`: ns, when they were last used.
  void Tell(uint64_t now);
  // So many that telling them takes some 100 us.
  [[nodiscard]] bool ManyUntold() const { return untold_.size() >= kMostUntold; }

  [[nodiscard]] size_t pieces() const;

 private:
  static constexpr size_t kPiece = 4096;
  static constexpr size_t kMostUntold = 4096;
  struct Piece {
    std::array<MarkedFlow, kPiece> flows{};
    size_t count = 0;
  };

  std::vector<std::unique_ptr<Piece>> pieces_;
  std::vector<MarkedFlow*> untold_;
  MarkedFlow none_;
};

}  // namespace sluice::rteflow
