// SPDX-License-Identifier: Apache-2.0
// The poll-mode loop: takes packets from the ports' receive queues, finds each packet's flow - by its mark where the
// device has classified it, else in a software classifier - and executes the flow's actions.
//
// One thread of its own runs it, registered with DPDK. The others, the plugin's session thread, tell it what to do
// by a queue of commands which it empties between bursts, so that no packet ever meets a half-made change. Whoever
// needs a change to have taken effect sets a fence and waits for it: a flow that was removed before a fence has no
// packet behind it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sluice/action.h"
#include "sluice/error.h"
#include "sluice/match.h"
#include "sluice/ufid.h"

namespace sluice::rteflow {

// A flow as the loop has it: made, and never changed but for its counters. A changed flow is another one.
struct DatapathFlow {
  Ufid ufid;
  Match match;  // with in_port where it has one
  uint32_t priority = 0;
  Actions actions;    // ports by number; all that soft::Check passes
  uint32_t mark = 0;  // what MARKed packets of it bear; 0: none

  // Written by the loop alone, read by any thread: packets that the loop executed. Those of MARKed packets come with a
  // delay, of a ms or so under load; behind a fence all before it are in.
  std::atomic<uint64_t> packets{0};
  std::atomic<uint64_t> bytes{0};      // without FCS
  std::atomic<uint64_t> last_used{0};  // CLOCK_MONOTONIC, ns; 0: never
  std::atomic<uint32_t> tcp_flags{0};  // or-ed

  // The loop's own, from Insert on: `actions` and `match` in short.
  struct Plan {
    enum class Kind : uint8_t { kDrop, kForward, kExecute } kind = Kind::kDrop;
    bool tcp = false;     // its packets may be TCP
    bool once = false;    // kExecute: sends at most one copy, out of a port
    uint32_t output = 0;  // kForward: the port
  } plan;
};

struct DatapathUpcall {
  uint32_t port = 0;
  const char* reason = "miss";  // "miss", "action", "malformed"
  std::optional<Ufid> ufid;     // of the flow behind it, reason "action"
  std::vector<uint8_t> data;    // from the Ethernet destination on, possibly cut
  uint32_t length = 0;          // on the wire
};

// Names are those of the counters of `port list --json`. marked + hit_software + miss + malformed are the packets that
// came in and those put out by their flow; stale_mark is part of the last three.
struct DatapathPortCounters {
  uint64_t rx_packets = 0, rx_bytes = 0;
  uint64_t marked = 0;      // came with a flow's mark
  uint64_t stale_mark = 0;  // came with a mark that no flow has any more: classified in software
  uint64_t hit_software = 0, miss = 0, malformed = 0;
  uint64_t forwarded = 0;  // frames that devices took, at the port that they came in by
  uint64_t tx_packets = 0, tx_bytes = 0;
  uint64_t tx_full = 0;                                   // dropped: the output port's queue took no more
  uint64_t no_port = 0;                                   // dropped: the output port is not there
  uint64_t no_buffer = 0;                                 // dropped: no buffer for a copy, or longer than one
  uint64_t dropped = 0;                                   // by a flow
  uint64_t ttl_expired = 0;                               // took the other list of a dec_ttl
  uint64_t upcall = 0, upcall_rate = 0, upcall_full = 0;  // sent up; dropped for the rate, for the queue
  uint64_t packet_out = 0, packet_out_failed = 0;
};

// What the loop's thread did with its time.
struct DatapathLoad {
  uint64_t rounds = 0;
  uint64_t empty_rounds = 0;  // without a packet or a command
  uint64_t packets = 0;       // received
  uint64_t busy_cycles = 0;   // of the time stamp counter, in the other rounds
};

enum class MissPolicy : uint8_t { kUpcall, kDrop };

class Datapath {
 public:
  struct Settings {
    int cpu = -1;           // to run on; -1: any
    uint32_t idle_us = 50;  // sleep after a while without packets; 0: never sleep
    uint32_t burst = 32;
    uint32_t upcall_queue = 4096;  // packets that wait for TakeUpcalls
    uint32_t copies = 4095;        // buffers for copies and packet outs; 2^n - 1 wastes no memory
    uint16_t copy_bytes = 9216;    // of the longest frame in one
  };
  struct Port {
    uint32_t number = 0;
    uint16_t ethdev = 0;  // configured and started; with a transmit queue 0 that is the loop's alone
    uint16_t rx_queues = 1;
    MissPolicy miss = MissPolicy::kUpcall;
    uint32_t upcall_rate = 0;   // a second; 0: no limit
    uint32_t upcall_bytes = 0;  // of a packet that are sent up at most; 0: all
  };

  // Errors: "no_thread" (DPDK or the system gave none, or there is no such CPU), "no_memory" (for the buffers).
  static Result<std::unique_ptr<Datapath>> Start(const Settings& settings);
  // Ends the thread. Flows and ports that are still known are forgotten, not freed. Buffers that devices still hold
  // stay allocated, and all of them with these: stop the devices before.
  ~Datapath();
  Datapath(const Datapath&) = delete;
  Datapath& operator=(const Datapath&) = delete;

  // ---- commands: one caller at a time, in effect after the next fence at the latest. Queue full: waits.
  // One that is there already gets these settings, and keeps its counters.
  void AddPort(const Port& port);
  // The device may be stopped once a fence set after this has passed.
  void RemovePort(uint32_t number);
  // Among flows of one match and priority the newest wins. `flow` has to live until a fence behind its Remove. A mark
  // other than 0 is `flow`'s from now on.
  void Insert(DatapathFlow& flow);
  void Remove(DatapathFlow& flow);
  // A packet as received on `port`; by the flow that it has, or, with `actions`, which soft::Check has passed, by
  // these. Nothing where there is no such port.
  void PacketOut(uint32_t port, std::vector<uint8_t> frame, std::optional<Actions> actions);

  // Everything before it has taken effect once passed_fence() >= the number returned.
  uint64_t Fence();
  [[nodiscard]] uint64_t passed_fence() const;
  void WaitFor(uint64_t fence);
  // The newest fence behind which each receive queue of each port has been seen empty: packets that devices had
  // marked before it are through. Only grows.
  [[nodiscard]] uint64_t drained_fence() const;

  // Readable when there is an upcall to take; stays so until TakeUpcalls found none.
  [[nodiscard]] int upcall_fd() const;
  // At most `most`.
  std::vector<DatapathUpcall> TakeUpcalls(size_t most);
  // Zeros for a port that is not known. Any thread.
  [[nodiscard]] DatapathPortCounters Counters(uint32_t port) const;
  [[nodiscard]] DatapathLoad Load() const;

 private:
  class Impl;
  explicit Datapath(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice::rteflow
