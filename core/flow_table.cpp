// SPDX-License-Identifier: Apache-2.0
#include "flow_table.h"

#include <xxhash.h>

#include <algorithm>
#include <utility>

#include "sluice/utf8.h"

namespace sluice::core {
namespace {

constexpr size_t kShownName = 64;

}  // namespace

size_t FlowTable::MatchHash::operator()(const MatchKey& key) const {
  return XXH3_64bits_withSeed(key.match.data(), key.match.size(), secret ^ static_cast<uint64_t>(key.priority) << 32);
}

FlowTable::FlowTable(Journal& journal, FlowObserver& observer, FlowLimits limits)
    : journal_(journal),
      observer_(observer),
      limits_(limits),
      shares_(limits.max_flows_per_publisher, limits.max_publishers) {}

FlowTable::~FlowTable() {
  for (Flow* flow : by_ufid_) {
    journal_.Remove(*flow);
    delete flow;
  }
}

Flow* FlowTable::FindAny(std::string_view ufid) const {
  const auto parsed = Ufid::FromBytes(ufid);
  if (!parsed) return nullptr;
  auto it = by_ufid_.find(*parsed);
  return it == by_ufid_.end() ? nullptr : *it;
}

Flow* FlowTable::Find(const Ufid& ufid) const {
  auto it = by_ufid_.find(ufid);
  return it == by_ufid_.end() || !(*it)->live() ? nullptr : *it;
}

Flow* FlowTable::FindByMatch(std::string_view packed) const {
  for (const auto& [priority, count] : priorities_) {
    auto it = by_match_.find(MatchKey{packed, priority});
    if (it != by_match_.end()) return *it;
  }
  return nullptr;
}

void FlowTable::Enter(Flow& flow) {
  by_match_.insert(&flow);
  ++priorities_[flow.priority];
}

void FlowTable::Leave(Flow& flow) {
  by_match_.erase(&flow);
  auto it = priorities_.find(flow.priority);
  if (--it->second == 0) priorities_.erase(it);
}

Result<PutOutcome> FlowTable::Put(const FlowSpec& spec, uint64_t now_ns, bool must_exist) {
  auto known = by_ufid_.find(spec.ufid);
  Flow* flow = known == by_ufid_.end() ? nullptr : *known;
  const bool live = flow != nullptr && flow->live();
  if (!live && must_exist) return Error{"no_such_flow", "there is no flow " + spec.ufid.ToString(), 0, 0};
  auto same = by_match_.find(MatchKey{spec.match, spec.priority});
  if (same != by_match_.end() && *same != flow) {
    return Error{"duplicate_match", "flow " + (*same)->ufid.ToString() + " has the same match and priority", 0, 0};
  }
  if (!live && live_ >= limits_.max_flows) {
    return Error{"table_full", "the table holds its limit of " + std::to_string(limits_.max_flows) + " flows", 0, 0};
  }
  if (live && flow->match() == spec.match) return Modify(*flow, spec, now_ns);
  if (live) {
    Replace(*flow, spec, now_ns);
    return PutOutcome::added;
  }
  const auto share = shares_.Take(spec.publisher);
  if (!share) return PublisherLimit(spec.publisher);
  if (flow != nullptr) {
    Revive(*flow, spec, *share, now_ns);
  } else {
    Add(spec, *share, now_ns);
  }
  return PutOutcome::added;
}

Error FlowTable::PublisherLimit(std::string_view publisher) const {
  return {"publisher_limit",
          "publisher '" + Utf8(publisher, kShownName) + "' has its limit of " + std::to_string(shares_.most_flows()) +
              " flows",
          0, 0};
}

void FlowTable::Begin(Flow& flow, const FlowSpec& spec, uint64_t now_ns) {
  flow.SetContent(spec);
  flow.instance = flow.seq;
  flow.shown_seq = flow.seq;
  flow.packets = 0;
  flow.bytes = 0;
  flow.used_ns = 0;
  flow.tcp_flags = 0;
  flow.modified_ns = now_ns;
  flow.announced = false;
  for (Placement& placement : flow.placements) {
    SetState(placement, v1::PENDING);
    placement.why.reset();
    placement.stale = true;
  }
  Enter(flow);
  observer_.OnLinked(flow);
  observer_.OnAdded(flow);
}

void FlowTable::Add(const FlowSpec& spec, PublisherShares::Share share, uint64_t now_ns) {
  auto owned = std::make_unique<Flow>();
  Flow& flow = *owned;
  flow.ufid = spec.ufid;
  flow.share = share;
  by_ufid_.insert(owned.get());
  owned.release();  // NOLINT(bugprone-unused-return-value): the index owns it
  ++live_;
  journal_.Append(flow);
  Begin(flow, spec, now_ns);
}

void FlowTable::Revive(Flow& flow, const FlowSpec& spec, PublisherShares::Share share, uint64_t now_ns) {
  Announce(flow);
  settled_.erase(flow.seq);
  for (const Placement& placement : flow.placements) --unconfirmed_[placement.plugin];
  flow.kind = EntryKind::flow;
  flow.share = share;
  ++live_;
  journal_.Touch(flow);
  Begin(flow, spec, now_ns);
}

void FlowTable::Replace(Flow& flow, const FlowSpec& spec, uint64_t now_ns) {
  flow.cause = Cause::request;
  observer_.OnDeleted(flow);
  observer_.OnUnlinked(flow);
  Leave(flow);
  journal_.Touch(flow);
  Begin(flow, spec, now_ns);
}

PutOutcome FlowTable::Modify(Flow& flow, const FlowSpec& spec, uint64_t now_ns) {
  flow.modified_ns = now_ns;
  const bool same_work = flow.actions() == spec.actions && flow.priority == spec.priority;
  if (same_work && flow.idle_timeout_ms == spec.idle_timeout_ms && flow.hard_timeout_ms == spec.hard_timeout_ms) {
    return PutOutcome::unchanged;
  }
  observer_.OnUnlinked(flow);
  Leave(flow);
  flow.SetContent(spec);
  Enter(flow);
  observer_.OnLinked(flow);
  journal_.Touch(flow);
  flow.shown_seq = flow.seq;
  if (!same_work) {
    for (Placement& placement : flow.placements) {
      SetState(placement, v1::PENDING);
      placement.why.reset();
      placement.stale = true;
    }
  }
  observer_.OnModified(flow);
  return PutOutcome::modified;
}

void FlowTable::Delete(Flow& flow, Cause cause) {
  Leave(flow);
  --live_;
  shares_.GiveBack(flow.share);
  flow.kind = EntryKind::tombstone;
  flow.cause = cause;
  flow.announced = false;
  for (Placement& placement : flow.placements) {
    SetState(placement, v1::OFFLOAD_STATE_UNSPECIFIED);
    ++unconfirmed_[placement.plugin];
  }
  journal_.Touch(flow);
  SettleTombstone(flow);
}

uint32_t FlowTable::Flush(uint32_t port) {
  std::vector<Flow*> flows;
  for (Flow* flow : by_ufid_) {
    if (flow->live() && (port == 0 || flow->in_port == port)) flows.push_back(flow);
  }
  // In the order in which they came.
  std::sort(flows.begin(), flows.end(), [](const Flow* a, const Flow* b) { return a->seq < b->seq; });
  for (Flow* flow : flows) Delete(*flow, Cause::flush);
  return static_cast<uint32_t>(flows.size());
}

void FlowTable::Announce(Flow& flow) {
  if (flow.announced) return;
  flow.announced = true;
  observer_.OnDeleted(flow);
  observer_.OnUnlinked(flow);
}

// What no plugin has any more is announced, and freed unless a snapshot under way has yet to tell of it.
void FlowTable::SettleTombstone(Flow& flow) {
  if (!flow.placements.empty()) return;
  Announce(flow);
  if (flow.seq <= journal_.HeldFrom()) {
    Free(flow);
  } else {
    settled_.emplace(flow.seq, &flow);
  }
}

void FlowTable::Free(Flow& flow) {
  freed_upto_ = std::max(freed_upto_, flow.seq);
  journal_.Remove(flow);
  by_ufid_.erase(&flow);
  delete &flow;
}

void FlowTable::Sweep() {
  const uint64_t held = journal_.HeldFrom();
  while (!settled_.empty() && settled_.begin()->first <= held) {
    Flow& flow = *settled_.begin()->second;
    settled_.erase(settled_.begin());
    Free(flow);
  }
}

void FlowTable::SetState(Placement& placement, v1::OffloadState state) {
  auto& counts = counts_[placement.plugin];
  if (placement.state != v1::OFFLOAD_STATE_UNSPECIFIED) --counts[placement.state];
  placement.state = static_cast<uint8_t>(state);
  if (state != v1::OFFLOAD_STATE_UNSPECIFIED) ++counts[state];
}

void FlowTable::RemovePlacement(Flow& flow, uint8_t plugin) {
  Placement* placement = flow.In(plugin);
  if (placement == nullptr) return;
  SetState(*placement, v1::OFFLOAD_STATE_UNSPECIFIED);
  if (!flow.live()) --unconfirmed_[plugin];
  flow.placements.erase(flow.placements.begin() + (placement - flow.placements.data()));
}

void FlowTable::Offer(Flow& flow, uint8_t plugin, google::protobuf::RepeatedPtrField<v1::Change>& changes) {
  Placement* placement = flow.In(plugin);
  // What the plugin has is gone, or is another instance: it is told so in so many words.
  if (placement != nullptr && !placement->withdrawn && (!flow.live() || placement->instance != flow.instance)) {
    placement->withdrawn = true;
    v1::Change& change = *changes.Add();
    change.set_seq(flow.seq);
    change.mutable_del()->set_ufid(flow.ufid.AsBytes().data(), flow.ufid.AsBytes().size());
    change.mutable_del()->set_instance(placement->instance);
  }
  if (!flow.live()) return;
  if (placement == nullptr) {
    flow.placements.reserve(flow.placements.size() + 1);
    placement = &flow.placements.emplace_back();
    placement->plugin = plugin;
    SetState(*placement, v1::PENDING);
  }
  placement->instance = flow.instance;
  placement->seq = flow.seq;
  placement->stale = false;
  placement->withdrawn = false;
  v1::Change& change = *changes.Add();
  change.set_seq(flow.seq);
  v1::FlowState& put = *change.mutable_put();
  put.set_ufid(flow.ufid.AsBytes().data(), flow.ufid.AsBytes().size());
  put.set_packed_match(flow.match().data(), flow.match().size());
  put.set_actions(flow.actions().data(), flow.actions().size());
  put.set_priority(flow.priority);
  put.set_instance(flow.instance);
}

bool FlowTable::Judge(uint8_t plugin, v1::Verdict& verdict) {
  Flow* flow = FindAny(verdict.ufid());
  Placement* placement = flow != nullptr ? flow->In(plugin) : nullptr;
  if (placement == nullptr || placement->instance != verdict.instance()) return false;
  if (verdict.deleted()) {
    if (flow->live() && flow->instance == verdict.instance()) return false;
    RemovePlacement(*flow, plugin);
    if (!flow->live()) SettleTombstone(*flow);
    return true;
  }
  const bool current = flow->live() && !placement->stale && flow->instance == verdict.instance() &&
                       (verdict.seq() == 0 || verdict.seq() >= placement->seq);
  if (!current || verdict.state() == v1::OFFLOAD_STATE_UNSPECIFIED || !v1::OffloadState_IsValid(verdict.state())) {
    return false;
  }
  Why why{std::move(*verdict.mutable_reason()), std::move(*verdict.mutable_detail())};
  const bool says = !why.reason.empty() || !why.detail.empty();
  const bool same_why = placement->why != nullptr ? *placement->why == why : !says;
  if (placement->state == verdict.state() && same_why) return true;
  SetState(*placement, verdict.state());
  if (!same_why) placement->why = says ? std::make_unique<Why>(std::move(why)) : nullptr;
  observer_.OnOffload(*flow);
  return true;
}

bool FlowTable::Count(const v1::FlowStats& stats, uint64_t now_ns) {
  Flow* flow = FindAny(stats.ufid());
  if (flow == nullptr || flow->instance != stats.instance()) return false;
  if (!flow->live() && flow->announced) return false;
  flow->packets += stats.packets();
  flow->bytes += stats.bytes();
  flow->used_ns = std::max(flow->used_ns, std::min(stats.used_ns(), now_ns));
  flow->tcp_flags |= stats.tcp_flags();
  if (flow->live()) observer_.OnCounted(*flow);
  return true;
}

void FlowTable::Forget(uint8_t plugin) {
  Entry* next = nullptr;
  for (Entry* entry = journal_.First(); entry != nullptr; entry = next) {
    next = entry->next;
    if (entry->kind != EntryKind::flow && entry->kind != EntryKind::tombstone) continue;
    auto& flow = static_cast<Flow&>(*entry);
    if (flow.In(plugin) == nullptr) continue;
    RemovePlacement(flow, plugin);
    if (!flow.live()) SettleTombstone(flow);
  }
}

void FlowTable::AnnounceWaiting(uint8_t plugin) {
  if (unconfirmed_[plugin] == 0) return;
  for (Entry* entry = journal_.First(); entry != nullptr; entry = entry->next) {
    if (entry->kind != EntryKind::tombstone) continue;
    auto& flow = static_cast<Flow&>(*entry);
    if (flow.In(plugin) != nullptr) Announce(flow);
  }
}

uint8_t FlowTable::Laggard() const {
  auto it = std::find_if(unconfirmed_.begin(), unconfirmed_.end(),
                         [&](uint64_t count) { return count > limits_.max_tombstones; });
  return static_cast<uint8_t>(it - unconfirmed_.begin());
}

void FlowTable::Reoffer(uint32_t port) {
  std::vector<Flow*> affected;
  for (Entry* entry = journal_.First(); entry != nullptr; entry = entry->next) {
    if (entry->kind != EntryKind::flow) continue;
    auto& flow = static_cast<Flow&>(*entry);
    bool depends = flow.in_port == 0 || flow.in_port == port || flow.floods;
    for (uint32_t i = 0; !depends && i < flow.PortCount(); ++i) depends = flow.PortAt(i) == port;
    if (depends) affected.push_back(&flow);
  }
  for (Flow* flow : affected) journal_.Touch(*flow);
}

}  // namespace sluice::core
