// SPDX-License-Identifier: Apache-2.0
#include "rule_table.h"

#include <algorithm>
#include <utility>

#include "readers.h"

namespace sluice::netsluice {
namespace {

constexpr size_t kFewestSlots = 16;

Rule* Tombstone() {
  static Rule tombstone(0, Program{});
  return &tombstone;
}

}  // namespace

Subtable::Subtable(const Key& mask) : inner_((*mask.at(kOuter.has()) & kVxlan) != 0), slots_(new Slots(kFewestSlots)) {
  for (size_t n = 0; n < kKeyWords; ++n) {
    if (mask.word(n) == 0) continue;
    words_.push_back(static_cast<uint8_t>(n));
    masks_.push_back(mask.word(n));
  }
}

Subtable::~Subtable() { delete slots_.load(); }

template <typename WordAt>
uint32_t Subtable::Hash(const WordAt& word_at) const {
  uint64_t hash = 0;
  for (size_t i = 0; i < words_.size(); ++i) {
    hash = (hash ^ word_at(i)) * 0x9e3779b97f4a7c15;
    hash ^= hash >> 32;
  }
  return static_cast<uint32_t>(hash ^ hash >> 15);
}

bool Subtable::SameKey(const Key& key, const Rule& rule) const {
  for (size_t i = 0; i < words_.size(); ++i) {
    if ((key.word(words_[i]) & masks_[i]) != rule.key_[i]) return false;
  }
  return true;
}

const Rule* Subtable::Find(const Key& key, uint64_t from) const {
  const uint32_t hash = Hash([&](size_t i) { return key.word(words_[i]) & masks_[i]; });
  const Slots& slots = *slots_.load();
  const Rule* best = nullptr;
  for (size_t n = hash & slots.mask;; n = (n + 1) & slots.mask) {
    const Rule* rule = slots.slots[n].rule.load(std::memory_order_acquire);
    if (rule == nullptr) return best;
    if (slots.slots[n].hash.load(std::memory_order_relaxed) != hash || rule == Tombstone()) continue;
    if (rule->priority() < from || (best != nullptr && best->priority() <= rule->priority())) continue;
    if (SameKey(key, *rule)) best = rule;
  }
}

void Subtable::SetKey(const Key& spec, Rule& rule) const {
  rule.key_.resize(words_.size());
  for (size_t i = 0; i < words_.size(); ++i) rule.key_[i] = spec.word(words_[i]) & masks_[i];
  rule.hash_ = Hash([&](size_t i) { return rule.key_[i]; });
}

bool Subtable::Overlaps(const Key& spec, const Key& mask, uint32_t priority) const {
  if (!priorities_.contains(priority)) return false;
  const auto overlaps = [&](const Slot& slot) {
    const Rule* rule = slot.rule.load();
    if (rule == nullptr || rule == Tombstone() || rule->priority() != priority) return false;
    for (size_t i = 0; i < words_.size(); ++i) {
      const uint64_t both = masks_[i] & mask.word(words_[i]);
      if ((spec.word(words_[i]) & both) != (rule->key_[i] & both)) return false;
    }
    return true;
  };
  const Slots& slots = *slots_.load();
  return std::any_of(slots.slots.begin(), slots.slots.end(), overlaps);
}

// A slot that had a rule is not used again: a reader may just be looking at its hash.
void Subtable::Put(Slots& slots, Rule* rule) {
  size_t n = rule->hash_ & slots.mask;
  while (slots.slots[n].rule.load(std::memory_order_relaxed) != nullptr) n = (n + 1) & slots.mask;
  slots.slots[n].hash.store(rule->hash_, std::memory_order_relaxed);
  slots.slots[n].rule.store(rule, std::memory_order_release);
}

// Without those that had a rule, and with room to grow.
void Subtable::Rebuild() {
  size_t count = kFewestSlots;
  while (count < 3 * (live_ + 1)) count *= 2;
  auto slots = std::make_unique<Slots>(count);
  const std::unique_ptr<Slots> old(slots_.load());
  for (const Slot& slot : old->slots) {
    Rule* rule = slot.rule.load(std::memory_order_relaxed);
    if (rule != nullptr && rule != Tombstone()) Put(*slots, rule);
  }
  slots_.store(slots.release());
  used_ = live_;
  Readers::Get().Synchronize();
}

void Subtable::Add(Rule* rule) {
  Slots* slots = slots_.load();
  if (3 * (used_ + 1) > 2 * slots->slots.size()) {
    Rebuild();
    slots = slots_.load();
  }
  Put(*slots, rule);
  ++used_;
  ++live_;
  ++priorities_[rule->priority()];
  best_.store(priorities_.begin()->first);
}

void Subtable::Take(Rule* rule) {
  Slots& slots = *slots_.load();
  size_t n = rule->hash_ & slots.mask;
  while (slots.slots[n].rule.load(std::memory_order_relaxed) != rule) n = (n + 1) & slots.mask;
  slots.slots[n].rule.store(Tombstone());
  --live_;
  const auto priority = priorities_.find(rule->priority());
  if (--priority->second == 0) priorities_.erase(priority);
  best_.store(priorities_.empty() ? UINT32_MAX : priorities_.begin()->first);
}

RuleTable::RuleTable() : order_(new Order()) {}

RuleTable::~RuleTable() { delete order_.load(); }

const Rule* RuleTable::Find(const Key& key, const Rule* after) const {
  const uint64_t from = after == nullptr ? 0 : uint64_t{after->priority()} + 1;
  const Rule* best = nullptr;
  for (const Subtable* subtable : *order_.load()) {
    if (best != nullptr && best->priority() <= subtable->best()) break;
    const Rule* rule = subtable->Find(key, from);
    if (rule != nullptr && (best == nullptr || rule->priority() < best->priority())) best = rule;
  }
  return best;
}

bool RuleTable::Add(Rule& rule, const Key& spec, const Key& mask, bool disjoint) {
  const std::lock_guard lock(mutex_);
  if (disjoint && std::any_of(subtables_.begin(), subtables_.end(),
                              [&](const auto& entry) { return entry.second->Overlaps(spec, mask, rule.priority()); })) {
    return false;
  }
  auto at = subtables_.find(mask);
  if (at == subtables_.end()) {
    // Those that have no rules any more are in no order that a reader could have: Publish has seen to that.
    std::erase_if(subtables_, [](const auto& entry) { return entry.second->empty(); });
    at = subtables_.emplace(mask, std::make_unique<Subtable>(mask)).first;
  }
  Subtable& subtable = *at->second;
  const bool known = !subtable.empty();
  const uint32_t best = subtable.best();
  subtable.SetKey(spec, rule);
  rule.subtable_ = &subtable;
  rule.table_ = shared_from_this();
  inner_ += subtable.looks_inside() ? 1 : 0;
  ++rules_;
  subtable.Add(&rule);
  if (!known || subtable.best() != best) Publish();
  return true;
}

void RuleTable::Take(Rule& rule) {
  const std::shared_ptr<RuleTable> table = std::move(rule.table_);
  const std::lock_guard lock(table->mutex_);
  Subtable& subtable = *rule.subtable_;
  const uint32_t best = subtable.best();
  subtable.Take(&rule);
  --table->rules_;
  table->inner_ -= subtable.looks_inside() ? 1 : 0;
  if (subtable.best() != best) table->Publish();
}

// The order, anew. Subtables without rules are not in it, but stay for the next rule of their mask.
void RuleTable::Publish() {
  auto order = std::make_unique<Order>();
  for (const auto& [mask, subtable] : subtables_) {
    if (!subtable->empty()) order->push_back(subtable.get());
  }
  std::stable_sort(order->begin(), order->end(), [](const auto* a, const auto* b) { return a->best() < b->best(); });
  const std::unique_ptr<const Order> old(order_.exchange(order.release()));
  Readers::Get().Synchronize();
}

}  // namespace sluice::netsluice
