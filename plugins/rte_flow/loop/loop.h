// SPDX-License-Identifier: Apache-2.0
// The poll-mode loop's rounds: commands, then a burst of each receive queue, then all that is to be sent.
//
// Its own thread, but for Shared.
#pragma once

#include <rte_mbuf.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "buffers.h"
#include "command_queue.h"
#include "datapath.h"
#include "execution.h"
#include "mark_table.h"
#include "port_table.h"
#include "round_clock.h"
#include "soft/classifier.h"
#include "soft/packet.h"
#include "upcall_queue.h"

namespace sluice::rteflow {

class Loop {
 public:
  static constexpr uint32_t kMostBurst = 256;

  // Written by the loop, read by others.
  struct Shared {
    std::atomic<uint64_t> passed{0};   // fences
    std::atomic<uint64_t> drained{0};  // fences
    DatapathLoad load;
  };

  // All outlive it.
  Loop(const Datapath::Settings& settings, Buffers& buffers, CommandQueue& commands, UpcallQueue& upcalls,
       Shared& shared);

  // Until `stop`, which counts at once together with commands' Wake.
  void Run(const std::atomic<bool>& stop);

  // Commands.
  void operator()(const command::AddPort& add);
  void operator()(const command::RemovePort& remove);
  void operator()(const command::Insert& insert);
  void operator()(const command::Remove& remove);
  void operator()(const command::PacketOut& out);
  void operator()(const command::Fence& fence);

 private:
  // How much there was to do: packets received and commands.
  struct Done {
    size_t packets;
    size_t commands;
  };
  Done Round();
  size_t Poll(LoopPort& port, uint16_t queue);
  // Finds the flows of packets by their marks, and makes the packets straight. How many are left.
  size_t Recognise(LoopPort& port, std::span<rte_mbuf*> packets, std::span<MarkedFlow*> flows);

  // The packets from the first on that one port gets as they are; takes them over. How many.
  size_t ForwardRun(LoopPort& port, std::span<rte_mbuf*> packets, std::span<MarkedFlow*> flows);
  // Each takes `packet` over.
  void ExecuteMarked(LoopPort& port, rte_mbuf* packet, MarkedFlow& marked);
  void Classify(LoopPort& port, rte_mbuf* packet);
  void ExecuteFlow(LoopPort& port, rte_mbuf* packet, const soft::Headers& headers, const DatapathFlow& flow);
  void Miss(LoopPort& port, rte_mbuf* packet, const char* reason);

  void FlushPorts();
  void TellDrained();
  void TellFlows();

  const uint32_t burst_;
  const uint32_t idle_us_;
  Buffers& buffers_;
  CommandQueue& commands_;
  UpcallQueue& upcalls_;
  Shared& shared_;

  RoundClock clock_;
  PortTable ports_;
  MarkTable marks_;
  soft::Classifier<DatapathFlow> classifier_;
  Execution execution_;
  uint64_t passed_ = 0;
  size_t untold_ = 0;  // packets, at most
};

}  // namespace sluice::rteflow
