// SPDX-License-Identifier: Apache-2.0
// The flows of this plugin: in software, in which devices and how far, and what there is to tell of them.
//
// Every flow that software can execute is in the poll-mode loop's classifier, also while a device has it: packets that
// the device had let through before it got the rule, or that the rule does not see, still meet their flow. A flow
// whose in_port is named concerns that port's device; one without, those of all ports.
//
// A change puts the new flow beside the old and takes the old away after: packets always meet one of the two.
#pragma once

#include <tsl/robin_map.h>

#include <boost/container/small_vector.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "loop/datapath.h"
#include "marks.h"
#include "offload/offloader.h"
#include "ports.h"
#include "precedence.h"
#include "sluice/sluice.pb.h"
#include "sluice/ufid_hash.h"

namespace sluice::rteflow {

// Session thread.
class FlowStore {
 public:
  FlowStore(Datapath& datapath, Ports& ports, std::function<void(int level, const std::string& line)> log)
      : datapath_(datapath), ports_(ports), log_(std::move(log)) {}
  // Flows that are still there are forgotten: the datapath must have ended.
  ~FlowStore() = default;
  FlowStore(const FlowStore&) = delete;
  FlowStore& operator=(const FlowStore&) = delete;

  // In effect, and answered in `reply`, with the next Flush.
  void Put(const v1::FlowState& put, uint64_t seq, v1::FromPlugin& reply);
  void Delete(const v1::FlowState& del, uint64_t seq);
  void Flush(v1::FromPlugin& reply);

  // Takes out of all devices what a port's end makes void: its own rules, and those that send to it.
  void BeforeClose(Port& port);
  // Numbers have another meaning, or nobody trusts the flows any more.
  void WithdrawAll();
  void MarkStale();
  void WithdrawStale();
  // To be called when ports come.
  void ForgetTexts() { texts_.clear(); }

  // Reads what was counted since the last time, of `most` flows: the next ones. True: it has come round.
  bool CollectStats(size_t most, v1::FromPlugin& out);
  // The parsed list; the same object for the same text, as long as it is remembered. Errors: those of ParseActions,
  // "no_such_port".
  Result<std::shared_ptr<const Actions>> Parse(const std::string& text);

 private:
  struct Placement {
    uint32_t port = 0;
    std::optional<OffloadRule> rule;
    std::optional<Error> why;  // there is no rule
    bool outranked = false;    // the reason is another flow
  };
  struct Counts {
    uint64_t packets = 0;
    uint64_t bytes = 0;
    uint64_t used_ns = 0;
    uint32_t tcp_flags = 0;
    void Add(const Counts& more);
  };
  // One content of a flow, in software and in devices. A change makes another.
  // A small_vector may allocate when it is moved; who runs out of memory here has no use for going on.
  struct Body {  // NOLINT(bugprone-exception-escape)
    std::unique_ptr<DatapathFlow> datapath;
    bool in_software = false;  // the classifier has it
    boost::container::small_vector<Placement, 1> placements;
    uint64_t read_packets = 0;  // of what `datapath` counted
    uint64_t read_bytes = 0;
    Counts counts;  // read, not told yet
  };
  struct Flow {
    Ufid ufid;
    uint64_t instance = 0;
    uint64_t seq = 0;
    size_t place = 0;  // in all_
    bool stale = false;
    bool queued = false;  // answers_ has it
    Body body;
  };
  // What the loop may still have, until the next fence has passed.
  struct Retiring {  // NOLINT(bugprone-exception-escape)
    Ufid ufid;
    uint64_t instance = 0;
    std::optional<uint64_t> deleted;  // the number of the change to be answered
    Body body;
  };

  Result<Body> Read(const v1::FlowState& put, const Ufid& ufid);
  [[nodiscard]] std::vector<Port*> Targets(const Match& match) const;
  [[nodiscard]] Result<void> CheckOutputs(const Actions& actions) const;
  Flow& Add(const Ufid& ufid, uint64_t instance);
  void Erase(Flow& flow, std::optional<uint64_t> deleted);
  [[nodiscard]] Flow* Find(const Ufid& ufid) const;
  [[nodiscard]] Flow* Find(const DatapathFlow& flow) const;

  // Has `body` on every port that it concerns and nowhere else, as far as devices let it. `old`: what it replaces.
  void Place(Body& body, Body* old);
  void PlaceOn(Port& port, const Body& body, Placement& placement, Body* old);
  Result<OffloadRule> Create(Port& port, const DatapathFlow& flow, Body* old);
  Result<OffloadRule> CreateAndSee(Port& port, const OffloadRequest& request);
  // Out of the classifier and all devices; what is left to count follows with the next Flush.
  void Retire(const Flow& flow, Body body, std::optional<uint64_t> deleted);
  void DropRule(Body& body, Placement& placement);
  void DestroyRule(Port& port, OffloadRule& rule);
  // A placement enters, or leaves, the order of precedence at its port.
  void Settle(const Body& body, const Placement& placement);
  void Unsettle(const Body& body, Placement& placement);
  void OutrankBelow(const DatapathFlow& flow, uint32_t port);
  void LeaveSwitchBelow(const DatapathFlow& flow, uint32_t number);
  // Takes the rule of `flow` out of the port's device and its placement out of the order; nullptr: it had none.
  Placement* Lift(const DatapathFlow& flow, uint32_t port);
  void RetryOutranked();
  void Repair(v1::FromPlugin& reply);

  void Answer(Flow& flow);
  void Tell(const Flow& flow, v1::FromPlugin& reply) const;
  // What the device does not do, software would have to, and cannot: why.
  [[nodiscard]] static std::optional<Error> Unserved(const Body& body, const Error& software);
  void ReadRule(Body& body, Placement& placement);
  static void ReadSoftware(Body& body);
  static void TellCounts(const Ufid& ufid, uint64_t instance, Body& body, v1::FromPlugin& out);

  Datapath& datapath_;
  Ports& ports_;
  std::function<void(int level, const std::string& line)> log_;
  tsl::robin_map<Ufid, std::unique_ptr<Flow>, UfidHash> flows_;
  std::vector<Flow*> all_;
  size_t next_to_read_ = 0;                    // in all_
  std::map<uint32_t, Precedence> precedence_;  // by port
  Marks marks_;
  std::vector<Ufid> answers_;  // flows whose state is to be told with the next Flush
  std::vector<Retiring> retiring_;
  std::vector<uint32_t> broken_;  // ports whose device did not let a rule go
  size_t outranked_ = 0;          // placements
  bool may_rise_ = false;         // something that may have outranked them has gone
  std::unordered_map<std::string, std::shared_ptr<const Actions>> texts_;
};

}  // namespace sluice::rteflow
