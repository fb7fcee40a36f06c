// SPDX-License-Identifier: Apache-2.0
// A limit on how many things happen a second: at most a second's worth at once.
#pragma once

#include <algorithm>
#include <cstdint>

namespace sluice::rteflow {

class TokenBucket {
 public:
  // 0: no limit. Full at first.
  explicit TokenBucket(uint32_t rate) : rate_(rate), credit_(kSecond * rate) {}

  // `now`: ns, never less than before.
  bool Take(uint64_t now) {
    if (rate_ == 0) return true;
    // Tokens times the ns of a second: below 2^62, and exact.
    credit_ = std::min(credit_ + std::min(now - last_, kSecond) * rate_, kSecond * rate_);
    last_ = now;
    if (credit_ < kSecond) return false;
    credit_ -= kSecond;
    return true;
  }

 private:
  static constexpr uint64_t kSecond = 1'000'000'000;

  uint64_t rate_;
  uint64_t credit_;
  uint64_t last_ = 0;
};

}  // namespace sluice::rteflow
