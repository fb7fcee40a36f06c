// SPDX-License-Identifier: Apache-2.0
#include "program.h"

#include <algorithm>
#include <string>
#include <vector>

#include "device.h"

namespace sluice::netsluice {
namespace {

class Reader {
 public:
  Reader(const ProgramContext& context, Program& program) : context_(context), program_(program) {}

  MaybeRefusal Read(const rte_flow_action& action);
  // When all are read.
  [[nodiscard]] MaybeRefusal Finish(const rte_flow_action* actions) const;

 private:
  MaybeRefusal Queue(const rte_flow_action& action, uint16_t queue);
  MaybeRefusal Rss(const rte_flow_action& action, const rte_flow_action_rss& rss);
  MaybeRefusal Port(const rte_flow_action& action, uint32_t port);
  MaybeRefusal Mark(const rte_flow_action& action, uint32_t mark);

  static Refusal Bad(const rte_flow_action& action, const std::string& what) {
    return {EINVAL, RTE_FLOW_ERROR_TYPE_ACTION_CONF, &action, ActionName(action.type) + ": " + what};
  }

  const ProgramContext& context_;
  Program& program_;
  bool queue_ = false;
  bool rss_ = false;
  bool port_ = false;
  size_t count_ = 0;
};

bool HasConfiguration(rte_flow_action_type type) {
  switch (type) {
    case RTE_FLOW_ACTION_TYPE_VOID:
    case RTE_FLOW_ACTION_TYPE_PASSTHRU:
    case RTE_FLOW_ACTION_TYPE_FLAG:
    case RTE_FLOW_ACTION_TYPE_COUNT:
    case RTE_FLOW_ACTION_TYPE_DROP:
    case RTE_FLOW_ACTION_TYPE_OF_POP_VLAN:
    case RTE_FLOW_ACTION_TYPE_DEC_TTL:
    case RTE_FLOW_ACTION_TYPE_VXLAN_DECAP:
      return false;
    default:
      return true;
  }
}

template <typename Conf>
const Conf& ConfOf(const rte_flow_action& action) {
  return *static_cast<const Conf*>(action.conf);
}

MaybeRefusal Reader::Read(const rte_flow_action& action) {
  if (action.type == RTE_FLOW_ACTION_TYPE_VOID) return {};
  if (auto refusal = CheckAction(context_.profile, context_.attributes, action)) return refusal;
  ++count_;
  if (HasConfiguration(action.type) && action.conf == nullptr) return Bad(action, "has no configuration");
  switch (action.type) {
    case RTE_FLOW_ACTION_TYPE_PASSTHRU:
      program_.passthru = true;
      return {};
    case RTE_FLOW_ACTION_TYPE_FLAG:
      program_.flag = true;
      return {};
    case RTE_FLOW_ACTION_TYPE_COUNT:
      program_.count = true;
      return {};
    case RTE_FLOW_ACTION_TYPE_DROP:
      program_.drop = true;
      return {};
    case RTE_FLOW_ACTION_TYPE_MARK:
      return Mark(action, ConfOf<rte_flow_action_mark>(action).id);
    case RTE_FLOW_ACTION_TYPE_QUEUE:
      return Queue(action, ConfOf<rte_flow_action_queue>(action).index);
    case RTE_FLOW_ACTION_TYPE_RSS:
      return Rss(action, ConfOf<rte_flow_action_rss>(action));
    case RTE_FLOW_ACTION_TYPE_PORT_ID: {
      const auto& port = ConfOf<rte_flow_action_port_id>(action);
      return Port(action, port.original != 0 ? context_.device->port() : port.id);
    }
    case RTE_FLOW_ACTION_TYPE_REPRESENTED_PORT:
    case RTE_FLOW_ACTION_TYPE_PORT_REPRESENTOR:
      return Port(action, ConfOf<rte_flow_action_ethdev>(action).port_id);
    case RTE_FLOW_ACTION_TYPE_VXLAN_DECAP:
      if (!context_.pattern.vxlan) return Bad(action, "the pattern has no vxlan");
      break;
    default:
      break;
  }
  EditOutcome outcome = ReadEdit(action, program_);
  if (!outcome.known) outcome = ReadModify(action, program_);
  if (outcome.known) return outcome.refusal;
  return Refusal{ENOTSUP, RTE_FLOW_ERROR_TYPE_ACTION, &action, ActionName(action.type) + ": not supported"};
}

MaybeRefusal Reader::Mark(const rte_flow_action& action, uint32_t mark) {
  if (mark > context_.profile.most_mark) {
    return Bad(action, std::to_string(mark) + " is more than " + std::to_string(context_.profile.most_mark));
  }
  program_.mark = mark;
  return {};
}

MaybeRefusal Reader::Queue(const rte_flow_action& action, uint16_t queue) {
  queue_ = true;
  if (queue >= context_.device->rx_queues()) {
    return Bad(action, "the device has no receive queue " + std::to_string(queue));
  }
  program_.steps.emplace_back(QueueStep{context_.device, {queue}});
  return {};
}

// The hash is always the device's own: Toeplitz, of addresses and ports.
MaybeRefusal Reader::Rss(const rte_flow_action& action, const rte_flow_action_rss& rss) {
  rss_ = true;
  if (rss.func != RTE_ETH_HASH_FUNCTION_DEFAULT && rss.func != RTE_ETH_HASH_FUNCTION_TOEPLITZ) {
    return Bad(action, "only the Toeplitz function is supported");
  }
  if (rss.level > 1) return Bad(action, "only the outermost headers can be hashed");
  if (rss.key_len != 0) return Bad(action, "a key of one's own is not supported");
  QueueStep step{context_.device, {}};
  if (rss.queue_num != 0) step.queues.assign(rss.queue, rss.queue + rss.queue_num);
  for (const uint16_t queue : step.queues) {
    if (queue >= context_.device->rx_queues()) {
      return Bad(action, "the device has no receive queue " + std::to_string(queue));
    }
  }
  if (step.queues.empty()) {
    for (uint16_t queue = 0; queue < context_.device->rx_queues(); ++queue) step.queues.push_back(queue);
  }
  program_.steps.emplace_back(std::move(step));
  return {};
}

MaybeRefusal Reader::Port(const rte_flow_action& action, uint32_t port) {
  port_ = true;
  std::shared_ptr<Device> device = Device::Find(port);
  if (device == nullptr) {
    return Bad(action, "port " + std::to_string(port) + " is no net_sluice device of this process");
  }
  if (action.type == RTE_FLOW_ACTION_TYPE_PORT_REPRESENTOR) {
    program_.steps.emplace_back(QueueStep{std::move(device), {}});
  } else {
    program_.steps.emplace_back(WireStep{std::move(device)});
  }
  return {};
}

// Profile::flow_director.
MaybeRefusal CheckOrder(const rte_flow_action* actions) {
  std::vector<const rte_flow_action*> list;
  for (const rte_flow_action* action = actions; action->type != RTE_FLOW_ACTION_TYPE_END; ++action) {
    if (action->type != RTE_FLOW_ACTION_TYPE_VOID) list.push_back(action);
  }
  const auto refuse = [](const rte_flow_action* action, const std::string& why) {
    return Refusal{EINVAL, RTE_FLOW_ERROR_TYPE_ACTION, action, ActionName(action->type) + ": " + why};
  };
  if (list.empty()) return Refusal{EINVAL, RTE_FLOW_ERROR_TYPE_ACTION, actions, "there is no action"};
  const rte_flow_action_type first = list[0]->type;
  if (first != RTE_FLOW_ACTION_TYPE_QUEUE && first != RTE_FLOW_ACTION_TYPE_DROP &&
      first != RTE_FLOW_ACTION_TYPE_PASSTHRU && first != RTE_FLOW_ACTION_TYPE_MARK) {
    return refuse(list[0], "cannot be the first action");
  }
  if (list.size() == 1) return {};
  const rte_flow_action_type second = list[1]->type;
  const bool marked = first == RTE_FLOW_ACTION_TYPE_MARK;
  const bool follows = (second == RTE_FLOW_ACTION_TYPE_MARK && !marked) ||
                       (second == RTE_FLOW_ACTION_TYPE_FLAG && !marked) ||
                       (second == RTE_FLOW_ACTION_TYPE_RSS && (marked || first == RTE_FLOW_ACTION_TYPE_PASSTHRU));
  if (!follows) return refuse(list[1], "cannot follow " + ActionName(first));
  if (list.size() > 2) return refuse(list[2], "there can be two actions at most");
  return {};
}

MaybeRefusal Reader::Finish(const rte_flow_action* actions) const {
  const bool sent = queue_ || rss_ || port_;
  if (context_.profile.flow_director) {
    if (auto refusal = CheckOrder(actions)) return refusal;
  }
  if (count_ > context_.profile.most_actions) {
    return Refusal{ENOTSUP, RTE_FLOW_ERROR_TYPE_ACTION, actions,
                   "there can be " + std::to_string(context_.profile.most_actions) + " actions at most"};
  }
  if (program_.drop && (sent || program_.passthru)) {
    return Refusal{EINVAL, RTE_FLOW_ERROR_TYPE_ACTION, actions, "drop: cannot stand beside another way out"};
  }
  if (context_.profile.needs_fate && !sent && !program_.drop && !program_.passthru) {
    return Refusal{EINVAL, RTE_FLOW_ERROR_TYPE_ACTION, actions, "no action says where the packet goes"};
  }
  if (!program_.mark && !program_.flag) return {};
  const MarkNeeds needs = context_.profile.mark_needs;
  if (needs == MarkNeeds::kQueue && !queue_) {
    return Refusal{ENOTSUP, RTE_FLOW_ERROR_TYPE_ACTION, actions, "mark: only with queue"};
  }
  if (needs == MarkNeeds::kQueueOrRss && !queue_ && !rss_) {
    return Refusal{ENOTSUP, RTE_FLOW_ERROR_TYPE_ACTION, actions, "mark: only with queue or rss"};
  }
  return {};
}

}  // namespace

MaybeRefusal ReadProgram(const rte_flow_action* actions, const ProgramContext& context, Program& program) {
  Reader reader(context, program);
  for (const rte_flow_action* action = actions; action->type != RTE_FLOW_ACTION_TYPE_END; ++action) {
    if (auto refusal = reader.Read(*action)) return refusal;
  }
  return reader.Finish(actions);
}

}  // namespace sluice::netsluice
