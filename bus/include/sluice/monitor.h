// SPDX-License-Identifier: Apache-2.0
// Follows the event stream without missing anything unnoticed.
//
// With a snapshot wanted, a Monitor does what the ZeroMQ guide calls the Clone pattern: it subscribes, waits for a
// heartbeat (which proves that the subscription is in force, and tells the newest number of every topic), walks the
// table through the control endpoint, drops the events that the table has already, and goes on with the rest. A hole in
// a topic's numbers, or a heartbeat that tells of events that never came, is told as GapDetected and followed by
// another walk; so is a core that was started anew.
//
// One thread at a time. Nothing is thrown; what goes wrong comes as an item.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "sluice/endpoints.h"
#include "sluice/error.h"
#include "sluice/sluice.pb.h"

namespace sluice {

struct EventReceived {
  std::string node;
  std::string epoch;
  v1::Event event;
};
// With whole_upcalls: `upcall` events as they travelled together, in order, up to some hundred. The message is the
// receiver's alone; data may be moved out of it.
struct UpcallsReceived {
  std::shared_ptr<v1::Events> message;
};
// The walk begins: flows that do not come before Synced are no more.
struct SnapshotStarted {
  std::string epoch;
};
// Newer than any SnapshotFlow or event of this flow that came before.
struct SnapshotFlow {
  v1::Flow flow;
  uint64_t as_of = 0;  // sequence number of the stream that this state corresponds to
};
// A flow of an earlier SnapshotFlow that went during the walk.
struct SnapshotDeleted {
  std::string ufid;
  uint64_t as_of = 0;
};
// What has been told up to here is the table as of `seq`; the events that follow are newer.
struct Synced {
  std::string epoch;
  uint64_t seq = 0;
};
// At most one a topic and resync_interval; `missed` is what was missed since the last.
struct GapDetected {
  std::string topic;
  uint64_t missed = 0;
};
// The core is another one now. Sequence numbers start anew.
struct EpochChanged {
  std::string from;
  std::string to;
};
// Nothing came for three heartbeats: the daemon has gone, or hangs. Told once; the next item is the sign of life.
struct Silent {
  std::chrono::milliseconds quiet{};
};
// Something could not be read, or the walk failed and will be tried again.
struct Problem {
  Error error;
};

using MonitorItem = std::variant<EventReceived, SnapshotStarted, SnapshotFlow, SnapshotDeleted, Synced, GapDetected,
                                 EpochChanged, Silent, Problem, UpcallsReceived>;

class Monitor {
 public:
  struct Settings {
    Endpoints endpoints;              // events, and with snapshot control
    std::vector<std::string> topics;  // prefixes; empty: all but "heartbeat"
    bool snapshot = false;            // walk the table first, and after gaps in "flow." topics
    bool whole_upcalls = false;       // UpcallsReceived in place of an EventReceived for each: a fraction of the cost
    std::chrono::milliseconds resync_interval = std::chrono::seconds(1);  // at least, from one walk to the next
    std::chrono::milliseconds walk_timeout = std::chrono::seconds(5);     // for one chunk
    uint32_t chunk = 0;                                                   // flows a chunk; 0: the core's choice
    int high_water_mark = 10000;  // messages in the subscription's queue; what is beyond is a gap
    void* zmq_context = nullptr;  // to share, for inproc endpoints; must outlive the monitor
  };
  struct Counters {
    uint64_t events = 0;  // received, those dropped as older than the snapshot included
    uint64_t missed = 0;
    uint64_t walks = 0;
  };

  // Does not wait for the daemon. Errors: "bad_endpoint".
  static Result<Monitor> Open(Settings settings);
  Monitor(Monitor&&) noexcept;
  Monitor& operator=(Monitor&&) noexcept;
  ~Monitor();

  // The next item; nullopt if none came in time. Call it again and again: work is done in here only, and what is not
  // fetched ends up beyond the high-water mark.
  std::optional<MonitorItem> Next(std::chrono::milliseconds timeout);

  [[nodiscard]] const Counters& counters() const;

 private:
  class Impl;
  explicit Monitor(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice
