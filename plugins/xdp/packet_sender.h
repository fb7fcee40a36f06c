// SPDX-License-Identifier: Apache-2.0
// Whole frames out of network devices, from user space: an AF_PACKET socket (packet(7)) past the queueing disciplines
// (PACKET_QDISC_BYPASS), as XDP's own redirects go. The device's traffic control and packet captures on this host do
// not see them.
#pragma once

#include <linux/if_packet.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "sluice/error.h"
#include "sluice/unique_fd.h"

namespace sluice::xdp {

// For one thread. Keeps its memory from flush to flush: at most some 1 MiB, and the largest frame.
class PacketSender {
 public:
  struct Outcome {
    uint64_t sent = 0;    // taken by the device
    uint64_t failed = 0;  // by the device, or for lack of memory
    // Of the first that failed: errno (ENETDOWN: device down; ENXIO: no such device; EMSGSIZE: beyond its MTU; EINVAL:
    // no Ethernet header; EAGAIN, ENOBUFS: more than it can take at present) and the device; 0: none failed.
    int error = 0;
    int ifindex = 0;
  };

  // For the devices of the calling thread's network namespace. Needs CAP_NET_RAW. Errors: the system call's.
  static Result<PacketSender> Open();

  // Copies `frame`, from the Ethernet destination on, without FCS and with all checksums in place; up to 64 KiB. It
  // goes out with the next Flush, or now, with all before it, where enough are waiting. Frames go out in their order.
  void Queue(int ifindex, std::span<const uint8_t> frame);
  // Sends what is queued, without waiting for a device: a frame that fails is left out and the others go on. Returns
  // what became of all that was queued since the last time.
  Outcome Flush();

 private:
  struct Queued {
    size_t at;  // in bytes_
    size_t size;
  };

  explicit PacketSender(UniqueFd fd) : fd_(std::move(fd)) {}
  void Send();
  void Point();

  UniqueFd fd_;
  std::vector<uint8_t> bytes_;  // frame after frame
  std::vector<Queued> queued_;
  std::vector<sockaddr_ll> devices_;  // of queued_
  std::vector<iovec> pieces_;         // and these two are made when sending
  std::vector<mmsghdr> messages_;
  Outcome outcome_;
};

}  // namespace sluice::xdp
