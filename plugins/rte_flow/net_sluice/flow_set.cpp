// SPDX-License-Identifier: Apache-2.0
#include "flow_set.h"

#include <unistd.h>

#include <string>
#include <utility>

#include "program.h"
#include "readers.h"

namespace sluice::netsluice {

MaybeRefusal FlowSet::Read(const rte_flow_attr& attributes, const rte_flow_item* items, const rte_flow_action* actions,
                           Pattern& pattern, Program& program) const {
  const Profile& profile = *device_->config().profile;
  if (auto refusal = CheckAttributes(profile, attributes)) return refusal;
  if (auto refusal = ReadPattern(items, profile, pattern)) return refusal;
  if (pattern.from != Pattern::From::kOwnWire && attributes.transfer == 0) {
    return Refusal{EINVAL, RTE_FLOW_ERROR_TYPE_ITEM, items, "a port can be matched by a transfer rule only"};
  }
  if (TableOf(pattern) == nullptr) {
    return Refusal{EINVAL, RTE_FLOW_ERROR_TYPE_ITEM_SPEC, items,
                   "port " + std::to_string(pattern.port) + " is no net_sluice device of this process"};
  }
  return ReadProgram(actions, {profile, attributes, pattern, device_}, program);
}

std::shared_ptr<RuleTable> FlowSet::TableOf(const Pattern& pattern) const {
  if (pattern.from == Pattern::From::kOwnWire) return device_->from_wire();
  const std::shared_ptr<Device> device = Device::Find(pattern.port);
  if (device == nullptr) return nullptr;
  return pattern.from == Pattern::From::kWire ? device->from_wire() : device->from_ethdev();
}

MaybeRefusal FlowSet::Validate(const rte_flow_attr& attributes, const rte_flow_item* items,
                               const rte_flow_action* actions) {
  if (device_->config().validate_lies) return {};
  Pattern pattern;
  Program program;
  return Read(attributes, items, actions, pattern, program);
}

std::variant<Rule*, Refusal> FlowSet::Create(const rte_flow_attr& attributes, const rte_flow_item* items,
                                             const rte_flow_action* actions) {
  const Faults faults = device_->faults();
  if (faults.create_us != 0) usleep(faults.create_us);
  const auto refuse = [this](Refusal refusal) {
    device_->counters().Add(Counter::kFlowRefused);
    return refusal;
  };
  const auto handle = [](int code, const std::string& why) {
    return Refusal{code, RTE_FLOW_ERROR_TYPE_HANDLE, nullptr, why};
  };
  Pattern pattern;
  Program program;
  if (auto refusal = Read(attributes, items, actions, pattern, program)) return refuse(*refusal);
  if (faults.create_fails) return refuse(handle(EIO, "the device does not answer"));
  const std::shared_ptr<RuleTable> table = TableOf(pattern);
  // The switch is before the ports: each with priorities of its own.
  constexpr uint32_t kBehindTransfer = 1U << 31;
  auto rule = std::make_unique<Rule>(attributes.priority + (attributes.transfer != 0 ? 0 : kBehindTransfer),
                                     std::move(program));

  const std::lock_guard lock(mutex_);
  if (rules_.size() >= faults.max_rules) return refuse(handle(ENOSPC, "the device has no room for another rule"));
  const bool disjoint = faults.eexist || device_->config().profile->eexist;
  if (table == nullptr || !table->Add(*rule, pattern.spec, pattern.mask, disjoint)) {
    return refuse(handle(EEXIST, "there is a rule of this priority that it overlaps"));
  }
  rule->place = rules_.size();
  rules_.push_back(std::move(rule));
  device_->counters().Add(Counter::kFlowCreated);
  device_->counters().Set(Counter::kFlowRules, rules_.size());
  return rules_.back().get();
}

MaybeRefusal FlowSet::Destroy(Rule* rule) {
  if (device_->faults().destroy_fails) {
    return Refusal{EIO, RTE_FLOW_ERROR_TYPE_HANDLE, nullptr, "the device does not answer"};
  }
  std::unique_ptr<Rule> gone;
  {
    const std::lock_guard lock(mutex_);
    const size_t place = rule->place;
    if (place >= rules_.size() || rules_[place].get() != rule) {
      return Refusal{ENOENT, RTE_FLOW_ERROR_TYPE_HANDLE, rule, "no rule of this device"};
    }
    RuleTable::Take(*rule);
    gone = std::move(rules_[place]);
    if (place + 1 != rules_.size()) {
      rules_[place] = std::move(rules_.back());
      rules_[place]->place = place;
    }
    rules_.pop_back();
    device_->counters().Add(Counter::kFlowDestroyed);
    device_->counters().Set(Counter::kFlowRules, rules_.size());
  }
  Readers::Get().Synchronize();
  return {};
}

void FlowSet::Flush() {
  std::vector<std::unique_ptr<Rule>> gone;
  {
    const std::lock_guard lock(mutex_);
    gone.swap(rules_);
    for (const auto& rule : gone) RuleTable::Take(*rule);
    device_->counters().Add(Counter::kFlowDestroyed, gone.size());
    device_->counters().Set(Counter::kFlowRules, 0);
  }
  Readers::Get().Synchronize();
}

MaybeRefusal FlowSet::Query(Rule* rule, const rte_flow_action& action, rte_flow_query_count& answer) {
  if (action.type != RTE_FLOW_ACTION_TYPE_COUNT) {
    return Refusal{ENOTSUP, RTE_FLOW_ERROR_TYPE_ACTION, &action, ActionName(action.type) + ": cannot be queried"};
  }
  if (!rule->program().count) {
    return Refusal{EINVAL, RTE_FLOW_ERROR_TYPE_ACTION, &action, "count: the rule has none"};
  }
  const Faults faults = device_->faults();
  if (faults.query_fails) return Refusal{EIO, RTE_FLOW_ERROR_TYPE_HANDLE, nullptr, "the device does not answer"};
  if (faults.query_no_reset && answer.reset != 0) {
    return Refusal{ENOTSUP, RTE_FLOW_ERROR_TYPE_ACTION, &action, "count: cannot be reset"};
  }
  const std::lock_guard lock(mutex_);
  const uint64_t packets = rule->packets();
  const uint64_t bytes = rule->bytes();
  answer.hits_set = answer.bytes_set = 1;
  answer.hits = packets - rule->queried_packets;
  answer.bytes = bytes - rule->queried_bytes;
  if (answer.reset != 0) {
    rule->queried_packets = packets;
    rule->queried_bytes = bytes;
  }
  return {};
}

}  // namespace sluice::netsluice
