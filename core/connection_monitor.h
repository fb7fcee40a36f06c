// SPDX-License-Identifier: Apache-2.0
// What becomes of connections to the daemon's sockets, as ZeroMQ tells it. The loop's thread only.
#pragma once

#include <vector>
#include <zmq.hpp>

#include "counters.h"

namespace sluice::core {

class ConnectionMonitor {
 public:
  explicit ConnectionMonitor(zmq::context_t& context) : context_(context) {}
  // `socket` must outlive this object.
  void Watch(zmq::socket_t& socket);
  ~ConnectionMonitor();
  ConnectionMonitor(const ConnectionMonitor&) = delete;
  ConnectionMonitor& operator=(const ConnectionMonitor&) = delete;

  // Adds what has happened since the last call: connections, connections_ended, connections_refused (there were too
  // many) and handshakes_failed (what came was not ZeroMQ's protocol, or only half of it in time). True where some were
  // refused.
  bool Count(Counters& counters);

 private:
  zmq::context_t& context_;
  std::vector<zmq::socket_t*> watched_;
  std::vector<zmq::socket_t> events_;
};

}  // namespace sluice::core
