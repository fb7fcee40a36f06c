// SPDX-License-Identifier: Apache-2.0
// One flow as a user types it, taken apart into what travels: the match, the actions and the attributes around them.
//
// The daemon judges match and actions; here they are only told apart. So that the line and column of the daemon's
// answer are those of the user's own text, both parts keep their place: what belongs to neither is blanked out.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "sluice/error.h"
#include "sluice/sluice.pb.h"

namespace sluice::ctl {

struct FlowLine {
  std::string ufid;   // canonical; empty: none given
  std::string match;  // columns as in the text; empty: none given
  std::string actions;
  bool has_actions = false;
  std::optional<uint32_t> priority;
  std::optional<uint32_t> idle_timeout_ms;
  std::optional<uint32_t> hard_timeout_ms;
};

// Errors (reason "bad_flow", with position) are about the attributes only: "ufid:", "priority:", "idle_timeout:",
// "hard_timeout:". Statistics of a dump are read over.
Result<FlowLine> SplitFlow(std::string_view text);

// What goes on the bus.
v1::Flow ToFlow(const FlowLine& line);

// A duration in seconds, "1.5" or "1.5s", as milliseconds; nullopt where it is none or does not fit.
std::optional<uint32_t> ParseSeconds(std::string_view text);

}  // namespace sluice::ctl
