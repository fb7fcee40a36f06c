// SPDX-License-Identifier: Apache-2.0
#include "flow.h"

#include <algorithm>
#include <cstring>

namespace sluice::core {

std::string_view CauseName(Cause cause) {
  switch (cause) {
    case Cause::request:
      return "request";
    case Cause::flush:
      return "flush";
    case Cause::idle_timeout:
      return "idle_timeout";
    case Cause::hard_timeout:
      return "hard_timeout";
  }
  return "request";
}

void Flow::SetContent(const FlowSpec& spec) {
  const size_t ports_size = spec.ports.size() * sizeof(uint32_t);
  content_ = std::make_unique_for_overwrite<char[]>(spec.match.size() + spec.actions.size() + ports_size);
  char* at = std::copy(spec.match.begin(), spec.match.end(), content_.get());
  at = std::copy(spec.actions.begin(), spec.actions.end(), at);
  if (ports_size != 0) std::memcpy(at, spec.ports.data(), ports_size);
  match_size_ = static_cast<uint16_t>(spec.match.size());
  actions_size_ = static_cast<uint32_t>(spec.actions.size());
  port_count_ = static_cast<uint16_t>(spec.ports.size());
  priority = spec.priority;
  idle_timeout_ms = spec.idle_timeout_ms;
  hard_timeout_ms = spec.hard_timeout_ms;
  in_port = spec.in_port;
  floods = spec.floods;
}

uint32_t Flow::PortAt(uint32_t index) const {
  uint32_t number = 0;
  std::memcpy(&number, content_.get() + match_size_ + actions_size_ + index * sizeof(number), sizeof(number));
  return number;
}

Placement* Flow::In(uint8_t plugin) {
  auto it = std::find_if(placements.begin(), placements.end(), [&](const Placement& p) { return p.plugin == plugin; });
  return it == placements.end() ? nullptr : &*it;
}

const Placement* Flow::In(uint8_t plugin) const { return const_cast<Flow*>(this)->In(plugin); }

}  // namespace sluice::core
