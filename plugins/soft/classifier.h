// SPDX-License-Identifier: Apache-2.0
// Finds the flow of a packet among many: tuple space search (Srinivasan, Suri, Varghese, SIGCOMM 1999). Flows with the
// same mask share a subtable, a hash table of masked keys; the subtables are searched in the order of the highest
// priority in each, so that the search ends where no better flow can come.
//
// It finds a flow exactly where Matches (packet.h) says that the flow takes the packet. One thread. Masks that differ
// are what it costs: each is a hash and a place in memory, of the bytes that the mask has and no others. In front of
// several masks is a cache (lookup_cache.h), empty after each change.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "lookup_cache.h"
#include "packet.h"
#include "sluice/match.h"

namespace sluice::soft {

// The search, over values of any kind. Classifier gives them their type.
class TupleSpace {
 public:
  TupleSpace();
  ~TupleSpace();
  TupleSpace(const TupleSpace&) = delete;
  TupleSpace& operator=(const TupleSpace&) = delete;

  void Insert(const Match& match, uint32_t priority, void* value);
  bool Remove(const Match& match, uint32_t priority, const void* value);
  [[nodiscard]] void* Lookup(const Parsed& packet);

  [[nodiscard]] size_t size() const { return size_; }
  [[nodiscard]] size_t masks() const { return order_.size(); }

 private:
  class Subtable;
  struct MaskHash {
    size_t operator()(const FlowKeyBytes& mask) const;
    uint64_t seed;
  };

  void Reorder();
  // After each change; `masks`: there is one more or less.
  void Changed(bool masks);
  void ShowCacheMasks();
  [[nodiscard]] void* Search(const FlowKeyBytes& key) const;

  const uint64_t seed_;
  size_t size_ = 0;
  std::unordered_map<FlowKeyBytes, std::unique_ptr<Subtable>, MaskHash> subtables_;
  struct Place {
    uint32_t highest;  // priority
    const Subtable* subtable;
  };
  std::vector<Place> order_;  // by priority, the highest first
  LookupCache cache_;
  bool masks_changed_ = false;  // since the cache was told
};

template <typename Value>
class Classifier {
 public:
  // `value` must live until it is removed. The higher priority wins. Among values of one match and priority the newest
  // wins, and the one before it comes back when that is removed; of different matches and one priority any does.
  void Insert(const Match& match, uint32_t priority, Value& value) { space_.Insert(match, priority, &value); }
  // Of several times that it was inserted so, the last. False: it was not.
  bool Remove(const Match& match, uint32_t priority, const Value& value) {
    return space_.Remove(match, priority, &value);
  }
  // nullptr: none. A malformed packet has none.
  [[nodiscard]] Value* Lookup(const Parsed& packet) { return static_cast<Value*>(space_.Lookup(packet)); }

  [[nodiscard]] size_t size() const { return space_.size(); }
  [[nodiscard]] size_t masks() const { return space_.masks(); }

 private:
  TupleSpace space_;
};

}  // namespace sluice::soft
