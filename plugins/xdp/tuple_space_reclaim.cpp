// SPDX-License-Identifier: Apache-2.0
// The tuple space's way out: records that wait for their readers, and what flows have counted.
#include <algorithm>
#include <utility>

#include "tuple_space.h"

namespace sluice::xdp {

// ---- Reclaiming.

void TupleSpace::Retire(Retired retired) {
  retiring_.push_back(retired);
  StartReclaiming();
}

void TupleSpace::StartReclaiming() {
  if (reclaiming_ > 0 || retiring_.empty()) return;
  reclaiming_ = retiring_.size();
  reclaimer_.AfterGrace(alive_, [this, batch = std::exchange(retiring_, {})] {
    const Busy busy(*this);
    Reclaim(batch);
    reclaiming_ = 0;
    StartReclaiming();
  });
}

void TupleSpace::Reclaim(const std::vector<Retired>& batch) {
  clock_.Update();
  for (const Retired& retired : batch) {
    if (retired.flow != kNone) Count(retired.record);
    for (uint32_t cpu = 0; cpu < object_.cpu_count(); ++cpu) {
      object_.stats()[static_cast<size_t>(cpu) * object_.record_count() + retired.record] = {};
    }
    FreeRecord(retired.record);
    if (!retired.last) continue;
    Flow& flow = flows_[retired.flow];
    reclaimed_.emplace_back(flow.cookie, TakeCounted(flow));
    FreeFlow(retired.flow);
  }
}

void TupleSpace::Deliver() {
  while (!reclaimed_.empty()) {
    for (const auto& [cookie, rest] : std::exchange(reclaimed_, {})) listener_.OnReclaimed(cookie, rest);
  }
}

// ---- Statistics.

// Adds to the flow what its record counted since the last time. One that takes more packets than its flow counts for
// nobody (SLUICE_ACTION_SOFTWARE).
void TupleSpace::Count(uint32_t record) {
  if (records_[record].terminal == SLUICE_ACTION_SOFTWARE && records_[record].terminal_arg != 0) return;
  const size_t stride = object_.record_count();
  uint64_t packets = 0;
  uint64_t bytes = 0;
  uint64_t used = 0;
  uint64_t flags = 0;
  for (uint32_t cpu = 0; cpu < object_.cpu_count(); ++cpu) {
    const sluice_stats& stats = object_.stats()[cpu * stride + record];
    packets += __atomic_load_n(&stats.packets, __ATOMIC_RELAXED);
    bytes += __atomic_load_n(&stats.bytes, __ATOMIC_RELAXED);
    const uint64_t used_and_flags = __atomic_load_n(&stats.used_and_flags, __ATOMIC_RELAXED);
    used = std::max(used, used_and_flags >> SLUICE_STATS_FLAG_BITS);
    flags |= used_and_flags & SLUICE_STATS_FLAGS;
  }
  Info& info = infos_[record];
  if (packets == info.packets && bytes == info.bytes) return;
  Flow& flow = flows_[info.flow];
  flow.counted.packets += packets - info.packets;
  flow.counted.bytes += bytes - info.bytes;
  flow.counted.tcp_flags |= static_cast<uint16_t>(flags);
  flow.used_jiffies = std::max(flow.used_jiffies, used);
  info.packets = packets;
  info.bytes = bytes;
  if (!std::exchange(flow.changed, true)) changed_.push_back(info.flow);
}

FlowStatsDelta TupleSpace::TakeCounted(Flow& flow) {
  FlowStatsDelta delta = flow.counted;
  delta.used_ns = clock_.ToNs(flow.used_jiffies);
  flow.counted = {};
  flow.counted.tcp_flags = delta.tcp_flags;
  flow.used_jiffies = 0;
  flow.changed = false;
  return delta;
}

void TupleSpace::ForEachChangedStats(const std::function<void(uint64_t cookie, const FlowStatsDelta& delta)>& report) {
  const Busy busy(*this);
  clock_.Update();
  for (uint32_t record = 0; record < never_used_; ++record) {
    if (infos_[record].flow != kNone) Count(record);
  }
  for (const FlowId id : std::exchange(changed_, {})) {
    // A deleted flow's go with OnReclaimed.
    if (flows_[id].live && flows_[id].changed) report(flows_[id].cookie, TakeCounted(flows_[id]));
  }
  if (abandoned_) return;
  BringBack();
  Tidy();
}

void TupleSpace::ForEachRecord(const OnRecord& call) const {
  for (const Flow& flow : flows_) {
    if (!flow.live) continue;
    const Info& info = infos_[flow.record];
    call(flow.cookie, flow.record, info.packets, info.bytes);
  }
}

void TupleSpace::Tidy() {
  order_.Tidy([this](uint32_t slot) {
    if (subtables_.busy(slot)) return false;
    slots_.erase(object_.mask(slot));
    return true;
  });
}

}  // namespace sluice::xdp
