// SPDX-License-Identifier: Apache-2.0
// A Linux network device as the wire, over AF_PACKET (packet(7)).
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <rte_errno.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "checksums.h"
#include "wire.h"

namespace sluice::netsluice {
namespace {

constexpr uint16_t kBatch = 32;
constexpr size_t kTagSize = 4;
constexpr int kMostSegments = 8;
constexpr int kSocketBuffer = 8 << 20;
constexpr int kWaitMs = 10;

class Socket {
 public:
  explicit Socket(int fd) : fd_(fd) {}
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  [[nodiscard]] int fd() const { return fd_; }

 private:
  const int fd_;
};

class PacketWire : public Wire {
 public:
  PacketWire(int fd, unsigned ifindex, const std::string& device, const rte_ether_addr& mac, Counters& counters)
      : socket_(fd), ifindex_(ifindex), mac_(mac), counters_(counters) {
    std::strncpy(flags_.ifr_name, device.c_str(), IF_NAMESIZE - 1);
  }
  ~PacketWire() override { FreeSpare(); }

  uint16_t Receive(rte_mbuf** packets, uint16_t count, rte_mempool* pool) override;
  uint16_t Send(rte_mbuf** packets, uint16_t count) override;
  void Wait() override {
    pollfd readable{socket_.fd(), POLLIN, 0};
    poll(&readable, 1, kWaitMs);
  }
  // What came while the device was not started it never sees.
  void Start() override {
    std::array<uint8_t, 1> byte;
    while (recv(socket_.fd(), byte.data(), byte.size(), MSG_DONTWAIT) >= 0) {
    }
  }
  void Stop() override { FreeSpare(); }
  [[nodiscard]] bool Up() const override;
  [[nodiscard]] std::optional<rte_ether_addr> Mac() const override { return mac_; }
  uint64_t TakeMissed() override;

 private:
  // Room for what the kernel tells of a packet.
  union Auxiliary {
    cmsghdr header;
    std::array<char, CMSG_SPACE(sizeof(tpacket_auxdata))> room;
  };

  bool Refill(rte_mempool* pool);
  bool Finish(rte_mbuf* packet, const mmsghdr& message);
  void FreeSpare() {
    rte_pktmbuf_free_bulk(spare_.data(), spare_count_);
    spare_count_ = 0;
  }

  const Socket socket_;
  const unsigned ifindex_;
  const rte_ether_addr mac_;
  Counters& counters_;
  ifreq flags_{};  // its name
  // Of the receiving thread: empty packets for the next call.
  std::array<rte_mbuf*, kBatch> spare_{};
  uint16_t spare_count_ = 0;
  std::array<mmsghdr, kBatch> messages_{};
  std::array<iovec, kBatch> places_{};
  std::array<Auxiliary, kBatch> auxiliary_{};
};

bool PacketWire::Refill(rte_mempool* pool) {
  if (spare_count_ == kBatch) return true;
  if (rte_pktmbuf_alloc_bulk(pool, spare_.data() + spare_count_, kBatch - spare_count_) != 0) return spare_count_ > 0;
  spare_count_ = kBatch;
  return true;
}

// The kernel takes the tag off and tells of it, and leaves checksums to a device that there is not. False: the packet
// is none that can be received.
bool PacketWire::Finish(rte_mbuf* packet, const mmsghdr& message) {
  if ((message.msg_hdr.msg_flags & MSG_TRUNC) != 0) {
    counters_.Add(Counter::kRxTooLong);
    return false;
  }
  packet->data_len = static_cast<uint16_t>(message.msg_len);
  packet->pkt_len = message.msg_len;
  for (const cmsghdr* c = CMSG_FIRSTHDR(&message.msg_hdr); c != nullptr;
       c = CMSG_NXTHDR(const_cast<msghdr*>(&message.msg_hdr), const_cast<cmsghdr*>(c))) {
    if (c->cmsg_level != SOL_PACKET || c->cmsg_type != PACKET_AUXDATA) continue;
    tpacket_auxdata told;
    std::memcpy(&told, CMSG_DATA(c), sizeof(told));
    auto* frame = rte_pktmbuf_mtod(packet, uint8_t*);
    if ((told.tp_status & TP_STATUS_CSUMNOTREADY) != 0) FinishChecksum({frame, packet->data_len});
    if ((told.tp_status & TP_STATUS_VLAN_VALID) == 0) continue;
    auto* front = reinterpret_cast<uint8_t*>(rte_pktmbuf_prepend(packet, kTagSize));
    if (front == nullptr) return false;
    std::memmove(front, frame, 2 * ETH_ALEN);
    const uint16_t type = (told.tp_status & TP_STATUS_VLAN_TPID_VALID) != 0 ? told.tp_vlan_tpid : ETH_P_8021Q;
    const std::array<uint8_t, kTagSize> tag = {static_cast<uint8_t>(type >> 8), static_cast<uint8_t>(type),
                                               static_cast<uint8_t>(told.tp_vlan_tci >> 8),
                                               static_cast<uint8_t>(told.tp_vlan_tci)};
    std::memcpy(front + 2 * ETH_ALEN, tag.data(), tag.size());
  }
  return true;
}

uint16_t PacketWire::Receive(rte_mbuf** packets, uint16_t count, rte_mempool* pool) {
  if (!Refill(pool)) {
    counters_.Add(Counter::kRxNoMbuf);
    return 0;
  }
  const unsigned most = std::min<unsigned>(count, spare_count_);
  for (unsigned i = 0; i < most; ++i) {
    places_[i] = {rte_pktmbuf_mtod(spare_[i], void*), rte_pktmbuf_tailroom(spare_[i])};
    messages_[i].msg_hdr = {nullptr, 0, &places_[i], 1, &auxiliary_[i], sizeof(Auxiliary), 0};
  }
  const int came = recvmmsg(socket_.fd(), messages_.data(), most, MSG_DONTWAIT | MSG_TRUNC, nullptr);
  if (came <= 0) return 0;
  uint16_t kept = 0;
  for (int i = 0; i < came; ++i) {
    if (Finish(spare_[i], messages_[i])) {
      packets[kept++] = spare_[i];
    } else {
      rte_pktmbuf_free(spare_[i]);
    }
  }
  spare_count_ = static_cast<uint16_t>(spare_count_ - came);
  std::copy(spare_.begin() + came, spare_.begin() + came + spare_count_, spare_.begin());
  return kept;
}

uint16_t PacketWire::Send(rte_mbuf** packets, uint16_t count) {
  uint16_t done = 0;
  while (done < count) {
    std::array<mmsghdr, kBatch> messages{};
    std::array<std::array<iovec, kMostSegments>, kBatch> pieces;
    const unsigned most = std::min<unsigned>(kBatch, count - done);
    for (unsigned i = 0; i < most; ++i) {
      size_t segments = 0;
      for (rte_mbuf* m = packets[done + i]; m != nullptr && segments < kMostSegments; m = m->next) {
        pieces[i][segments++] = {rte_pktmbuf_mtod(m, void*), m->data_len};
      }
      messages[i].msg_hdr.msg_iov = pieces[i].data();
      messages[i].msg_hdr.msg_iovlen = segments;
    }
    const int sent = sendmmsg(socket_.fd(), messages.data(), most, MSG_DONTWAIT);
    if (sent > 0) {
      rte_pktmbuf_free_bulk(packets + done, static_cast<unsigned>(sent));
      done = static_cast<uint16_t>(done + sent);
      continue;
    }
    // A device without a link is as busy as one with much to do.
    const bool busy = errno == EAGAIN || errno == ENOBUFS || errno == EINTR;
    const bool down = errno == ENETDOWN || errno == ENXIO || (busy && !Up());
    if (busy && !down) break;
    counters_.Add(down ? Counter::kTxNoLink : Counter::kTxErrors);
    rte_pktmbuf_free(packets[done++]);
  }
  return done;
}

bool PacketWire::Up() const {
  ifreq request = flags_;
  // A device of this name may be another by now.
  if (ioctl(socket_.fd(), SIOCGIFINDEX, &request) != 0 || request.ifr_ifindex != static_cast<int>(ifindex_))
    return false;
  if (ioctl(socket_.fd(), SIOCGIFFLAGS, &request) != 0) return false;
  return (request.ifr_flags & IFF_UP) != 0 && (request.ifr_flags & IFF_RUNNING) != 0;
}

// Reading the kernel's count sets it to 0.
uint64_t PacketWire::TakeMissed() {
  tpacket_stats stats{};
  socklen_t size = sizeof(stats);
  return getsockopt(socket_.fd(), SOL_PACKET, PACKET_STATISTICS, &stats, &size) == 0 ? stats.tp_drops : 0;
}

Error System(const std::string& device, const std::string& what) {
  return {"system", "iface=" + device + ": " + what + ": " + std::strerror(errno)};
}

bool SetOption(int fd, int level, int option, int value) {
  return setsockopt(fd, level, option, &value, sizeof(value)) == 0;
}

}  // namespace

Result<std::unique_ptr<Wire>> MakePacketWire(const std::string& device, Counters& counters) {
  // Of no protocol until it is bound: nothing comes before the options are set.
  const int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0 && errno == EPERM) {
    return Error{"missing_privilege", "iface=" + device + ": a packet socket needs CAP_NET_RAW"};
  }
  if (fd < 0) return System(device, "cannot open a packet socket");
  const unsigned ifindex = if_nametoindex(device.c_str());
  ifreq request{};
  std::strncpy(request.ifr_name, device.c_str(), IF_NAMESIZE - 1);
  if (ifindex == 0 || ioctl(fd, SIOCGIFHWADDR, &request) != 0) {
    close(fd);
    return Error{"no_such_device", "iface=" + device + ": there is no such network device in this network namespace"};
  }
  rte_ether_addr mac;
  std::memcpy(mac.addr_bytes, request.ifr_hwaddr.sa_data, sizeof(mac.addr_bytes));
  auto wire = std::make_unique<PacketWire>(fd, ifindex, device, mac, counters);  // which owns fd

  if (!SetOption(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)) return System(device, "PACKET_IGNORE_OUTGOING");
  if (!SetOption(fd, SOL_PACKET, PACKET_AUXDATA, 1)) return System(device, "PACKET_AUXDATA");
  SetOption(fd, SOL_PACKET, PACKET_QDISC_BYPASS, 1);  // faster; not needed
  if (!SetOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, kSocketBuffer)) SetOption(fd, SOL_SOCKET, SO_RCVBUF, kSocketBuffer);
  packet_mreq promiscuous{};
  promiscuous.mr_ifindex = static_cast<int>(ifindex);
  promiscuous.mr_type = PACKET_MR_PROMISC;
  if (setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous, sizeof(promiscuous)) != 0) {
    return System(device, "PACKET_ADD_MEMBERSHIP");
  }
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);
  address.sll_ifindex = static_cast<int>(ifindex);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) return System(device, "bind");
  return std::unique_ptr<Wire>(std::move(wire));
}

}  // namespace sluice::netsluice
