// SPDX-License-Identifier: Apache-2.0
#include "bench/samples.h"

#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace sluice::bench {

double Quantile(std::vector<double> samples, double q) {
  if (samples.empty()) return 0;
  std::ranges::sort(samples);
  const double at = q * static_cast<double>(samples.size() - 1);
  const auto below = static_cast<size_t>(std::floor(at));
  const auto above = static_cast<size_t>(std::ceil(at));
  return samples[below] + (samples[above] - samples[below]) * (at - static_cast<double>(below));
}

void RunInterleaved(std::vector<Case>& cases, unsigned rounds) {
  for (unsigned round = 0; round <= rounds; ++round) {
    for (Case& one : cases) {
      const double value = one.sample();
      if (round > 0) one.samples.push_back(value);
    }
    // Long, and it should be seen to live.
    std::fprintf(stderr, "\rround %u of %u%s", round, rounds, round == rounds ? "\n" : "");
  }
}

void PinToOneCpu() {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(static_cast<size_t>(sysconf(_SC_NPROCESSORS_ONLN) - 1), &cpus);
  sched_setaffinity(0, sizeof cpus, &cpus);
  setpriority(PRIO_PROCESS, 0, -20);
}

double MedianRatio(const Case& one, const Case& base) {
  std::vector<double> ratios;
  for (size_t i = 0; i < one.samples.size(); ++i) ratios.push_back(one.samples[i] / base.samples[i]);
  return Quantile(std::move(ratios), 0.5);
}

}  // namespace sluice::bench
