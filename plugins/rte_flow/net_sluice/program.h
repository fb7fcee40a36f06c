// SPDX-License-Identifier: Apache-2.0
// The actions of a rule, read into the program that the device runs on its packets.
#pragma once

#include <rte_flow.h>

#include <memory>

#include "pattern.h"
#include "profile.h"
#include "refusal.h"
#include "rule.h"

namespace sluice::netsluice {

// What actions are read for.
struct ProgramContext {
  const Profile& profile;
  const rte_flow_attr& attributes;
  const Pattern& pattern;
  const std::shared_ptr<Device>& device;  // that the rule is made on
};

// Reads `actions`, up to their end. A refusal names the action.
MaybeRefusal ReadProgram(const rte_flow_action* actions, const ProgramContext& context, Program& program);

// The actions that edit packets, by kind: false where the action is not one. (edits.cpp)
struct EditOutcome {
  bool known = false;
  MaybeRefusal refusal;
};
EditOutcome ReadEdit(const rte_flow_action& action, Program& program);
// set_* actions and modify_field. (modify.cpp)
EditOutcome ReadModify(const rte_flow_action& action, Program& program);

}  // namespace sluice::netsluice
