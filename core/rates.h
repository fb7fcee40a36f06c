// SPDX-License-Identifier: Apache-2.0
// How much of something happens a second, over the last seconds: a ring of what counters stood at.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace sluice::core {

template <size_t kCounters>
class Rates {
 public:
  using Counts = std::array<uint64_t, kCounters>;
  static constexpr size_t kSeconds = 10;

  explicit Rates(uint64_t now_ns) { Sample({}, now_ns); }

  // To be called once a second with where the counters stand.
  void Sample(const Counts& counts, uint64_t now_ns) {
    ring_[next_ % ring_.size()] = {counts, now_ns};
    ++next_;
  }
  // From the oldest sample to now.
  [[nodiscard]] Counts PerSecond(const Counts& counts, uint64_t now_ns) const {
    const Point& oldest = ring_[next_ < ring_.size() ? 0 : next_ % ring_.size()];
    Counts rates{};
    if (now_ns <= oldest.at_ns) return rates;
    const double seconds = static_cast<double>(now_ns - oldest.at_ns) / 1e9;
    for (size_t i = 0; i < kCounters; ++i) {
      rates[i] = static_cast<uint64_t>(std::llround(static_cast<double>(counts[i] - oldest.counts[i]) / seconds));
    }
    return rates;
  }

 private:
  struct Point {
    Counts counts{};
    uint64_t at_ns = 0;
  };
  std::array<Point, kSeconds> ring_{};
  size_t next_ = 0;
};

}  // namespace sluice::core
