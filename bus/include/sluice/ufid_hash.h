// SPDX-License-Identifier: Apache-2.0
// For tables of flows by ufid. Publishers choose ufids as they like, so each table has a hash of its own: nobody can
// choose flows that collide.
#pragma once

#include <cstdint>
#include <cstring>
#include <random>

#include "sluice/ufid.h"

namespace sluice {

class UfidHash {
 public:
  UfidHash() {
    std::random_device random;
    for (uint64_t& half : secret_) half = static_cast<uint64_t>(random()) << 32 | random();
  }

  // All bits of the result depend on all of the ufid: tables may take the lowest.
  size_t operator()(const Ufid& ufid) const noexcept {
    uint64_t low = 0;
    uint64_t high = 0;
    std::memcpy(&low, ufid.bytes.data(), 8);
    std::memcpy(&high, ufid.bytes.data() + 8, 8);
    const auto product = static_cast<unsigned __int128>(low ^ secret_[0]) * (high ^ secret_[1]);
    return static_cast<size_t>(product) ^ static_cast<size_t>(product >> 64);
  }

 private:
  uint64_t secret_[2] = {};
};

}  // namespace sluice
