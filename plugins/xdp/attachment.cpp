// SPDX-License-Identifier: Apache-2.0
#include "attachment.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include <cerrno>
#include <vector>

#include "netlink.h"
#include "system.h"

namespace sluice::xdp {
namespace {

uint32_t Flags(Mode mode) {
  switch (mode) {
    case Mode::kGeneric:
      return XDP_FLAGS_SKB_MODE;
    case Mode::kOffload:
      return XDP_FLAGS_HW_MODE;
    default:
      return XDP_FLAGS_DRV_MODE;
  }
}

// Drivers explain a refusal in netlink's own way only, which bpf_link does not pass on: ask again there. Should it be
// granted now, it is given back.
std::string DriverSays(const Device& device, int program_fd, Mode mode) {
  auto socket = NetlinkSocket::Open(NETLINK_ROUTE);
  if (!socket) return {};
  const auto set = [&](int fd, uint32_t flags, std::string* said) {
    NetlinkRequest request(RTM_SETLINK, 0);
    ifinfomsg header{};
    header.ifi_index = device.ifindex;
    request.Header(header);
    const size_t xdp = request.Begin(IFLA_XDP);
    request.Attribute(IFLA_XDP_FD, static_cast<uint32_t>(fd));
    request.Attribute(IFLA_XDP_FLAGS, flags);
    request.End(xdp);
    return socket->Talk(
        std::move(request), [](const nlmsghdr&) {}, said);
  };
  std::string said;
  if (set(program_fd, Flags(mode) | XDP_FLAGS_UPDATE_IF_NOEXIST, &said) == 0) set(-1, Flags(mode), nullptr);
  return said;
}

// What the driver itself says; it has not said anything where the kernel is too old to ask (before 6.3).
bool DriverHas(const Device& device, Mode mode) {
  if (!device.xdp_features || mode == Mode::kGeneric) return true;
  return (*device.xdp_features & (mode == Mode::kOffload ? kXdpHwOffload : kXdpBasic)) != 0;
}

Error Refused(const Device& device, int program_fd, Mode mode, int error) {
  const std::string what = std::string("attaching XDP to ") + device.name + " in " + ToString(mode) + " mode";
  Error result = SystemErrorNeeding(what, error, {kCapNetAdmin, kCapBpf});
  if (error == EPERM) return result;
  const bool has = DriverHas(device, mode);
  if (!has) {
    const std::string driver = device.driver.empty() ? device.kind : device.driver;
    result.detail += "; its driver (" + driver + ") offers no " +
                     (mode == Mode::kOffload ? "XDP offload"
                      : device.IsVeth()      ? "native XDP now"
                                             : "native XDP");
  } else if (const std::string said = DriverSays(device, program_fd, mode); !said.empty()) {
    result.detail += "; the driver says: " + said;
  }
  if (mode == Mode::kOffload) return result;
  if (has && mode == Mode::kNative && device.mtu > kSinglePageMtu) {
    result.detail += "; its MTU is " + std::to_string(device.mtu) +
                     ", and without multi-buffer support XDP takes at most " + std::to_string(kSinglePageMtu);
  }
  if (has && error == EOPNOTSUPP && mode == Mode::kNative) result.detail += "; its driver has no native XDP";
  if (device.IsVeth() && mode == Mode::kNative && (error == ENOSPC || !has)) {
    result.detail += "; it has " + std::to_string(device.rx_queues) +
                     " receive queues, fewer than its peer has transmit queues: `ethtool -L " + device.name +
                     " rx N`, or make the pair with equal numbers";
  }
  return result;
}

// The links that may be the one of the device's program: a link tells the index of its device and not the network
// namespace, so that another's with the same program may be among them.
Result<std::vector<std::pair<uint32_t, UniqueFd>>> LinksLike(const Device& device) {
  std::vector<std::pair<uint32_t, UniqueFd>> found;
  for (uint32_t id = 0; bpf_link_get_next_id(id, &id) == 0;) {
    UniqueFd link(bpf_link_get_fd_by_id(id));
    if (!link && errno == ENOENT) continue;  // gone meanwhile
    if (!link) return SystemErrorNeeding("looking at bpf_link " + std::to_string(id), errno, {kCapSysAdmin});
    bpf_link_info info{};
    uint32_t size = sizeof(info);
    if (bpf_obj_get_info_by_fd(link.get(), &info, &size) != 0) continue;
    if (info.type == BPF_LINK_TYPE_XDP && static_cast<int>(info.xdp.ifindex) == device.ifindex &&
        info.prog_id == device.program_id) {
      found.emplace_back(id, std::move(link));
    }
  }
  return found;
}

// Detaches the bpf_link that holds the device's program and returns its id. There must be one.
Result<uint32_t> DetachLink(const Device& device) {
  auto links = LinksLike(device);
  if (!links) return links.error();
  if (links->size() != 1) {
    std::string ids;
    for (const auto& [id, fd] : *links) ids += (ids.empty() ? "" : ", ") + std::to_string(id);
    return Error{"busy", "the bpf_link of " + DescribeProgram(device.program_id) + " on " + device.name +
                             (links->empty() ? " is not to be found"
                                             : " is one of " + ids +
                                                   ", which differ by their network namespace only: "
                                                   "`bpftool link detach id N` the right one")};
  }
  const auto& [id, link] = links->front();
  if (bpf_link_detach(link.get()) != 0) {
    return SystemErrorNeeding("detaching bpf_link " + std::to_string(id) + " from " + device.name, errno,
                              {kCapSysAdmin, kCapNetAdmin});
  }
  return id;
}

}  // namespace

Result<Displaced> Displaced::TakeOff(const Device& device) {
  const std::string program = DescribeProgram(device.program_id);
  const Mode mode = ParseMode(device.program_mode);
  if (mode == Mode::kAuto) {
    return Error{"busy", device.name + " has XDP programs in " + device.program_mode + ", and they are left alone"};
  }
  Displaced displaced(device.ifindex, Flags(mode), program + ", in " + device.program_mode + " mode");
  displaced.program_ = UniqueFd(bpf_prog_get_fd_by_id(device.program_id));
  if (!displaced.program_) return SystemErrorNeeding("replacing " + program, errno, {kCapSysAdmin});
  LIBBPF_OPTS(bpf_xdp_attach_opts, expected);
  expected.old_prog_fd = displaced.program_.get();
  const int error = bpf_xdp_detach(device.ifindex, Flags(mode), &expected);
  if (error == 0) return displaced;
  if (error != -EBUSY) {
    return SystemErrorNeeding("taking " + program + " off " + device.name, -error, {kCapNetAdmin});
  }
  // Netlink takes away nothing that a bpf_link holds.
  const auto link = DetachLink(device);
  if (!link) return link.error();
  displaced.program_ = UniqueFd();
  displaced.what_ += ", by bpf_link " + std::to_string(*link);
  return displaced;
}

bool Displaced::PutBack() const {
  return program_ && bpf_xdp_attach(ifindex_, program_.get(), flags_ | XDP_FLAGS_UPDATE_IF_NOEXIST, nullptr) == 0;
}

const char* ToString(Mode mode) {
  switch (mode) {
    case Mode::kNative:
      return "native";
    case Mode::kGeneric:
      return "generic";
    case Mode::kOffload:
      return "offload";
    default:
      return "auto";
  }
}

Mode ParseMode(const std::string& text) {
  for (const Mode mode : {Mode::kNative, Mode::kGeneric, Mode::kOffload}) {
    if (text == ToString(mode)) return mode;
  }
  return Mode::kAuto;
}

Result<Attachment> Attachment::Attach(const Device& device, int program_fd, Mode mode, std::string* native_refusal) {
  if (device.program_id != 0) return Busy(device);
  const Mode first = mode == Mode::kAuto ? Mode::kNative : mode;
  int error = EOPNOTSUPP;
  if (DriverHas(device, first)) {
    LIBBPF_OPTS(bpf_link_create_opts, options);
    options.flags = Flags(first);
    UniqueFd link(bpf_link_create(program_fd, device.ifindex, BPF_XDP, &options));
    if (link) return Attachment(std::move(link), first);
    error = errno;
  }
  Error refused = Refused(device, program_fd, first, error);
  if (mode != Mode::kAuto || refused.reason == "no_permission" || refused.reason == "busy") return refused;
  if (native_refusal != nullptr) *native_refusal = refused.detail;
  return Attach(device, program_fd, Mode::kGeneric, nullptr);
}

Error Attachment::Busy(const Device& device) {
  return Error{"busy", device.name + " has an XDP program already: " + DescribeProgram(device.program_id) + ", in " +
                           device.program_mode + " mode; it is left alone (`--option replace=yes` has it replaced)"};
}

Result<Attachment> Attachment::FromPin(const std::string& path, const Device& device) {
  UniqueFd link(bpf_obj_get(path.c_str()));
  if (!link) return SystemErrorNeeding("opening the kept " + path, errno, {kCapBpf});
  bpf_link_info info{};
  uint32_t size = sizeof(info);
  if (bpf_obj_get_info_by_fd(link.get(), &info, &size) != 0) return SystemError("asking about " + path, errno);
  if (info.type != BPF_LINK_TYPE_XDP || static_cast<int>(info.xdp.ifindex) != device.ifindex) {
    return Error{"no_such_device", path + " is not attached to " + device.name};
  }
  return Attachment(std::move(link), ParseMode(device.program_mode));
}

bool Attachment::IsLost() const {
  bpf_link_info info{};
  uint32_t size = sizeof(info);
  return bpf_obj_get_info_by_fd(link_.get(), &info, &size) == 0 && info.xdp.ifindex == 0;
}

Result<void> Attachment::Pin(const std::string& path) const {
  if (bpf_obj_pin(link_.get(), path.c_str()) != 0) return SystemError("pinning " + path, errno);
  return {};
}

Result<void> Attachment::Replace(int program_fd, const std::string& device) const {
  if (bpf_link_update(link_.get(), program_fd, nullptr) != 0) {
    return SystemErrorNeeding("replacing the XDP program of " + device, errno, {kCapNetAdmin, kCapBpf});
  }
  return {};
}

}  // namespace sluice::xdp
