// SPDX-License-Identifier: Apache-2.0
// The flows of one port, in the maps of its object. What knows how these are laid out is behind this interface.
//
// All calls come from one thread, the session's, and so do the calls to the Listener. Nothing waits for the kernel's
// readers but where it says so; the calls whose names begin with Try never do.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "flow_compiler.h"
#include "object.h"
#include "reclaimer.h"
#include "sluice/error.h"
#include "wait.h"

namespace sluice::xdp {

// A flow of one table, from its Put to its Delete. Given out again afterwards.
using FlowId = uint32_t;

// Counted since the last report.
struct FlowStatsDelta {
  uint64_t packets = 0;
  uint64_t bytes = 0;
  uint64_t used_ns = 0;    // CLOCK_MONOTONIC of the last packet, some ms coarse; 0: none since
  uint16_t tcp_flags = 0;  // seen at any time, or-ed
};

struct FlowSpec {
  KeyWords key{};
  KeyWords mask{};
  uint32_t priority = 0;
  CompiledActions actions;
  uint64_t cookie = 0;    // the caller's name for the flow in callbacks
  bool replaces = false;  // another flow is deleted as soon as this one is in: a full table takes it
};

class FlowTable {
 public:
  class Listener {
   public:
    virtual ~Listener() = default;
    // A deleted flow has left the datapath for good; `rest` is what was not reported yet. Called from Reclaimer::Poll()
    // and Flush(), and the destructor. The listener may call the table, but not destroy it.
    virtual void OnReclaimed(uint64_t cookie, const FlowStatsDelta& rest) = 0;
  };

  struct Limits {
    uint32_t max_flows;
    uint32_t max_masks;
    uint32_t max_edits;
  };
  struct Usage {
    uint32_t flows;     // put and not deleted
    uint32_t retiring;  // records that wait for a grace period
    uint32_t masks;     // with flows under them
    uint32_t spare_subtables;
  };

  virtual ~FlowTable() = default;

  // Installs. When it returns, packets take the flow, by its priority. A flow with the same match as another is
  // allowed: the one with the higher priority serves, of equals the older; the other one takes over when that goes.
  // Some microseconds where the mask is in use already, or one of the spare subtables is left; else it waits for the
  // kernel (10 to 50 ms). The same where the table is full and flows deleted before are still retiring.
  // Errors: "table_full" (naming max_flows), "too_many_masks" (naming the limit), "system" (naming the call). After an
  // error the table is as before.
  virtual Result<FlowId> Put(const FlowSpec& flow) = 0;

  // Many at once, with fewer system calls. One result for each, in order; those that failed are not in the table.
  virtual std::vector<Result<FlowId>> PutMany(std::span<const FlowSpec> flows) = 0;
  // Into `results`. Where PutMany would wait, the flow is not put and its error is NotYet (wait.h).
  virtual void TryPutMany(std::span<const FlowSpec> flows, std::vector<Result<FlowId>>& results) = 0;

  // Other actions, priority or cookie for the same key and mask (`flow.key` and `flow.mask` are not looked at). Packets
  // see the old or the new flow, never none. The flow's statistics go on. Errors: as for Put; the old flow is still
  // there then.
  virtual Result<void> Modify(FlowId id, const FlowSpec& flow) = 0;

  // When it returns, no new packet takes the flow. `id` is void; Listener::OnReclaimed(cookie) follows.
  virtual void Delete(FlowId id) = 0;

  // Deletes everything and waits until it is reclaimed (10 to 50 ms).
  virtual void Flush() = 0;
  // The maps stay as they are, for programs that go on without us: nothing is deleted, by the destructor either. No
  // call but ForEachChangedStats, ForEachRecord and the destructor may follow.
  virtual void Abandon() = 0;
  // For each flow: its record, and what of that one's totals in map `stats` has been reported. For somebody who goes on
  // counting where we ended.
  using OnRecord = std::function<void(uint64_t cookie, uint32_t record, uint64_t packets, uint64_t bytes)>;
  virtual void ForEachRecord(const OnRecord& call) const = 0;

  // The cookie of the flow behind the record that a packet's metadata names; false where it is no more.
  virtual bool FindRecord(uint32_t record, uint32_t gen, uint64_t& cookie) const = 0;
  // The flow of highest priority that a packet with this key has, among those that `accept` agrees to; false: none.
  // Without a system call; its cost grows with the masks.
  using Accept = std::function<bool(uint64_t cookie)>;
  virtual bool Lookup(const KeyWords& key, const Accept& accept, uint64_t& cookie) const = 0;

  // Calls `report` for each flow that had packets since the last report. Some ms for a million flows. Also the place
  // where unused masks are put away; call it about once a second.
  virtual void ForEachChangedStats(const std::function<void(uint64_t cookie, const FlowStatsDelta& delta)>& report) = 0;

  [[nodiscard]] virtual Limits limits() const = 0;
  [[nodiscard]] virtual Usage usage() const = 0;
};

struct FlowTableOptions {
  uint32_t spare_subtables = 16;  // kept ready for new masks
};

// The table of `object`, which must outlive it, as must `reclaimer` and `listener`. Call Reclaimer::Poll() when its fd
// is readable: OnReclaimed comes from there. Errors: "system", "bad_object".
Result<std::unique_ptr<FlowTable>> MakeFlowTable(Object& object, Reclaimer& reclaimer, FlowTable::Listener& listener,
                                                 const FlowTableOptions& options = {});

}  // namespace sluice::xdp
