// SPDX-License-Identifier: Apache-2.0
// An AF_XDP socket on one receive queue: the way of a packet from the XDP program up to us.
//
// Always in copy mode. This is the slow path, and zero-copy would take the queue's buffers away from forwarding. The
// metadata that the program put in front of the packet is copied along (net/xdp/xsk.c), and sits right before it.
// Multi-buffer (Documentation/networking/af_xdp.rst, kernel 6.6): a packet that is larger than a frame takes several,
// all but the last marked as continued.
#pragma once

#include <xdp/xsk.h>

#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "sluice/error.h"

namespace sluice::xdp {

class XskSocket {
 public:
  static constexpr uint32_t kFrames = 1024;  // that a ring holds at least
  static constexpr uint32_t kMostFrames = 4096;
  static constexpr uint32_t kFrameSize = 4096;  // bytes, with 256 of headroom and the program's metadata
  static constexpr uint32_t kMostInOneFrame = kFrameSize - 256;
  static constexpr size_t kMetadataSize = 32;  // readable before the end of the metadata; the most that XDP has

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
  // False: packets larger than kMostInOneFrame are lost, and count as dropped.
  [[nodiscard]] bool TakesSeveralBuffers() const { return takes_several_; }
  // Puts the socket into an XSKMAP under its queue's number.
  [[nodiscard]] Result<void> Register(int xskmap_fd) const { return Register(xskmap_fd, queue_); }
  // Under another number: a socket may be in several.
  [[nodiscard]] Result<void> Register(int xskmap_fd, uint32_t entry) const;
  [[nodiscard]] uint32_t queue() const { return queue_; }

  // Takes at most `budget` frames from the ring, hands over the packets that end in them and returns how many those
  // are. A packet, and the metadata that ends where it begins, are valid during the call only.
  using OnPacket = std::function<void(std::span<const uint8_t> packet, const uint8_t* end_of_metadata)>;
  unsigned Receive(unsigned budget, const OnPacket& on_packet);

  [[nodiscard]] Statistics ReadStatistics() const;

 private:
  XskSocket() = default;
  // `bind_flags` besides those that are always set. The errno, positive, in `error`.
  static std::unique_ptr<XskSocket> Create(const std::string& device, uint32_t queue, uint32_t frames,
                                           uint16_t bind_flags, int& error);
  void HandOver(const xdp_desc& descriptor, const OnPacket& on_packet);

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
  bool takes_several_ = false;
  std::vector<uint8_t> partial_;  // metadata and beginning of a packet that goes on in the next frame
  uint64_t received_ = 0;
};

}  // namespace sluice::xdp
