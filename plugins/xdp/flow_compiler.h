// SPDX-License-Identifier: Apache-2.0
// From matches and action lists to what an XDP object understands, or to the reason why it cannot.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "action.h"
#include "groups.h"
#include "object_meta.h"
#include "sluice/action.h"
#include "sluice/error.h"
#include "sluice/match.h"
#include "step_table.h"
#include "tunnel.h"

namespace sluice::xdp {

struct CompiledMatch {
  KeyWords key{};  // bits outside the mask are 0
  KeyWords mask{};
  // Of objects whose key has no in_port: whose table it belongs into; nullopt: into that of every port.
  std::optional<uint32_t> in_port;
  // The key cannot say all of the match, and takes more packets than it: the first field that is left out, and why.
  std::optional<Error> wider;
};

struct Terminal {
  sluice_action_type type = SLUICE_ACTION_DROP;
  uint32_t arg = 0;
};

struct CompiledActions {
  std::vector<sluice_edit> edits;  // at most ObjectMeta::max_edits
  Terminal terminal;
  std::shared_ptr<const Group> group;  // terminal SLUICE_ACTION_GROUP
  std::shared_ptr<const Step> step;    // terminals SLUICE_ACTION_CT, TNL_POP and TNL_PUSH
};

// What takes a packet out of its pass: recirc, ct, tunnels.
struct PassContext {
  StepTable* steps = nullptr;
  const ObjectMeta* programs = nullptr;  // what later passes can do; nullptr: there are none, for the reason `missing`
  Error missing;
  std::string why_no_ct;                                   // where the programs are without it
  bool zones = false;                                      // ct takes others than 0
  std::function<const TunnelPort*(uint32_t port)> tunnel;  // nullptr: no tunnel port of that number, or not up
  std::function<uint32_t(uint32_t port)> mtu;              // of a port's device
};

// The names by which the plugin says what an object can do by itself, for Capabilities.
std::vector<std::string> SupportedActions(const ObjectMeta& meta);
// The same of what takes the programs of later passes, whose meta it is.
std::vector<std::string> PassActions(const ObjectMeta& meta);

// Errors: "unsupported_field", naming it, where no packet's value can be told, in the key or otherwise;
// "never_matches", where it is known only later than the pass that the key is of. What only the key lacks is left out,
// see CompiledMatch::wider.
Result<CompiledMatch> CompileMatch(const Match& match, const KeyLayout& layout);

// Errors: "unsupported_action" (naming it by ActionName, and what is wrong), "no_such_port" (an output that `groups`
// has no device for), PassContext::missing, and those of Groups::Acquire, which is what may wait, StepTable::Acquire
// and PushStep. `passes`: nullptr refuses what needs them. Session thread.
Result<CompiledActions> CompileActions(const Actions& actions, const ObjectMeta& meta, Groups& groups,
                                       Wait wait = Wait::kAllowed, const PassContext* passes = nullptr);

// Error "no_such_port" where `groups` has no device for an output.
Result<void> CheckOutput(uint32_t port, const Groups& groups);

// The key that a packet with these values has in the object's layout. `values` is as FlowKeyBytes.
KeyWords PacketKey(const FlowKeyBytes& values, uint64_t present, const KeyLayout& layout);

}  // namespace sluice::xdp
