// SPDX-License-Identifier: Apache-2.0
#include "attachment.h"

#include <bpf/bpf.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include <cerrno>

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

Error Refused(const Device& device, int program_fd, Mode mode, int error) {
  const std::string what = std::string("attaching XDP to ") + device.name + " in " + ToString(mode) + " mode";
  Error result = SystemErrorNeeding(what, error, {kCapNetAdmin, kCapBpf});
  if (error == EPERM) return result;
  if (mode == Mode::kOffload && device.xdp_features && (*device.xdp_features & kXdpHwOffload) == 0) {
    result.detail += "; its driver (" + device.driver + ") offers no XDP offload";
    return result;
  }
  if (const std::string said = DriverSays(device, program_fd, mode); !said.empty()) {
    result.detail += "; the driver says: " + said;
  }
  if (mode == Mode::kNative && device.mtu > kSinglePageMtu) {
    result.detail += "; its MTU is " + std::to_string(device.mtu) +
                     ", and without multi-buffer support XDP takes at most " + std::to_string(kSinglePageMtu);
  }
  if (error == EOPNOTSUPP && mode == Mode::kNative) result.detail += "; its driver has no native XDP";
  if (device.IsVeth() && error == ENOSPC) {
    result.detail += "; it has " + std::to_string(device.rx_queues) +
                     " receive queues, fewer than its peer has transmit queues: `ethtool -L " + device.name +
                     " rx N`, or make the pair with equal numbers";
  }
  return result;
}

}  // namespace

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
  if (device.program_id != 0) {
    return Error{"busy", device.name + " has an XDP program already: " + DescribeProgram(device.program_id) + ", in " +
                             device.program_mode + " mode; it is left alone (`ip link set dev " + device.name +
                             " xdp off` takes it away, if it is nobody's)"};
  }
  const Mode first = mode == Mode::kAuto ? Mode::kNative : mode;
  LIBBPF_OPTS(bpf_link_create_opts, options);
  options.flags = Flags(first);
  UniqueFd link(bpf_link_create(program_fd, device.ifindex, BPF_XDP, &options));
  if (link) return Attachment(std::move(link), first);
  Error refused = Refused(device, program_fd, first, errno);
  if (mode != Mode::kAuto || refused.reason == "no_permission" || refused.reason == "busy") return refused;
  if (native_refusal != nullptr) *native_refusal = refused.detail;
  return Attach(device, program_fd, Mode::kGeneric, nullptr);
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
