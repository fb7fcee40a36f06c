// SPDX-License-Identifier: Apache-2.0
// What the loop does with a flow's packets, in short: most flows send the packet out of one port, as it is.
#pragma once

#include "datapath.h"

namespace sluice::rteflow {

DatapathFlow::Plan PlanOf(const Match& match, const Actions& actions);

}  // namespace sluice::rteflow
