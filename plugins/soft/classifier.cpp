// SPDX-License-Identifier: Apache-2.0
#include "classifier.h"

#include <tsl/robin_set.h>
#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <random>

namespace sluice::soft {
namespace {

constexpr size_t kWordSize = 8;
constexpr size_t kMostWords = (kFlowKeySize + kWordSize - 1) / kWordSize;

// Eight bytes of the key that a mask touches.
struct Word {
  size_t offset;
  uint64_t mask;
};

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
    // Not by memcmp: they are few.
    uint64_t difference = 0;
    for (size_t i = 0; i < key.words.size(); ++i) difference |= key.words[i] ^ entry.words[i];
    return difference == 0;
  }
};

// The hashes are stored: most places that are not the one looked for are told from it without reading their entry.
using Entries = tsl::robin_set<std::unique_ptr<Entry>, EntryHash, EntryEqual, std::allocator<std::unique_ptr<Entry>>,
                               /*StoreHash=*/true>;

uint64_t Load64(const uint8_t* at) {
  uint64_t value = 0;
  std::memcpy(&value, at, sizeof(value));
  return value;
}

// Both halves of the product: every bit of `a` reaches every bit of the low half.
uint64_t Mix(uint64_t a, uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

uint64_t RandomSeed() {
  std::random_device device;
  return static_cast<uint64_t>(device()) << 32 | device();
}

// As few words as cover the mask. They begin where there is something to see, aligned to nothing, and do not overlap
// but at the end of the key.
std::vector<Word> WordsOf(const FlowKeyBytes& mask) {
  std::vector<Word> words;
  for (size_t at = 0; at < kFlowKeySize;) {
    if (mask[at] == 0) {
      ++at;
      continue;
    }
    const size_t offset = std::min(at, kFlowKeySize - kWordSize);
    words.push_back({offset, Load64(mask.data() + offset)});
    at = offset + kWordSize;
  }
  return words;
}

}  // namespace

class TupleSpace::Subtable {
 public:
  Subtable(const FlowKeyBytes& mask, uint64_t seed) : words_(WordsOf(mask)), seed_(seed) {}

  void Insert(const FlowKeyBytes& key, uint32_t priority, void* value);
  bool Remove(const FlowKeyBytes& key, uint32_t priority, const void* value);
  [[nodiscard]] const Entry* Find(const FlowKeyBytes& key) const;

  [[nodiscard]] bool empty() const { return priorities_.empty(); }
  [[nodiscard]] uint32_t highest() const { return priorities_.rbegin()->first; }  // not of an empty one

 private:
  // Fills in `masked` and returns its hash.
  uint64_t Masked(const FlowKeyBytes& key, uint64_t* masked) const {
    uint64_t hash = seed_;
    for (size_t i = 0; i < words_.size(); ++i) {
      masked[i] = Load64(key.data() + words_[i].offset) & words_[i].mask;
      hash = Mix(hash ^ masked[i], 0x9e3779b97f4a7c15) + seed_;
    }
    return hash;
  }

  std::vector<Word> words_;
  uint64_t seed_;
  Entries entries_;
  std::map<uint32_t, size_t> priorities_;  // how many rules have each
};

const Entry* TupleSpace::Subtable::Find(const FlowKeyBytes& key) const {
  std::array<uint64_t, kMostWords> masked;  // NOLINT: Masked fills in what is read
  const uint64_t hash = Masked(key, masked.data());
  const auto found = entries_.find(MaskedKey{std::span(masked).first(words_.size())}, hash);
  return found == entries_.end() ? nullptr : found->get();
}

void TupleSpace::Subtable::Insert(const FlowKeyBytes& key, uint32_t priority, void* value) {
  std::array<uint64_t, kMostWords> masked{};
  const uint64_t hash = Masked(key, masked.data());
  auto found = entries_.find(MaskedKey{std::span(masked).first(words_.size())}, hash);
  if (found == entries_.end()) {
    auto entry = std::make_unique<Entry>();
    entry->words.assign(masked.begin(), masked.begin() + static_cast<ptrdiff_t>(words_.size()));
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
  std::array<uint64_t, kMostWords> masked{};
  const uint64_t hash = Masked(key, masked.data());
  const auto found = entries_.find(MaskedKey{std::span(masked).first(words_.size())}, hash);
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

TupleSpace::TupleSpace() : seed_(RandomSeed() | 1), subtables_(0, MaskHash{seed_}) {}
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
}

bool TupleSpace::Remove(const Match& match, uint32_t priority, const void* value) {
  const auto found = subtables_.find(match.MaskBytes());
  if (found == subtables_.end()) return false;
  Subtable& subtable = *found->second;
  const uint32_t before = subtable.highest();
  if (!subtable.Remove(match.KeyBytes(), priority, value)) return false;
  --size_;
  if (subtable.empty()) {
    subtables_.erase(found);
    Reorder();
  } else if (subtable.highest() != before) {
    Reorder();
  }
  return true;
}

void TupleSpace::Reorder() {
  order_.clear();
  for (const auto& [mask, subtable] : subtables_) order_.push_back({subtable->highest(), subtable.get()});
  std::ranges::sort(order_, std::ranges::greater{}, &Place::highest);
}

void* TupleSpace::Lookup(const Parsed& packet) const {
  if (packet.malformed != Malformed::kNo) return nullptr;
  const Entry::Rule* best = nullptr;
  for (const Place& place : order_) {
    if (best != nullptr && place.highest <= best->priority) break;
    const Entry* entry = place.subtable->Find(packet.key);
    if (entry == nullptr) continue;
    if (best == nullptr || entry->best.priority > best->priority) best = &entry->best;
  }
  return best == nullptr ? nullptr : best->value;
}

}  // namespace sluice::soft
