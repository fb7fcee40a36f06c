// SPDX-License-Identifier: Apache-2.0
// What a tuple space's lookup goes by before it sees a flow: the list of masks, their priorities, the union of the
// masks, and the cache's generation.
//
// The one rule: whatever a reader that has the new cache generation needs is written before that generation is.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "object.h"
#include "reclaimer.h"
#include "table.h"

namespace sluice::xdp {

// How many flows there are of each priority.
class PriorityCounts {
 public:
  void Add(uint32_t priority) { ++counts_[priority]; }
  void Remove(uint32_t priority) {
    const auto found = counts_.find(priority);
    if (--found->second == 0) counts_.erase(found);
  }
  [[nodiscard]] bool empty() const { return counts_.empty(); }
  [[nodiscard]] uint32_t highest() const { return counts_.empty() ? 0 : counts_.rbegin()->first; }
  [[nodiscard]] uint32_t lowest() const { return counts_.empty() ? UINT32_MAX : counts_.begin()->first; }

 private:
  std::map<uint32_t, uint32_t> counts_;
};

// Session thread.
class MaskOrder {
 public:
  // `release` is called with a slot that Tidy took from the list, when no reader can know of it any more.
  MaskOrder(Object& object, Reclaimer& reclaimer, std::function<void(uint32_t slot)> release);
  MaskOrder(const MaskOrder&) = delete;
  MaskOrder& operator=(const MaskOrder&) = delete;

  // Before a flow of this priority is inserted under the slot's mask: readers search the slot, in its place. Waits for
  // the kernel where the order changed SLUICE_MASK_LISTS times within a grace period. True: when the flow is in,
  // packets may be remembered that it outranks; call ForgetCache then.
  bool Add(uint32_t slot, uint32_t priority);
  // Add would not have to wait.
  [[nodiscard]] bool CanAddNow(uint32_t slot, uint32_t priority) const;
  // Between the two, one new list stands for all Adds that need one; readers go by it when EndMany returns.
  void BeginMany() { many_ = true; }
  void EndMany();
  // When a flow is out again, or could not be inserted.
  void Remove(uint32_t slot, uint32_t priority);
  // No packet is found in the cache any more that was entered before now.
  void ForgetCache();

  // Takes slots without flows from the list, those that `may_go` agrees to, and lowers priorities, if there is
  // something of that. False: nothing to do, or not now.
  bool Tidy(const std::function<bool(uint32_t slot)>& may_go);
  [[nodiscard]] bool listed(uint32_t slot) const { return masks_[slot].listed; }
  [[nodiscard]] uint32_t masks_in_use() const { return masks_in_use_; }

 private:
  struct Mask {
    PriorityCounts flows;
    bool listed = false;
    uint32_t listed_priority = 0;
  };

  [[nodiscard]] sluice_mask_list& Active() const;
  [[nodiscard]] uint64_t Place(uint32_t slot) const;
  [[nodiscard]] bool NeedsNewList(uint32_t slot, uint32_t priority) const;
  void List(uint32_t slot, uint32_t priority);
  // Has readers go by a new list of all listed slots. `removed` have just been unlisted.
  void Publish(std::vector<uint32_t> removed);
  void Widen(const KeyWords& mask);
  void Narrow();

  Object& object_;
  Reclaimer& reclaimer_;
  std::function<void(uint32_t)> release_;
  std::vector<Mask> masks_;           // by slot
  std::vector<uint32_t> free_lists_;  // of `mask_lists`, seen by no reader
  PriorityCounts flows_;
  uint32_t masks_in_use_ = 0;
  bool many_ = false;
  bool due_ = false;  // a new list, by EndMany
  std::shared_ptr<int> alive_ = std::make_shared<int>();
};

}  // namespace sluice::xdp
