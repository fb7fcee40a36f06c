// SPDX-License-Identifier: Apache-2.0
#include "attempts.h"

#include <cerrno>
#include <system_error>
#include <utility>

namespace sluice::rteflow {

std::vector<Way> FullWays(const FullPlan& plan) {
  // Each choice but the first is for what has the matter to choose.
  std::vector<Way> ways{Way{.transfer = true}};
  const auto choose = [&](bool matters, auto choice) {
    if (!matters) return;
    std::vector<Way> chosen;
    for (const Way& way : ways) {
      chosen.push_back(way);
      chosen.push_back(way);
      choice(chosen.back());
    }
    ways = std::move(chosen);
  };
  choose(true, [](Way& way) { way.transfer = false; });
  choose(plan.outputs > 0, [](Way& way) { way.output = OutputBy::kPortId; });
  choose(plan.outputs > 1, [](Way& way) { way.copy = CopyBy::kRepeat; });
  choose(plan.sets, [](Way& way) { way.set = SetBy::kOldActions; });
  choose(plan.encaps, [](Way& way) { way.encap = EncapBy::kVxlan; });
  return ways;
}

std::vector<Way> MarkWays(uint16_t queues, bool rss) {
  std::vector<Way> ways{Way{.extent = Extent::kMarkCount}};
  for (const bool count : {true, false}) {
    for (const Fate fate : {Fate::kRss, Fate::kQueue, Fate::kQueueFirst}) {
      if (fate == Fate::kRss && (queues < 2 || !rss)) continue;
      Way way{.extent = count ? Extent::kMarkCountQueue : Extent::kMarkQueue};
      way.fate = fate;
      way.count = count;
      ways.push_back(way);
    }
  }
  return ways;
}

std::string Describe(const Way& way, const FullPlan* plan) {
  std::string text;
  const auto add = [&](bool said, const char* what) {
    if (said) text += (text.empty() ? "" : ", ") + std::string(what);
  };
  if (way.extent != Extent::kFull) {
    add(way.fate == Fate::kQueueFirst, "queue");
    add(true, "mark");
    add(way.count, "count");
    add(way.fate == Fate::kRss, "rss");
    add(way.fate == Fate::kQueue, "queue");
    return text;
  }
  add(true, way.transfer ? "full by transfer" : "full by ingress");
  if (plan != nullptr) {
    add(plan->steps.empty(), "drop");
    add(plan->outputs > 0, way.output == OutputBy::kPortId ? "port_id" : "represented_port");
    add(plan->outputs > 1, way.copy == CopyBy::kSample ? "sample" : "several outputs");
    add(plan->sets, way.set == SetBy::kOldActions ? "set actions" : "modify_field");
    add(plan->encaps, way.encap == EncapBy::kRaw ? "raw_encap" : "vxlan_encap");
  }
  add(way.count, "count");
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
