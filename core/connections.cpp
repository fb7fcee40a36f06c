// SPDX-License-Identifier: Apache-2.0
#include "connections.h"

#include <cstring>

namespace sluice::core {

Connections::Connections(zmq::context_t& context, zmq::socket_t& socket, const std::string& name)
    : socket_(socket), told_(context, zmq::socket_type::pair) {
  const std::string endpoint = "inproc://connections/" + name;
  told_.set(zmq::sockopt::linger, 0);
  // Without a limit: at one, the I/O thread would wait for the loop.
  told_.set(zmq::sockopt::rcvhwm, 0);
  if (zmq_socket_monitor(socket.handle(), endpoint.c_str(), ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_DISCONNECTED) != 0) {
    throw zmq::error_t();
  }
  told_.connect(endpoint);
}

Connections::~Connections() { zmq_socket_monitor(socket_.handle(), nullptr, 0); }

uint64_t Connections::Count() {
  // Two frames: the event, 16 bits, and its value, 32 bits, in the host's order; the address.
  zmq::message_t event;
  zmq::message_t address;
  while (told_.recv(event, zmq::recv_flags::dontwait)) {
    if (event.more()) (void)told_.recv(address, zmq::recv_flags::dontwait);
    uint16_t what = 0;
    int32_t descriptor = 0;
    if (event.size() != sizeof(what) + sizeof(descriptor)) continue;
    const auto* bytes = static_cast<const char*>(event.data());
    std::memcpy(&what, bytes, sizeof(what));
    std::memcpy(&descriptor, bytes + sizeof(what), sizeof(descriptor));
    if (what == ZMQ_EVENT_ACCEPTED) {
      open_.insert(descriptor);
    } else if (what == ZMQ_EVENT_DISCONNECTED) {
      open_.erase(descriptor);
    }
  }
  return open_.size();
}

}  // namespace sluice::core
