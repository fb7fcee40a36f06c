// SPDX-License-Identifier: Apache-2.0
#include "tuple_space.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "system.h"

namespace sluice::xdp {

size_t TupleSpace::MaskHash::operator()(const KeyWords& mask) const {
  uint64_t h = 0;
  for (const uint64_t word : mask) h = (h ^ word) * 0x9e3779b97f4a7c15ULL + (h >> 29);
  return h ^ h >> 32;
}

TupleSpace::TupleSpace(Object& object, Reclaimer& reclaimer, Listener& listener, JiffiesClock clock,
                       const FlowTableOptions& options)
    : object_(object),
      reclaimer_(reclaimer),
      listener_(listener),
      records_(object.records()),
      subtables_(object, reclaimer, options.spare_subtables),
      order_(object, reclaimer, [this](uint32_t slot) { subtables_.Recycle(slot); }),
      index_(object.records(), object.words(), object.record_count()),
      clock_(std::move(clock)),
      edits_(static_cast<uint32_t>(object.edits().size())),
      infos_(object.record_count()),
      pending_(SLUICE_MASK_SLOTS) {}

TupleSpace::~TupleSpace() {
  if (!abandoned_) Flush();
}

FlowTable::Limits TupleSpace::limits() const {
  return {object_.options().max_flows, object_.meta().max_masks, object_.meta().max_edits};
}

FlowTable::Usage TupleSpace::usage() const {
  return {live_, static_cast<uint32_t>(retiring_.size() + reclaiming_), order_.masks_in_use(),
          static_cast<uint32_t>(subtables_.spares())};
}

// ---- Records.

Result<uint32_t> TupleSpace::NewRecord() {
  if (never_used_ < infos_.size()) return never_used_++;
  while (free_records_.empty()) {
    if (retiring_.empty() && reclaiming_ == 0) {
      return Error{"table_full", "All " + std::to_string(infos_.size()) + " records of the port are in use"};
    }
    if (!reclaimer_.WaitOne()) return Error{"system_call", "No grace period is under way"};
  }
  const uint32_t record = free_records_.back();
  free_records_.pop_back();
  return record;
}

void TupleSpace::FreeRecord(uint32_t record) {
  sluice_record& r = records_[record];
  if (r.n_edits != 0) edits_.Give(r.first_edit, r.n_edits);
  r.n_edits = 0;
  if (!held_.empty()) held_.erase(record);
  infos_[record] = {};
  free_records_.push_back(record);
}

// A record that no reader can reach yet: whole, but dead.
Result<uint32_t> TupleSpace::WriteRecord(uint32_t slot, const KeyWords& key, uint32_t priority,
                                         const CompiledActions& actions) {
  auto record = NewRecord();
  if (!record) return record;
  sluice_record& r = records_[*record];
  const auto& edits = actions.edits;
  if (!edits.empty()) {
    const auto first = edits_.Take(static_cast<uint32_t>(edits.size()));
    if (!first) {
      free_records_.push_back(*record);
      return Error{"table_full", "The port has room for " + std::to_string(object_.edits().size()) +
                                     " edits (its max_edits), and no " + std::to_string(edits.size()) +
                                     " of them next to each other are free"};
    }
    r.first_edit = *first;
    std::copy(edits.begin(), edits.end(), object_.edits().begin() + *first);
  }
  r.n_edits = static_cast<uint16_t>(edits.size());
  r.terminal = actions.terminal.type;
  r.terminal_arg = actions.terminal.arg;
  r.priority = priority;
  r.mask_slot = static_cast<uint16_t>(slot);
  std::copy_n(key.begin(), object_.words(), r.key);
  if (actions.group) held_[*record] = actions.group;
  if (actions.step) held_[*record] = actions.step;
  return record;
}

void TupleSpace::Revive(uint32_t record) {
  uint32_t gen = records_[record].gen;
  gen = gen % 2 == 1 ? gen + 1 : gen + 2;  // 0: never used
  // Cache entries have the lower half only: those of 2^16 changes ago must be gone.
  if ((gen & 0xffff) == 0) order_.ForgetCache();
  __atomic_store_n(&records_[record].gen, gen, __ATOMIC_RELEASE);
}

void TupleSpace::Kill(uint32_t record) {
  __atomic_store_n(&records_[record].gen, records_[record].gen | 1, __ATOMIC_RELEASE);
}

// ---- Flows.

FlowId TupleSpace::NewFlow(uint32_t record, uint64_t cookie) {
  FlowId id = 0;
  if (free_flows_.empty()) {
    id = static_cast<FlowId>(flows_.size());
    flows_.emplace_back();
  } else {
    id = free_flows_.back();
    free_flows_.pop_back();
  }
  flows_[id] = {};
  flows_[id].record = record;
  flows_[id].live = true;
  flows_[id].cookie = cookie;
  infos_[record].flow = id;
  return id;
}

void TupleSpace::FreeFlow(uint32_t id) {
  flows_[id] = {};
  free_flows_.push_back(id);
}

Result<uint32_t> TupleSpace::SlotOf(const KeyWords& mask, Wait wait) {
  if (const auto known = slots_.find(mask); known != slots_.end()) return known->second;
  auto slot = subtables_.Take(mask, wait);
  while (!slot && slot.error().reason == "too_many_masks") {
    // Masks without flows may be on their way out, or be made to go.
    Tidy();
    if (order_.masks_in_use() >= object_.meta().max_masks) return slot;
    if (wait == Wait::kForbidden) return NotYet("A mask in the place of one that goes");
    if (!reclaimer_.WaitOne()) return slot;
    slot = subtables_.Take(mask, wait);
  }
  if (slot) slots_.emplace(mask, *slot);
  return slot;
}

// All that entering one more record under the slot may wait for is there.
Result<void> TupleSpace::CanEnterNow(uint32_t slot, const FlowSpec& flow) {
  const bool more_come = flow.replaces || !retiring_.empty() || reclaiming_ > 0;
  if (!HasFreeRecord() && more_come) return NotYet("A record");
  if (!order_.CanAddNow(slot, flow.priority)) return NotYet("The order of the masks");
  auto room = subtables_.HasRoom(slot, pending_[slot].records.size() + 1);
  if (!room) return room.error();
  return *room ? Result<void>() : NotYet("Room under a mask");
}

// A new mask is not wanted after all.
void TupleSpace::GiveBack(uint32_t slot) {
  if (order_.listed(slot)) return;
  slots_.erase(object_.mask(slot));
  subtables_.Recycle(slot);
}

// The flow's record, whole but dead. Counts the flow.
Result<uint32_t> TupleSpace::Prepare(const FlowSpec& flow, Wait wait) {
  if (live_ >= object_.options().max_flows && !flow.replaces) {
    return Error{"table_full", "The port has " + std::to_string(live_) + " flows, which is its max_flows"};
  }
  auto slot = SlotOf(flow.mask, wait);
  if (!slot) return slot;
  if (wait == Wait::kForbidden) {
    if (auto can = CanEnterNow(*slot, flow); !can) {
      GiveBack(*slot);
      return can.error();
    }
  }
  auto record = WriteRecord(*slot, flow.key, flow.priority, flow.actions);
  if (record) {
    ++live_;
  } else {
    GiveBack(*slot);
  }
  return record;
}

// Puts `add` into, and takes `remove` out of, the chain of records with one mask and key that `head` begins (each may
// be kNone), and has packets find the new head.
Result<void> TupleSpace::Rechain(uint32_t head, uint32_t remove, uint32_t add) {
  chain_.clear();
  size_t place = kNone;
  for (uint32_t at = head; at != kNone; at = infos_[at].next) {
    if (at != remove) {
      chain_.push_back(at);
    } else if (add != kNone && records_[add].priority == records_[remove].priority) {
      place = chain_.size();  // it keeps its rank among equals
    }
  }
  if (add != kNone) {
    const auto lower = std::find_if(chain_.begin(), chain_.end(),
                                    [&](uint32_t at) { return records_[at].priority < records_[add].priority; });
    chain_.insert(place == kNone ? lower : chain_.begin() + static_cast<ptrdiff_t>(place), add);
  }

  const uint32_t new_head = chain_.empty() ? kNone : chain_.front();
  if (new_head != head) {
    if (head == kNone) {
      if (auto inserted = subtables_.Insert(new_head); !inserted) return inserted;
      index_.Insert(new_head);
    } else if (new_head == kNone) {
      subtables_.Remove(head);
      index_.Erase(head);
    } else {
      if (auto replaced = subtables_.Replace(head, new_head); !replaced) return replaced;
      index_.Replace(head, new_head);
    }
  }
  for (size_t i = 0; i < chain_.size(); ++i) infos_[chain_[i]].next = i + 1 < chain_.size() ? chain_[i + 1] : kNone;
  return {};
}

// Packets find the record from now on, if it is the first of its chain. `outranks`: ForgetCache must follow.
Result<void> TupleSpace::Enter(uint32_t record, bool& outranks) {
  outranks |= order_.Add(records_[record].mask_slot, records_[record].priority);
  Revive(record);
  auto entered = Rechain(index_.Find(records_[record]), kNone, record);
  if (!entered) order_.Remove(records_[record].mask_slot, records_[record].priority);
  return entered;
}

Result<FlowId> TupleSpace::Put(const FlowSpec& flow) {
  const Busy busy(*this);
  auto record = Prepare(flow, Wait::kAllowed);
  if (!record) return record.error();
  bool outranks = false;
  if (auto entered = Enter(*record, outranks); !entered) {
    --live_;
    Kill(*record);
    Retire({*record, kNone, false});  // a packet may have seen it
    return entered.error();
  }
  if (outranks) order_.ForgetCache();
  return NewFlow(*record, flow.cookie);
}

void TupleSpace::InsertPending(std::vector<Result<FlowId>>& results) {
  for (const uint32_t slot : pending_slots_) {
    auto& [records, indexes] = pending_[slot];
    Error error;
    const size_t inserted = subtables_.InsertMany(slot, records, error);
    for (size_t i = inserted; i < records.size(); ++i) {
      const uint32_t record = records[i];
      index_.Erase(record);
      order_.Remove(slot, records_[record].priority);
      --live_;
      Kill(record);
      Retire({record, kNone, false});
      FreeFlow(infos_[record].flow);
      infos_[record].flow = kNone;
      results[indexes[i]] = error;
    }
    records.clear();
    indexes.clear();
  }
  pending_slots_.clear();
}

void TupleSpace::PutAll(std::span<const FlowSpec> flows, Wait wait, std::vector<Result<FlowId>>& results) {
  const Busy busy(*this);
  order_.BeginMany();
  results.clear();
  bool outranks = false;
  for (const FlowSpec& flow : flows) {
    auto prepared = Prepare(flow, wait);
    if (!prepared) {
      results.emplace_back(prepared.error());
      continue;
    }
    const uint32_t record = *prepared;
    if (index_.FindOrInsert(record) == KeyIndex::kNone) {
      const uint32_t slot = records_[record].mask_slot;
      outranks |= order_.Add(slot, records_[record].priority);
      Revive(record);
      if (pending_[slot].records.empty()) pending_slots_.push_back(slot);
      pending_[slot].records.push_back(record);
      pending_[slot].indexes.push_back(results.size());
      results.emplace_back(NewFlow(record, flow.cookie));
      continue;
    }
    // A match that is there already; perhaps one of those that wait here.
    InsertPending(results);
    if (auto entered = Enter(record, outranks); !entered) {
      --live_;
      Kill(record);
      Retire({record, kNone, false});
      results.emplace_back(entered.error());
      continue;
    }
    results.emplace_back(NewFlow(record, flow.cookie));
  }
  InsertPending(results);
  order_.EndMany();
  if (outranks) order_.ForgetCache();
}

Result<void> TupleSpace::Modify(FlowId id, const FlowSpec& flow) {
  const Busy busy(*this);
  const uint32_t old = flows_[id].record;
  const uint32_t slot = records_[old].mask_slot;
  KeyWords key{};
  std::copy_n(records_[old].key, object_.words(), key.begin());
  auto written = WriteRecord(slot, key, flow.priority, flow.actions);
  if (!written) return written.error();
  const uint32_t record = *written;

  const bool outranks = order_.Add(slot, flow.priority);
  Revive(record);
  if (auto changed = Rechain(index_.Find(records_[old]), old, record); !changed) {
    order_.Remove(slot, flow.priority);
    Kill(record);
    Retire({record, kNone, false});
    return changed;
  }
  order_.Remove(slot, records_[old].priority);
  if (outranks) order_.ForgetCache();
  Kill(old);
  Retire({old, id, false});
  flows_[id].record = record;
  flows_[id].cookie = flow.cookie;
  infos_[record].flow = id;
  return {};
}

// No memory to have the record's heir found in its place in one step, so in two: packets miss in between.
void TupleSpace::ReplaceInTwo(uint32_t record) {
  const uint32_t heir = infos_[record].next;
  subtables_.Remove(record);
  index_.Replace(record, heir);
  if (auto entered = subtables_.Insert(heir); !entered) stranded_.push_back(heir);
}

void TupleSpace::BringBack() {
  std::erase_if(stranded_, [this](uint32_t record) {
    const bool still = index_.Find(records_[record]) == record && !subtables_.Has(record);
    return !still || static_cast<bool>(subtables_.Insert(record));
  });
}

void TupleSpace::Delete(FlowId id) {
  const Busy busy(*this);
  Flow& flow = flows_[id];
  const uint32_t record = flow.record;
  const uint32_t head = index_.Find(records_[record]);
  if (auto done = Rechain(head, record, kNone); !done) ReplaceInTwo(record);
  order_.Remove(records_[record].mask_slot, records_[record].priority);
  --live_;
  Kill(record);
  flow.live = false;
  Retire({record, id, true});
}

void TupleSpace::Flush() {
  {
    const Busy busy(*this);
    for (FlowId id = 0; id < flows_.size(); ++id) {
      if (flows_[id].live) Delete(id);
    }
    while (!retiring_.empty() || reclaiming_ > 0) {
      if (!reclaimer_.WaitOne()) break;
    }
  }
}

bool TupleSpace::FindRecord(uint32_t record, uint32_t gen, uint64_t& cookie) const {
  if (record >= infos_.size() || records_[record].gen != gen) return false;
  const uint32_t flow = infos_[record].flow;
  if (flow == kNone || !flows_[flow].live) return false;
  cookie = flows_[flow].cookie;
  return true;
}

// What a packet's search does (bpf/table_tuple_space.h), but that it may go on to the next of a chain.
bool TupleSpace::Lookup(const KeyWords& key, const Accept& accept, uint64_t& cookie) const {
  uint32_t best = kNone;
  std::array<uint64_t, sizeof(sluice_record) / 8 + kMaxKeyWords> wanted{};
  auto& like = *reinterpret_cast<sluice_record*>(wanted.data());
  for (const auto& [mask, slot] : slots_) {
    like.mask_slot = static_cast<uint16_t>(slot);
    for (size_t i = 0; i < object_.words(); ++i) like.key[i] = key[i] & mask[i];
    for (uint32_t at = index_.Find(like); at != KeyIndex::kNone; at = infos_[at].next) {
      if (best != kNone && records_[at].priority <= records_[best].priority) break;
      if (!accept(flows_[infos_[at].flow].cookie)) continue;
      best = at;
      break;
    }
  }
  if (best == kNone) return false;
  cookie = flows_[infos_[best].flow].cookie;
  return true;
}

Result<std::unique_ptr<FlowTable>> MakeFlowTable(Object& object, Reclaimer& reclaimer, FlowTable::Listener& listener,
                                                 const FlowTableOptions& options) {
  auto clock = JiffiesClock::Make();
  if (!clock) return clock.error();
  auto table = std::make_unique<TupleSpace>(object, reclaimer, listener, *std::move(clock), options);
  if (auto opened = table->opened(); !opened) return opened.error();
  return std::unique_ptr<FlowTable>(std::move(table));
}

}  // namespace sluice::xdp
