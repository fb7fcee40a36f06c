// SPDX-License-Identifier: Apache-2.0
// From a flow as the core tells it to what is put into which port's table, or to the reason why not.
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
    uint64_t port = 0;  // its serial
    FlowSpec spec;
  };
  boost::container::small_vector<Target, 1> targets;  // one, or all ports where the match names no in_port
  std::shared_ptr<const Actions> actions;
  // A table's key cannot say all of this match: packets that come up have to be held against it.
  std::shared_ptr<const Match> match;
  // Why, on one of the ports at least, not XDP but software executes the flow.
  std::optional<Error> software;
};

// Session thread.
class FlowPlanner {
 public:
  FlowPlanner(const Ports& ports, Groups& groups) : ports_(ports), groups_(groups) {}

  // Errors: "unsupported_field", "unsupported_action", "no_such_port", those of parsing and of Groups::Acquire, NotYet.
  // `plan` is a new one; after an error it is of no use.
  Result<void> Plan(const v1::FlowState& put, FlowPlan& plan);
  // The parsed list; the same object for the same text, as long as it is remembered.
  Result<std::shared_ptr<const Actions>> Parse(const std::string& text);
  // To be called when ports come or go: what is remembered has their numbers.
  void Forget() { texts_.clear(); }

 private:
  Result<void> CheckOutputs(const Actions& actions) const;
  [[nodiscard]] Error NameOutput(Error error, const Actions& actions) const;

  const Ports& ports_;
  Groups& groups_;
  // Thousands of flows have few different action lists.
  struct Text {
    std::shared_ptr<const Actions> actions;
    // By the object's file. None with a group: it would be held for nobody.
    std::vector<std::pair<std::string, CompiledActions>> compiled;
  };
  Result<Text*> Find(const std::string& text);
  Result<CompiledActions> Compile(const Port& port, Text& text);
  Result<void> PlanFor(const Port& port, const Match& match, uint32_t priority, Text& text, FlowPlan& plan);

  std::unordered_map<std::string, Text> texts_;
};

}  // namespace sluice::xdp
