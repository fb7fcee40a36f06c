// SPDX-License-Identifier: Apache-2.0
#include "action_texts.h"

#include <algorithm>
#include <utility>

#include "sluice/flow_text.h"

namespace sluice::core {
namespace {

void CollectPorts(const Actions& actions, ActionList& list) {
  for (const Action& action : actions) {
    if (const auto* output = std::get_if<Output>(&action)) list.ports.push_back(output->port);
    if (const auto* pop = std::get_if<TnlPop>(&action)) list.ports.push_back(pop->port);
    if (const auto* push = std::get_if<TnlPush>(&action)) {
      list.ports.push_back(push->tnl_port);
      list.ports.push_back(push->out_port);
    }
    if (std::holds_alternative<Flood>(action)) list.floods = true;
    if (const auto* ttl = std::get_if<DecTtl>(&action)) CollectPorts(ttl->expired, list);
  }
}

}  // namespace

Result<const ActionList*> ActionTexts::Read(const std::string& text) {
  if (generation_ != ports_.generation() || known_.size() >= kMost) known_.clear();
  generation_ = ports_.generation();
  if (const auto found = known_.find(text); found != known_.end()) return &found->second;
  auto actions = ParseActions(text, ports_.Live());
  if (!actions) return actions.error();
  ActionList list;
  list.text = FormatActions(*actions, ports_.Live());
  CollectPorts(*actions, list);
  std::sort(list.ports.begin(), list.ports.end());
  list.ports.erase(std::unique(list.ports.begin(), list.ports.end()), list.ports.end());
  ActionList& kept = text.size() <= kLongest ? known_[text] : long_;
  kept = std::move(list);
  return &kept;
}

}  // namespace sluice::core
