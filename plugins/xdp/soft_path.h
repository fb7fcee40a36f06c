// SPDX-License-Identifier: Apache-2.0
// Packets out with actions of their own: executed in user space and sent by a packet socket, many with one system call.
// A live test run for each (packet_out.h) costs ten times as much, and cannot do all that the executor can.
//
// Session thread. Frames go out in their order, at Flush at the latest.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "packet_sender.h"
#include "ports.h"
#include "sluice/action.h"
#include "sluice/sluice.pb.h"
#include "soft/execute.h"

namespace sluice::xdp {

class SoftPath : soft::Sink {
 public:
  // `ports` outlives it.
  explicit SoftPath(const Ports& ports) : ports_(ports) {}

  // Opens what it sends by. Errors: PacketSender's; Send then does nothing but fail with the same.
  Result<void> Open();
  [[nodiscard]] bool IsOpen() const { return sender_.has_value(); }

  // Executes `actions`, as text, on a packet as received on `in_port`. What goes to the controller goes into `out`.
  // Errors: "bad_packet", those of ParseActions and soft::Check. The caller counts them.
  Result<void> Send(Port& in_port, std::string_view packet, const std::string& actions, v1::FromPlugin& out);
  // Sends what is waiting. Errors: of the first frame that a device did not take; they are counted at its port.
  Result<void> Flush();
  // Names and numbers of ports may mean something else from here on.
  void PortsChanged() { parsed_.clear(); }

 private:
  Result<const Actions*> Parse(const std::string& text);
  void Output(uint32_t port, std::span<const uint8_t> frame) override;
  void Flood(std::span<const uint8_t> frame) override;
  void ToController(const sluice::ToController& action, std::span<const uint8_t> frame, size_t length) override;
  void Dropped() override;

  const Ports& ports_;
  std::optional<PacketSender> sender_;
  soft::Frame frame_;
  std::unordered_map<std::string, Actions> parsed_;  // by their text: the same few come again and again
  // Of the packet at hand.
  Port* in_port_ = nullptr;
  v1::FromPlugin* out_ = nullptr;
};

}  // namespace sluice::xdp
