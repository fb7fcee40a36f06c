// SPDX-License-Identifier: Apache-2.0
// Reads the actions of a rule back: as text, for people, and as actions of the flow model that do to a frame what
// rte_flow.h and DPDK's guide say of them. Knows nothing of how the plugin makes them.
#pragma once

#include <rte_flow.h>

#include <string>

#include "sluice/action.h"

namespace sluice::rteflow {

// "count, modify_field ipv4_dst 0+32 0a000001, represented_port 5"
std::string ActionsText(const rte_flow_action* actions);

// Ports are ethdevs. COUNT, MARK and the like do nothing to a frame. `ipv6`: of frames of IPv6. Throws std::logic_error
// for what is not known here and for lists that are not well-formed.
Actions ReadActions(const rte_flow_action* actions, bool ipv6);

}  // namespace sluice::rteflow
