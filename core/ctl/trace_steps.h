// SPDX-License-Identifier: Apache-2.0
// The actions of a flow on one frame, one after the other.
#pragma once

#include <span>

#include "trace.h"

namespace sluice::ctl {

// Executes `actions` on `frame`, which Parse has read as `packet`, into trace.passes.back().steps, and says in `trace`
// how it ended.
void TraceActions(const Actions& actions, const TracePlace& place, std::span<const uint8_t> frame,
                  const soft::Parsed& packet, Trace& trace);

}  // namespace sluice::ctl
