// SPDX-License-Identifier: Apache-2.0
// What becomes of connections to the daemon's sockets, as ZeroMQ tells it. The loop's thread only.
#pragma once

#include <map>
#include <string>
#include <vector>
#include <zmq.hpp>

#include "counters.h"

namespace sluice::core {

class ConnectionMonitor {
 public:
  explicit ConnectionMonitor(zmq::context_t& context) : context_(context) {}
  // Before it is bound; `socket` must outlive this object.
  void Watch(const std::string& name, zmq::socket_t& socket);
  ~ConnectionMonitor();
  ConnectionMonitor(const ConnectionMonitor&) = delete;
  ConnectionMonitor& operator=(const ConnectionMonitor&) = delete;

  // Adds what has happened since the last call: connections, connections_ended, connections_refused (there were too
  // many) and handshakes_failed (what came was not ZeroMQ's protocol, or only half of it in time). True where some were
  // refused.
  bool Count(Counters& counters);
  // Connections that were there at the last Count, by name of the socket.
  [[nodiscard]] const std::map<std::string, uint64_t>& open() const { return open_; }

 private:
  struct Watched {
    zmq::socket_t* socket;
    zmq::socket_t events;
    uint64_t* open;
  };
  zmq::context_t& context_;
  std::vector<Watched> watched_;
  std::map<std::string, uint64_t> open_;
};

}  // namespace sluice::core
