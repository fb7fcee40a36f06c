// SPDX-License-Identifier: Apache-2.0
// The little of netlink that ports need: build a request, talk to the kernel, walk attributes. One thread at a time.
#pragma once

#include <linux/netlink.h>

#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/error.h"
#include "sluice/unique_fd.h"

namespace sluice::xdp {

// A netlink message under construction. Integers in host byte order, as netlink has them.
class NetlinkRequest {
 public:
  NetlinkRequest(uint16_t type, uint16_t flags);
  // The family's fixed header (ifinfomsg, genlmsghdr, ...).
  template <typename T>
  void Header(const T& header) {
    Append(&header, sizeof(header));
  }
  void Attribute(uint16_t type, std::string_view text);  // with its NUL
  void Attribute(uint16_t type, uint32_t value);
  void Attribute(uint16_t type, std::span<const uint8_t> bytes);
  // Nested attributes: those added between Begin and End, which gets what Begin returned.
  size_t Begin(uint16_t type);
  void End(size_t begun);

  std::span<const uint8_t> Finish(uint32_t sequence);

 private:
  void Append(const void* data, size_t size);

  std::vector<uint8_t> bytes_;
};

// The attributes of a message or of a nested attribute.
class NetlinkAttributes {
 public:
  explicit NetlinkAttributes(std::span<const uint8_t> bytes) : bytes_(bytes) {}
  // After the fixed header of `header_size` bytes.
  NetlinkAttributes(const nlmsghdr& message, size_t header_size);

  [[nodiscard]] std::optional<std::span<const uint8_t>> Find(uint16_t type) const;
  // Unsigned of 1 to 8 bytes.
  [[nodiscard]] std::optional<uint64_t> Number(uint16_t type) const;
  [[nodiscard]] std::string Text(uint16_t type) const;  // empty where absent
  [[nodiscard]] NetlinkAttributes Nested(uint16_t type) const;

 private:
  std::span<const uint8_t> bytes_;
};

class NetlinkSocket {
 public:
  using OnMessage = std::function<void(const nlmsghdr&)>;

  // In the calling thread's network namespace. protocol: NETLINK_ROUTE, NETLINK_GENERIC. group: a multicast group
  // to join (RTNLGRP_LINK), 0 none; such a socket does not block.
  static Result<NetlinkSocket> Open(int protocol, unsigned group = 0);

  [[nodiscard]] int fd() const { return fd_.get(); }

  // Sends and hands every answer to on_message until the kernel has acknowledged. Returns 0 or the errno, positive; the
  // kernel's own sentence, where it gave one, goes to `said`.
  int Talk(NetlinkRequest request, const OnMessage& on_message, std::string* said = nullptr);

  // Hands over what has come by multicast. False: the socket overran and something was lost; ask for the state anew.
  bool Drain(const OnMessage& on_message);

 private:
  explicit NetlinkSocket(UniqueFd fd) : fd_(std::move(fd)) {}

  UniqueFd fd_;
  uint32_t sequence_ = 0;
  std::vector<uint8_t> buffer_ = std::vector<uint8_t>(64 * 1024);
};

}  // namespace sluice::xdp
