// SPDX-License-Identifier: Apache-2.0
#include "action_plan.h"

#include <algorithm>
#include <variant>

#include "tcp_flags.h"

namespace sluice::rteflow {
namespace {

// Whether the list, or the one that a dec_ttl takes in its stead, sends one copy at most, out of a port.
bool SendsOnce(const Actions& actions) {
  int outputs = 0;
  for (const Action& action : actions) {
    if (std::holds_alternative<Flood>(action) || std::holds_alternative<ToController>(action)) return false;
    if (std::holds_alternative<Output>(action)) ++outputs;
    const auto* dec = std::get_if<DecTtl>(&action);
    // What was sent before it was sent.
    if (dec != nullptr && (!SendsOnce(dec->expired) || (outputs > 0 && !dec->expired.empty()))) return false;
  }
  return outputs <= 1;
}

}  // namespace

DatapathFlow::Plan PlanOf(const Match& match, const Actions& actions) {
  using Kind = DatapathFlow::Plan::Kind;
  DatapathFlow::Plan plan;
  plan.tcp = MayBeTcp(match);
  if (actions.empty() || std::holds_alternative<Drop>(actions.front())) return plan;
  const auto* output = std::get_if<Output>(&actions.front());
  if (actions.size() == 1 && output != nullptr) {
    plan.kind = Kind::kForward;
    plan.output = output->port;
    return plan;
  }
  plan.kind = Kind::kExecute;
  plan.once = SendsOnce(actions);
  return plan;
}

}  // namespace sluice::rteflow
