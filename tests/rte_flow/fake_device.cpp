// SPDX-License-Identifier: Apache-2.0
#include "fake_device.h"

#include <gtest/gtest.h>
#include <rte_errno.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "frame_items.h"
#include "rule_reader.h"

namespace sluice::rteflow {
namespace {

int Refuse(rte_flow_error& error, int number, rte_flow_error_type type, const char* message) {
  error = {type, nullptr, message};
  return -number;
}

std::string FirstWord(const rte_flow_action& action) {
  const rte_flow_action one[] = {action, {RTE_FLOW_ACTION_TYPE_END, nullptr}};
  const std::string text = ActionsText(one);
  return text.substr(0, text.find(' '));
}

}  // namespace

FakeDevice::~FakeDevice() = default;

int FakeDevice::Judge(const rte_flow_attr& attr, const rte_flow_item* pattern, const rte_flow_action* actions,
                      rte_flow_error& error) const {
  EXPECT_EQ(attr.ingress + attr.transfer, 1);
  EXPECT_TRUE(attr.egress == 0 && attr.group == 0 && attr.reserved == 0);
  if (attr.transfer != 0 && !can.transfer) {
    return Refuse(error, ENOTSUP, RTE_FLOW_ERROR_TYPE_ATTR_TRANSFER, "no switch");
  }
  if (attr.ingress != 0 && !can.ingress) return Refuse(error, ENOTSUP, RTE_FLOW_ERROR_TYPE_ATTR_INGRESS, "no ingress");
  if (attr.priority >= can.priorities) {
    return Refuse(error, EINVAL, RTE_FLOW_ERROR_TYPE_ATTR_PRIORITY, "so many priorities it has not");
  }
  for (; pattern->type != RTE_FLOW_ITEM_TYPE_END; ++pattern) {
    if (std::ranges::count(can.no_items, pattern->type) > 0) {
      return Refuse(error, ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM, "no such item");
    }
  }
  bool mark = false;
  bool queue = false;
  for (; actions->type != RTE_FLOW_ACTION_TYPE_END; ++actions) {
    if (std::ranges::count(can.actions, FirstWord(*actions)) == 0) {
      return Refuse(error, ENOTSUP, RTE_FLOW_ERROR_TYPE_ACTION, "no such action");
    }
    if (actions->type == RTE_FLOW_ACTION_TYPE_MARK) {
      mark = true;
      if (static_cast<const rte_flow_action_mark*>(actions->conf)->id > can.most_mark) {
        return Refuse(error, EINVAL, RTE_FLOW_ERROR_TYPE_ACTION_CONF, "such marks it has not");
      }
    }
    queue = queue || actions->type == RTE_FLOW_ACTION_TYPE_QUEUE || actions->type == RTE_FLOW_ACTION_TYPE_RSS;
  }
  if (mark && !queue && !can.mark_alone) {
    return Refuse(error, EINVAL, RTE_FLOW_ERROR_TYPE_UNSPECIFIED, "a mark wants a queue");
  }
  return 0;
}

void FakeDevice::Note(const rte_flow_attr& attr, const rte_flow_action* actions) {
  std::string text = (attr.transfer != 0 ? "transfer: " : "ingress: ") + ActionsText(actions);
  if (attr.priority != can.priorities - 1 && can.priorities != 65536) text += " at " + std::to_string(attr.priority);
  if (asked_.empty() || asked_.back() != text) asked_.push_back(std::move(text));
}

int FakeDevice::Validate(const rte_flow_attr& attr, const rte_flow_item* pattern, const rte_flow_action* actions,
                         rte_flow_error& error) {
  ++validates;
  if (!can.validates) return Refuse(error, ENOSYS, RTE_FLOW_ERROR_TYPE_UNSPECIFIED, "no such function");
  Note(attr, actions);
  return can.lies ? 0 : Judge(attr, pattern, actions, error);
}

rte_flow* FakeDevice::Create(const rte_flow_attr& attr, const rte_flow_item* pattern, const rte_flow_action* actions,
                             rte_flow_error& error) {
  ++creates;
  Note(attr, actions);
  int failed = Judge(attr, pattern, actions, error);
  if (fail_create != 0) failed = Refuse(error, fail_create, RTE_FLOW_ERROR_TYPE_UNSPECIFIED, "as told");
  if (failed == 0 && rules_.size() >= can.capacity) {
    failed = Refuse(error, ENOSPC, RTE_FLOW_ERROR_TYPE_UNSPECIFIED, "no room");
  }
  const std::string items = PatternText(pattern);
  if (failed == 0 && can.one_per_pattern &&
      std::ranges::any_of(rules_, [&](const auto& rule) { return rule->pattern == items; })) {
    failed = Refuse(error, EEXIST, RTE_FLOW_ERROR_TYPE_HANDLE, "there already");
  }
  if (failed != 0) {
    rte_errno = -failed;
    return nullptr;
  }
  rules_.push_back(std::make_unique<Rule>(Rule{attr, items, ActionsText(actions)}));
  return reinterpret_cast<rte_flow*>(rules_.back().get());
}

int FakeDevice::Destroy(rte_flow* rule, rte_flow_error& error) {
  if (fail_destroy != 0) return Refuse(error, fail_destroy, RTE_FLOW_ERROR_TYPE_HANDLE, "as told");
  const auto gone = std::erase_if(rules_, [&](const auto& each) { return each.get() == &Of(rule); });
  EXPECT_EQ(gone, 1u) << "a rule that it does not have";
  return 0;
}

int FakeDevice::QueryCount(rte_flow* rule, rte_flow_query_count& count, rte_flow_error& error) {
  if (fail_query != 0) return Refuse(error, fail_query, RTE_FLOW_ERROR_TYPE_ACTION, "as told");
  Rule& counted = Of(rule);
  count.hits_set = 1;
  count.hits = counted.packets;
  count.bytes_set = can.counts_bytes ? 1 : 0;
  count.bytes = can.counts_bytes ? counted.bytes : 77;
  if (count.reset != 0 && can.resets) counted.packets = counted.bytes = 0;
  return 0;
}

int FakeDevice::Flush(rte_flow_error&) {
  rules_.clear();
  return 0;
}

std::vector<std::string> FakeDevice::Asked() { return std::exchange(asked_, {}); }

}  // namespace sluice::rteflow
