// SPDX-License-Identifier: Apache-2.0
#include "classifier.h"

#include <tsl/robin_set.h>
#include <xxhash.h>

#include <algorithm>
#include <map>
#include <random>

#include "masked_key.h"

namespace sluice::soft {
namespace {

// With fewer masks a search is as quick as the cache.
constexpr size_t kMasksForCache = 3;

// The words of a packet's key that are under a mask, masked.
struct MaskedKey {
  std::span<const uint64_t> words;
};

// What is in a subtable under one masked key.
struct Entry {
  struct Rule {
    uint32_t priority;
    void* value;
  };
  std::vector<uint64_t> words;
  uint64_t hash = 0;
  Rule best{};              // of `rules`
  std::vector<Rule> rules;  // the best is the last
};

struct EntryHash {
  size_t operator()(const std::unique_ptr<Entry>& entry) const { return entry->hash; }
  // Never called: who looks a masked key up has its hash.
  size_t operator()(const MaskedKey& key) const;
};

struct EntryEqual {
  using is_transparent = void;
  bool operator()(const std::unique_ptr<Entry>& a, const std::unique_ptr<Entry>& b) const { return a == b; }
  bool operator()(const MaskedKey& a, const std::unique_ptr<Entry>& b) const { return Same(a, *b); }
  bool operator()(const std::unique_ptr<Entry>& a, const MaskedKey& b) const { return Same(b, *a); }

 private:
  static bool Same(const MaskedKey& key, const Entry& entry) {
    return SameWords(key.words.data(), entry.words.data(), key.words.size());
  }
};

// The hashes are stored: most places that are not the one looked for are told from it without reading their entry.
using Entries = tsl::robin_set<std::unique_ptr<Entry>, EntryHash, EntryEqual, std::allocator<std::unique_ptr<Entry>>,
                               /*StoreHash=*/true>;

uint64_t RandomSeed() {
  std::random_device device;
  return static_cast<uint64_t>(device()) << 32 | device();
}

}  // namespace

class TupleSpace::Subtable {
 public:
  Subtable(const FlowKeyBytes& mask, uint64_t seed) : mask_(mask, seed) {}

  void Insert(const FlowKeyBytes& key, uint32_t priority, void* value);
  bool Remove(const FlowKeyBytes& key, uint32_t priority, const void* value);
  [[nodiscard]] const Entry* Find(const FlowKeyBytes& key) const;

  [[nodiscard]] bool empty() const { return priorities_.empty(); }
  [[nodiscard]] uint32_t highest() const { return priorities_.rbegin()->first; }  // not of an empty one

 private:
  KeyMask mask_;
  Entries entries_;
  std::map<uint32_t, size_t> priorities_;  // how many rules have each
};

const Entry* TupleSpace::Subtable::Find(const FlowKeyBytes& key) const {
  KeyMask::Words masked;  // NOLINT: Apply fills in what is read
  const uint64_t hash = mask_.Apply(key, masked);
  const auto found = entries_.find(MaskedKey{std::span(masked).first(mask_.size())}, hash);
  return found == entries_.end() ? nullptr : found->get();
}

void TupleSpace::Subtable::Insert(const FlowKeyBytes& key, uint32_t priority, void* value) {
  KeyMask::Words masked;  // NOLINT: Apply fills in what is read
  const uint64_t hash = mask_.Apply(key, masked);
  auto found = entries_.find(MaskedKey{std::span(masked).first(mask_.size())}, hash);
  if (found == entries_.end()) {
    auto entry = std::make_unique<Entry>();
    entry->words.assign(masked.begin(), masked.begin() + static_cast<ptrdiff_t>(mask_.size()));
    entry->hash = hash;
    found = entries_.insert(std::move(entry)).first;
  }
  Entry& entry = **found;
  const auto behind = std::ranges::upper_bound(entry.rules, priority, {}, &Entry::Rule::priority);
  entry.rules.insert(behind, {priority, value});
  entry.best = entry.rules.back();
  ++priorities_[priority];
}

bool TupleSpace::Subtable::Remove(const FlowKeyBytes& key, uint32_t priority, const void* value) {
  KeyMask::Words masked;  // NOLINT: Apply fills in what is read
  const uint64_t hash = mask_.Apply(key, masked);
  const auto found = entries_.find(MaskedKey{std::span(masked).first(mask_.size())}, hash);
  if (found == entries_.end()) return false;
  Entry& entry = **found;
  const auto last = std::find_if(entry.rules.rbegin(), entry.rules.rend(), [&](const Entry::Rule& rule) {
    return rule.priority == priority && rule.value == value;
  });
  if (last == entry.rules.rend()) return false;
  entry.rules.erase(std::next(last).base());
  if (entry.rules.empty()) {
    entries_.erase(found);
  } else {
    entry.best = entry.rules.back();
  }
  const auto count = priorities_.find(priority);
  if (--count->second == 0) priorities_.erase(count);
  return true;
}

TupleSpace::TupleSpace() : seed_(RandomSeed() | 1), subtables_(0, MaskHash{seed_}), cache_(seed_) {}
TupleSpace::~TupleSpace() = default;

size_t TupleSpace::MaskHash::operator()(const FlowKeyBytes& mask) const {
  return XXH3_64bits_withSeed(mask.data(), mask.size(), seed);
}

void TupleSpace::Insert(const Match& match, uint32_t priority, void* value) {
  std::unique_ptr<Subtable>& subtable = subtables_[match.MaskBytes()];
  const bool first = subtable == nullptr;
  if (first) subtable = std::make_unique<Subtable>(match.MaskBytes(), seed_);
  const bool higher = first || priority > subtable->highest();
  subtable->Insert(match.KeyBytes(), priority, value);
  ++size_;
  if (higher) Reorder();
  Changed(first);
}

bool TupleSpace::Remove(const Match& match, uint32_t priority, const void* value) {
  const auto found = subtables_.find(match.MaskBytes());
  if (found == subtables_.end()) return false;
  Subtable& subtable = *found->second;
  const uint32_t before = subtable.highest();
  if (!subtable.Remove(match.KeyBytes(), priority, value)) return false;
  --size_;
  const bool last = subtable.empty();
  if (last) {
    subtables_.erase(found);
    Reorder();
  } else if (subtable.highest() != before) {
    Reorder();
  }
  Changed(last);
  return true;
}

void TupleSpace::Reorder() {
  order_.clear();
  for (const auto& [mask, subtable] : subtables_) order_.push_back({subtable->highest(), subtable.get()});
  std::ranges::sort(order_, std::ranges::greater{}, &Place::highest);
}

void TupleSpace::Changed(bool masks) {
  cache_.Forget();
  // The next search sees to it: a cache is emptied once for many masks.
  if (masks) masks_changed_ = true;
}

void TupleSpace::ShowCacheMasks() {
  FlowKeyBytes all{};
  for (const auto& [mask, subtable] : subtables_) {
    for (size_t i = 0; i < kFlowKeySize; ++i) all[i] |= mask[i];
  }
  cache_.Look(all);
  masks_changed_ = false;
}

void* TupleSpace::Lookup(const Parsed& packet) {
  if (packet.malformed != Malformed::kNo) return nullptr;
  if (order_.size() < kMasksForCache) return Search(packet.key);
  if (masks_changed_) ShowCacheMasks();
  return cache_.Find(packet.key, [&] { return Search(packet.key); });
}

void* TupleSpace::Search(const FlowKeyBytes& key) const {
  const Entry::Rule* best = nullptr;
  for (const Place& place : order_) {
    if (best != nullptr && place.highest <= best->priority) break;
    const Entry* entry = place.subtable->Find(key);
    if (entry == nullptr) continue;
    if (best == nullptr || entry->best.priority > best->priority) best = &entry->best;
  }
  return best == nullptr ? nullptr : best->value;
}

}  // namespace sluice::soft
