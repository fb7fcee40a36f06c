// SPDX-License-Identifier: Apache-2.0
// The kernel's jiffies, which the BPF programs stamp flows with, as CLOCK_MONOTONIC.
#pragma once

#include <cstdint>
#include <utility>

#include "sluice/error.h"
#include "sluice/unique_fd.h"

namespace sluice::xdp {

class JiffiesClock {
 public:
  // Loads a BPF program of two instructions that tells the jiffies.
  static Result<JiffiesClock> Make();

  // Reads both clocks; a system call or two. What ToNs says holds for stamps of up to 2^31 jiffies ago.
  void Update();
  // 0 for 0.
  [[nodiscard]] uint64_t ToNs(uint64_t jiffies) const;

 private:
  explicit JiffiesClock(UniqueFd program);

  UniqueFd program_;
  uint64_t tick_ns_;
  uint64_t now_ns_ = 0;
  uint32_t now_ = 0;
};

}  // namespace sluice::xdp
