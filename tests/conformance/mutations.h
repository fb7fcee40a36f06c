// SPDX-License-Identifier: Apache-2.0
// The faults that the mutant can have: each changes what passes between a healthy plugin and the core.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "sluice/sluice.pb.h"

namespace sluice::mutant {

class Mutation {
 public:
  virtual ~Mutation() = default;
  // What the healthy plugin is to read in place of what the core said. What is taken away here and needs an answer is
  // answered through `answer`, which goes to the core.
  virtual void ToPlugin(v1::ToPlugin& /*message*/, v1::FromPlugin& /*answer*/) {}
  // What the core is to read in place of what the plugin said.
  virtual void FromPlugin(v1::FromPlugin& /*message*/) {}
};

// Null where there is no mutation of that name. `run_dir` lets one remember something from one load to the next.
std::unique_ptr<Mutation> MakeMutation(const std::string& name, const std::string& run_dir);

}  // namespace sluice::mutant
