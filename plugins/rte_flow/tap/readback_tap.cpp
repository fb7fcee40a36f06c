// SPDX-License-Identifier: Apache-2.0
#include "readback_tap.h"

#include <libmnl/libmnl.h>
#include <linux/if_ether.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "sluice/flow_text.h"

namespace sluice::rteflow {
namespace {

constexpr uint64_t kCfi = 0x1000;
constexpr uint64_t kVid = 0x0fff;
constexpr uint64_t kPcp = 0xe000;
constexpr size_t kReceiveBytes = 1 << 20;

Error Differs(const std::string& what) { return {"device_differs", "the driver's TC filter " + what}; }

bool IsTag(uint64_t eth_type) { return eth_type == ETH_P_8021Q || eth_type == ETH_P_8021AD; }

// The flow, as far as a packet that comes in by the port can tell: every tag has its CFI bit in the flow model.
Match Asked(const Match& match, TaggedFrames tagged) {
  Match asked = match;
  asked.Clear(Field::in_port);
  if (IsTag(asked.ValueOf(Field::eth_type))) {
    asked.SetMasked(Field::vlan_tci, asked.ValueOf(Field::vlan_tci) | kCfi, asked.MaskOf(Field::vlan_tci) | kCfi);
  } else if (tagged == TaggedFrames::kNever && asked.ValueOf(Field::vlan_tci) == 0) {
    asked.Clear(Field::vlan_tci);
  }
  return asked;
}

// A filter with a tag's protocol sees frames with such a tag outside.
Match HeldTagged(const TcFilter& filter) {
  Match held = filter.keys;
  held.SetExact(Field::eth_type, filter.protocol);
  uint64_t tci = kCfi;
  uint64_t mask = kCfi;
  if (filter.vlan_id) {
    tci |= *filter.vlan_id;
    mask |= kVid;
  }
  if (filter.vlan_pcp) {
    tci |= static_cast<uint64_t>(*filter.vlan_pcp) << 13;
    mask |= kPcp;
  }
  held.SetMasked(Field::vlan_tci, tci, mask);
  if (filter.vlan_eth_type) held.SetExact(Field::vlan_eth_type, *filter.vlan_eth_type);
  return held;
}

// What the filter takes, in the flow model's words.
Result<Match> Held(const TcFilter& filter, TaggedFrames tagged) {
  if (!filter.beyond.empty()) return Differs("has " + filter.beyond + ", which no rule asked for");
  if (IsTag(filter.protocol)) {
    if (filter.eth_type && filter.eth_type != filter.vlan_eth_type) {
      return Differs("compares the type behind all tags, which no rule asked for");
    }
    return HeldTagged(filter);
  }
  Match held = filter.keys;
  if (filter.protocol != ETH_P_ALL) {
    held.SetExact(Field::eth_type, filter.protocol);
  } else if (filter.eth_type) {
    // flower compares the type behind the tags, and sees tagged frames too where the filter is for all protocols.
    if (tagged == TaggedFrames::kPossible) {
      return Differs("for " + FormatMatch([&] {
                       Match type;
                       type.SetExact(Field::eth_type, *filter.eth_type);
                       return type;
                     }()) +
                     " takes frames with VLAN tags as well");
    }
    held.SetExact(Field::eth_type, *filter.eth_type);
  }
  return held;
}

std::string One(const Match& match, Field field) {
  if (!match.Has(field)) return "any " + std::string(Info(field).name);
  Match one;
  one.Set(field, match.Value(field), match.Mask(field));
  return FormatMatch(one);
}

bool SameIn(const Match& one, const Match& other, Field field) {
  return std::ranges::equal(one.Value(field), other.Value(field)) &&
         std::ranges::equal(one.Mask(field), other.Mask(field));
}

}  // namespace

Result<void> CompareWithTc(const TcFilter& filter, const Match& match, TaggedFrames tagged) {
  const Match asked = Asked(match, tagged);
  const auto held = Held(filter, tagged);
  if (!held) return held.error();
  for (const FieldInfo& field : kFields) {
    if (SameIn(*held, asked, field.id)) continue;
    return Differs("has " + One(*held, field.id) + " where the flow has " + One(asked, field.id));
  }
  if (!filter.drops) return Differs("does not drop");
  return {};
}

// A socket that gets the kernel's notifications about TC.
class TapReadback::Socket {
 public:
  Socket() : socket_(mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK)) {}
  ~Socket() {
    if (socket_ != nullptr) mnl_socket_close(socket_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  bool Join() {
    int group = RTNLGRP_TC;
    if (socket_ == nullptr || mnl_socket_bind(socket_, 0, MNL_SOCKET_AUTOPID) < 0) return false;
    // More than one rule's worth, for whatever else happens on this host.
    const int bytes = kReceiveBytes;
    setsockopt(mnl_socket_get_fd(socket_), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    return mnl_socket_setsockopt(socket_, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) == 0;
  }

  // All that has come. false: some was lost.
  bool Receive(const std::function<void(const nlmsghdr&)>& take) {
    bool whole = true;
    for (;;) {
      const auto size = mnl_socket_recvfrom(socket_, buffer_.data(), buffer_.size());
      if (size < 0) {
        if (errno == EINTR) continue;
        if (errno == EAGAIN || errno == EWOULDBLOCK) return whole;
        whole = false;  // ENOBUFS, told once; ENOSPC
        if (errno != ENOBUFS && errno != ENOSPC) return whole;
        continue;
      }
      int left = static_cast<int>(size);
      for (const auto* message = reinterpret_cast<const nlmsghdr*>(buffer_.data()); mnl_nlmsg_ok(message, left);
           message = mnl_nlmsg_next(message, &left)) {
        take(*message);
      }
    }
  }

 private:
  mnl_socket* socket_;
  std::vector<char> buffer_ = std::vector<char>(32768);
};

TapReadback::TapReadback(std::unique_ptr<Socket> socket, uint32_t interface, TaggedFrames tagged)
    : socket_(std::move(socket)), interface_(interface), tagged_(tagged) {}

TapReadback::~TapReadback() = default;

Result<std::unique_ptr<TapReadback>> TapReadback::Open(uint32_t interface, TaggedFrames tagged) {
  auto socket = std::make_unique<Socket>();
  if (interface == 0)
    return Error{"no_readback", "the driver tells no network interface whose TC filters are its rules"};
  if (!socket->Join()) {
    return Error{"no_readback", "cannot listen to the kernel's TC notifications: " + std::string(strerror(errno))};
  }
  return std::unique_ptr<TapReadback>(new TapReadback(std::move(socket), interface, tagged));
}

void TapReadback::Begin() {
  socket_->Receive([](const nlmsghdr&) {});
}

Result<void> TapReadback::Check(const Match& match) {
  // The driver may have been asked more than once, and taken back what it had made.
  std::optional<TcFilter> made;
  const bool whole = socket_->Receive([&](const nlmsghdr& message) {
    auto filter = ParseTcFilter(message);
    if (!filter || filter->interface != interface_) return;
    if (message.nlmsg_type == RTM_NEWTFILTER) {
      made = std::move(filter);
    } else if (made && made->handle == filter->handle && made->priority == filter->priority) {
      made.reset();
    }
  });
  if (!whole) return Error{"no_readback", "the kernel told more of TC than was read: this rule's filter was missed"};
  if (!made) return Error{"device_differs", "the driver made no TC filter for this rule"};
  return CompareWithTc(*made, match, tagged_);
}

}  // namespace sluice::rteflow
