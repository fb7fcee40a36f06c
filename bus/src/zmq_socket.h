// SPDX-License-Identifier: Apache-2.0
// ZeroMQ contexts that are owned or borrowed as a void*, which is how they cross the plugin interface, and sockets on
// them. cppzmq's own socket_t wants a context_t, and that cannot borrow.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <zmq.hpp>

#include "sluice/error.h"

namespace sluice {

class ZmqContext {
 public:
  // Makes a context of its own where `shared` is null. `shared` must outlive this.
  explicit ZmqContext(void* shared = nullptr) : handle_(shared) {
    if (handle_ == nullptr) handle_ = owned_.emplace().handle();
  }
  [[nodiscard]] void* handle() const { return handle_; }

 private:
  std::optional<zmq::context_t> owned_;
  void* handle_;
};

// One thread at a time. Throws zmq::error_t as cppzmq does: the classes of the library's interface catch it.
class ZmqSocket {
 public:
  ZmqSocket(const ZmqContext& context, zmq::socket_type type)
      : socket_(zmq::from_handle, zmq_socket(context.handle(), static_cast<int>(type))) {
    if (socket_.handle() == nullptr) throw zmq::error_t();
    socket_.set(zmq::sockopt::linger, 0);
  }
  ~ZmqSocket() { zmq_close(socket_.handle()); }
  ZmqSocket(const ZmqSocket&) = delete;
  ZmqSocket& operator=(const ZmqSocket&) = delete;

  zmq::socket_ref* operator->() { return &socket_; }
  zmq::socket_ref& operator*() { return socket_; }
  [[nodiscard]] zmq::pollitem_t PollItem(short events) { return {socket_.handle(), 0, events, 0}; }

 private:
  zmq::socket_ref socket_;
};

inline Error BadEndpoint(const std::string& endpoint, const zmq::error_t& error) {
  return {.reason = "bad_endpoint", .detail = "cannot use endpoint '" + endpoint + "': " + error.what()};
}

inline std::string_view View(const zmq::message_t& message) {
  return {static_cast<const char*>(message.data()), message.size()};
}

// Whole milliseconds from now to `deadline`, rounded up so that a poll does not spin at the end; not negative.
inline std::chrono::milliseconds Until(std::chrono::steady_clock::time_point deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
  return std::max(left, std::chrono::milliseconds(0));
}

}  // namespace sluice
