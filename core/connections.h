// SPDX-License-Identifier: Apache-2.0
// How many peers are connected to a bound socket, as ZeroMQ's I/O thread tells it.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <zmq.hpp>

namespace sluice::core {

class Connections {
 public:
  // From before `socket` is bound; both are of the same thread.
  Connections(zmq::context_t& context, zmq::socket_t& socket, const std::string& name);
  ~Connections();
  Connections(const Connections&) = delete;
  Connections& operator=(const Connections&) = delete;

  // Reads what was told since; to be called now and then, as what is not read piles up.
  uint64_t Count();

 private:
  zmq::socket_t& socket_;
  zmq::socket_t told_;
  std::set<int32_t> open_;  // descriptors
};

}  // namespace sluice::core
