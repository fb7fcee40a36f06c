// SPDX-License-Identifier: Apache-2.0
// What a device accepts, by the name of its `profile=`. One table (profile.cpp) declares them all.
#pragma once

#include <rte_flow.h>

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "refusal.h"

namespace sluice::netsluice {

// An item as a profile takes it.
struct ItemRule {
  rte_flow_item_type type;
  const void* mask = nullptr;  // the bits that may be matched, laid out as the item; nullptr: all that the device knows
};

enum class MarkNeeds : uint8_t { kNothing, kQueue, kQueueOrRss };

using ActionSet = std::bitset<128>;  // by rte_flow_action_type

struct Profile {
  std::string_view name;
  std::span<const ItemRule> items{};  // empty: all
  ActionSet ingress{};                // the actions of rules without `transfer`
  ActionSet transfer{};               // none: no such rules
  uint32_t priorities = 1;            // how many there are, 0 the first
  uint32_t most_mark = UINT32_MAX;
  MarkNeeds mark_needs = MarkNeeds::kNothing;
  bool needs_fate = false;  // a rule must say where the packet goes
  // As i40e's flow director: queue, drop, passthru or mark first; then nothing, or one of mark, flag and rss, where
  // flag does not follow mark, and rss only mark or passthru.
  bool flow_director = false;
  size_t most_actions = SIZE_MAX;
  size_t most_tags = 2;  // vlan items
  bool eexist = false;   // overlapping rules of the same priority are refused
};

// nullptr: there is none of that name.
const Profile* FindProfile(std::string_view name);
// "full, mark-count, ...".
std::string ProfileNames();

MaybeRefusal CheckAttributes(const Profile& profile, const rte_flow_attr& attributes);
// By type alone.
MaybeRefusal CheckItem(const Profile& profile, const rte_flow_item& item);
MaybeRefusal CheckAction(const Profile& profile, const rte_flow_attr& attributes, const rte_flow_action& action);
// The bits of the item that may be matched, nullptr: all.
const void* MatchableBits(const Profile& profile, rte_flow_item_type type);

}  // namespace sluice::netsluice
