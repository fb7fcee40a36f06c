// SPDX-License-Identifier: Apache-2.0
// A trace as people and programs read it.
#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <string>

#include "trace.h"

namespace sluice::ctl {

// What was traced.
struct TracedPacket {
  size_t number = 1;                 // in its file
  std::span<const uint8_t> frame{};  // as captured
  size_t length = 0;                 // on the wire
};

// Several lines, the last ends with a line feed. `bytes`: with the whole frame after every action that changes it, and
// whole what leaves; else what leaves is cut at 64 bytes.
std::string TraceText(const TracedPacket& packet, const TracePlace& place, const Trace& trace, bool bytes);

// Keys: packet, in_port, plugin, length, frame (hexadecimal, as all frames), malformed (the header), passes, outputs,
// upcalls, end. README.md has them all.
nlohmann::ordered_json TraceJson(const TracedPacket& packet, const TracePlace& place, const Trace& trace);

}  // namespace sluice::ctl
