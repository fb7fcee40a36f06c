// SPDX-License-Identifier: Apache-2.0
// OVS datapath ("odp") text of matches, actions and whole flows, in both directions.
//
// Printing is canonical: equal values print equal, and what is printed parses back to an equal value. Parsing accepts
// what `ovs-appctl dpctl/dump-flows` prints, CIDR prefixes, port names and numbers, white space, and reports errors
// with line and column.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "sluice/action.h"
#include "sluice/error.h"
#include "sluice/match.h"

namespace sluice {

// Port names to numbers and back. The default takes and prints numbers only. A name that could be read as something
// else (a number, an action, one with a space, comma, slash or parenthesis in it) is printed as its number.
class PortNames {
 public:
  virtual ~PortNames() = default;
  [[nodiscard]] virtual std::optional<uint32_t> Number(std::string_view name) const = 0;
  [[nodiscard]] virtual std::optional<std::string> Name(uint32_t number) const = 0;
  // May a bare number be used that has no name? The core says no: it is an unknown port.
  [[nodiscard]] virtual bool AcceptsUnknownNumbers() const { return true; }
};
const PortNames& NumbersOnly();

struct FlowText {
  std::optional<Ufid> ufid;
  Match match;
  Actions actions;
  bool has_actions = false;
  uint32_t priority = 0;
  uint32_t idle_timeout_ms = 0;
  uint32_t hard_timeout_ms = 0;
};

// Longer texts, longer action lists (all levels counted together) and deeper nesting are refused.
inline constexpr size_t kMaxTextLength = 256 * 1024;
inline constexpr size_t kMaxActions = 1024;
inline constexpr size_t kMaxActionDepth = 8;

// Errors: reason "bad_match", "bad_actions", "bad_flow" (another part of a flow), "unknown_port"; detail, line, column.
// Match::Validate is included.
Result<Match> ParseMatch(std::string_view text, const PortNames& ports = NumbersOnly());
// Without Match::Validate: a part of a match, such as a filter, which need not name the protocols its fields stand on.
Result<Match> ParseMatchPart(std::string_view text, const PortNames& ports = NumbersOnly());
Result<Actions> ParseActions(std::string_view text, const PortNames& ports = NumbersOnly());
// `ufid:..., priority:.., <match>, packets:.., bytes:.., used:.., flags:.., offloaded:.., dp:.., actions:...`, all but
// the match optional; idle_timeout:SECONDS and hard_timeout:SECONDS (a decimal fraction is allowed) too. Statistics are
// read over.
Result<FlowText> ParseFlow(std::string_view text, const PortNames& ports = NumbersOnly());

std::string FormatMatch(const Match& match, const PortNames& ports = NumbersOnly());        // empty match: ""
std::string FormatActions(const Actions& actions, const PortNames& ports = NumbersOnly());  // empty list: "drop"
// What ParseFlow reads: `ufid:.., priority:.., <match>, idle_timeout:.., hard_timeout:.., actions:..`, without what is
// zero or absent.
std::string FormatFlow(const FlowText& flow, const PortNames& ports = NumbersOnly());
// "S", "SFR.": TCP flags as OVS prints them in flags:...; "none" for 0.
std::string FormatTcpFlags(uint32_t flags);

}  // namespace sluice
