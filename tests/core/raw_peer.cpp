// SPDX-License-Identifier: Apache-2.0
#include "raw_peer.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace sluice::core::test {
namespace {

constexpr int kConnectMs = 5'000;

std::string BigEndian(uint64_t value, size_t bytes) {
  std::string out;
  for (size_t i = bytes; i-- > 0;) out += static_cast<char>(value >> 8 * i);
  return out;
}

}  // namespace

RawPeer::RawPeer(const std::string& path) : socket_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
  // connect() waits for room in the queue as long as a send would.
  const timeval patience{kConnectMs / 1'000, 0};
  setsockopt(socket_.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
  if (connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) socket_.Reset();
}

std::string RawPeer::Greeting() {
  std::string greeting = "\xff" + std::string(8, '\0') + "\x7f\x03" + std::string(1, '\0') + "NULL";
  greeting.resize(64);
  return greeting;
}

std::string RawPeer::Ready(const std::string& socket_type) {
  const std::string body = "\x05READY\x0bSocket-Type" + BigEndian(socket_type.size(), 4) + socket_type;
  return "\x04" + BigEndian(body.size(), 1) + body;
}

std::string RawPeer::Header(uint64_t size, bool more) {
  const bool large = size > 255;
  return BigEndian((more ? 1U : 0U) | (large ? 2U : 0U), 1) + BigEndian(size, large ? 8 : 1);
}

std::string RawPeer::Frame(std::string_view bytes, bool more) { return Header(bytes.size(), more).append(bytes); }

bool RawPeer::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

bool RawPeer::Read(size_t bytes) {
  std::array<char, 256> buffer{};
  while (bytes > 0) {
    const ssize_t got = recv(socket_.get(), buffer.data(), std::min(bytes, buffer.size()), 0);
    if (got <= 0) return false;
    bytes -= static_cast<size_t>(got);
  }
  return true;
}

bool RawPeer::Join(const std::string& socket_type) {
  return connected() && Send(Greeting()) && Read(Greeting().size()) && Send(Ready(socket_type));
}

bool RawPeer::WaitForEnd(std::chrono::milliseconds timeout) {
  const auto end = std::chrono::steady_clock::now() + timeout;
  std::array<char, 4096> buffer{};
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    pollfd wait{socket_.get(), POLLIN, 0};
    if (left.count() <= 0 || poll(&wait, 1, static_cast<int>(left.count())) <= 0) return false;
    if (recv(socket_.get(), buffer.data(), buffer.size(), 0) <= 0) return true;
  }
}

}  // namespace sluice::core::test
