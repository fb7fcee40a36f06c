// SPDX-License-Identifier: Apache-2.0
// The daemon's sockets.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <zmq.hpp>

#include "connections.h"
#include "sluice/endpoints.h"
#include "sluice/error.h"

namespace sluice::core {

struct BusQueues {
  int ingress = 100'000;
  int control = 1'000;
  int events = 10'000;
};

class Bus {
 public:
  // Where plugins in this process connect to, on context().
  static constexpr const char* kThreadEndpoint = "inproc://plugins";

  // Binds all; sockets of files that were left behind are replaced. Errors: "bind_failed".
  static Result<std::unique_ptr<Bus>> Open(const Endpoints& endpoints, const BusQueues& queues);
  ~Bus();  // and the sockets' files
  Bus(const Bus&) = delete;
  Bus& operator=(const Bus&) = delete;

  zmq::context_t& context() { return context_; }
  zmq::socket_t& ingress() { return ingress_; }
  zmq::socket_t& control() { return control_; }
  zmq::socket_t& events() { return events_; }
  zmq::socket_t& plugins() { return plugins_; }

  // How many are connected, by endpoint: "events" are the monitors, "ingress" the publishers.
  std::map<std::string, uint64_t> CountConnections();

  // [topic][payload] on events.
  bool Publish(std::string_view topic, const std::string& payload);
  // [identity][payload] on plugins; false where there is no such peer or its queue is full.
  bool ToPlugin(const std::string& identity, const std::string& payload);

 private:
  Bus(Endpoints endpoints, const BusQueues& queues);

  const Endpoints endpoints_;
  zmq::context_t context_;
  zmq::socket_t ingress_;
  zmq::socket_t control_;
  zmq::socket_t events_;
  zmq::socket_t plugins_;
  Connections ingress_peers_;
  Connections control_peers_;
  Connections events_peers_;
};

}  // namespace sluice::core
