// SPDX-License-Identifier: Apache-2.0
// Random numbers that are the same for the same seed on every machine (the distributions of <random> are not).
#pragma once

#include <cstdint>
#include <random>
#include <vector>

namespace sluice::reference {

class Rng {
 public:
  explicit Rng(uint64_t seed) : engine_(seed) {}

  uint64_t Bits() { return engine_(); }
  // 0 .. n-1; n > 0.
  uint64_t Below(uint64_t n) { return engine_() % n; }
  bool OneIn(uint64_t n) { return Below(n) == 0; }
  template <typename T>
  const T& Pick(const std::vector<T>& values) {
    return values[Below(values.size())];
  }

 private:
  std::mt19937_64 engine_;
};

// SLUICE_SEED in the environment, else a new one each time. Print it.
uint64_t SeedFromEnvironment();

}  // namespace sluice::reference
