// SPDX-License-Identifier: Apache-2.0
// A peer of one of the daemon's endpoints that speaks ZeroMQ's protocol (ZMTP 3.0, RFC 23) by hand, so that it can
// break it anywhere.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "sluice/unique_fd.h"

namespace sluice::core::test {

class RawPeer {
 public:
  // Connects, and says nothing. Not connected() where the daemon's queue of new connections stays full.
  explicit RawPeer(const std::string& path);
  [[nodiscard]] bool connected() const { return static_cast<bool>(socket_); }

  static std::string Greeting();
  static std::string Ready(const std::string& socket_type);
  // Of a frame: how many bytes come, and whether another frame of the message does.
  static std::string Header(uint64_t size, bool more);
  static std::string Frame(std::string_view bytes, bool more = false);

  // False where the daemon hung up.
  bool Send(std::string_view bytes);
  // Greeting and all: the daemon then takes messages. False where it does not.
  bool Join(const std::string& socket_type);
  // True when the daemon has hung up; what it says until then is read over.
  bool WaitForEnd(std::chrono::milliseconds timeout = std::chrono::seconds(10));

 private:
  bool Read(size_t bytes);

  UniqueFd socket_;
};

}  // namespace sluice::core::test
