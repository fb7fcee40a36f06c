// SPDX-License-Identifier: Apache-2.0
// Scenarios of packets that take more than one pass.
#pragma once

#include <map>

#include "compare/scenario.h"
#include "reference/tunnel.h"

namespace sluice::compare {

// Beside the rig's ports: their numbers, and what they are.
std::map<uint32_t, reference::TunnelPort> TunnelPorts();
// That packets with outer headers must not be above, whatever the rig's devices take.
inline constexpr size_t kTunnelMtu = 1400;

// Flows of first and later passes, each of a priority of its own, with recirculation, tunnels and connection tracking;
// packets that take them. `zones`: ct has others than 0.
Scenario RandomPassScenario(reference::Rng& rng, size_t steps, bool zones);

}  // namespace sluice::compare
