// SPDX-License-Identifier: Apache-2.0
// From matches and action lists to what an XDP object understands, or to the reason why it cannot.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "action.h"
#include "groups.h"
#include "key_layout.h"
#include "sluice/action.h"
#include "sluice/error.h"
#include "sluice/match.h"

namespace sluice::xdp {

struct CompiledMatch {
  KeyWords key{};                   // bits outside the mask are 0
  KeyWords mask{};                  // in_port is in neither
  std::optional<uint32_t> in_port;  // nullopt: in the table of every port
};

struct CompiledActions {
  std::vector<sluice_action> edits;  // at most SLUICE_MAX_EDITS
  sluice_action terminal{SLUICE_ACTION_DROP, 0, 0, 0};
  std::shared_ptr<const Group> group;  // terminal SLUICE_ACTION_GROUP
};

// The names by which this plugin says what it can do, for Capabilities.
std::vector<std::string> SupportedActions();

// Errors: "unsupported_field", naming the field.
Result<CompiledMatch> CompileMatch(const Match& match, const KeyLayout& layout);

// Errors: "unsupported_action" (naming it by ActionName, and what is wrong), "no_such_port" (an output that `groups`
// has no device for), and those of Groups::Acquire, which is what may wait. Session thread.
Result<CompiledActions> CompileActions(const Actions& actions, Groups& groups, Wait wait = Wait::kAllowed);

}  // namespace sluice::xdp
