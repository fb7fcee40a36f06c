// SPDX-License-Identifier: Apache-2.0
// From a flow as the core tells it to what is put into which table, or to the reason why not: a port's for packets in
// their first pass, the one of all ports for later ones and for what comes out of tunnels.
#pragma once

#include <boost/container/small_vector.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "flow_table.h"
#include "groups.h"
#include "ports.h"
#include "sluice/action.h"
#include "sluice/match.h"
#include "sluice/sluice.pb.h"

namespace sluice::xdp {

// A small_vector may allocate when it is moved; who runs out of memory here has no use for going on.
struct FlowPlan {  // NOLINT(bugprone-exception-escape)
  struct Target {
    uint64_t table = 0;  // its serial
    FlowSpec spec;
  };
  // One, or more where the match names no in_port, or later passes have two generations.
  boost::container::small_vector<Target, 1> targets;
  std::shared_ptr<const Actions> actions;
  // A table's key cannot say all of this match: packets that come up have to be held against it.
  std::shared_ptr<const Match> match;
  // Why, on one of the ports at least, not XDP but software executes the flow.
  std::optional<Error> software;
};

// Session thread.
class FlowPlanner {
 public:
  FlowPlanner(const Ports& ports, Groups& groups, PassTables& passes);

  // Errors: "unsupported_field", "unsupported_action", "no_such_port", "needs_recirc", those of parsing and of
  // CompileActions, NotYet.
  // `plan` is a new one; after an error it is of no use.
  Result<void> Plan(const v1::FlowState& put, FlowPlan& plan);
  // The parsed list; the same object for the same text, as long as it is remembered.
  Result<std::shared_ptr<const Actions>> Parse(const std::string& text);
  // To be called when ports come or go: what is remembered has their numbers.
  void Forget() { texts_.clear(); }
  // To be called when the programs of later passes come, go or change.
  void OnPasses();

 private:
  Result<void> CheckOutputs(const Actions& actions) const;
  [[nodiscard]] Error NameOutput(Error error, const Actions& actions) const;

  const Ports& ports_;
  Groups& groups_;
  PassTables& passes_;
  PassContext context_;
  // Thousands of flows have few different action lists.
  struct Text {
    std::shared_ptr<const Actions> actions;
    // By the object's name. None with a group or a step: it would be held for nobody.
    std::vector<std::pair<std::string, CompiledActions>> compiled;
  };
  // A table that a flow may be put into.
  struct Place {
    uint64_t table;      // its serial
    std::string object;  // names what it is the table of
    const ObjectMeta& meta;
    const Port* port;  // who would execute the flow in software; nullptr: any of the ports
  };
  Result<Text*> Find(const std::string& text);
  Result<CompiledActions> Compile(const Place& place, Text& text);
  [[nodiscard]] Result<void> MayBeSoftware(const Place& place, bool wider, const Error& why) const;
  Result<void> PlanFor(const Place& place, const Match& match, uint32_t priority, Text& text, FlowPlan& plan);
  Result<void> PlanForPort(const Port& port, const Match& match, uint32_t priority, Text& text, FlowPlan& plan);
  Result<void> PlanForPasses(Match match, uint32_t priority, Text& text, FlowPlan& plan);

  std::unordered_map<std::string, Text> texts_;
};

}  // namespace sluice::xdp
