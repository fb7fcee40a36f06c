// SPDX-License-Identifier: Apache-2.0
#include "packet_sender.h"

#include <cerrno>
#include <utility>

#include "system.h"

namespace sluice::xdp {
namespace {

// What is sent at once; sendmmsg takes at most 1024 (UIO_MAXIOV).
constexpr size_t kMostFrames = 256;
constexpr size_t kMostBytes = size_t{1} << 20;
// What devices may have under way before frames fail; the kernel charges a small one with some 800 bytes.
constexpr int kSendBuffer = 16 << 20;

}  // namespace

Result<PacketSender> PacketSender::Open() {
  // No protocol: it receives nothing. The kernel reads a frame's protocol from its header.
  UniqueFd fd(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
  if (!fd) return SystemErrorNeeding("opening a packet socket", errno, {kCapNetRaw});
  const int on = 1;
  if (setsockopt(fd.get(), SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on)) != 0) {
    return SystemError("PACKET_QDISC_BYPASS", errno);
  }
  // Beyond the system's limit with CAP_NET_ADMIN, else up to it.
  if (setsockopt(fd.get(), SOL_SOCKET, SO_SNDBUFFORCE, &kSendBuffer, sizeof(kSendBuffer)) != 0) {
    (void)setsockopt(fd.get(), SOL_SOCKET, SO_SNDBUF, &kSendBuffer, sizeof(kSendBuffer));
  }
  return PacketSender(std::move(fd));
}

void PacketSender::Queue(int ifindex, std::span<const uint8_t> frame) {
  queued_.push_back({bytes_.size(), frame.size()});
  bytes_.insert(bytes_.end(), frame.begin(), frame.end());
  sockaddr_ll device{};
  device.sll_family = AF_PACKET;
  device.sll_ifindex = ifindex;
  devices_.push_back(device);
  if (queued_.size() >= kMostFrames || bytes_.size() >= kMostBytes) Send();
}

PacketSender::Outcome PacketSender::Flush() {
  Send();
  return std::exchange(outcome_, {});
}

// Points messages_ to the frames, none of which moves any more.
void PacketSender::Point() {
  const size_t count = queued_.size();
  pieces_.resize(count);
  messages_.resize(count);
  for (size_t i = 0; i < count; ++i) {
    pieces_[i] = {bytes_.data() + queued_[i].at, queued_[i].size};
    msghdr& header = messages_[i].msg_hdr;
    header = {};
    header.msg_name = &devices_[i];
    header.msg_namelen = sizeof(devices_[i]);
    header.msg_iov = &pieces_[i];
    header.msg_iovlen = 1;
  }
}

void PacketSender::Send() {
  Point();
  for (size_t at = 0; at < messages_.size();) {
    const auto left = static_cast<unsigned>(messages_.size() - at);
    const int sent = sendmmsg(fd_.get(), &messages_[at], left, MSG_DONTWAIT);
    // It stops at the first message that fails, and says why when that is the first of a call.
    if (sent > 0) {
      outcome_.sent += static_cast<uint64_t>(sent);
      at += static_cast<size_t>(sent);
      continue;
    }
    if (outcome_.failed++ == 0) {
      outcome_.error = errno;
      outcome_.ifindex = devices_[at].sll_ifindex;
    }
    ++at;
  }
  bytes_.clear();
  queued_.clear();
  devices_.clear();
  messages_.clear();
}

}  // namespace sluice::xdp
