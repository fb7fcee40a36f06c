// SPDX-License-Identifier: Apache-2.0
#include "af_xdp.h"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <linux/if_xdp.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <algorithm>
#include <bit>
#include <cerrno>

#include "system.h"

// Debian 12's header is older than they are.
#ifndef XDP_USE_SG
#define XDP_USE_SG (1 << 4)
#endif
#ifndef XDP_PKT_CONTD
#define XDP_PKT_CONTD (1 << 0)
#endif

namespace sluice::xdp {
namespace {

constexpr size_t kBytesOfAPort = size_t{64} << 20;

Error Explain(const std::string& device, uint32_t queue, int error) {
  const std::string what = "opening an AF_XDP socket on queue " + std::to_string(queue) + " of " + device;
  Error result = SystemErrorNeeding(what, error, {kCapNetRaw, kCapNetAdmin});
  if (error == EINVAL) result.detail += "; the device has no receive queue of that number";
  if (error == EBUSY) result.detail += "; another program's AF_XDP socket has that queue";
  if (error == ENOBUFS || error == ENOMEM) result.detail += "; RLIMIT_MEMLOCK may be too low";
  if (error == EAFNOSUPPORT) result.detail += "; this kernel is built without AF_XDP (CONFIG_XDP_SOCKETS)";
  return result;
}

}  // namespace

void XskSocket::Unmap::operator()(uint8_t* area) const { munmap(area, size); }

uint32_t XskSocket::FramesFor(uint32_t queues) {
  const auto share = static_cast<uint32_t>(kBytesOfAPort / kFrameSize / std::max(queues, 1U));
  return std::clamp(std::bit_floor(share), kFrames, kMostFrames);
}

Result<std::unique_ptr<XskSocket>> XskSocket::Open(const std::string& device, uint32_t queue, uint32_t frames) {
  int error = 0;
  auto xsk = Create(device, queue, frames, XDP_USE_SG, error);
  if (xsk == nullptr && error == EINVAL) {  // before 6.6, or for another reason
    xsk = Create(device, queue, frames, 0, error);
  } else if (xsk != nullptr) {
    xsk->takes_several_ = true;
  }
  if (xsk == nullptr) return Explain(device, queue, error);
  return xsk;
}

std::unique_ptr<XskSocket> XskSocket::Create(const std::string& device, uint32_t queue, uint32_t frames,
                                             uint16_t bind_flags, int& error) {
  const size_t size = static_cast<size_t>(frames) * kFrameSize;
  std::unique_ptr<XskSocket> xsk(new XskSocket);
  xsk->queue_ = queue;
  void* area = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  error = errno;
  if (area == MAP_FAILED) return nullptr;
  xsk->area_ = {static_cast<uint8_t*>(area), Unmap{size}};

  const xsk_umem_config umem_config{frames, XSK_RING_CONS__DEFAULT_NUM_DESCS, kFrameSize, 0, 0};
  error = -xsk_umem__create(&xsk->umem_, area, size, &xsk->fill_, &xsk->completion_, &umem_config);
  if (error != 0) return nullptr;

  xsk_socket_config config{};
  config.rx_size = frames;
  config.tx_size = 0;
  config.libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD;
  config.bind_flags = XDP_COPY | XDP_USE_NEED_WAKEUP | bind_flags;
  error = -xsk_socket__create(&xsk->socket_, device.c_str(), queue, xsk->umem_, &xsk->rx_, nullptr, &config);
  if (error != 0) {
    xsk->socket_ = nullptr;
    return nullptr;
  }
  // A child of this process would keep the queue.
  (void)fcntl(xsk->fd(), F_SETFD, FD_CLOEXEC);
  uint32_t at = 0;
  xsk_ring_prod__reserve(&xsk->fill_, frames, &at);
  for (uint32_t i = 0; i < frames; ++i) {
    *xsk_ring_prod__fill_addr(&xsk->fill_, at + i) = static_cast<uint64_t>(i) * kFrameSize;
  }
  xsk_ring_prod__submit(&xsk->fill_, frames);
  return xsk;
}

XskSocket::~XskSocket() {
  if (socket_ != nullptr) xsk_socket__delete(socket_);
  if (umem_ != nullptr) xsk_umem__delete(umem_);
}

int XskSocket::fd() const { return xsk_socket__fd(socket_); }

Result<void> XskSocket::Register(int xskmap_fd, uint32_t entry) const {
  const int socket_fd = fd();
  if (bpf_map_update_elem(xskmap_fd, &entry, &socket_fd, BPF_ANY) != 0) {
    return SystemError("putting queue " + std::to_string(queue_) + " into the AF_XDP map", errno);
  }
  return {};
}

unsigned XskSocket::Receive(unsigned budget, const OnPacket& on_packet) {
  uint32_t from = 0;
  const uint32_t count = xsk_ring_cons__peek(&rx_, budget, &from);
  if (count == 0) return 0;
  uint32_t to = 0;
  const uint64_t before = received_;
  // As many as were taken out fit in: the ring has room for all frames there are.
  xsk_ring_prod__reserve(&fill_, count, &to);
  for (uint32_t i = 0; i < count; ++i) {
    const xdp_desc& descriptor = *xsk_ring_cons__rx_desc(&rx_, from + i);
    HandOver(descriptor, on_packet);
    *xsk_ring_prod__fill_addr(&fill_, to + i) = descriptor.addr - descriptor.addr % kFrameSize;
  }
  xsk_ring_prod__submit(&fill_, count);
  xsk_ring_cons__release(&rx_, count);
  if (xsk_ring_prod__needs_wakeup(&fill_) != 0) recvfrom(fd(), nullptr, 0, MSG_DONTWAIT, nullptr, nullptr);
  return static_cast<unsigned>(received_ - before);
}

void XskSocket::HandOver(const xdp_desc& descriptor, const OnPacket& on_packet) {
  const auto* data = static_cast<const uint8_t*>(xsk_umem__get_data(area_.get(), descriptor.addr));
  const bool goes_on = (descriptor.options & XDP_PKT_CONTD) != 0;
  if (partial_.empty() && !goes_on) {
    ++received_;
    on_packet({data, descriptor.len}, data);
    return;
  }
  if (partial_.empty()) partial_.assign(data - kMetadataSize, data);
  partial_.insert(partial_.end(), data, data + descriptor.len);
  if (goes_on) return;
  ++received_;
  const auto packet = std::span<const uint8_t>(partial_).subspan(kMetadataSize);
  on_packet(packet, packet.data());
  partial_.clear();
}

XskSocket::Statistics XskSocket::ReadStatistics() const {
  Statistics result;
  result.received = received_;
  xdp_statistics kernel{};
  socklen_t size = sizeof(kernel);
  if (getsockopt(fd(), SOL_XDP, XDP_STATISTICS, &kernel, &size) == 0) {
    // A packet that finds no frame counts in rx_dropped and again in rx_fill_ring_empty_descs.
    result.dropped = kernel.rx_dropped + kernel.rx_ring_full + kernel.rx_invalid_descs;
  }
  return result;
}

}  // namespace sluice::xdp
