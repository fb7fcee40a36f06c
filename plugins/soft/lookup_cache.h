// SPDX-License-Identifier: Apache-2.0
// What searches found before. Packets that agree in all bits that any mask looks at have the same flow: a key is what
// is under all masks together, and one entry serves many connections. Internal to the library.
//
// One thread.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "masked_key.h"
#include "sluice/match.h"

namespace sluice::soft {

class LookupCache {
 public:
  explicit LookupCache(uint64_t seed) : seed_(seed) {}

  // `mask`: all that is looked at from now on. Forgets everything.
  void Look(const FlowKeyBytes& mask) {
    mask_.emplace(mask, seed_);
    stride_ = kHeader + mask_->size();
    entries_.assign(kEntries * stride_, 0);
    generation_ = 1;
  }
  // Everything: the flows have changed.
  void Forget() { ++generation_; }

  // What `search()` gave for a key like this, or gives now. After Look.
  template <typename Search>
  void* Find(const FlowKeyBytes& key, Search search) {
    KeyMask::Words words;  // NOLINT: only what Apply fills in is read
    const uint64_t hash = mask_->Apply(key, words);
    uint64_t* entry = entries_.data() + hash % kEntries * stride_;
    if (entry[0] == generation_ && SameWords(entry + kHeader, words.data(), mask_->size())) {
      return std::bit_cast<void*>(entry[1]);
    }
    void* value = search();
    entry[0] = generation_;
    entry[1] = std::bit_cast<uint64_t>(value);
    std::copy_n(words.data(), mask_->size(), entry + kHeader);
    return value;
  }

 private:
  static constexpr size_t kEntries = 8192;
  static constexpr size_t kHeader = 2;  // of an entry: the generation that it is of, the value; then the key

  const uint64_t seed_;
  std::optional<KeyMask> mask_;
  size_t stride_ = 0;
  uint64_t generation_ = 1;  // an entry of another is empty
  std::vector<uint64_t> entries_;
};

}  // namespace sluice::soft
