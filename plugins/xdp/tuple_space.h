// SPDX-License-Identifier: Apache-2.0
// The flow table as a tuple space: records, a subtable per mask, a cache in front. bpf/README.md tells what readers
// rely on; this is the writer.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "edit_space.h"
#include "flow_table.h"
#include "jiffies_clock.h"
#include "key_index.h"
#include "mask_order.h"
#include "subtables.h"

namespace sluice::xdp {

class TupleSpace final : public FlowTable {
 public:
  TupleSpace(Object& object, Reclaimer& reclaimer, Listener& listener, JiffiesClock clock,
             const FlowTableOptions& options);
  ~TupleSpace() override;
  // What the constructor could not do.
  [[nodiscard]] Result<void> opened() const { return subtables_.opened(); }
  TupleSpace(const TupleSpace&) = delete;
  TupleSpace& operator=(const TupleSpace&) = delete;

  Result<FlowId> Put(const FlowSpec& flow) override;
  std::vector<Result<FlowId>> PutMany(std::span<const FlowSpec> flows) override {
    std::vector<Result<FlowId>> results;
    PutAll(flows, Wait::kAllowed, results);
    return results;
  }
  void TryPutMany(std::span<const FlowSpec> flows, std::vector<Result<FlowId>>& results) override {
    PutAll(flows, Wait::kForbidden, results);
  }
  Result<void> Modify(FlowId id, const FlowSpec& flow) override;
  void Delete(FlowId id) override;
  void Flush() override;
  void Abandon() override { abandoned_ = true; }
  void ForEachRecord(const OnRecord& call) const override;
  bool FindRecord(uint32_t record, uint32_t gen, uint64_t& cookie) const override;
  bool Lookup(const KeyWords& key, const Accept& accept, uint64_t& cookie) const override;
  void ForEachChangedStats(const std::function<void(uint64_t cookie, const FlowStatsDelta& delta)>& report) override;
  [[nodiscard]] Limits limits() const override;
  [[nodiscard]] Usage usage() const override;

 private:
  static constexpr uint32_t kNone = UINT32_MAX;

  struct MaskHash {
    size_t operator()(const KeyWords& mask) const;
  };
  // What user space knows of a record. Its place in `records` is this one's in infos_.
  struct Info {
    uint32_t flow = kNone;
    uint32_t next = kNone;  // in its chain: the record with the same mask and key that is next in rank
    uint64_t packets = 0;   // taken over into the flow's counters
    uint64_t bytes = 0;
  };
  struct Flow {
    uint32_t record = kNone;
    bool live = false;
    bool changed = false;  // `counted` has something to report
    uint64_t cookie = 0;
    FlowStatsDelta counted;
    uint64_t used_jiffies = 0;
  };
  struct Retired {
    uint32_t record;
    uint32_t flow;  // kNone: it never came into being
    bool last;      // the flow is deleted
  };
  // What PutAll has yet to insert under one mask.
  struct Pending {
    std::vector<uint32_t> records;
    std::vector<size_t> indexes;  // of each, in PutAll's results
  };
  // While one is there, OnReclaimed is not called: the listener must not see a table in the midst of a change.
  class Busy {
   public:
    explicit Busy(TupleSpace& table) : table_(table) { ++table_.busy_; }
    ~Busy() {
      if (--table_.busy_ == 0) table_.Deliver();
    }
    Busy(const Busy&) = delete;
    Busy& operator=(const Busy&) = delete;

   private:
    TupleSpace& table_;
  };

  Result<uint32_t> SlotOf(const KeyWords& mask, Wait wait);
  [[nodiscard]] bool HasFreeRecord() const { return never_used_ < infos_.size() || !free_records_.empty(); }
  Result<void> CanEnterNow(uint32_t slot, const FlowSpec& flow);
  void GiveBack(uint32_t slot);
  Result<uint32_t> NewRecord();
  Result<uint32_t> WriteRecord(uint32_t slot, const KeyWords& key, uint32_t priority, const CompiledActions& actions);
  Result<uint32_t> Prepare(const FlowSpec& flow, Wait wait);
  void Revive(uint32_t record);
  void Kill(uint32_t record);
  Result<void> Enter(uint32_t record, bool& outranks);
  Result<void> Rechain(uint32_t head, uint32_t remove, uint32_t add);
  void PutAll(std::span<const FlowSpec> flows, Wait wait, std::vector<Result<FlowId>>& results);
  void ReplaceInTwo(uint32_t record);
  void BringBack();
  void InsertPending(std::vector<Result<FlowId>>& results);
  FlowId NewFlow(uint32_t record, uint64_t cookie);
  void FreeFlow(uint32_t id);
  void Retire(Retired retired);
  void StartReclaiming();
  void Reclaim(const std::vector<Retired>& batch);
  void FreeRecord(uint32_t record);
  void Count(uint32_t record);
  FlowStatsDelta TakeCounted(Flow& flow);
  void Tidy();
  void Deliver();

  Object& object_;
  Reclaimer& reclaimer_;
  Listener& listener_;
  Records records_;
  Subtables subtables_;
  MaskOrder order_;
  KeyIndex index_;
  JiffiesClock clock_;
  std::unordered_map<KeyWords, uint32_t, MaskHash> slots_;

  EditSpace edits_;
  std::vector<Info> infos_;
  uint32_t never_used_ = 0;  // this record and those after it
  std::vector<uint32_t> free_records_;
  std::unordered_map<uint32_t, std::shared_ptr<const void>> held_;  // by record: what its terminal refers to

  std::vector<Flow> flows_;
  std::vector<uint32_t> free_flows_;
  std::vector<FlowId> changed_;
  uint32_t live_ = 0;
  bool abandoned_ = false;

  std::vector<Retired> retiring_;
  size_t reclaiming_ = 0;                                       // those whose grace period is under way
  std::vector<std::pair<uint64_t, FlowStatsDelta>> reclaimed_;  // to be told to the listener
  int busy_ = 0;
  std::vector<uint32_t> stranded_;  // heads of chains that there was no memory for
  std::vector<uint32_t> chain_;
  std::vector<Pending> pending_;         // by slot
  std::vector<uint32_t> pending_slots_;  // that have something in pending_
  std::shared_ptr<int> alive_ = std::make_shared<int>();
};

}  // namespace sluice::xdp
