// SPDX-License-Identifier: Apache-2.0
// A device's counters. Each is an extended statistic (rte_eth_xstats_get) of its name.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace sluice::netsluice {

enum class Counter : uint8_t {
  kRxGood,  // received from the wire
  kRxGoodBytes,
  kRxMatched,  // a rule took it
  kRxUnmatched,
  kRxMalformed,   // a header is cut short or contradicts itself: no rule takes it
  kRxFiltered,    // not promiscuous, and the frame is for someone else
  kRxTooLong,     // longer than the MTU allows
  kRxDropped,     // by a rule's drop
  kRxTtlExpired,  // by a rule's dec_ttl
  kRxEditFailed,  // a rule's edit left no frame, or one too long
  kRxQueueFull,   // no room in the receive queue
  kRxNoMbuf,
  kRxLostByKernel,  // its socket's buffer was full
  kTxGood,          // sent on the wire, by the application or by rules
  kTxGoodBytes,
  kTxForwarded,      // of those, by rules
  kTxForwardFailed,  // a rule's output that the wire did not take
  kTxErrors,         // the application's, that the wire could not take
  kTxNoLink,
  kFlowRules,  // that there are now
  kFlowCreated,
  kFlowDestroyed,
  kFlowRefused,  // of calls to create
  kCount,
};

inline constexpr std::array<const char*, static_cast<size_t>(Counter::kCount)> kCounterNames = {
    "wire_rx_packets",   "wire_rx_bytes",   "rx_matched",     "rx_unmatched",   "rx_malformed",      "rx_filtered",
    "rx_too_long",       "rx_dropped",      "rx_ttl_expired", "rx_edit_failed", "rx_queue_full",     "rx_no_mbuf",
    "rx_lost_by_kernel", "wire_tx_packets", "wire_tx_bytes",  "tx_forwarded",   "tx_forward_failed", "wire_tx_errors",
    "tx_no_link",        "flow_rules",      "flow_created",   "flow_destroyed", "flow_refused",
};

// Any thread.
class Counters {
 public:
  void Add(Counter counter, uint64_t count = 1) { At(counter).fetch_add(count, std::memory_order_relaxed); }
  void Set(Counter counter, uint64_t value) { At(counter).store(value, std::memory_order_relaxed); }
  // All but the number of rules.
  void Reset() {
    for (size_t n = 0; n < values_.size(); ++n) {
      if (n != static_cast<size_t>(Counter::kFlowRules)) values_[n].store(0, std::memory_order_relaxed);
    }
  }
  [[nodiscard]] uint64_t Get(Counter counter) const {
    return values_[static_cast<size_t>(counter)].load(std::memory_order_relaxed);
  }

 private:
  std::atomic<uint64_t>& At(Counter counter) { return values_[static_cast<size_t>(counter)]; }

  std::array<std::atomic<uint64_t>, static_cast<size_t>(Counter::kCount)> values_{};
};

}  // namespace sluice::netsluice
