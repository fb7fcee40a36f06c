// SPDX-License-Identifier: Apache-2.0
#include "netlink.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstddef>

#include "system.h"

namespace sluice::xdp {

NetlinkRequest::NetlinkRequest(uint16_t type, uint16_t flags) {
  nlmsghdr header{};
  header.nlmsg_type = type;
  header.nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags);
  Append(&header, sizeof(header));
}

void NetlinkRequest::Append(const void* data, size_t size) {
  const auto* from = static_cast<const uint8_t*>(data);
  bytes_.insert(bytes_.end(), from, from + size);
  bytes_.resize(NLMSG_ALIGN(bytes_.size()));
}

void NetlinkRequest::Attribute(uint16_t type, std::string_view text) {
  const nlattr header{static_cast<uint16_t>(NLA_HDRLEN + text.size() + 1), type};
  Append(&header, sizeof(header));
  const std::string terminated(text);
  Append(terminated.c_str(), terminated.size() + 1);
}

void NetlinkRequest::Attribute(uint16_t type, uint32_t value) {
  const nlattr header{static_cast<uint16_t>(NLA_HDRLEN + sizeof(value)), type};
  Append(&header, sizeof(header));
  Append(&value, sizeof(value));
}

void NetlinkRequest::Attribute(uint16_t type, std::span<const uint8_t> bytes) {
  const nlattr header{static_cast<uint16_t>(NLA_HDRLEN + bytes.size()), type};
  Append(&header, sizeof(header));
  Append(bytes.data(), bytes.size());
}

size_t NetlinkRequest::Begin(uint16_t type) {
  const size_t begun = bytes_.size();
  const nlattr header{NLA_HDRLEN, static_cast<uint16_t>(type | NLA_F_NESTED)};
  Append(&header, sizeof(header));
  return begun;
}

void NetlinkRequest::End(size_t begun) {
  const auto size = static_cast<uint16_t>(bytes_.size() - begun);
  std::memcpy(bytes_.data() + begun + offsetof(nlattr, nla_len), &size, sizeof(size));
}

std::span<const uint8_t> NetlinkRequest::Finish(uint32_t sequence) {
  auto* header = reinterpret_cast<nlmsghdr*>(bytes_.data());
  header->nlmsg_len = static_cast<uint32_t>(bytes_.size());
  header->nlmsg_seq = sequence;
  return bytes_;
}

NetlinkAttributes::NetlinkAttributes(const nlmsghdr& message, size_t header_size) {
  const size_t skip = NLMSG_HDRLEN + NLMSG_ALIGN(header_size);
  if (message.nlmsg_len > skip) {
    bytes_ = {reinterpret_cast<const uint8_t*>(&message) + skip, message.nlmsg_len - skip};
  }
}

std::optional<std::span<const uint8_t>> NetlinkAttributes::Find(uint16_t type) const {
  auto rest = bytes_;
  while (rest.size() >= NLA_HDRLEN) {
    nlattr header{};
    std::memcpy(&header, rest.data(), sizeof(header));
    if (header.nla_len < NLA_HDRLEN || header.nla_len > rest.size()) break;
    if ((header.nla_type & NLA_TYPE_MASK) == type) return rest.subspan(NLA_HDRLEN, header.nla_len - NLA_HDRLEN);
    const size_t step = NLA_ALIGN(header.nla_len);
    if (step >= rest.size()) break;
    rest = rest.subspan(step);
  }
  return std::nullopt;
}

std::optional<uint64_t> NetlinkAttributes::Number(uint16_t type) const {
  const auto found = Find(type);
  if (!found || found->empty() || found->size() > sizeof(uint64_t)) return std::nullopt;
  uint64_t value = 0;  // little endian machines only need the low bytes; big endian ones the high
  if constexpr (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__) {
    std::memcpy(&value, found->data(), found->size());
  } else {
    std::memcpy(reinterpret_cast<uint8_t*>(&value) + sizeof(value) - found->size(), found->data(), found->size());
  }
  return value;
}

std::string NetlinkAttributes::Text(uint16_t type) const {
  const auto found = Find(type);
  if (!found) return {};
  const auto* text = reinterpret_cast<const char*>(found->data());
  return {text, strnlen(text, found->size())};
}

NetlinkAttributes NetlinkAttributes::Nested(uint16_t type) const {
  const auto found = Find(type);
  return NetlinkAttributes(found ? *found : std::span<const uint8_t>{});
}

Result<NetlinkSocket> NetlinkSocket::Open(int protocol, unsigned group) {
  const int flags = SOCK_RAW | SOCK_CLOEXEC | (group != 0 ? SOCK_NONBLOCK : 0);
  UniqueFd fd(socket(AF_NETLINK, flags, protocol));
  if (!fd) return SystemError("opening a netlink socket", errno);
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    return SystemError("binding a netlink socket", errno);
  }
  const int on = 1;
  setsockopt(fd.get(), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));  // sentences are a bonus
  if (group != 0 && setsockopt(fd.get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) != 0) {
    return SystemError("joining a netlink group", errno);
  }
  return NetlinkSocket(std::move(fd));
}

namespace {

// The errno of an NLMSG_ERROR or NLMSG_DONE, positive; 0 for an acknowledgement.
int ErrorOf(const nlmsghdr& message, std::string* said) {
  if (message.nlmsg_len < NLMSG_LENGTH(sizeof(int))) return 0;
  nlmsgerr error{};
  std::memcpy(&error.error, NLMSG_DATA(&message), sizeof(int));
  if (message.nlmsg_type == NLMSG_ERROR && said != nullptr && (message.nlmsg_flags & NLM_F_ACK_TLVS) != 0 &&
      (message.nlmsg_flags & NLM_F_CAPPED) != 0) {
    *said = NetlinkAttributes(message, sizeof(nlmsgerr)).Text(NLMSGERR_ATTR_MSG);
  }
  return -error.error;
}

}  // namespace

int NetlinkSocket::Talk(NetlinkRequest request, const OnMessage& on_message, std::string* said) {
  const uint32_t sequence = ++sequence_;
  const auto bytes = request.Finish(sequence);
  const int capped = 1;  // the request itself need not come back
  setsockopt(fd_.get(), SOL_NETLINK, NETLINK_CAP_ACK, &capped, sizeof(capped));
  if (send(fd_.get(), bytes.data(), bytes.size(), 0) < 0) return errno;
  for (;;) {
    const ssize_t received = recv(fd_.get(), buffer_.data(), buffer_.size(), 0);
    if (received < 0 && errno == EINTR) continue;
    if (received < 0) return errno;
    auto left = static_cast<unsigned>(received);
    for (auto* message = reinterpret_cast<nlmsghdr*>(buffer_.data()); NLMSG_OK(message, left);
         message = NLMSG_NEXT(message, left)) {
      if (message->nlmsg_seq != sequence) continue;
      if (message->nlmsg_type == NLMSG_ERROR || message->nlmsg_type == NLMSG_DONE) return ErrorOf(*message, said);
      on_message(*message);
    }
  }
}

bool NetlinkSocket::Drain(const OnMessage& on_message) {
  for (;;) {
    const ssize_t received = recv(fd_.get(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    if (received < 0 && errno == EINTR) continue;
    if (received < 0) return errno != ENOBUFS;
    auto left = static_cast<unsigned>(received);
    for (auto* message = reinterpret_cast<nlmsghdr*>(buffer_.data()); NLMSG_OK(message, left);
         message = NLMSG_NEXT(message, left)) {
      if (message->nlmsg_type >= NLMSG_MIN_TYPE) on_message(*message);
    }
  }
}

}  // namespace sluice::xdp
