// SPDX-License-Identifier: Apache-2.0
// The flows of this plugin: which tables each is in, and what there is still to tell about it.
//
// A flow whose in_port is named is in that port's table; one without, in the tables of all ports. One for later passes
// is in the table that all ports share, of the old and of the new generation while there are two. It is installed when
// it is in all of them, and in none of them if one refuses. A change puts the new before it deletes the old, so that
// packets always meet one of the two. What has to wait for the kernel is parked, and the rest goes past it.
#pragma once

#include <tsl/robin_map.h>

#include <boost/container/small_vector.hpp>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "flow_plan.h"
#include "flow_table.h"
#include "kept_counts.h"
#include "parked_puts.h"
#include "ports.h"
#include "sluice/sluice.pb.h"
#include "sluice/ufid_hash.h"
#include "soft/packet.h"

namespace sluice::xdp {

// Session thread.
class FlowStore : public FlowTable::Listener {
 public:
  // None is touched before Start; all must outlive the store's use.
  FlowStore() = default;
  void Start(Ports& ports, PassTables& passes, FlowPlanner& planner, Reclaimer& reclaimer) {
    ports_ = &ports;
    passes_ = &passes;
    planner_ = &planner;
    reclaimer_ = &reclaimer;
  }

  // Several in a row are installed together, by Flush at the latest, and `put` must be there until then; verdicts go
  // into `reply`. A put that has to wait for the kernel (a mask or a set of outputs that is new, when no spare is left)
  // is parked, and what it replaces stays in the datapath; its verdict comes from Retry. A later change of the same
  // flow supersedes it: the verdict is a refusal, "superseded".
  void Put(const v1::FlowState& put, uint64_t seq, v1::FromPlugin& reply);
  void Flush(v1::FromPlugin& reply);
  // Tries what is parked, if the Reclaimer has called back since the last time, or `anyhow`. True: more might be done
  // at once, but `reply` is full.
  bool Retry(v1::FromPlugin& reply, bool anyhow = false);
  // Waits until nothing is parked.
  void Settle(v1::FromPlugin& reply);
  [[nodiscard]] const ParkedPuts& parked() const { return parked_; }
  // For HasBefore of parked(): stands after all puts so far.
  uint64_t NextTicket() { return parked_.NextTicket(); }
  // The verdict `deleted` follows through Tell, when no packet can have the flow any more.
  void Delete(const v1::FlowState& del, uint64_t seq, v1::FromPlugin& reply);

  // Forgets what is parked.
  void MarkStale();
  void WithdrawStale();
  void WithdrawAll();

  // Reads what was counted since the last time, for Tell.
  void CollectStats();
  void CollectStats(FlowTable& table);
  // Around a table's end. It deletes all its flows: that is not our doing, and no confirmation hangs on it.
  void BeforeClose(FlowTable& table);
  void AfterClose() { --closing_; }
  // What the next plugin needs to go on with what a kept table counts.
  [[nodiscard]] std::vector<KeptFlow> FlowsToKeep(const FlowTable& table) const;
  void AddKept(const KeptCounts& counts);
  // Moves what there is to tell into `out`, in its order, `most` things at most. True: there is more.
  bool Tell(v1::FromPlugin& out, size_t most);
  [[nodiscard]] bool HasMoreToTell() const { return !to_tell_.empty(); }

  // A flow that a packet in user space has.
  struct Taker {
    uint64_t cookie;
    Ufid ufid;
    std::shared_ptr<const Actions> actions;
  };
  // The one whose record in this table sent the packet up; nullopt where it has changed or gone since.
  [[nodiscard]] std::optional<Taker> FindRecord(const FlowTable& table, uint32_t record, uint32_t gen) const;
  // The one that a packet which comes to this table has now.
  [[nodiscard]] std::optional<Taker> Lookup(const FlowTable& table, const KeyLayout& layout,
                                            const soft::Parsed& packet) const;
  // A packet that the datapath has not counted. `tcp_flags` in host order.
  void CountInSoftware(uint64_t cookie, size_t bytes, uint16_t tcp_flags);
  [[nodiscard]] size_t size() const { return by_ufid_.size(); }

  void OnReclaimed(uint64_t cookie, const FlowStatsDelta& rest) override;

 private:
  struct Placement {
    uint64_t table;  // its serial; where that table is gone, so is the placement
    FlowId id;
  };
  using Placements = boost::container::small_vector<Placement, 1>;  // nearly all flows are in one table
  struct Flow {                                                     // NOLINT(bugprone-exception-escape): see FlowPlan
    Ufid ufid;
    uint64_t instance = 0;
    uint64_t del_seq = 0;
    uint32_t generation = 1;  // tells uses of this place apart
    uint32_t retiring = 0;    // deleted placements not reclaimed yet
    bool linked = false;      // by_ufid_ names it
    bool queued = false;
    bool stale = false;
    bool confirm = false;  // when the last placement is reclaimed, tell that it is deleted
    Placements placements;
    std::shared_ptr<const Actions> actions;
    std::shared_ptr<const Match> match;  // where its records take more packets than it (FlowPlan)
    FlowStatsDelta counted;              // in software, not told yet
  };
  // A put that waits for Flush.
  struct Queued {  // NOLINT(bugprone-exception-escape): see FlowPlan
    const v1::FlowState* put = nullptr;
    uint64_t ticket = 0;
    uint32_t flow = 0;
    uint64_t seq = 0;
    FlowPlan plan;
    Placements old;                    // to be deleted afterwards
    std::optional<uint32_t> old_flow;  // whose they are
    Error error;                       // of the first table that refused
    bool failed = false;
    bool not_yet = false;  // for a table at least
  };
  struct ToTell {
    Ufid ufid;
    uint64_t instance;
    uint64_t del_seq;
    bool deleted;
    FlowStatsDelta delta;
  };

  [[nodiscard]] std::optional<uint32_t> Find(const Ufid& ufid) const;
  // `known`: Find(ufid).
  void PutOrPark(const v1::FlowState& put, const Ufid& ufid, uint64_t seq, uint64_t ticket,
                 std::optional<uint32_t> known, v1::FromPlugin& reply);
  // A later change of the flow is here: one that is parked, of the instance returned, will not be.
  std::optional<uint64_t> Supersede(const Ufid& ufid, v1::FromPlugin& reply);
  void Park(const v1::FlowState& put, const Ufid& ufid, uint64_t seq, uint64_t ticket);
  // As if it had not been queued.
  void Unqueue(Queued& put);
  uint32_t NewFlow(const Ufid& ufid, uint64_t instance);
  void Retire(uint32_t flow, const Placements& placements);
  // Removes it from the tables and from by_ufid_; tells `deleted` in the end if confirm is set.
  void Withdraw(uint32_t index);
  void FreeIfDone(uint32_t index);
  void PutInto(FlowTable& table, std::span<const std::pair<uint64_t, size_t>> queued);
  // nullptr: it is gone.
  [[nodiscard]] FlowTable* TableOf(uint64_t serial) const;
  void Conclude(Queued& put, uint64_t now_ns, v1::FromPlugin& reply);
  void AddStats(const Flow& flow, const FlowStatsDelta& delta);
  [[nodiscard]] uint64_t CookieOf(uint32_t index) const {
    return static_cast<uint64_t>(flows_[index].generation) << 32 | index;
  }
  // nullptr where the flow of that cookie is no more.
  [[nodiscard]] Flow* FlowOf(uint64_t cookie);
  [[nodiscard]] const Flow* FlowOf(uint64_t cookie) const;

  Ports* ports_ = nullptr;
  PassTables* passes_ = nullptr;
  FlowPlanner* planner_ = nullptr;
  Reclaimer* reclaimer_ = nullptr;
  std::deque<Flow> flows_;
  std::vector<uint32_t> free_;
  tsl::robin_map<Ufid, uint32_t, UfidHash> by_ufid_;
  std::vector<Queued> queue_;  // while it is not empty, no table comes or goes
  // Flush's and PutInto's, kept for their memory.
  std::vector<std::pair<uint64_t, size_t>> by_table_;  // its serial, place in queue_
  std::vector<FlowSpec> specs_;
  std::vector<Result<FlowId>> results_;
  ParkedPuts parked_;
  uint64_t retried_at_ = 0;  // Reclaimer::called_back()
  std::deque<ToTell> to_tell_;
  std::vector<uint64_t> counted_;  // cookies of flows that have something in Flow::counted
  int closing_ = 0;                // tables that are at their end
};

}  // namespace sluice::xdp
