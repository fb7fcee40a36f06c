// SPDX-License-Identifier: Apache-2.0
// Counters that one thread writes and any thread reads: a load and a store, without the lock prefix of fetch_add.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace sluice::rteflow {

inline void Add(std::atomic<uint64_t>& count, uint64_t more) {
  count.store(count.load(std::memory_order_relaxed) + more, std::memory_order_relaxed);
}

inline void Merge(std::atomic<uint32_t>& flags, uint32_t more) {
  flags.store(flags.load(std::memory_order_relaxed) | more, std::memory_order_relaxed);
}

// The same for a member of a plain struct of counters.
inline void Add(uint64_t& count, uint64_t more) {
  std::atomic_ref<uint64_t>(count).store(count + more, std::memory_order_relaxed);
}

// A copy of a struct of counters and nothing else, each of them whole.
template <typename Counters>
Counters Snapshot(Counters& counters) {
  static_assert(std::is_standard_layout_v<Counters> && sizeof(Counters) % sizeof(uint64_t) == 0);
  Counters copy;
  auto* from = reinterpret_cast<uint64_t*>(&counters);
  auto* to = reinterpret_cast<uint64_t*>(&copy);
  for (size_t i = 0; i < sizeof(Counters) / sizeof(uint64_t); ++i) {
    to[i] = std::atomic_ref<uint64_t>(from[i]).load(std::memory_order_relaxed);
  }
  return copy;
}

}  // namespace sluice::rteflow
