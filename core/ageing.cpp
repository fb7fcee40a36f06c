// SPDX-License-Identifier: Apache-2.0
#include "ageing.h"

#include <algorithm>

namespace sluice::core {
namespace {

constexpr uint64_t kMs = 1'000'000;

}  // namespace

uint64_t Ageing::HardAt(const Flow& flow) {
  return flow.hard_timeout_ms == 0 ? UINT64_MAX : flow.modified_ns + flow.hard_timeout_ms * kMs;
}

uint64_t Ageing::IdleAt(const Flow& flow) const {
  if (flow.idle_timeout_ms == 0) return UINT64_MAX;
  const bool executed = std::any_of(flow.placements.begin(), flow.placements.end(), [](const Placement& placement) {
    return placement.state == v1::INSTALLED || placement.state == v1::SOFTWARE;
  });
  return std::max(flow.used_ns, flow.modified_ns) + flow.idle_timeout_ms * kMs + (executed ? report_delay_ns_ : 0);
}

void Ageing::Arm(Flow& flow) {
  ++flow.armed;  // what the heap has of it already is void
  const uint64_t at = std::min(IdleAt(flow), HardAt(flow));
  if (at != UINT64_MAX) heap_.push({at, flow.ufid, flow.instance, flow.armed});
}

size_t Ageing::Expire(uint64_t now_ns, size_t limit) {
  size_t looked = 0;
  for (; looked < limit && !heap_.empty() && heap_.top().at_ns <= now_ns; ++looked) {
    Deadline deadline = heap_.top();
    heap_.pop();
    Flow* flow = table_.Find(deadline.ufid);
    if (flow == nullptr || flow->instance != deadline.instance || flow->armed != deadline.armed) continue;
    const uint64_t hard = HardAt(*flow);
    const uint64_t idle = IdleAt(*flow);
    if (std::min(idle, hard) <= now_ns) {
      table_.Delete(*flow, hard <= now_ns ? Cause::hard_timeout : Cause::idle_timeout);
    } else {
      deadline.at_ns = std::min(idle, hard);
      heap_.push(deadline);
    }
  }
  return looked;
}

std::optional<uint64_t> Ageing::NextDeadline() const {
  if (heap_.empty()) return std::nullopt;
  return heap_.top().at_ns;
}

}  // namespace sluice::core
