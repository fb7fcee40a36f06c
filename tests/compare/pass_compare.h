// SPDX-License-Identifier: Apache-2.0
// Runs a scenario of several passes on the reference and on the datapath and tells the first difference.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "compare/pass_subject.h"
#include "compare/scenario.h"

namespace sluice::compare {

struct PassTally {
  uint64_t packets = 0;
  uint64_t passes = 0;  // lookups, the first not counted
  uint64_t misses = 0;  // in later passes
  uint64_t popped = 0;
  uint64_t pushed = 0;
  uint64_t refused = 0;  // by tnl_pop
  uint64_t too_long = 0;
  uint64_t too_deep = 0;
  uint64_t established = 0;  // lookups of packets that ct found so
  uint64_t related = 0;
  uint64_t invalid = 0;
};

// nullopt: both agree to the end. The subject is empty afterwards, and must be before; its miss policy is UPCALL.
// `reload_every`: after so many steps another generation of programs takes over; 0: never.
std::optional<std::string> RunPassScenario(PassSubject& subject, const Scenario& scenario, size_t reload_every,
                                           PassTally& tally);

}  // namespace sluice::compare
