// SPDX-License-Identifier: Apache-2.0
#include "packet_socket.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <system_error>

namespace sluice::test {
namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void Fail(const std::string& what) { throw std::system_error(errno, std::generic_category(), what); }

// The kernel takes the outer VLAN tag off and tells it beside the frame.
void PutTagBack(msghdr& message, reference::Bytes& frame) {
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_PACKET || part->cmsg_type != PACKET_AUXDATA) continue;
    tpacket_auxdata aux{};
    std::memcpy(&aux, CMSG_DATA(part), sizeof(aux));
    if ((aux.tp_status & TP_STATUS_VLAN_VALID) == 0) return;
    const uint16_t tag[] = {htons(aux.tp_vlan_tpid), htons(aux.tp_vlan_tci)};
    const auto* bytes = reinterpret_cast<const uint8_t*>(tag);
    frame.insert(frame.begin() + 2 * ETH_ALEN, bytes, bytes + sizeof(tag));
  }
}

}  // namespace

PacketSocket::PacketSocket(const Netns& netns, const std::string& device) {
  const unsigned ifindex = netns.IfIndex(device);
  netns.Do([&] { fd_ = UniqueFd(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)); });
  if (!fd_) Fail("AF_PACKET socket");
  const int room = 64 << 20;  // for bursts that the test looks at later
  setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
  const int on = 1;
  setsockopt(fd_.get(), SOL_PACKET, PACKET_AUXDATA, &on, sizeof(on));
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);
  address.sll_ifindex = static_cast<int>(ifindex);
  if (bind(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) Fail("bind to " + device);
}

void PacketSocket::Send(const reference::Bytes& frame) const {
  if (send(fd_.get(), frame.data(), frame.size(), 0) < 0) Fail("send");
}

std::optional<reference::Bytes> PacketSocket::Receive(std::chrono::milliseconds timeout) const {
  const auto deadline = Clock::now() + timeout;
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    pollfd readable{fd_.get(), POLLIN, 0};
    if (left.count() < 0 || poll(&readable, 1, static_cast<int>(left.count())) != 1) return std::nullopt;
    reference::Bytes frame(10000);
    sockaddr_ll from{};
    iovec piece{frame.data(), frame.size()};
    alignas(cmsghdr) uint8_t control[256];
    msghdr message{&from, sizeof(from), &piece, 1, control, sizeof(control), 0};
    const ssize_t got = recvmsg(fd_.get(), &message, 0);
    if (got < 0) Fail("recv");
    if (from.sll_pkttype == PACKET_OUTGOING) continue;
    frame.resize(static_cast<size_t>(got));
    PutTagBack(message, frame);
    return frame;
  }
}

bool PacketSocket::Expect(const reference::Bytes& frame, std::chrono::milliseconds timeout) const {
  const auto deadline = Clock::now() + timeout;
  while (Clock::now() < deadline) {
    const auto got = Receive(std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()));
    if (got == frame) return true;
  }
  return false;
}

}  // namespace sluice::test
