// SPDX-License-Identifier: Apache-2.0
// Keys of packets under a mask: the words that the mask touches, masked, and their hash. Internal to the library.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "sluice/match.h"

namespace sluice::soft {

class KeyMask {
 public:
  static constexpr size_t kMostWords = (kFlowKeySize + 7) / 8;
  using Words = std::array<uint64_t, kMostWords>;

  // `seed`: of the hashes; senders of packets should not know it.
  KeyMask(const FlowKeyBytes& mask, uint64_t seed);

  [[nodiscard]] size_t size() const { return words_.size(); }

  // Fills in the first size() of `words`, and returns their hash.
  uint64_t Apply(const FlowKeyBytes& key, Words& words) const {
    uint64_t hash = seed_;
    for (size_t i = 0; i < words_.size(); ++i) {
      words[i] = Load(key.data() + words_[i].offset) & words_[i].mask;
      hash = Mix(hash ^ words[i], 0x9e3779b97f4a7c15) + seed_;
    }
    return hash;
  }

 private:
  // Eight bytes of the key.
  struct Word {
    size_t offset;
    uint64_t mask;
  };

  static uint64_t Load(const uint8_t* at) {
    uint64_t value = 0;
    std::memcpy(&value, at, sizeof(value));
    return value;
  }
  // Both halves of the product: each bit of `a` reaches all of the result.
  static uint64_t Mix(uint64_t a, uint64_t b) {
    __extension__ using Wide = unsigned __int128;
    const Wide product = static_cast<Wide>(a) * b;
    return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
  }

  std::vector<Word> words_;
  uint64_t seed_;
};

// Not by memcmp: they are few.
inline bool SameWords(const uint64_t* a, const uint64_t* b, size_t count) {
  uint64_t difference = 0;
  for (size_t i = 0; i < count; ++i) difference |= a[i] ^ b[i];
  return difference == 0;
}

}  // namespace sluice::soft
