// SPDX-License-Identifier: Apache-2.0
// Why a flow rule, or part of one, is not taken: what goes into struct rte_flow_error.
#pragma once

#include <rte_flow.h>

#include <optional>
#include <string>

namespace sluice::netsluice {

struct Refusal {
  int code;  // an errno, positive
  rte_flow_error_type type;
  const void* cause;    // the item or action, the caller's; nullptr: none
  std::string message;  // names the offending part
};

// nullopt: nothing against it.
using MaybeRefusal = std::optional<Refusal>;

// Fills in `error`, if there is one, and rte_errno. Returns the negative code. The message is valid until the thread's
// next refusal.
int Report(const Refusal& refusal, rte_flow_error* error);

// "ipv4", "of_push_vlan", as testpmd writes them; "item 77" where it has no name here.
std::string ItemName(rte_flow_item_type type);
std::string ActionName(rte_flow_action_type type);

}  // namespace sluice::netsluice
