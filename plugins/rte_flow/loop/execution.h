// SPDX-License-Identifier: Apache-2.0
// Lists of actions executed on packets of the loop, in user space (soft/execute.h).
//
// The loop's thread.
#pragma once

#include <rte_mbuf.h>

#include <cstdint>
#include <span>

#include "buffers.h"
#include "port_table.h"
#include "round_clock.h"
#include "sluice/action.h"
#include "sluice/ufid.h"
#include "soft/execute.h"
#include "upcall_queue.h"

namespace sluice::rteflow {

class Execution : soft::Sink {
 public:
  // All outlive it.
  Execution(PortTable& ports, Buffers& buffers, UpcallQueue& upcalls, RoundClock& clock)
      : ports_(ports), buffers_(buffers), upcalls_(upcalls), clock_(clock) {}

  // Takes `packet` over, a straight one that came in by `in` and has these headers. `ufid`: of its flow, nullptr: none.
  // `once`: the list sends one copy at most, and that out of a port; it is sent in the packet's own buffer then.
  void Execute(const Actions& actions, const soft::Headers& headers, rte_mbuf* packet, LoopPort& in, const Ufid* ufid,
               bool once);
  // Takes `packets` over, of so many bytes together, and sends them as they are (LoopPort::ForgetReceipt was called).
  void Forward(std::span<rte_mbuf*> packets, uint64_t bytes, LoopPort& in, uint32_t port) {
    LoopPort* out = ports_.Find(port);
    if (out == nullptr) return NoPort(packets, in);
    out->Send(packets, bytes, in);
  }
  // To the controller, as much as the port lets up. `frame`: the packet's first bytes, `length`: of it on the wire.
  void SendUp(LoopPort& in, const char* reason, const Ufid* ufid, std::span<const uint8_t> frame, size_t length);

 private:
  void Output(uint32_t port, std::span<const uint8_t> frame) override;
  void Flood(std::span<const uint8_t> frame) override;
  void ToController(const sluice::ToController& action, std::span<const uint8_t> frame, size_t length) override;
  void Expired() override;
  void Dropped() override;

  void SendCopy(LoopPort& out, std::span<const uint8_t> frame);
  static void NoPort(std::span<rte_mbuf*> packets, LoopPort& in);

  PortTable& ports_;
  Buffers& buffers_;
  UpcallQueue& upcalls_;
  RoundClock& clock_;
  soft::Frame frame_;
  // Of the packet at hand.
  LoopPort* in_ = nullptr;
  const Ufid* ufid_ = nullptr;
  rte_mbuf* reusable_ = nullptr;
};

}  // namespace sluice::rteflow
