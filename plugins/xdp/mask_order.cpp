// SPDX-License-Identifier: Apache-2.0
#include "mask_order.h"

#include <algorithm>
#include <utility>

namespace sluice::xdp {
namespace {

template <typename T, typename U>
void Store(T& where, U value) {
  __atomic_store_n(&where, static_cast<T>(value), __ATOMIC_RELEASE);
}

}  // namespace

MaskOrder::MaskOrder(Object& object, Reclaimer& reclaimer, std::function<void(uint32_t slot)> release)
    : object_(object), reclaimer_(reclaimer), release_(std::move(release)), masks_(SLUICE_MASK_SLOTS) {
  for (uint32_t list = 0; list < SLUICE_MASK_LISTS; ++list) {
    if (list != object_.control().mask_list) free_lists_.push_back(list);
  }
}

sluice_mask_list& MaskOrder::Active() const { return object_.mask_lists()[object_.control().mask_list]; }

bool MaskOrder::Add(uint32_t slot, uint32_t priority) {
  Mask& mask = masks_[slot];
  const bool outranks = !flows_.empty() && priority > flows_.lowest();
  if (priority > object_.control().top_priority) Store(object_.control().top_priority, priority);
  if (!mask.listed || mask.listed_priority < priority) List(slot, priority);
  if (mask.flows.empty()) ++masks_in_use_;
  mask.flows.Add(priority);
  flows_.Add(priority);
  return outranks;
}

void MaskOrder::Remove(uint32_t slot, uint32_t priority) {
  masks_[slot].flows.Remove(priority);
  flows_.Remove(priority);
  if (masks_[slot].flows.empty()) --masks_in_use_;
}

// Where the slot stands in the list in use, or would be appended.
uint64_t MaskOrder::Place(uint32_t slot) const {
  const sluice_mask_list& list = Active();
  if (!masks_[slot].listed) return list.n;
  uint64_t at = 0;
  while (static_cast<uint32_t>(list.entry[at]) != slot) ++at;
  return at;
}

// The list in use cannot have the slot at this priority by a change of single words.
bool MaskOrder::NeedsNewList(uint32_t slot, uint32_t priority) const {
  const uint64_t at = Place(slot);
  return at != 0 && Active().entry[at - 1] >> 32 < priority;
}

bool MaskOrder::CanAddNow(uint32_t slot, uint32_t priority) const {
  const Mask& mask = masks_[slot];
  if (due_ || !free_lists_.empty() || (mask.listed && mask.listed_priority >= priority)) return true;
  return !NeedsNewList(slot, priority);
}

void MaskOrder::List(uint32_t slot, uint32_t priority) {
  Mask& mask = masks_[slot];
  const bool new_list = due_ || NeedsNewList(slot, priority);
  const uint64_t at = new_list ? 0 : Place(slot);
  if (!mask.listed) Widen(object_.mask(slot));
  mask.listed = true;
  mask.listed_priority = priority;
  if (new_list) {
    due_ = true;
    if (!many_) Publish({});
    return;
  }
  sluice_mask_list& list = Active();
  Store(list.entry[at], SLUICE_MASK_ENTRY(slot, priority));
  if (at == list.n) Store(list.n, at + 1);
}

void MaskOrder::EndMany() {
  many_ = false;
  if (due_) Publish({});
}

void MaskOrder::Publish(std::vector<uint32_t> removed) {
  while (free_lists_.empty() && reclaimer_.WaitOne()) {
  }
  due_ = false;
  std::vector<uint64_t> entries;
  for (uint32_t slot = 0; slot < masks_.size(); ++slot) {
    if (masks_[slot].listed) entries.push_back(SLUICE_MASK_ENTRY(slot, masks_[slot].listed_priority));
  }
  std::stable_sort(entries.begin(), entries.end(), [](uint64_t a, uint64_t b) { return a >> 32 > b >> 32; });

  const uint32_t fresh = free_lists_.back();
  free_lists_.pop_back();
  sluice_mask_list& list = object_.mask_lists()[fresh];
  std::copy(entries.begin(), entries.end(), list.entry);
  list.n = entries.size();
  const uint32_t old = object_.control().mask_list;
  Store(object_.control().mask_list, fresh);
  reclaimer_.AfterGrace(alive_, [this, old, removed = std::move(removed)] {
    free_lists_.push_back(old);
    for (const uint32_t slot : removed) release_(slot);
  });
}

bool MaskOrder::Tidy(const std::function<bool(uint32_t slot)>& may_go) {
  if (flows_.highest() < object_.control().top_priority) Store(object_.control().top_priority, flows_.highest());
  if (free_lists_.size() < 2) return false;  // leaves one for who cannot wait
  std::vector<uint32_t> removed;
  bool changed = false;
  for (uint32_t slot = 0; slot < masks_.size(); ++slot) {
    Mask& mask = masks_[slot];
    if (!mask.listed) continue;
    if (mask.flows.empty()) {
      if (!may_go(slot)) continue;
      mask = {};
      removed.push_back(slot);
      changed = true;
    } else if (mask.flows.highest() < mask.listed_priority) {
      mask.listed_priority = mask.flows.highest();
      changed = true;
    }
  }
  if (!changed) return false;
  Publish(std::move(removed));
  Narrow();
  return true;
}

// Words may be read half changed: the hash is then another, and the packet is searched for.
void MaskOrder::Widen(const KeyWords& mask) {
  for (size_t i = 0; i < object_.words(); ++i) {
    const uint64_t word = object_.control().union_mask[i] | mask[i];
    if (word != object_.control().union_mask[i]) Store(object_.control().union_mask[i], word);
  }
}

void MaskOrder::Narrow() {
  KeyWords all{};
  for (uint32_t slot = 0; slot < masks_.size(); ++slot) {
    if (!masks_[slot].listed) continue;
    const KeyWords mask = object_.mask(slot);
    for (size_t i = 0; i < object_.words(); ++i) all[i] |= mask[i];
  }
  for (size_t i = 0; i < object_.words(); ++i) {
    if (all[i] != object_.control().union_mask[i]) Store(object_.control().union_mask[i], all[i]);
  }
}

void MaskOrder::ForgetCache() {
  const uint32_t gen = object_.control().cache_gen;
  if (gen < SLUICE_CACHE_GEN_MAX) {
    Store(object_.control().cache_gen, gen + 1);
    return;
  }
  // The numbers begin again: nothing of their last round may be left. What is entered by those who have the last number
  // yet goes after a grace period, long before that number comes again.
  const auto clear = [this] {
    for (uint64_t& entry : object_.cache()) Store(entry, 0);
  };
  clear();
  Store(object_.control().cache_gen, 1);
  reclaimer_.AfterGrace(alive_, clear);
}

}  // namespace sluice::xdp
