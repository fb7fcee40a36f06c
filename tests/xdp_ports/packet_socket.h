// SPDX-License-Identifier: Apache-2.0
// Frames in and out of a device, as its host sees them (AF_PACKET).
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "reference/packet.h"
#include "sluice/unique_fd.h"
#include "support/netns.h"

namespace sluice::test {

class PacketSocket {
 public:
  // Throws std::system_error.
  PacketSocket(const Netns& netns, const std::string& device);

  void Send(const reference::Bytes& frame) const;
  // The next frame received; nullopt if none comes in time. Frames sent by the host itself are read over.
  std::optional<reference::Bytes> Receive(std::chrono::milliseconds timeout = std::chrono::seconds(5)) const;
  // Frames until `frame` comes; false if it does not in time.
  bool Expect(const reference::Bytes& frame, std::chrono::milliseconds timeout = std::chrono::seconds(5)) const;

 private:
  UniqueFd fd_;
};

}  // namespace sluice::test
