// SPDX-License-Identifier: Apache-2.0
// A real sluiced with real sockets, spoken to by a socket of each kind.
#pragma once

#include <chrono>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>
#include <zmq.hpp>

#include "sluice/sluice.pb.h"
#include "support/daemon.h"

namespace sluice::core::test {

using nlohmann::json;
using sluice::test::Daemon;

#ifdef SLUICE_SANITIZED
constexpr bool kSanitized = true;  // slow, and what is freed is kept for a while, to be watched
#else
constexpr bool kSanitized = false;
#endif

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

// A publisher in any language, as simple as can be: a PUB that drops what it has no room for, without a word, and
// counts what it sends. Nothing in it knows the core.
class Flooder {
 public:
  // `queue`: messages that wait on this side.
  Flooder(const Daemon& daemon, std::string name, int queue);
  // A message of so many records; `payload`: a FlowPut without what is said of the publisher.
  void Send(const std::string& payload, uint64_t records);
  // Says how much it has sent, until that has come; true if it did.
  bool Conclude(const Daemon& daemon);
  [[nodiscard]] uint64_t records() const { return records_; }
  [[nodiscard]] uint64_t messages() const { return messages_; }

 private:
  const std::string name_;
  uint64_t messages_ = 0;
  uint64_t records_ = 0;
  zmq::context_t context_;
  zmq::socket_t socket_;
};

// What the daemon knows of a publisher; its fields are 0 where it knows nothing.
v1::Publisher PublisherOf(const Daemon& daemon, const std::string& name);
v1::Status StatusOf(const Daemon& daemon);
// Memory that the daemon holds, in KiB.
uint64_t ResidentKiB(const Daemon& daemon);

// REQ and JSON, as a ten-line script would.
json AskJson(const Daemon& daemon, const json& request);
// The same and true to `ok`; says why where not.
bool Accepts(const Daemon& daemon, const json& request);

json Load(const std::string& fixture, const std::string& isolation = "thread", const json& options = json::object());
json PutFlow(const std::string& match, const std::string& actions);
json FlowOf(const Daemon& daemon, const std::string& ufid);
json PluginOf(const Daemon& daemon, const std::string& name);

}  // namespace sluice::core::test
