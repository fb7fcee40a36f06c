// SPDX-License-Identifier: Apache-2.0
// Runs a scenario on the reference and on the subject and tells the first difference.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "compare/scenario.h"
#include "compare/subject.h"

namespace sluice::compare {

struct Tally {
  uint64_t packets = 0;  // each is run twice, dry and live
  uint64_t hits = 0;
  uint64_t cache_hits = 0;
  uint64_t misses = 0;
  uint64_t malformed = 0;
  uint64_t edited = 0;   // hits whose bytes the flow changed
  uint64_t expired = 0;  // hits whose TTL or hop limit ran out
  uint64_t flows = 0;
  uint64_t for_software = 0;  // action lists that are beyond XDP
  uint64_t software = 0;      // hits of flows with such
};

// nullopt: both agree to the end. The subject is empty afterwards, and must be before.
std::optional<std::string> RunScenario(Subject& subject, const Scenario& scenario, sluice_miss_policy policy,
                                       Tally& tally);

// As few steps of a failing scenario as still fail, within `seconds`.
Scenario Shrink(Subject& subject, const Scenario& failing, sluice_miss_policy policy, unsigned seconds);

}  // namespace sluice::compare
