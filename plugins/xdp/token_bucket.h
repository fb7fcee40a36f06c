// SPDX-License-Identifier: Apache-2.0
// A rate limit: so many a second, with a burst of a tenth of a second's worth.
#pragma once

#include <algorithm>
#include <cstdint>

namespace sluice::xdp {

class TokenBucket {
 public:
  // per_second 0: no limit.
  explicit TokenBucket(uint64_t per_second) : rate_(per_second), burst_(std::max<uint64_t>(per_second / 10, 1)) {
    tokens_ = burst_ * kSecond;
  }

  // May one more go, at now_ns (of a clock that never goes back)?
  bool Take(uint64_t now_ns) {
    if (rate_ == 0) return true;
    if (last_ns_ != 0) {
      // A second fills any bucket, so longer pauses need not be counted, nor can they overflow.
      tokens_ = std::min(tokens_ + std::min(now_ns - last_ns_, kSecond) * rate_, burst_ * kSecond);
    }
    last_ns_ = now_ns;
    if (tokens_ < kSecond) return false;
    tokens_ -= kSecond;
    return true;
  }

 private:
  static constexpr uint64_t kSecond = 1'000'000'000;

  uint64_t rate_;
  uint64_t burst_;
  uint64_t tokens_;  // in 1e-9 of one
  uint64_t last_ns_ = 0;
};

}  // namespace sluice::xdp
