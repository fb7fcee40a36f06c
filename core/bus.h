// SPDX-License-Identifier: Apache-2.0
// The daemon's sockets.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <zmq.hpp>

#include "connection_guard.h"
#include "connection_monitor.h"
#include "sluice/endpoints.h"
#include "sluice/error.h"

namespace sluice::core {

struct BusLimits {
  // Messages that wait.
  int ingress = 10'000;
  int control = 1'000;
  int events = 10'000;
  // A peer that has not finished its greeting by then is cut off.
  int handshake_ms = 10'000;
  // Bytes of a request or publication. A peer that announces more than twice that is cut off.
  int64_t message = int64_t{4} << 20;
  // Peers of an endpoint; fewer where the limit of open files is low.
  uint64_t connections = 4'096;
};

class Bus {
 public:
  // Where plugins in this process connect to, on context().
  static constexpr const char* kThreadEndpoint = "inproc://plugins";

  // Binds all; sockets of files that were left behind are replaced. Errors: "bind_failed".
  static Result<std::unique_ptr<Bus>> Open(const Endpoints& endpoints, const BusLimits& limits);
  ~Bus();  // and the sockets' files
  Bus(const Bus&) = delete;
  Bus& operator=(const Bus&) = delete;

  zmq::context_t& context() { return context_; }
  zmq::socket_t& ingress() { return ingress_; }
  zmq::socket_t& control() { return control_; }
  zmq::socket_t& events() { return events_; }
  zmq::socket_t& plugins() { return plugins_; }

  // [topic][payload] on events.
  bool Publish(std::string_view topic, const std::string& payload);
  // [identity][payload] on plugins; false where there is no such peer or its queue is full.
  bool ToPlugin(const std::string& identity, const std::string& payload);
  // What has become of connections, see there.
  ConnectionMonitor& connections() { return connections_; }

 private:
  Bus(Endpoints endpoints, const BusLimits& limits);

  const Endpoints endpoints_;
  std::unique_ptr<ConnectionGuard> guard_;  // outlives the context, whose thread accepts connections to the end
  zmq::context_t context_;
  zmq::socket_t ingress_;
  zmq::socket_t control_;
  zmq::socket_t events_;
  zmq::socket_t plugins_;
  ConnectionMonitor connections_{context_};
};

}  // namespace sluice::core
