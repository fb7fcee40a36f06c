// SPDX-License-Identifier: Apache-2.0
// Which flows must stay out of one device, so that the higher priority wins although the device has not all flows.
//
// A packet meets the device before it meets software. So a flow that the device does not have, or has only in part
// (both are called uncovered here), must not be overlapped by a rule of lower priority: the device would take its
// packets. The flow of such a rule is outranked, and left to software, too, which makes it uncovered in its turn.
// The same holds inside of a device: its switch (rules with `transfer`) meets packets before its ports do (`ingress`),
// so that a rule of the switch must not be overlapped by one of a port that has a higher priority. Nothing of this
// costs anything while all flows have one priority.
#pragma once

#include <tsl/robin_set.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "loop/datapath.h"

namespace sluice::rteflow {

// Whether a packet can match both.
bool Overlap(const Match& one, const Match& other);

// Session thread.
class Precedence {
 public:
  // More uncovered flows than this are not looked at one by one: whatever is below them counts as outranked.
  static constexpr size_t kLookedAt = 256;

  void AddRule(const DatapathFlow& flow, bool transfer) { Add(transfer ? transfer_ : ingress_, flow); }
  void RemoveRule(const DatapathFlow& flow, bool transfer) { Remove(transfer ? transfer_ : ingress_, flow); }
  void AddUncovered(const DatapathFlow& flow) { Add(uncovered_, flow); }
  void RemoveUncovered(const DatapathFlow& flow) { Remove(uncovered_, flow); }

  // An uncovered flow that outranks `flow`; nullptr: none does.
  [[nodiscard]] const DatapathFlow* Above(const DatapathFlow& flow) const { return Above(uncovered_, flow); }
  // Whether the rule of `flow` may be one of the switch.
  [[nodiscard]] bool MayTransfer(const DatapathFlow& flow) const { return Above(ingress_, flow) == nullptr; }
  // The flows with rules that `flow`, which is uncovered, outranks.
  [[nodiscard]] std::vector<const DatapathFlow*> Below(const DatapathFlow& flow) const;
  // The flows with rules of the switch that must leave it, because `flow` has a rule of a port.
  [[nodiscard]] std::vector<const DatapathFlow*> BelowIngress(const DatapathFlow& flow) const;

 private:
  using Flows = std::map<uint32_t, tsl::robin_set<const DatapathFlow*>>;  // by priority
  static void Add(Flows& flows, const DatapathFlow& flow) { flows[flow.priority].insert(&flow); }
  static void Remove(Flows& flows, const DatapathFlow& flow);
  // One of `flows` that has a higher priority and overlaps.
  static const DatapathFlow* Above(const Flows& flows, const DatapathFlow& flow);
  // Those of `rules` that one of `flows` (`flow` is among them) must come before.
  static void Below(const Flows& flows, const Flows& rules, const DatapathFlow& flow,
                    std::vector<const DatapathFlow*>& below);

  Flows transfer_;
  Flows ingress_;
  Flows uncovered_;
};

}  // namespace sluice::rteflow
