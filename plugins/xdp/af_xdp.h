// SPDX-License-Identifier: Apache-2.0
// An AF_XDP socket on one receive queue: the way of a packet from the XDP program up to us.
//
// Always in copy mode. This is the slow path, and zero-copy would take the queue's buffers away from forwarding. The
// metadata that the program put in front of the packet is copied along (net/xdp/xsk.c), and sits right before it.
#pragma once

#include <xdp/xsk.h>

#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "sluice/error.h"

namespace sluice::xdp {

class XskSocket {
 public:
  static constexpr uint32_t kFrames = 1024;  // that a ring holds at least
  static constexpr uint32_t kMostFrames = 4096;
  static constexpr uint32_t kFrameSize = 4096;  // bytes, with 256 of headroom and the program's metadata

  struct Statistics {
    uint64_t received = 0;
    uint64_t dropped = 0;  // redirected here, and lost: we did not take them fast enough, or too large for a frame
  };

  // Frames for each of a device's `queues`: a few milliseconds of a burst, 64 MB for all of them unless they are many.
  static uint32_t FramesFor(uint32_t queues);

  // frames: a power of two.
  static Result<std::unique_ptr<XskSocket>> Open(const std::string& device, uint32_t queue, uint32_t frames = kFrames);
  ~XskSocket();
  XskSocket(const XskSocket&) = delete;
  XskSocket& operator=(const XskSocket&) = delete;

  [[nodiscard]] int fd() const;
  // Puts the socket into an XSKMAP under its queue's number.
  [[nodiscard]] Result<void> Register(int xskmap_fd) const;

  // Hands over at most `budget` packets and returns how many. A packet, and the metadata that ends where it begins, are
  // valid during the call only.
  using OnPacket = std::function<void(std::span<const uint8_t> packet, const uint8_t* end_of_metadata)>;
  unsigned Receive(unsigned budget, const OnPacket& on_packet);

  [[nodiscard]] Statistics ReadStatistics() const;

 private:
  XskSocket() = default;

  struct Unmap {
    size_t size;
    void operator()(uint8_t* area) const;
  };

  // In the order in which they may go: the socket before the umem, that before its memory.
  std::unique_ptr<uint8_t, Unmap> area_{nullptr, Unmap{0}};
  xsk_umem* umem_ = nullptr;
  xsk_socket* socket_ = nullptr;
  xsk_ring_prod fill_{};
  xsk_ring_cons completion_{};
  xsk_ring_cons rx_{};
  uint32_t queue_ = 0;
  uint64_t received_ = 0;
};

}  // namespace sluice::xdp
