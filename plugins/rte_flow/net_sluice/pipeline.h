// SPDX-License-Identifier: Apache-2.0
// What the device does to packets: finds the rule of each and runs its program. One pipeline per thread that does so,
// since it keeps the memory for edits.
#pragma once

#include <rte_mbuf.h>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "key.h"
#include "rule.h"
#include "rule_table.h"
#include "soft/edit.h"
#include "soft/execute.h"

namespace sluice::netsluice {

// Packets on their way out of a pipeline, by where they go, so that each goes in a burst.
class Outbox {
 public:
  explicit Outbox(Device& from) : from_(from) {}

  void ToWire(Device& device, rte_mbuf* packet) { Add(device, kWire, packet); }
  void ToQueue(Device& device, uint16_t queue, rte_mbuf* packet) { Add(device, queue, packet); }
  void Flush();

 private:
  static constexpr uint32_t kWire = UINT32_MAX;
  struct Batch {
    Device* device = nullptr;
    uint32_t way = 0;
    uint16_t count = 0;
    std::array<rte_mbuf*, 32> packets;
  };

  void Add(Device& device, uint32_t way, rte_mbuf* packet);
  void Flush(Batch& batch);

  Device& from_;
  std::array<Batch, 8> batches_;
  size_t used_ = 0;
};

class Pipeline {
 public:
  // Where packets come from, and where those go that no rule sends elsewhere.
  enum class Way : uint8_t {
    kReceive,   // from the wire to the receive queues
    kTransmit,  // from the application to the wire
  };

  Pipeline(Device& device, Way way) : device_(device), way_(way), outbox_(device) {}

  // Takes the packets, each nobody else's and in one piece. Between Readers::Enter and Leave.
  void Run(rte_mbuf** packets, uint16_t count, const RuleTable& table);

 private:
  void One(rte_mbuf* packet, const RuleTable& table);
  // False: the packet is dropped, or cannot go on.
  bool Execute(const Program& program);
  bool Do(const Step& step);
  bool Do(const SetStep& step);
  bool Do(const PushStep& step);
  bool Do(const PopStep& step);
  bool Do(const DecTtlStep& step);
  bool Do(const StripStep& step);
  bool Do(const DecapStep& step);
  bool Do(const EncapStep& step);
  bool Do(const WireStep& step);
  bool Do(const QueueStep& step);

  // To edit the packet: its bytes are in frame_ from then on.
  soft::Editor& Edit();
  bool Strip(size_t size);
  void FitLengths(size_t headers);
  [[nodiscard]] std::span<const uint8_t> Bytes() const;  // as they are by now
  bool Write(std::span<const uint8_t> bytes, rte_mbuf* packet);
  [[nodiscard]] bool pending() const { return wire_ != nullptr || queue_ != nullptr; }
  void SendCopy();  // to where it is pending
  void Finish();
  void Emit(rte_mbuf* packet);
  void EmitToQueue(Device& device, const std::vector<uint16_t>& queues, rte_mbuf* packet);

  Device& device_;
  const Way way_;
  Outbox outbox_;
  soft::Frame frame_;

  // Of the packet in hand.
  rte_mbuf* packet_ = nullptr;
  soft::Headers headers_;
  std::optional<soft::Editor> editor_;  // has a value: frame_ is the packet, not packet_
  // An output that waits to see whether it is the last, and gets the packet itself.
  const WireStep* wire_ = nullptr;
  const QueueStep* queue_ = nullptr;
  bool marked_ = false;
  uint32_t mark_ = 0;
  bool flagged_ = false;

  // Of the packets of one Run.
  uint64_t matched_ = 0, unmatched_ = 0, malformed_ = 0;
};

// Toeplitz, with DPDK's usual key, over what a packet has of IP addresses and TCP, UDP or SCTP ports; 0 without IP.
uint32_t RssHash(const uint8_t* frame, const soft::Headers& headers);

}  // namespace sluice::netsluice
