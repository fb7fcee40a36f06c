// SPDX-License-Identifier: Apache-2.0
#include "rule_actions.h"

#include <rte_byteorder.h>

#include <algorithm>
#include <cstring>
#include <variant>

#include "places.h"

namespace sluice::rteflow {

void RuleActions::Clear() {
  storage_used_ = 0;
  count_ = 0;
  overflow_ = false;
}

void RuleActions::AddAction(const rte_flow_action& action) {
  if (count_ == actions_.size()) {
    overflow_ = true;
    return;
  }
  actions_[count_++] = action;
}

bool RuleActions::BuildFull(const FullPlan& plan, const Way& way) {
  Clear();
  outputs_left_ = plan.outputs;
  if (way.count) Add(RTE_FLOW_ACTION_TYPE_COUNT, rte_flow_action_count{});
  for (const Step& step : plan.steps) {
    if (!std::visit([&](const auto& which) { return Say(which, way); }, step)) return false;
  }
  if (plan.steps.empty()) AddAction({RTE_FLOW_ACTION_TYPE_DROP, nullptr});
  AddAction({RTE_FLOW_ACTION_TYPE_END, nullptr});
  return !overflow_;
}

void RuleActions::BuildMark(const Way& way, uint32_t mark, uint16_t queues) {
  Clear();
  if (way.fate == Fate::kQueueFirst) Add(RTE_FLOW_ACTION_TYPE_QUEUE, rte_flow_action_queue{0});
  Add(RTE_FLOW_ACTION_TYPE_MARK, rte_flow_action_mark{mark});
  if (way.count) Add(RTE_FLOW_ACTION_TYPE_COUNT, rte_flow_action_count{});
  if (way.fate == Fate::kRss) AddRss(queues);
  if (way.fate == Fate::kQueue) Add(RTE_FLOW_ACTION_TYPE_QUEUE, rte_flow_action_queue{0});
  AddAction({RTE_FLOW_ACTION_TYPE_END, nullptr});
}

// How it is spread is left to the driver.
void RuleActions::AddRss(uint16_t queues) {
  const auto count = static_cast<uint16_t>(std::min<size_t>(queues, kMostQueues));
  auto* numbers = New<uint16_t>(count);
  if (numbers == nullptr) return;
  for (uint16_t i = 0; i < count; ++i) numbers[i] = i;
  rte_flow_action_rss rss{};
  rss.queue_num = count;
  rss.queue = numbers;
  Add(RTE_FLOW_ACTION_TYPE_RSS, rss);
}

bool RuleActions::Say(const DecapStep&, const Way&) {
  AddAction({RTE_FLOW_ACTION_TYPE_VXLAN_DECAP, nullptr});
  return true;
}

bool RuleActions::Say(const OutputStep& step, const Way& way) {
  rte_flow_action output{};
  if (way.output == OutputBy::kRepresentedPort) {
    auto* port = New<rte_flow_action_ethdev>();
    if (port != nullptr) port->port_id = step.ethdev;
    output = {RTE_FLOW_ACTION_TYPE_REPRESENTED_PORT, port};
  } else {
    auto* port = New<rte_flow_action_port_id>();
    if (port != nullptr) port->id = step.ethdev;
    output = {RTE_FLOW_ACTION_TYPE_PORT_ID, port};
  }
  if (--outputs_left_ == 0 || way.copy == CopyBy::kRepeat) {
    AddAction(output);
    return true;
  }
  auto* list = New<rte_flow_action>(2);
  if (list == nullptr) return false;
  list[0] = output;
  list[1] = {RTE_FLOW_ACTION_TYPE_END, nullptr};
  Add(RTE_FLOW_ACTION_TYPE_SAMPLE, rte_flow_action_sample{1, list});
  return true;
}

bool RuleActions::Say(const PushStep& step, const Way&) {
  Add(RTE_FLOW_ACTION_TYPE_OF_PUSH_VLAN, rte_flow_action_of_push_vlan{rte_cpu_to_be_16(step.tpid)});
  return true;
}

bool RuleActions::Say(const PopStep&, const Way&) {
  AddAction({RTE_FLOW_ACTION_TYPE_OF_POP_VLAN, nullptr});
  return true;
}

bool RuleActions::Say(const VidStep& step, const Way&) {
  Add(RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_VID, rte_flow_action_of_set_vlan_vid{rte_cpu_to_be_16(step.vid)});
  return true;
}

bool RuleActions::Say(const PcpStep& step, const Way&) {
  Add(RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_PCP, rte_flow_action_of_set_vlan_pcp{step.pcp});
  return true;
}

void RuleActions::AddModify(rte_flow_field_id field, uint32_t offset, uint32_t width, const uint8_t* value) {
  rte_flow_action_modify_field modify{};
  modify.operation = RTE_FLOW_MODIFY_SET;
  modify.dst.field = field;
  modify.dst.offset = offset;
  modify.src.field = RTE_FLOW_FIELD_VALUE;
  std::memcpy(modify.src.value, value, sizeof(modify.src.value));
  modify.width = width;
  Add(RTE_FLOW_ACTION_TYPE_MODIFY_FIELD, modify);
}

bool RuleActions::Say(const SetStep& step, const Way& way) {
  const Place& place = PlaceOf(step.field);
  if (way.set == SetBy::kModifyField) {
    AddModify(place.modify, step.offset, step.width, step.value.data());
    return true;
  }
  if (step.offset != 0 || step.width != Info(step.field).bits) return false;
  // The configurations of all of them are the value, as long as it is.
  Add(place.old, step.value);
  return true;
}

bool RuleActions::Say(const DscpStep& step, const Way&) {
  const Field field = step.ipv6 ? Field::ipv6_tclass : Field::ipv4_tos;
  Add(PlaceOf(field).old, rte_flow_action_set_dscp{step.dscp});
  return true;
}

bool RuleActions::Say(const EcnStep& step, const Way& way) {
  if (way.set == SetBy::kOldActions) return false;
  const std::array<uint8_t, 16> value{step.ecn};
  AddModify(PlaceOf(Field::ipv4_tos).modify, 0, 2, value.data());
  return true;
}

bool RuleActions::Say(const DecTtlStep&, const Way&) {
  AddAction({RTE_FLOW_ACTION_TYPE_DEC_TTL, nullptr});
  return true;
}

bool RuleActions::Say(const EncapStep& step, const Way& way) {
  if (way.encap == EncapBy::kVxlan) return SayVxlanEncap(step);
  auto* data = New<uint8_t>(step.header.size());
  if (data == nullptr) return false;
  std::copy(step.header.begin(), step.header.end(), data);
  // Nothing to preserve: lengths and checksums are the device's to fill in.
  Add(RTE_FLOW_ACTION_TYPE_RAW_ENCAP, rte_flow_action_raw_encap{data, nullptr, step.header.size()});
  return true;
}

// The headers as items (RFC 7348): Ethernet, IPv4 or IPv6, UDP, VXLAN.
bool RuleActions::SayVxlanEncap(const EncapStep& step) {
  const std::string& header = step.header;
  constexpr size_t kEthernet = 14;
  if (header.size() < kEthernet) return false;
  const bool ipv6 = static_cast<uint8_t>(header[12]) == 0x86;
  struct Part {
    rte_flow_item_type item;
    size_t size;
  };
  const std::array<Part, 4> parts{Part{RTE_FLOW_ITEM_TYPE_ETH, kEthernet},
                                  Part{ipv6 ? RTE_FLOW_ITEM_TYPE_IPV6 : RTE_FLOW_ITEM_TYPE_IPV4, ipv6 ? 40U : 20U},
                                  Part{RTE_FLOW_ITEM_TYPE_UDP, 8}, Part{RTE_FLOW_ITEM_TYPE_VXLAN, 8}};
  auto* items = New<rte_flow_item>(parts.size() + 1);
  size_t at = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    constexpr size_t kLargest = 48;
    auto* spec = New<uint8_t>(kLargest);
    auto* mask = New<uint8_t>(kLargest);
    if (mask == nullptr || spec == nullptr || items == nullptr || at + parts[i].size > header.size()) return false;
    std::memcpy(spec, header.data() + at, parts[i].size);
    std::memset(mask, 0xff, parts[i].size);
    items[i] = {parts[i].item, spec, nullptr, mask};
    at += parts[i].size;
  }
  if (at != header.size()) return false;
  items[parts.size()] = {RTE_FLOW_ITEM_TYPE_END, nullptr, nullptr, nullptr};
  Add(RTE_FLOW_ACTION_TYPE_VXLAN_ENCAP, rte_flow_action_vxlan_encap{items});
  return true;
}

}  // namespace sluice::rteflow
