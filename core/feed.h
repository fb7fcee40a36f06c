// SPDX-License-Identifier: Apache-2.0
// What one plugin is told, and when: batches from the journal, as many under way as its credit allows.
//
// A plugin that has just said hello is told its ports first, and flows once it has said how those are, so that it does
// not judge every flow twice. What other plugins bring comes before either. The loop's thread only.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "flow_table.h"
#include "journal.h"
#include "ports.h"

namespace sluice::core {

struct FeedLimits {
  uint32_t window = 8;                     // batches not acknowledged
  int batch = 256;                         // changes in one
  size_t packets = 16384;                  // packet outs waiting
  size_t packet_bytes = size_t{64} << 20;  // and of what size, all together
};

class Feed {
 public:
  Feed(Journal& journal, FlowTable& table, Ports& ports, std::string plugin, uint8_t index, FeedLimits limits);

  // From the start of the journal; `resync` tells the plugin that what it has is void. `wait`: it is not told that this
  // was all until FinishSync().
  void Start(bool resync, bool wait = false);
  // The same for a plugin that asks: what is known of it stays, so that verdicts are news only where they differ.
  void Repeat(bool wait = false);
  void FinishSync() { wait_ = false; }
  void Stop();
  // Until the next Start() nothing is told; packet outs wait.
  void Pause() { cursor_.reset(); }
  // What another incarnation left unacknowledged is no debt of this one.
  void ForgetDebt() { acked_ = last_batch_; }
  // The last batch could not be sent.
  void TakeBack() { --last_batch_; }
  // The next batch, complete but for the epoch; false: there is nothing to send, or no credit.
  bool Fill(v1::ToPlugin& out);
  // A batch outside the credit, for the message that stops a plugin.
  uint64_t NextBatch() { return ++last_batch_; }
  // Of no meaning: one that was never sent, or was acknowledged before.
  enum class Acked { done, again, unknown };
  Acked Ack(uint64_t batch);
  // False: the queue is full.
  bool Queue(v1::PacketOut packet, uint64_t seq);
  // What another plugin brings, or that it is gone. All of it is told again after a Start() or Repeat().
  void Tell(const v1::Extension& extension);
  // No flow is told from now on.
  void LeaveOutFlows(bool leave_out) { no_flows_ = leave_out; }
  // Flows go out although a port has not been reported.
  void Release() { holding_ = false; }

  [[nodiscard]] bool running() const { return cursor_.has_value(); }
  // Nothing but ports has been told yet.
  [[nodiscard]] bool holding() const { return running() && (starting_ || holding_); }
  // The plugin has acknowledged all that there was when the feed started.
  [[nodiscard]] bool caught_up() const { return running() && synced_ && acked_ >= synced_batch_; }
  [[nodiscard]] size_t packets() const { return packets_.size(); }
  [[nodiscard]] size_t packet_bytes() const { return packet_bytes_; }
  [[nodiscard]] uint64_t unacknowledged() const { return last_batch_ - acked_; }
  [[nodiscard]] const FeedLimits& limits() const { return limits_; }
  [[nodiscard]] uint64_t lag() const { return running() ? cursor_->lag() : 0; }

 private:
  void Begin(bool resync, bool wait);
  void OfferPorts(v1::ToPlugin& out);
  void OfferPort(PortEntry& entry, v1::ToPlugin& out);
  void Offer(Entry& entry, v1::ToPlugin& out);
  [[nodiscard]] bool PortsReported() const;

  Journal& journal_;
  FlowTable& table_;
  Ports& ports_;
  const std::string plugin_;
  const uint8_t index_;
  const FeedLimits limits_;

  struct Packet {
    uint64_t seq;
    v1::PacketOut packet;
  };
  std::optional<Cursor> cursor_;
  std::vector<v1::Extension> extensions_;  // not told yet
  std::deque<Packet> packets_;
  size_t packet_bytes_ = 0;
  uint64_t last_batch_ = 0;
  uint64_t acked_ = 0;
  bool starting_ = false;
  bool resync_ = false;
  bool repeating_ = false;
  bool holding_ = false;
  bool wait_ = false;
  bool no_flows_ = false;
  bool synced_ = false;
  uint64_t synced_batch_ = 0;
};

}  // namespace sluice::core
