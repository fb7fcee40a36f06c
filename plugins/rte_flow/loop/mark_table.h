// SPDX-License-Identifier: Apache-2.0
// From a mark to its flow: an array in pieces, which are there while marks in them are. With all that most packets want
// of their flow, in half a line of the cache: a flow itself lies anywhere in memory, and is told now and then what
// happened to it.
//
// One thread.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "datapath.h"

namespace sluice::rteflow {

struct MarkedFlow {
  enum class Kind : uint8_t { kNone, kForward, kOther };
  // What is done with packets, compared in one piece.
  struct Way {
    uint32_t output = 0;      // kForward
    Kind kind = Kind::kNone;  // kNone: nobody has the mark
    bool tcp = false;         // whether flags are looked for
    uint16_t unused = 0;
    bool operator==(const Way& other) const { return std::bit_cast<uint64_t>(*this) == std::bit_cast<uint64_t>(other); }
  };
  // Packets executed that `flow` was not told of yet, and their bytes. In one piece, too: a loop that does little else
  // counts it once.
  struct Untold {
    static constexpr int kByteBits = 40;
    uint64_t both = 0;
    [[nodiscard]] uint64_t packets() const { return both >> kByteBits; }
    [[nodiscard]] uint64_t bytes() const { return both & ((uint64_t{1} << kByteBits) - 1); }
  };

  DatapathFlow* flow = nullptr;
  Untold untold;
  Way way;
  uint16_t tcp_flags = 0;
};

class MarkTable {
  static constexpr size_t kPiece = 4096;
  static constexpr size_t kMostUntold = 4096;
  struct Piece {
    std::array<MarkedFlow, kPiece> flows{};
    size_t count = 0;
  };

 public:
  MarkTable() { untold_.reserve(kMostUntold); }

  // The table as it is until the next Insert or Remove.
  class View {
   public:
    // May be of kind kNone, and is not read here: there is time to fetch it.
    [[nodiscard]] MarkedFlow& Find(uint32_t mark) const {
      const size_t piece = mark / kPiece;
      if (piece >= pieces_.size() || pieces_[piece] == nullptr) [[unlikely]]
        return stale_;
      return pieces_[piece]->flows[mark % kPiece];
    }

   private:
    friend MarkTable;
    View(std::span<const std::unique_ptr<Piece>> pieces, MarkedFlow& stale) : pieces_(pieces), stale_(stale) {}
    std::span<const std::unique_ptr<Piece>> pieces_;
    MarkedFlow& stale_;
  };
  [[nodiscard]] View view() { return {pieces_, stale_}; }
  [[nodiscard]] MarkedFlow& Find(uint32_t mark) { return view().Find(mark); }
  // Of kind kNone, for packets without a mark; Find never gives it.
  [[nodiscard]] MarkedFlow& unmarked() { return unmarked_; }

  // `flow`, with its plan, has its mark from now on, whichever had it before. Mark 0 is none.
  void Insert(DatapathFlow& flow, uint64_t now);
  // Where the mark is still `flow`'s.
  void Remove(const DatapathFlow& flow, uint64_t now);

  // Before 2^24 packets Tell is to be called.
  void Count(MarkedFlow& marked, uint32_t bytes) {
    const uint64_t before = marked.untold.both;
    marked.untold.both = before + (uint64_t{1} << MarkedFlow::Untold::kByteBits) + bytes;
    if (before == 0) untold_.push_back(&marked);
  }
  // Tells the flows. `now`: ns, when they were last used.
  void Tell(uint64_t now);
  // So many that telling them takes some 100 us.
  [[nodiscard]] bool ManyUntold() const { return untold_.size() >= kMostUntold; }

  [[nodiscard]] size_t pieces() const;

 private:
  std::vector<std::unique_ptr<Piece>> pieces_;
  std::vector<MarkedFlow*> untold_;
  MarkedFlow unmarked_;
  MarkedFlow stale_;
};

}  // namespace sluice::rteflow
