// SPDX-License-Identifier: Apache-2.0
#include "neighbours.h"

#include <linux/if_ether.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <span>

namespace sluice::xdp {
namespace {

constexpr size_t kAskedTogether = 64;
constexpr size_t kIpv4Destination = ETH_HLEN + 16, kIpv6Destination = ETH_HLEN + 24;

}  // namespace

void Neighbours::Look(const StepTable& steps) {
  for (auto& [far_end, wanted] : far_ends_) wanted = false;
  steps.ForEach([&](const sluice_step& step) {
    if ((step.flags & SLUICE_STEP_FIB) == 0) return;
    const bool ipv6 = (step.header[ETH_ALEN * 2] << 8 | step.header[ETH_ALEN * 2 + 1]) == ETH_P_IPV6;
    FarEnd far_end{step.ifindex, static_cast<uint8_t>(ipv6 ? 16 : 4), {}};
    std::copy_n(step.header + (ipv6 ? kIpv6Destination : kIpv4Destination), far_end.size, far_end.address.begin());
    const auto [known, fresh] = far_ends_.try_emplace(far_end, true);
    known->second = true;
    if (fresh) Ask(far_end);
  });
  std::erase_if(far_ends_, [](const auto& one) { return !one.second; });
  auto at = asked_ ? far_ends_.upper_bound(*asked_) : far_ends_.begin();
  for (size_t left = std::min(kAskedTogether, far_ends_.size()); left != 0; --left, ++at) {
    if (at == far_ends_.end()) at = far_ends_.begin();
    Ask(at->first);
    asked_ = at->first;
  }
}

void Neighbours::Ask(const FarEnd& far_end) {
  if (!socket_) {
    auto opened = NetlinkSocket::Open(NETLINK_ROUTE);
    if (!opened) return;
    socket_.emplace(*std::move(opened));
  }
  const auto family = static_cast<uint8_t>(far_end.size == 4 ? AF_INET : AF_INET6);
  std::array<uint8_t, 16> hop = far_end.address;
  rtmsg route{};
  route.rtm_family = family;
  route.rtm_dst_len = static_cast<uint8_t>(far_end.size * 8);
  NetlinkRequest which(RTM_GETROUTE, 0);
  which.Header(route);
  which.Attribute(RTA_DST, std::span(far_end.address).first(far_end.size));
  which.Attribute(RTA_OIF, far_end.ifindex);
  const int failed = socket_->Talk(std::move(which), [&](const nlmsghdr& message) {
    const auto gateway = NetlinkAttributes(message, sizeof(rtmsg)).Find(RTA_GATEWAY);
    if (gateway && gateway->size() == far_end.size) std::copy(gateway->begin(), gateway->end(), hop.begin());
  });
  if (failed != 0) return;
  ndmsg neighbour{};
  neighbour.ndm_family = family;
  neighbour.ndm_ifindex = static_cast<int>(far_end.ifindex);
  // NTF_USE would make a permanent entry one that has to be resolved.
  uint16_t state = NUD_NONE;
  NetlinkRequest get(RTM_GETNEIGH, 0);
  get.Header(neighbour);
  get.Attribute(NDA_DST, std::span<const uint8_t>(hop).first(far_end.size));
  (void)socket_->Talk(std::move(get), [&](const nlmsghdr& message) {
    if (message.nlmsg_type != RTM_NEWNEIGH) return;
    ndmsg found{};
    std::memcpy(&found, NLMSG_DATA(&message), sizeof(found));
    state = found.ndm_state;
  });
  if ((state & (NUD_PERMANENT | NUD_NOARP)) != 0) return;
  neighbour.ndm_flags = NTF_USE;
  NetlinkRequest use(RTM_NEWNEIGH, NLM_F_CREATE);
  use.Header(neighbour);
  use.Attribute(NDA_DST, std::span<const uint8_t>(hop).first(far_end.size));
  (void)socket_->Talk(std::move(use), [](const nlmsghdr&) {});
}

}  // namespace sluice::xdp
