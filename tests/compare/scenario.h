// SPDX-License-Identifier: Apache-2.0
// What happens in one comparison: flows put, changed and deleted, and packets between that. Plain data, so that a
// failing one can be cut down and printed.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "reference/datapath.h"
#include "reference/rng.h"

namespace sluice::compare {

struct Step {
  enum class Kind { kPut, kModify, kDelete, kPacket };
  Kind kind = Kind::kPacket;
  uint64_t flow = 0;       // all but kPacket: which; 1, 2, ... A change of a flow that is not there does nothing
  Match match;             // kPut
  Actions actions;         // kPut, kModify
  uint32_t priority = 0;   // kPut, kModify
  uint32_t port = 1;       // kPacket
  reference::Bytes frame;  // kPacket
};

using Scenario = std::vector<Step>;

std::string Print(const Step& step);
std::string Print(const Scenario& scenario);

// Overlapping flows of different priorities made from packets, packets made to hit them, and changes between packets.
Scenario RandomScenario(reference::Rng& rng, size_t steps);

// For every field that a frame of bits can be made to differ in alone: a flow for all frames, flows that outrank it for
// some values of the field, and frames of those and other values, many more than a small cache has places for. A cache
// that mistakes one frame for another by that field takes the wrong flow.
std::vector<std::pair<std::string, Scenario>> CollisionScenarios(reference::Rng& rng);

// A match that the packet with this key meets, with random fields and masks; now and then with a value of `other`.
Match RandomMatch(reference::Rng& rng, const Match& key, const Match& other);
// Any list of edits, outputs and the rest; most of them ones that XDP can do. Now and then one of forty actions. Fields
// that are set are mostly ones that a packet with the key `like` has.
Actions RandomActions(reference::Rng& rng, const Match& like = {});
// One of what such a list does to a packet, after `before`.
Action RandomEdit(reference::Rng& rng, const Match& like, const Actions& before);
// Frames of at least the 14 bytes that a test run takes.
reference::Bytes RandomFrame(reference::Rng& rng);

}  // namespace sluice::compare
