// SPDX-License-Identifier: Apache-2.0
#include "connection_monitor.h"

#include <cstring>
#include <string>

namespace sluice::core {
namespace {

constexpr int kEvents = ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_ACCEPT_FAILED | ZMQ_EVENT_DISCONNECTED |
                        ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL;

const char* CounterOf(uint16_t event) {
  switch (event) {
    case ZMQ_EVENT_ACCEPTED:
      return "connections";
    case ZMQ_EVENT_ACCEPT_FAILED:
      return "connections_refused";
    case ZMQ_EVENT_DISCONNECTED:
      return "connections_ended";
    default:
      return "handshakes_failed";
  }
}

}  // namespace

void ConnectionMonitor::Watch(const std::string& name, zmq::socket_t& socket) {
  const std::string endpoint = "inproc://connections-" + std::to_string(watched_.size());
  if (zmq_socket_monitor(socket.handle(), endpoint.c_str(), kEvents) != 0) throw zmq::error_t();
  watched_.push_back({&socket, zmq::socket_t(context_, zmq::socket_type::pair), &open_[name]});
  zmq::socket_t& events = watched_.back().events;
  // ZeroMQ's own thread would wait for room.
  events.set(zmq::sockopt::rcvhwm, 0);
  events.set(zmq::sockopt::linger, 0);
  events.connect(endpoint);
}

ConnectionMonitor::~ConnectionMonitor() {
  for (const Watched& watched : watched_) (void)zmq_socket_monitor(watched.socket->handle(), nullptr, 0);
}

bool ConnectionMonitor::Count(Counters& counters) {
  bool refused = false;
  zmq::message_t frame;
  for (auto& [socket, events, open] : watched_) {
    while (events.recv(frame, zmq::recv_flags::dontwait)) {
      uint16_t event = 0;
      if (frame.size() >= sizeof(event)) std::memcpy(&event, frame.data(), sizeof(event));
      while (frame.more() && events.recv(frame, zmq::recv_flags::dontwait)) {
        // The endpoint.
      }
      counters.Add(CounterOf(event));
      if (event == ZMQ_EVENT_ACCEPTED) ++*open;
      if (event == ZMQ_EVENT_DISCONNECTED && *open > 0) --*open;
      refused = refused || event == ZMQ_EVENT_ACCEPT_FAILED;
    }
  }
  return refused;
}

}  // namespace sluice::core
