// SPDX-License-Identifier: Apache-2.0
// Publishes flows and packets on the ingress endpoint, fire and forget, many a message.
//
// A socket that sends as soon as it has connected loses its first messages without a word; a Publisher waits for the
// daemon's subscription. What the daemon refuses it tells in "refused" events, what never came in "publisher.gap"; how
// all of it fared Settle() tells. Who needs an answer to each uses ControlClient.
//
// One thread at a time. Errors are values: "no_daemon" (no subscription in time), "would_block" (the daemon is slower
// than this publisher and the queue is full: nothing was dropped, try again), "bad_endpoint", "too_large",
// "daemon_changed".
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "sluice/error.h"
#include "sluice/sluice.pb.h"

namespace sluice {

class Publisher {
 public:
  struct Settings {
    std::string endpoint;                                                 // Endpoints::ingress
    std::string name;                                                     // shown in `sluicectl status`; empty: "pid N"
    size_t batch = 64;                                                    // flows or packets a message
    std::chrono::milliseconds connect_timeout = std::chrono::seconds(2);  // for the daemon's subscription
    std::chrono::milliseconds block = std::chrono::milliseconds(0);       // how long a send waits for a full queue
    std::chrono::milliseconds linger = std::chrono::milliseconds(1000);   // what is queued gets, at the end
    int high_water_mark = 1000;                                           // messages in the queue
    void* zmq_context = nullptr;  // to share, for inproc endpoints; must outlive the publisher
    std::string control;          // Endpoints::control; for Settle
  };
  struct Counters {
    uint64_t messages = 0;
    uint64_t flows = 0;  // put, modified and deleted
    uint64_t packets = 0;
    uint64_t flushes = 0;
    uint64_t would_block = 0;
  };
  // What became of flows, packets and flushes: sent = accepted + refused + dropped + under_way.
  struct Account {
    uint64_t sent = 0;
    uint64_t accepted = 0;
    uint64_t refused = 0;
    uint64_t dropped = 0;    // never came to the daemon
    uint64_t under_way = 0;  // not known yet; 0 unless time was up
  };

  // Does not wait for the daemon. Errors: "bad_endpoint".
  static Result<Publisher> Connect(Settings settings);
  Publisher(Publisher&&) noexcept;
  Publisher& operator=(Publisher&&) noexcept;
  ~Publisher();  // flushes, and lingers

  // Waits until the daemon listens. Every send does it too; call it to find out early.
  Result<void> WaitReady();

  // These collect and send when a batch is full, or when the kind changes, as order counts. On an error the flow or
  // packet was not taken; those collected before stay collected.
  Result<void> Put(v1::Flow flow);
  Result<void> Modify(v1::Flow flow);
  Result<void> Delete(v1::FlowKey key);
  Result<void> PacketOut(v1::PacketOut packet);
  // Sends what is collected. Whoever answers packets calls it when there are no more to answer.
  Result<void> Flush();

  // Sent at once, after what is collected. `port` empty: all flows.
  Result<void> DeleteAll(const std::string& port = {});

  // Sends what is collected, waits until the daemon has taken or missed all that was sent, and tells how it fared: of
  // everything since this daemon subscribed, which for a daemon that runs longer than the publisher is everything.
  // Another daemon than that which it was sent to knows nothing of it: "daemon_changed".
  Result<Account> Settle(std::chrono::milliseconds timeout = std::chrono::seconds(5));

  [[nodiscard]] const Counters& counters() const;

 private:
  class Impl;
  explicit Publisher(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice
