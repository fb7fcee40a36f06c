// SPDX-License-Identifier: Apache-2.0
// The pattern of a rule: rte_flow items read into a key and its mask. README.md ("Patterns") tells what items mean.
#pragma once

#include <rte_flow.h>

#include <cstdint>
#include <optional>

#include "key.h"
#include "profile.h"
#include "refusal.h"

namespace sluice::netsluice {

struct Pattern {
  // Where the packets come from. None of the port items: the wire of the device that the rule is made on.
  enum class From : uint8_t { kOwnWire, kWire, kEthdev };

  Key spec;  // no bits outside of the mask
  Key mask;
  From from = From::kOwnWire;
  uint16_t port = 0;  // kWire, kEthdev: whose

  // Of the rule's own, for the checks of actions.
  bool vlan = false;
  bool vxlan = false;
};

// Reads `items`, up to their end. A refusal names the item, or the part of it.
MaybeRefusal ReadPattern(const rte_flow_item* items, const Profile& profile, Pattern& pattern);

}  // namespace sluice::netsluice
