// SPDX-License-Identifier: Apache-2.0
// Samples of several cases, taken in interleaved rounds so that what disturbs the machine disturbs all alike.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace sluice::bench {

struct Case {
  std::string name;
  std::function<double()> sample;
  std::vector<double> samples;
};

// Of `samples`; 0.5: the median. 0 if there are none.
double Quantile(std::vector<double> samples, double q);
inline double Median(const Case& one) { return Quantile(one.samples, 0.5); }

// One uncounted round, then `rounds`.
void RunInterleaved(std::vector<Case>& cases, unsigned rounds);

// Moves this process to the last CPU (the others' noise gathers on the first) and before all ordinary ones there.
void PinToOneCpu();

// How `one` compares with `base`, round by round: the median of the quotients. Steadier than the quotient of the
// medians where the machine's speed changes from round to round.
double MedianRatio(const Case& one, const Case& base);

}  // namespace sluice::bench
