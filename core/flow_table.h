// SPDX-License-Identifier: Apache-2.0
// The flows, in the journal's order, with where each stands in every plugin.
//
// A deleted flow stays as a tombstone until every plugin that was offered it has confirmed; then flow.del is announced
// with the final statistics. Its ufid may be put again at any time: then flow.del is announced first, and the new
// flow is another instance. The loop's thread only.
#pragma once

#include <tsl/robin_set.h>

#include <array>
#include <map>
#include <memory>
#include <random>

#include "flow.h"
#include "publisher_shares.h"
#include "sluice/error.h"
#include "sluice/ufid_hash.h"

namespace sluice::core {

// Told of what happens to flows, in the order in which it happens.
class FlowObserver {
 public:
  virtual ~FlowObserver() = default;
  virtual void OnAdded(Flow&) {}
  virtual void OnModified(Flow&) {}
  virtual void OnDeleted(Flow&) {}  // still with its old content and last statistics
  virtual void OnOffload(Flow&) {}  // a plugin's verdict changed
  virtual void OnCounted(Flow&) {}  // counters changed
  // The flow begins or ceases to refer to its ports.
  virtual void OnLinked(const Flow&) {}
  virtual void OnUnlinked(const Flow&) {}
};

inline constexpr size_t kMaxPlugins = 32;
inline constexpr size_t kStates = v1::OffloadState_ARRAYSIZE;

struct FlowLimits {
  uint64_t max_flows = 1'048'576;
  uint64_t max_flows_per_publisher = 0;  // 0: no limit
  uint64_t max_tombstones = 1'048'576;   // that one plugin may leave unconfirmed before it is synchronised anew
  size_t max_publishers = 1'024;         // with a limit of their own
};

enum class PutOutcome { added, modified, unchanged };

class FlowTable {
 public:
  FlowTable(Journal& journal, FlowObserver& observer, FlowLimits limits);
  ~FlowTable();
  FlowTable(const FlowTable&) = delete;
  FlowTable& operator=(const FlowTable&) = delete;

  // Errors: "duplicate_match", "table_full", "publisher_limit"; "no_such_flow" where `must_exist`.
  Result<PutOutcome> Put(const FlowSpec& spec, uint64_t now_ns, bool must_exist = false);
  void Delete(Flow& flow, Cause cause);
  // All, or those of in_port `port`. Returns how many.
  uint32_t Flush(uint32_t port);

  [[nodiscard]] Flow* Find(const Ufid& ufid) const;  // live ones
  // Of several priorities the highest.
  [[nodiscard]] Flow* FindByMatch(std::string_view packed) const;
  [[nodiscard]] uint64_t size() const { return live_; }

  // Puts into `changes` what `plugin` has to be told about the entry (a flow or tombstone), and notes that it was.
  void Offer(Flow& flow, uint8_t plugin, google::protobuf::RepeatedPtrField<v1::Change>& changes);
  // False where the verdict or the statistics are about something that is no more.
  bool Judge(uint8_t plugin, v1::Verdict& verdict);
  bool Count(const v1::FlowStats& stats, uint64_t now_ns);

  // The plugin is gone or begins anew: it has nothing, confirms nothing.
  void Forget(uint8_t plugin);
  // The plugin does not answer: flow.del waits for it no longer.
  void AnnounceWaiting(uint8_t plugin);
  // A plugin that has more deletes unconfirmed than allowed; kMaxPlugins: none.
  [[nodiscard]] uint8_t Laggard() const;
  // Offers anew what depends on a port that came or went.
  void Reoffer(uint32_t port);

  // Frees the tombstones that no snapshot needs any more.
  void Sweep();
  // Deletes up to this sequence number are no longer in the journal.
  [[nodiscard]] uint64_t freed_upto() const { return freed_upto_; }
  [[nodiscard]] uint64_t tombstones() const { return by_ufid_.size() - live_; }
  // Those of which only snapshots under way have yet to tell.
  [[nodiscard]] uint64_t held_for_snapshots() const { return settled_.size(); }
  // Deletes that this plugin has yet to confirm.
  [[nodiscard]] uint64_t UnconfirmedOf(uint8_t plugin) const { return unconfirmed_[plugin]; }
  [[nodiscard]] const FlowLimits& limits() const { return limits_; }

  [[nodiscard]] uint64_t CountOf(uint8_t plugin, v1::OffloadState state) const { return counts_[plugin][state]; }

 private:
  // What an index goes by, of a flow or of what is looked for.
  struct UfidOf {
    const Ufid& operator()(const Flow* flow) const { return flow->ufid; }
    const Ufid& operator()(const Ufid& ufid) const { return ufid; }
  };
  struct MatchKey {
    std::string_view match;
    uint32_t priority;
    bool operator==(const MatchKey&) const = default;
  };
  struct MatchOf {
    MatchKey operator()(const Flow* flow) const { return {flow->match(), flow->priority}; }
    MatchKey operator()(const MatchKey& key) const { return key; }
  };
  struct MatchHash {
    uint64_t secret = std::random_device()();  // as in UfidHash
    size_t operator()(const MatchKey& key) const;
  };
  template <typename Of, typename KeyHash>
  struct HashOf {
    KeyHash hash;
    size_t operator()(const auto& one) const { return hash(Of()(one)); }
  };
  template <typename Of>
  struct SameOf {
    using is_transparent = void;
    bool operator()(const auto& a, const auto& b) const { return Of()(a) == Of()(b); }
  };
  // Flat, with hashes kept beside: nearly every step that a search takes in memory is a miss of the CPU's cache.
  template <typename Of, typename KeyHash>
  using Index = tsl::robin_set<Flow*, HashOf<Of, KeyHash>, SameOf<Of>, std::allocator<Flow*>, true>;

  [[nodiscard]] Flow* FindAny(std::string_view ufid) const;  // a tombstone too
  [[nodiscard]] Error PublisherLimit(std::string_view publisher) const;
  void Add(const FlowSpec& spec, PublisherShares::Share share, uint64_t now_ns);
  void Revive(Flow& flow, const FlowSpec& spec, PublisherShares::Share share, uint64_t now_ns);  // a tombstone
  void Replace(Flow& flow, const FlowSpec& spec, uint64_t now_ns);  // another match under the same ufid
  PutOutcome Modify(Flow& flow, const FlowSpec& spec, uint64_t now_ns);
  void Begin(Flow& flow, const FlowSpec& spec, uint64_t now_ns);
  void Enter(Flow& flow);
  void Leave(Flow& flow);
  void Announce(Flow& flow);
  void Free(Flow& flow);
  void SettleTombstone(Flow& flow);
  void SetState(Placement& placement, v1::OffloadState state);
  void RemovePlacement(Flow& flow, uint8_t plugin);

  Journal& journal_;
  FlowObserver& observer_;
  FlowLimits limits_;
  PublisherShares shares_;
  Index<UfidOf, UfidHash> by_ufid_;  // tombstones too; owns them
  Index<MatchOf, MatchHash> by_match_;
  std::map<uint32_t, uint64_t, std::greater<>> priorities_;  // live flows of each priority
  std::map<uint64_t, Flow*> settled_;                        // tombstones that only snapshots still need, by seq
  std::array<std::array<uint64_t, kStates>, kMaxPlugins> counts_{};
  std::array<uint64_t, kMaxPlugins> unconfirmed_{};
  uint64_t live_ = 0;
  uint64_t freed_upto_ = 0;
};

}  // namespace sluice::core
