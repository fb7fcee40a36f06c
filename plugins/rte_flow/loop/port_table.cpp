// SPDX-License-Identifier: Apache-2.0
#include "port_table.h"

#include <algorithm>
#include <utility>

namespace sluice::rteflow {

LoopPort& PortTable::Add(std::unique_ptr<LoopPort> port) {
  LoopPort& added = *ports_.emplace_back(std::move(port));
  if (added.number() < kDirect) {
    if (added.number() >= direct_.size()) direct_.resize(added.number() + 1);
    direct_[added.number()] = &added;
  }
  return added;
}

void PortTable::Remove(const LoopPort& port) {
  if (port.number() < direct_.size()) direct_[port.number()] = nullptr;
  std::erase_if(ports_, [&](const auto& each) { return each.get() == &port; });
}

LoopPort* PortTable::FindLarge(uint32_t number) const {
  const auto found = std::ranges::find(ports_, number, [](const auto& port) { return port->number(); });
  return found == ports_.end() ? nullptr : found->get();
}

}  // namespace sluice::rteflow
