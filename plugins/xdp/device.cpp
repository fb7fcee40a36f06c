// SPDX-License-Identifier: Apache-2.0
#include "device.h"

#include <bpf/bpf.h>
#include <linux/genetlink.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <algorithm>
#include <iterator>

#include "ethtool.h"
#include "system.h"

namespace sluice::xdp {
namespace {

// Documentation/netlink/specs/netdev.yaml
constexpr uint8_t kNetdevCmdDevGet = 1;
constexpr uint16_t kNetdevAttrIfindex = 1;
constexpr uint16_t kNetdevAttrXdpFeatures = 3;

void ReadXdp(const NetlinkAttributes& xdp, Device& device) {
  device.program_id = static_cast<uint32_t>(xdp.Number(IFLA_XDP_PROG_ID).value_or(0));
  switch (xdp.Number(IFLA_XDP_ATTACHED).value_or(XDP_ATTACHED_NONE)) {
    case XDP_ATTACHED_SKB:
      device.program_mode = "generic";
      break;
    case XDP_ATTACHED_HW:
      device.program_mode = "offload";
      break;
    case XDP_ATTACHED_DRV:
      device.program_mode = "native";
      break;
    case XDP_ATTACHED_MULTI:
      device.program_mode = "several modes";
      device.program_id =
          static_cast<uint32_t>(xdp.Number(IFLA_XDP_DRV_PROG_ID).value_or(xdp.Number(IFLA_XDP_HW_PROG_ID).value_or(0)));
      break;
    default:
      break;
  }
}

Device ReadLink(const nlmsghdr& message) {
  Device device;
  ifinfomsg header{};
  std::memcpy(&header, NLMSG_DATA(&message), sizeof(header));
  const NetlinkAttributes attributes(message, sizeof(header));
  device.name = attributes.Text(IFLA_IFNAME);
  device.ifindex = header.ifi_index;
  device.up = (header.ifi_flags & IFF_UP) != 0;
  device.running = (header.ifi_flags & IFF_RUNNING) != 0;
  device.mtu = static_cast<uint32_t>(attributes.Number(IFLA_MTU).value_or(0));
  device.kind = attributes.Nested(IFLA_LINKINFO).Text(IFLA_INFO_KIND);
  ReadXdp(attributes.Nested(IFLA_XDP), device);
  if (device.IsVeth()) {
    device.peer_ifindex = static_cast<int>(attributes.Number(IFLA_LINK).value_or(0));
    const auto nsid = attributes.Number(IFLA_LINK_NETNSID);
    if (nsid) device.peer_nsid = static_cast<int>(static_cast<uint32_t>(*nsid));
  }
  return device;
}

std::optional<uint64_t> QueryXdpFeatures(int ifindex) {
  auto socket = NetlinkSocket::Open(NETLINK_GENERIC);
  if (!socket) return std::nullopt;
  NetlinkRequest find(GENL_ID_CTRL, 0);
  find.Header(genlmsghdr{CTRL_CMD_GETFAMILY, 1, 0});
  find.Attribute(CTRL_ATTR_FAMILY_NAME, "netdev");
  uint16_t family = 0;
  socket->Talk(std::move(find), [&](const nlmsghdr& message) {
    family =
        static_cast<uint16_t>(NetlinkAttributes(message, sizeof(genlmsghdr)).Number(CTRL_ATTR_FAMILY_ID).value_or(0));
  });
  if (family == 0) return std::nullopt;
  NetlinkRequest get(family, 0);
  get.Header(genlmsghdr{kNetdevCmdDevGet, 1, 0});
  get.Attribute(kNetdevAttrIfindex, static_cast<uint32_t>(ifindex));
  std::optional<uint64_t> features;
  socket->Talk(std::move(get), [&](const nlmsghdr& message) {
    features = NetlinkAttributes(message, sizeof(genlmsghdr)).Number(kNetdevAttrXdpFeatures);
  });
  return features;
}

Result<Device> Query(int ifindex, const std::string& name) {
  const std::string shown = name.empty() ? "device " + std::to_string(ifindex) : name;
  const Error none{"no_such_device", "there is no network device '" + shown + "' in sluiced's network namespace"};
  if (name.size() >= IFNAMSIZ) return none;
  auto socket = NetlinkSocket::Open(NETLINK_ROUTE);
  if (!socket) return socket.error();
  NetlinkRequest request(RTM_GETLINK, 0);
  ifinfomsg header{};
  header.ifi_index = ifindex;
  request.Header(header);
  if (!name.empty()) request.Attribute(IFLA_IFNAME, name);
  Device device;
  const int error = socket->Talk(std::move(request), [&](const nlmsghdr& message) {
    if (message.nlmsg_type == RTM_NEWLINK) device = ReadLink(message);
  });
  if (error == ENODEV || (error == 0 && device.ifindex == 0)) return none;
  if (error != 0) return SystemError("asking the kernel about " + shown, error);
  device.driver = ReadDriver(device.name);
  const Channels channels = ReadChannels(device.name);
  if (channels.rx != 0) device.rx_queues = channels.rx;
  if (channels.tx != 0) device.tx_queues = channels.tx;
  device.xdp_features = QueryXdpFeatures(device.ifindex);
  return device;
}

}  // namespace

Result<Device> QueryDevice(const std::string& name) {
  if (name.empty()) return Error{"no_such_device", "a network device's name is not empty"};
  return Query(0, name);
}

Result<Device> QueryDevice(int ifindex) { return Query(ifindex, {}); }

uint64_t ReadDropped(int ifindex) {
  uint64_t dropped = 0;
  auto socket = NetlinkSocket::Open(NETLINK_ROUTE);
  if (!socket) return 0;
  NetlinkRequest request(RTM_GETSTATS, 0);
  if_stats_msg header{};
  header.ifindex = static_cast<uint32_t>(ifindex);
  header.filter_mask = IFLA_STATS_FILTER_BIT(IFLA_STATS_LINK_64);
  request.Header(header);
  socket->Talk(std::move(request), [&](const nlmsghdr& message) {
    if (message.nlmsg_type != RTM_NEWSTATS) return;
    const auto found = NetlinkAttributes(message, sizeof(if_stats_msg)).Find(IFLA_STATS_LINK_64);
    rtnl_link_stats64 stats{};
    if (!found) return;
    std::memcpy(&stats, found->data(), std::min(found->size(), sizeof(stats)));
    dropped = stats.rx_dropped + stats.tx_dropped;
  });
  return dropped;
}

uint32_t ProgramId(int program_fd) {
  bpf_prog_info info{};
  uint32_t size = sizeof(info);
  return bpf_obj_get_info_by_fd(program_fd, &info, &size) == 0 ? info.id : 0;
}

std::string DescribeProgram(uint32_t program_id) {
  std::string id = "id " + std::to_string(program_id);
  const UniqueFd fd(bpf_prog_get_fd_by_id(program_id));
  bpf_prog_info info{};
  uint32_t size = sizeof(info);
  if (!fd || bpf_obj_get_info_by_fd(fd.get(), &info, &size) != 0 || info.name[0] == '\0') return id;
  return "'" + std::string(info.name, strnlen(info.name, sizeof(info.name))) + "' (" + id + ")";
}

std::string DescribeFeatures(uint64_t features) {
  static constexpr const char* kNames[] = {"basic",      "redirect", "ndo-xmit",   "xsk-zerocopy",
                                           "hw-offload", "rx-sg",    "ndo-xmit-sg"};
  std::string text;
  for (size_t bit = 0; bit < std::size(kNames); ++bit) {
    if ((features >> bit & 1) != 0) text += (text.empty() ? "" : " ") + std::string(kNames[bit]);
  }
  return text;
}

Result<LinkMonitor> LinkMonitor::Open() {
  auto socket = NetlinkSocket::Open(NETLINK_ROUTE, RTNLGRP_LINK);
  if (!socket) return socket.error();
  return LinkMonitor(std::move(*socket));
}

bool LinkMonitor::Drain(const std::function<void(const Event&)>& on_event) {
  return socket_.Drain([&](const nlmsghdr& message) {
    if (message.nlmsg_type != RTM_NEWLINK && message.nlmsg_type != RTM_DELLINK) return;
    ifinfomsg header{};
    std::memcpy(&header, NLMSG_DATA(&message), sizeof(header));
    // One that leaves a bridge is "deleted" there, too.
    const bool removed = message.nlmsg_type == RTM_DELLINK && header.ifi_family == AF_UNSPEC;
    on_event({header.ifi_index, NetlinkAttributes(message, sizeof(header)).Text(IFLA_IFNAME), removed});
  });
}

}  // namespace sluice::xdp
