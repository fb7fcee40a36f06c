// SPDX-License-Identifier: Apache-2.0
// The time as of the loop's current round: CLOCK_MONOTONIC as of the kernel's last tick (some ms ago), which costs a
// fifth of the exact one, read at most once a round.
#pragma once

#include <cstdint>
#include <ctime>

namespace sluice::rteflow {

class RoundClock {
 public:
  void NextRound() { now_ = 0; }
  // ns
  uint64_t Now() {
    if (now_ == 0) {
      timespec time{};
      clock_gettime(CLOCK_MONOTONIC_COARSE, &time);
      now_ = static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(time.tv_nsec);
    }
    return now_;
  }

 private:
  uint64_t now_ = 0;
};

}  // namespace sluice::rteflow
