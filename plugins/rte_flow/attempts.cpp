// SPDX-License-Identifier: Apache-2.0
#include "attempts.h"

#include <cerrno>
#include <system_error>

namespace sluice::rteflow {

std::vector<Way> FullWays(const FullPlan& plan) {
  std::vector<Way> ways;
  for (bool transfer : {true, false}) {
    for (OutputBy output : {OutputBy::kRepresentedPort, OutputBy::kPortId}) {
      if (output == OutputBy::kPortId && plan.steps.empty()) break;
      for (SetBy set : {SetBy::kModifyField, SetBy::kOldActions}) {
        if (set == SetBy::kOldActions && !plan.sets) break;
        for (EncapBy encap : {EncapBy::kRaw, EncapBy::kVxlan}) {
          if (encap == EncapBy::kVxlan && !plan.encaps) break;
          ways.push_back({Extent::kFull, transfer, output, set, encap, true});
        }
      }
    }
  }
  return ways;
}

std::vector<Way> UncountedWays(const FullPlan& plan) {
  if (!plan.steps.empty()) return {};
  return {Way{.transfer = true, .count = false}, Way{.transfer = false, .count = false}};
}

std::string Describe(const Way& way, const FullPlan* plan) {
  switch (way.extent) {
    case Extent::kMarkCount:
      return "mark, count";
    case Extent::kMarkCountQueue:
      return "mark, count, queue";
    case Extent::kMarkQueue:
      return "mark, queue";
    case Extent::kFull:
      break;
  }
  std::string text = way.transfer ? "full by transfer" : "full by ingress";
  if (plan != nullptr && plan->steps.empty()) text += ", drop";
  if (plan != nullptr && plan->outputs > 0) {
    text += way.output == OutputBy::kPortId ? ", port_id" : ", represented_port";
  }
  if (plan != nullptr && plan->sets) text += way.set == SetBy::kOldActions ? ", set actions" : ", modify_field";
  if (plan != nullptr && plan->encaps) text += way.encap == EncapBy::kRaw ? ", raw_encap" : ", vxlan_encap";
  if (way.count) text += ", count";
  return text;
}

const char* NameOf(rte_flow_error_type type) {
  switch (type) {
    case RTE_FLOW_ERROR_TYPE_NONE:
      return "NONE";
    case RTE_FLOW_ERROR_TYPE_UNSPECIFIED:
      return "UNSPECIFIED";
    case RTE_FLOW_ERROR_TYPE_HANDLE:
      return "HANDLE";
    case RTE_FLOW_ERROR_TYPE_ATTR_GROUP:
      return "ATTR_GROUP";
    case RTE_FLOW_ERROR_TYPE_ATTR_PRIORITY:
      return "ATTR_PRIORITY";
    case RTE_FLOW_ERROR_TYPE_ATTR_INGRESS:
      return "ATTR_INGRESS";
    case RTE_FLOW_ERROR_TYPE_ATTR_EGRESS:
      return "ATTR_EGRESS";
    case RTE_FLOW_ERROR_TYPE_ATTR_TRANSFER:
      return "ATTR_TRANSFER";
    case RTE_FLOW_ERROR_TYPE_ATTR:
      return "ATTR";
    case RTE_FLOW_ERROR_TYPE_ITEM_NUM:
      return "ITEM_NUM";
    case RTE_FLOW_ERROR_TYPE_ITEM_SPEC:
      return "ITEM_SPEC";
    case RTE_FLOW_ERROR_TYPE_ITEM_LAST:
      return "ITEM_LAST";
    case RTE_FLOW_ERROR_TYPE_ITEM_MASK:
      return "ITEM_MASK";
    case RTE_FLOW_ERROR_TYPE_ITEM:
      return "ITEM";
    case RTE_FLOW_ERROR_TYPE_ACTION_NUM:
      return "ACTION_NUM";
    case RTE_FLOW_ERROR_TYPE_ACTION_CONF:
      return "ACTION_CONF";
    case RTE_FLOW_ERROR_TYPE_ACTION:
      return "ACTION";
    case RTE_FLOW_ERROR_TYPE_STATE:
      return "STATE";
  }
  return "of a type that is not known";
}

About Refusal::about() const {
  switch (error) {
    case ENOSPC:
      return About::kSpace;
    case EEXIST:
      return About::kOverlap;
    case EIO:
    case ENXIO:
    case ENODEV:
    case ENOMEM:
    case EAGAIN:
    case EBUSY:
    case EFAULT:
    case ETIMEDOUT:
      return About::kFailure;
    default:
      break;
  }
  switch (type) {
    case RTE_FLOW_ERROR_TYPE_ITEM_NUM:
    case RTE_FLOW_ERROR_TYPE_ITEM_SPEC:
    case RTE_FLOW_ERROR_TYPE_ITEM_LAST:
    case RTE_FLOW_ERROR_TYPE_ITEM_MASK:
    case RTE_FLOW_ERROR_TYPE_ITEM:
      return About::kPattern;
    case RTE_FLOW_ERROR_TYPE_ATTR_PRIORITY:
      return About::kPriority;
    case RTE_FLOW_ERROR_TYPE_ACTION_CONF:
      return About::kValues;
    default:
      return About::kWay;
  }
}

std::string Refusal::Text() const {
  std::string text = NameOf(type);
  if (!message.empty()) text += ": " + message;
  return text + " (" + std::generic_category().message(error) + ")";
}

}  // namespace sluice::rteflow
