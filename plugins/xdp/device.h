// SPDX-License-Identifier: Apache-2.0
// What the kernel says about a network device, and word of devices that come, change and go.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "netlink.h"
#include "sluice/error.h"

namespace sluice::xdp {

// NETDEV_XDP_ACT_* of the netdev netlink family (kernel 6.3); Debian 12's headers are older.
inline constexpr uint64_t kXdpBasic = 1;
inline constexpr uint64_t kXdpRedirect = 2;
inline constexpr uint64_t kXdpNdoXmit = 4;  // frames can be redirected to it
inline constexpr uint64_t kXdpZeroCopy = 8;
inline constexpr uint64_t kXdpHwOffload = 16;
inline constexpr uint64_t kXdpRxSg = 32;       // multi-buffer
inline constexpr uint64_t kXdpNdoXmitSg = 64;  // frames of several buffers can be redirected to it

struct Device {
  std::string name;
  int ifindex = 0;
  std::string kind;    // rtnetlink's: "veth", "bridge"; empty for a physical one
  std::string driver;  // ethtool's; empty where it has none
  uint32_t mtu = 0;
  bool up = false;       // administratively
  bool running = false;  // and at the other end
  uint32_t rx_queues = 1;
  uint32_t tx_queues = 1;
  std::optional<uint64_t> xdp_features;  // absent: the kernel is older than 6.3

  // A program that is attached already: its id, 0 for none, and how ("native", "generic", "offload").
  uint32_t program_id = 0;
  std::string program_mode;

  int peer_ifindex = 0;          // of a veth; in peer_nsid
  std::optional<int> peer_nsid;  // absent: the same namespace

  [[nodiscard]] bool IsVeth() const { return kind == "veth"; }
};

// In the calling thread's network namespace. Reason "no_such_device" where there is none.
Result<Device> QueryDevice(const std::string& name);
Result<Device> QueryDevice(int ifindex);

// Packets that the kernel's statistics of the device call dropped, of both directions, since it was made: with a veth
// those, too, that XDP could not redirect, as they were too large for where they were to go.
uint64_t ReadDropped(int ifindex);

// "'xdp_dispatcher' (id 12)".
std::string DescribeProgram(uint32_t program_id);
// 0: it cannot be asked for.
uint32_t ProgramId(int program_fd);

// The features that a device says it has, by the names of the netdev family: "basic redirect rx-sg". Empty: none.
std::string DescribeFeatures(uint64_t features);

// Word of any change of any device of this namespace, as a readable file descriptor.
class LinkMonitor {
 public:
  struct Event {
    int ifindex;
    std::string name;
    bool removed;  // from this namespace; it may be back already
  };

  static Result<LinkMonitor> Open();
  [[nodiscard]] int fd() const { return socket_.fd(); }
  // False: events were lost, look at everything.
  bool Drain(const std::function<void(const Event&)>& on_event);

 private:
  explicit LinkMonitor(NetlinkSocket socket) : socket_(std::move(socket)) {}

  NetlinkSocket socket_;
};

}  // namespace sluice::xdp
