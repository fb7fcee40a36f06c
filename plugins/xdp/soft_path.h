// SPDX-License-Identifier: Apache-2.0
// Packets executed in user space and sent by a packet socket, many with one system call: those of flows that are beyond
// XDP, and packets out. A live test run for each (packet_out.h) costs ten times as much, and cannot do all that the
// executor can.
//
// Session thread. Frames go out in their order, at Flush at the latest.
#pragma once

#include <optional>
#include <span>

#include "packet_sender.h"
#include "pass_packet.h"
#include "ports.h"
#include "sluice/action.h"
#include "sluice/sluice.pb.h"
#include "sluice/ufid.h"
#include "soft/execute.h"

namespace sluice::xdp {

class SoftPath : soft::Sink {
 public:
  // `ports` outlives it.
  explicit SoftPath(const Ports& ports) : ports_(ports) {}

  // Opens what it sends by. Errors: PacketSender's; Send then does nothing but fail with the same.
  Result<void> Open();
  [[nodiscard]] bool IsOpen() const { return sender_.has_value(); }

  // A packet out: executes `actions`, which soft::Check has passed, on a packet as received on `in_port`. What goes to
  // the controller goes into `out`. Errors: "bad_packet", "not_open". The caller counts them.
  Result<void> Send(Port& in_port, const SeenPacket& packet, const Actions& actions, v1::FromPlugin& out);
  // The same for a packet that is counted already, in any pass, and has the flow `ufid` (nullptr: none). `in_port`:
  // which received it.
  void Execute(Port& in_port, const SeenPacket& packet, const soft::Headers& headers, const Actions& actions,
               const Ufid* ufid, v1::FromPlugin& out);
  // What its in_port is called by now: a tunnel port may have taken the place of the one that received it.
  [[nodiscard]] std::string InPortOf(const Port& in_port, const SeenPacket& packet) const;
  // Sends what is waiting. Errors: of the first frame that a device did not take; they are counted at its port.
  Result<void> Flush();

 private:
  void Output(uint32_t port, std::span<const uint8_t> frame) override;
  void Flood(std::span<const uint8_t> frame) override;
  void ToController(const sluice::ToController& action, std::span<const uint8_t> frame, size_t length) override;
  void Expired() override;
  void Dropped() override;

  const Ports& ports_;
  std::optional<PacketSender> sender_;
  soft::Frame frame_;
  // Of the packet at hand.
  Port* in_port_ = nullptr;
  std::optional<sluice_pass> pass_;
  const Ufid* ufid_ = nullptr;
  v1::FromPlugin* out_ = nullptr;
};

}  // namespace sluice::xdp
