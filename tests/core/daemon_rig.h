// SPDX-License-Identifier: Apache-2.0
// A real sluiced with real sockets, spoken to by a socket of each kind.
#pragma once

#include <chrono>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>
#include <zmq.hpp>

#include "support/daemon.h"

namespace sluice::core::test {

using nlohmann::json;
using sluice::test::Daemon;

// Until `condition` holds; false after `timeout`.
bool Eventually(const std::function<bool()>& condition, std::chrono::milliseconds timeout = std::chrono::seconds(10));

// A monitor in JSON.
class Listener {
 public:
  // Returns when the subscription is in force.
  explicit Listener(const Daemon& daemon);
  // The next event of any topic but heartbeat; null if none came in time.
  json Next(std::chrono::milliseconds timeout = std::chrono::seconds(5));
  // Reads over others.
  json Await(const std::string& topic);

 private:
  zmq::context_t context_;
  zmq::socket_t socket_;
  std::vector<json> waiting_;
};

// A publisher that has waited for the daemon's subscription.
class Shouter {
 public:
  explicit Shouter(const Daemon& daemon);
  void Say(const std::string& topic, const std::string& payload);

 private:
  zmq::context_t context_;
  zmq::socket_t socket_;
};

// REQ and JSON, as a ten-line script would.
json AskJson(const Daemon& daemon, const json& request);
// The same and true to `ok`; says why where not.
bool Accepts(const Daemon& daemon, const json& request);

json Load(const std::string& fixture, const std::string& isolation = "thread", const json& options = json::object());
json PutFlow(const std::string& match, const std::string& actions);
json FlowOf(const Daemon& daemon, const std::string& ufid);
json PluginOf(const Daemon& daemon, const std::string& name);

}  // namespace sluice::core::test
