// SPDX-License-Identifier: Apache-2.0
#include "flow_store.h"

#include <algorithm>
#include <ctime>
#include <utility>

#include "flow_compiler.h"

namespace sluice::xdp {
namespace {

constexpr size_t kMostQueued = 1024;
constexpr size_t kMostParked = 65536;  // with more, everything waits
constexpr size_t kRetriedTogether = 256;
constexpr int kMostRetried = 4096;  // verdicts in one message

uint64_t MonotonicNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

// A system call that fails is a failure; everything else is a refusal.
v1::OffloadState StateOf(const Error& error) { return error.reason == "system" ? v1::FAILED : v1::REFUSED; }

v1::Verdict& AddVerdict(v1::FromPlugin& reply, const Ufid& ufid, uint64_t instance, uint64_t seq) {
  v1::Verdict& verdict = *reply.add_verdicts();
  verdict.set_ufid(ufid.bytes.data(), ufid.bytes.size());
  verdict.set_instance(instance);
  verdict.set_seq(seq);
  return verdict;
}

void AddRefusal(v1::FromPlugin& reply, const Ufid& ufid, uint64_t instance, uint64_t seq, const Error& error) {
  v1::Verdict& verdict = AddVerdict(reply, ufid, instance, seq);
  verdict.set_state(StateOf(error));
  verdict.set_reason(error.reason);
  verdict.set_detail(error.detail);
  verdict.set_time_ns(MonotonicNs());
}

}  // namespace

void FlowStore::Put(const v1::FlowState& put, uint64_t seq, v1::FromPlugin& reply) {
  const auto ufid = Ufid::FromBytes(put.ufid());
  if (!ufid) return;  // the core does not send such
  if (parked_.size() >= kMostParked) Settle(reply);
  auto known = Find(*ufid);
  if (known && flows_[*known].queued) {
    Flush(reply);
    known = Find(*ufid);
  }
  Supersede(*ufid, reply);
  PutOrPark(put, *ufid, seq, parked_.NextTicket(), known, reply);
}

std::optional<uint32_t> FlowStore::Find(const Ufid& ufid) const {
  const auto known = by_ufid_.find(ufid);
  return known == by_ufid_.end() ? std::nullopt : std::optional(known->second);
}

void FlowStore::PutOrPark(const v1::FlowState& put, const Ufid& ufid, uint64_t seq, uint64_t ticket,
                          std::optional<uint32_t> known, v1::FromPlugin& reply) {
  Queued& queued = queue_.emplace_back();
  if (auto planned = planner_->Plan(put, queued.plan); !planned) {
    queue_.pop_back();
    if (IsNotYet(planned.error())) {
      Park(put, ufid, seq, ticket);
      return;
    }
    if (known) Withdraw(*known);
    AddRefusal(reply, ufid, put.instance(), seq, planned.error());
    return;
  }
  queued.put = &put;
  queued.ticket = ticket;
  queued.seq = seq;
  if (known) {
    queued.old_flow = known;
    queued.old = std::exchange(flows_[*known].placements, {});
    flows_[*known].queued = true;
  }
  if (known && flows_[*known].instance == put.instance()) {
    queued.flow = *known;
  } else {
    if (known) flows_[*known].linked = false;
    queued.flow = NewFlow(ufid, put.instance());
    by_ufid_[ufid] = queued.flow;
  }
  Flow& flow = flows_[queued.flow];
  flow.queued = true;
  flow.stale = false;
  for (auto& target : queued.plan.targets) target.spec.cookie = CookieOf(queued.flow);
  if (queue_.size() >= kMostQueued) Flush(reply);
}

void FlowStore::Flush(v1::FromPlugin& reply) {
  if (queue_.empty()) return;
  by_table_.clear();
  for (size_t i = 0; i < queue_.size(); ++i) {
    for (const auto& target : queue_[i].plan.targets) by_table_.emplace_back(target.table, i);
  }
  // Mostly it is sorted: the flows of one port.
  if (!std::is_sorted(by_table_.begin(), by_table_.end())) std::sort(by_table_.begin(), by_table_.end());
  for (auto from = by_table_.begin(); from != by_table_.end();) {
    const auto to = std::find_if(from, by_table_.end(), [&](const auto& one) { return one.first != from->first; });
    FlowTable* table = TableOf(from->first);
    if (table != nullptr) PutInto(*table, {from, to});
    from = to;
  }
  const uint64_t now = MonotonicNs();
  auto queue = std::exchange(queue_, {});
  for (Queued& put : queue) Conclude(put, now, reply);
  queue.clear();
  if (queue_.empty()) queue_.swap(queue);  // its memory is wanted again at once
}

FlowTable* FlowStore::TableOf(uint64_t serial) const {
  if (Port* port = ports_->BySerial(serial)) return &port->table();
  return passes_->BySerial(serial);
}

// `queued`: of one table, whose serial each names.
void FlowStore::PutInto(FlowTable& table, std::span<const std::pair<uint64_t, size_t>> queued) {
  const uint64_t serial = queued.front().first;
  std::vector<FlowSpec>& specs = specs_;
  for (const auto& [same, i] : queued) {
    for (auto& target : queue_[i].plan.targets) {
      if (target.table == serial) specs.push_back(std::move(target.spec));
    }
    const auto& old = queue_[i].old;
    specs.back().replaces =
        std::any_of(old.begin(), old.end(), [&](const Placement& one) { return one.table == serial; });
  }
  std::vector<Result<FlowId>>& results = results_;
  table.TryPutMany(specs, results);
  specs.clear();  // they may hold groups
  for (size_t i = 0; i < queued.size(); ++i) {
    Queued& put = queue_[queued[i].second];
    if (results[i]) {
      flows_[put.flow].placements.push_back({serial, *results[i]});
    } else if (IsNotYet(results[i].error())) {
      put.not_yet = true;
    } else if (!put.failed) {
      put.failed = true;
      put.error = results[i].error();
      const Port* port = ports_->BySerial(serial);
      const std::string where = port != nullptr ? "port " + ports_->NameOf(*port) : "the table of later passes";
      if (put.plan.targets.size() > 1 || port == nullptr) put.error.detail = where + ": " + put.error.detail;
    }
  }
}

void FlowStore::Conclude(Queued& put, uint64_t now_ns, v1::FromPlugin& reply) {
  if (put.not_yet && !put.failed) {
    Unqueue(put);
    return;
  }
  flows_[put.flow].queued = false;
  if (put.old_flow) {
    flows_[*put.old_flow].queued = false;
    Retire(*put.old_flow, put.old);
    if (*put.old_flow != put.flow) FreeIfDone(*put.old_flow);
  }
  Flow& flow = flows_[put.flow];
  if (put.failed) {
    AddRefusal(reply, flow.ufid, flow.instance, put.seq, put.error);
    Withdraw(put.flow);
    return;
  }
  v1::Verdict& verdict = AddVerdict(reply, flow.ufid, flow.instance, put.seq);
  verdict.set_time_ns(now_ns);
  flow.actions = std::move(put.plan.actions);
  flow.match = std::move(put.plan.match);
  verdict.set_state(put.plan.software ? v1::SOFTWARE : v1::INSTALLED);
  if (!put.plan.software) return;
  verdict.set_reason(put.plan.software->reason);
  verdict.set_detail(put.plan.software->detail);
}

void FlowStore::Unqueue(Queued& put) {
  const Ufid ufid = flows_[put.flow].ufid;
  flows_[put.flow].queued = false;
  Retire(put.flow, std::exchange(flows_[put.flow].placements, {}));
  if (put.old_flow) {
    Flow& old = flows_[*put.old_flow];
    old.queued = false;
    old.linked = true;
    old.placements = std::move(put.old);
    by_ufid_[ufid] = *put.old_flow;
  } else {
    by_ufid_.erase(ufid);
  }
  if (put.old_flow != put.flow) {
    flows_[put.flow].linked = false;
    FreeIfDone(put.flow);
  }
  Park(*put.put, ufid, put.seq, put.ticket);
}

void FlowStore::Park(const v1::FlowState& put, const Ufid& ufid, uint64_t seq, uint64_t ticket) {
  parked_.Add({ufid, put, seq, ticket});
  // What it is to replace is wanted until then.
  const auto known = by_ufid_.find(ufid);
  if (known != by_ufid_.end()) flows_[known->second].stale = false;
}

std::optional<uint64_t> FlowStore::Supersede(const Ufid& ufid, v1::FromPlugin& reply) {
  if (parked_.empty()) return std::nullopt;
  const auto parked = parked_.Take(ufid);
  if (!parked) return std::nullopt;
  AddRefusal(reply, ufid, parked->put.instance(), parked->seq,
             {"superseded", "A later change of the flow came before this one was in"});
  return parked->put.instance();
}

bool FlowStore::Retry(v1::FromPlugin& reply, bool anyhow) {
  Flush(reply);
  if (parked_.empty() || (!anyhow && reclaimer_->called_back() == retried_at_)) return false;
  retried_at_ = reclaimer_->called_back();
  const int before = reply.verdicts_size();
  for (uint64_t from = 0;;) {
    const auto puts = parked_.TakeFrom(from, kRetriedTogether);
    if (puts.empty()) return false;
    from = puts.back().ticket + 1;
    const size_t left = parked_.size();
    for (const ParkedPut& put : puts) PutOrPark(put.put, put.ufid, put.seq, put.ticket, Find(put.ufid), reply);
    Flush(reply);
    // When the oldest cannot go on, nor can those that wait behind them for the same.
    if (parked_.size() == left + puts.size()) return false;
    if (reply.verdicts_size() - before >= kMostRetried) break;
  }
  retried_at_ = 0;
  return true;
}

void FlowStore::Settle(v1::FromPlugin& reply) {
  while (Retry(reply, true) || (!parked_.empty() && reclaimer_->WaitOne())) {
  }
}

void FlowStore::Delete(const v1::FlowState& del, uint64_t seq, v1::FromPlugin& reply) {
  const auto ufid = Ufid::FromBytes(del.ufid());
  if (!ufid) return;
  Flush(reply);
  const bool parked = Supersede(*ufid, reply) == del.instance();
  auto known = by_ufid_.find(*ufid);
  if (parked && known != by_ufid_.end() && flows_[known->second].instance != del.instance()) {
    Withdraw(known->second);  // had the put not had to wait, it would have replaced this
    known = by_ufid_.end();
  }
  if (known == by_ufid_.end() || flows_[known->second].instance != del.instance()) {
    to_tell_.push_back({*ufid, del.instance(), seq, true, {}});  // not here: gone already
    return;
  }
  Flow& flow = flows_[known->second];
  flow.confirm = true;
  flow.del_seq = seq;
  Withdraw(known->second);
}

void FlowStore::Retire(uint32_t flow, const Placements& placements) {
  for (const Placement& placement : placements) {
    FlowTable* table = TableOf(placement.table);
    if (table == nullptr) continue;
    ++flows_[flow].retiring;
    table->Delete(placement.id);
  }
}

void FlowStore::Withdraw(uint32_t index) {
  Flow& flow = flows_[index];
  if (flow.linked) by_ufid_.erase(flow.ufid);
  flow.linked = false;
  Retire(index, std::exchange(flow.placements, {}));
  FreeIfDone(index);
}

uint32_t FlowStore::NewFlow(const Ufid& ufid, uint64_t instance) {
  if (free_.empty()) {
    free_.push_back(static_cast<uint32_t>(flows_.size()));
    flows_.emplace_back();
  }
  const uint32_t index = free_.back();
  free_.pop_back();
  Flow& flow = flows_[index];
  flow.ufid = ufid;
  flow.instance = instance;
  flow.linked = true;
  return index;
}

void FlowStore::FreeIfDone(uint32_t index) {
  const Flow& flow = flows_[index];
  if (flow.linked || flow.queued || flow.retiring != 0) return;
  AddStats(flow, flow.counted);
  if (flow.confirm) to_tell_.push_back({flow.ufid, flow.instance, flow.del_seq, true, {}});
  const uint32_t generation = flow.generation + 1;
  flows_[index] = Flow{};
  flows_[index].generation = generation == 0 ? 1 : generation;
  free_.push_back(index);
}

FlowStore::Flow* FlowStore::FlowOf(uint64_t cookie) {
  const auto index = static_cast<uint32_t>(cookie);
  if (index >= flows_.size() || flows_[index].generation != cookie >> 32) return nullptr;
  return &flows_[index];
}

const FlowStore::Flow* FlowStore::FlowOf(uint64_t cookie) const { return const_cast<FlowStore*>(this)->FlowOf(cookie); }

void FlowStore::OnReclaimed(uint64_t cookie, const FlowStatsDelta& rest) {
  Flow* flow = FlowOf(cookie);
  if (flow == nullptr) return;
  AddStats(*flow, rest);
  if (closing_ != 0 || flow->retiring == 0) return;
  --flow->retiring;
  FreeIfDone(static_cast<uint32_t>(cookie));
}

void FlowStore::BeforeClose(FlowTable& table) {
  reclaimer_->Drain();  // all that we deleted is told: what is told from now on is the table's own doing
  CollectStats(table);
  ++closing_;
}

void FlowStore::MarkStale() {
  parked_.Clear();
  for (const auto& [ufid, index] : by_ufid_) flows_[index].stale = true;
}

void FlowStore::WithdrawStale() {
  std::vector<uint32_t> stale;
  for (const auto& [ufid, index] : by_ufid_) {
    if (flows_[index].stale) stale.push_back(index);
  }
  for (const uint32_t index : stale) Withdraw(index);
}

void FlowStore::WithdrawAll() {
  MarkStale();
  WithdrawStale();
}

void FlowStore::AddStats(const Flow& flow, const FlowStatsDelta& delta) {
  if (delta.packets == 0) return;
  to_tell_.push_back({flow.ufid, flow.instance, 0, false, delta});
}

void FlowStore::CollectStats() {
  for (const uint64_t cookie : std::exchange(counted_, {})) {
    if (Flow* flow = FlowOf(cookie)) AddStats(*flow, std::exchange(flow->counted, {}));
  }
  ports_->ForEach([&](Port& port) { CollectStats(port.table()); });
  passes_->ForEachTable([&](FlowTable& table) { CollectStats(table); });
}

void FlowStore::CollectStats(FlowTable& table) {
  table.ForEachChangedStats([&](uint64_t cookie, const FlowStatsDelta& delta) {
    const Flow* flow = FlowOf(cookie);
    if (flow != nullptr) AddStats(*flow, delta);
  });
}

std::vector<KeptFlow> FlowStore::FlowsToKeep(const FlowTable& table) const {
  std::vector<KeptFlow> flows;
  table.ForEachRecord([&](uint64_t cookie, uint32_t record, uint64_t packets, uint64_t bytes) {
    const Flow* flow = FlowOf(cookie);
    if (flow != nullptr && flow->match == nullptr)
      flows.push_back({flow->ufid, flow->instance, record, 0, packets, bytes});
  });
  return flows;
}

void FlowStore::AddKept(const KeptCounts& counts) {
  counts.Read([&](const Ufid& ufid, uint64_t instance, const FlowStatsDelta& delta) {
    to_tell_.push_back({ufid, instance, 0, false, delta});
  });
}

bool FlowStore::Tell(v1::FromPlugin& out, size_t most) {
  for (; most != 0 && !to_tell_.empty(); --most) {
    const ToTell& next = to_tell_.front();
    if (next.deleted) {
      v1::Verdict& verdict = AddVerdict(out, next.ufid, next.instance, next.del_seq);
      verdict.set_deleted(true);
      verdict.set_time_ns(MonotonicNs());
    } else {
      v1::FlowStats& stats = *out.add_stats();
      stats.set_ufid(next.ufid.bytes.data(), next.ufid.bytes.size());
      stats.set_instance(next.instance);
      stats.set_packets(next.delta.packets);
      stats.set_bytes(next.delta.bytes);
      stats.set_used_ns(next.delta.used_ns);
      stats.set_tcp_flags(next.delta.tcp_flags);
    }
    to_tell_.pop_front();
  }
  return !to_tell_.empty();
}

std::optional<FlowStore::Taker> FlowStore::FindRecord(const FlowTable& table, uint32_t record, uint32_t gen) const {
  uint64_t cookie = 0;
  if (!table.FindRecord(record, gen, cookie)) return std::nullopt;
  const Flow* flow = FlowOf(cookie);
  return flow == nullptr ? std::nullopt : std::optional(Taker{cookie, flow->ufid, flow->actions});
}

std::optional<FlowStore::Taker> FlowStore::Lookup(const FlowTable& table, const KeyLayout& layout,
                                                  const soft::Parsed& packet) const {
  if (packet.malformed != soft::Malformed::kNo) return std::nullopt;
  const KeyWords key = PacketKey(packet.key, packet.present, layout);
  const auto accept = [&](uint64_t cookie) {
    const Flow* flow = FlowOf(cookie);
    return flow != nullptr && (flow->match == nullptr || soft::Matches(*flow->match, packet));
  };
  uint64_t cookie = 0;
  if (!table.Lookup(key, accept, cookie)) return std::nullopt;
  const Flow* flow = FlowOf(cookie);
  return Taker{cookie, flow->ufid, flow->actions};
}

void FlowStore::CountInSoftware(uint64_t cookie, size_t bytes, uint16_t tcp_flags) {
  Flow* flow = FlowOf(cookie);
  if (flow == nullptr) return;
  if (flow->counted.packets++ == 0) counted_.push_back(cookie);
  flow->counted.bytes += bytes;
  flow->counted.tcp_flags |= tcp_flags;
  flow->counted.used_ns = MonotonicNs();
}

}  // namespace sluice::xdp
