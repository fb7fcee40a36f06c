// SPDX-License-Identifier: Apache-2.0
// The rules that an application made on a device: rte_flow's operations.
#pragma once

#include <rte_flow.h>

#include <memory>
#include <mutex>
#include <variant>
#include <vector>

#include "device.h"
#include "pattern.h"
#include "refusal.h"
#include "rule.h"

namespace sluice::netsluice {

// Any thread. A rule that was destroyed matches no packet after the call.
class FlowSet {
 public:
  explicit FlowSet(std::shared_ptr<Device> device) : device_(std::move(device)) {}
  ~FlowSet() { Flush(); }
  FlowSet(const FlowSet&) = delete;
  FlowSet& operator=(const FlowSet&) = delete;

  MaybeRefusal Validate(const rte_flow_attr& attributes, const rte_flow_item* items, const rte_flow_action* actions);
  // The rule is the set's, until it is destroyed.
  std::variant<Rule*, Refusal> Create(const rte_flow_attr& attributes, const rte_flow_item* items,
                                      const rte_flow_action* actions);
  MaybeRefusal Destroy(Rule* rule);
  void Flush();
  // Of COUNT.
  MaybeRefusal Query(Rule* rule, const rte_flow_action& action, rte_flow_query_count& answer);

 private:
  MaybeRefusal Read(const rte_flow_attr& attributes, const rte_flow_item* items, const rte_flow_action* actions,
                    Pattern& pattern, Program& program) const;
  // The table of the packets that the pattern is about. nullptr: its port is no device.
  [[nodiscard]] std::shared_ptr<RuleTable> TableOf(const Pattern& pattern) const;

  const std::shared_ptr<Device> device_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Rule>> rules_;
};

}  // namespace sluice::netsluice
