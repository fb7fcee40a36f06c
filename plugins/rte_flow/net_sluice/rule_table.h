// SPDX-License-Identifier: Apache-2.0
// Rules and the search among them: a tuple space, one subtable (a hash table) per mask, the subtables ordered by the
// highest priority in each.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "key.h"
#include "rule.h"

namespace sluice::netsluice {

// Rules with the same mask. Open addressing with linear probing; readers need no lock (see RuleTable).
class Subtable {
 public:
  explicit Subtable(const Key& mask);
  ~Subtable();
  Subtable(const Subtable&) = delete;
  Subtable& operator=(const Subtable&) = delete;

  // By readers. The rule of the highest priority that matches, among those with a priority number of `from` or more.
  [[nodiscard]] const Rule* Find(const Key& key, uint64_t from) const;
  // The lowest priority number in it.
  [[nodiscard]] uint32_t best() const { return best_.load(); }

  // By the writer. Whether a packet could match both a rule of the given pattern and one of the same priority in here.
  [[nodiscard]] bool Overlaps(const Key& spec, const Key& mask, uint32_t priority) const;
  void SetKey(const Key& spec, Rule& rule) const;
  void Add(Rule* rule);
  // Readers may see it until Readers::Synchronize().
  void Take(Rule* rule);
  [[nodiscard]] bool empty() const { return live_ == 0; }
  [[nodiscard]] bool looks_inside() const { return inner_; }

 private:
  struct Slot {
    std::atomic<uint32_t> hash{0};
    std::atomic<Rule*> rule{nullptr};
  };
  struct Slots {
    explicit Slots(size_t count) : mask(count - 1), slots(count) {}
    size_t mask;
    std::vector<Slot> slots;
  };

  template <typename WordAt>
  [[nodiscard]] uint32_t Hash(const WordAt& word_at) const;
  [[nodiscard]] bool SameKey(const Key& key, const Rule& rule) const;
  static void Put(Slots& slots, Rule* rule);
  void Rebuild();

  std::vector<uint8_t> words_;   // which words of a key are matched
  std::vector<uint64_t> masks_;  // and by what bits
  const bool inner_;
  std::atomic<Slots*> slots_;
  std::atomic<uint32_t> best_{UINT32_MAX};
  std::map<uint32_t, size_t> priorities_;  // how many rules have each
  size_t live_ = 0;
  size_t used_ = 0;  // slots with a rule, or that had one
};

// Find is for matching threads, between Readers::Enter and Leave: no lock. All else may be called by any thread.
class RuleTable : public std::enable_shared_from_this<RuleTable> {
 public:
  RuleTable();
  ~RuleTable();
  RuleTable(const RuleTable&) = delete;
  RuleTable& operator=(const RuleTable&) = delete;

  // The rule of the highest priority that matches; `after`: of a lower priority than that rule.
  [[nodiscard]] const Rule* Find(const Key& key, const Rule* after = nullptr) const;
  [[nodiscard]] bool empty() const { return rules_.load() == 0; }
  [[nodiscard]] bool looks_inside() const { return inner_.load() != 0; }  // a rule matches what is in VXLAN

  // False: `disjoint` was asked for, and a rule of the same priority overlaps. The caller keeps owning `rule`.
  bool Add(Rule& rule, const Key& spec, const Key& mask, bool disjoint);
  // From the table that it is in. May be seen, and counted on, until Readers::Synchronize().
  static void Take(Rule& rule);

 private:
  using Order = std::vector<const Subtable*>;

  void Publish();

  std::mutex mutex_;
  std::map<Key, std::unique_ptr<Subtable>> subtables_;
  std::atomic<const Order*> order_;
  std::atomic<size_t> rules_{0};
  std::atomic<size_t> inner_{0};
};

}  // namespace sluice::netsluice
