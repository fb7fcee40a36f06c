// SPDX-License-Identifier: Apache-2.0
// The actions of a flow on one frame, one after the other.
#pragma once

#include <optional>

#include "trace.h"

namespace sluice::ctl {

// Executes `actions` on the packet, which Parse has read as `packet`, into trace.passes.back().steps. Returns it for
// the pass that follows; nullopt: none does, and `trace` says how it ended.
std::optional<PassPacket> TraceActions(const Actions& actions, const TracePlace& place, const PassPacket& in,
                                       const soft::Parsed& packet, Trace& trace);

}  // namespace sluice::ctl
