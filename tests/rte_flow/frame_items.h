// SPDX-License-Identifier: Apache-2.0
// What rte_flow says that a pattern takes, read off the bytes of a frame: written from rte_flow.h and DPDK's guide, and
// knowing nothing of how the plugin makes patterns.
//
// The items are the headers of the frame from its beginning, one right after the other, as many as there are items.
// An item without spec wants the header to be there. Port items take every frame.
#pragma once

#include <rte_flow.h>

#include <cstdint>
#include <span>
#include <string>

namespace sluice::rteflow {

// Throws std::logic_error where the pattern is not well-formed or has an item that is not known here. Frames are not
// malformed.
bool Takes(const rte_flow_item* pattern, std::span<const uint8_t> frame);

// "eth 12:08 13:00 / ipv4 / tcp 0:00 1:50": the items and, of each, the bytes that are masked, by their place in it.
std::string PatternText(const rte_flow_item* pattern);

}  // namespace sluice::rteflow
