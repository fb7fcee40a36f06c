// SPDX-License-Identifier: Apache-2.0
// How many peers may be connected to the daemon's endpoints. However many try, those that are connected stay, other
// endpoints take new ones, and descriptors are left for plugins.
//
// ZeroMQ cannot be told such a limit, and ends the process where accept() finds no descriptor (libzmq 4.3.4,
// ipc_listener.cpp). So accept4() is defined here, in front of the C library's: what is too many is accepted and closed
// at once, and reported to ZeroMQ as a connection that the peer gave up. ZeroMQ's peers try again by themselves.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "sluice/unique_fd.h"

namespace sluice::core {

// Of open files, raised as far as the hard limit allows.
uint64_t RaiseDescriptorLimit();

class ConnectionGuard {
 public:
  // Of the process; one at a time. `paths`: of the listening Unix sockets; `most`: peers of each.
  ConnectionGuard(const std::vector<std::string>& paths, size_t most);
  ~ConnectionGuard();
  ConnectionGuard(const ConnectionGuard&) = delete;
  ConnectionGuard& operator=(const ConnectionGuard&) = delete;

  // What accept4() then returns: `accepted`, what the system's returned with errno `error_number`, or -1 with errno
  // set.
  int Admit(int listener, int accepted, int error_number);

 private:
  struct Endpoint {
    std::set<int> peers;     // those that have closed since, too, until there seems to be no room
    uint64_t looked_ns = 0;  // when those were last looked for
  };
  bool HasRoom(const std::string& path, Endpoint& endpoint) const;
  // There is no descriptor to accept it with: that of `spare_` is lent.
  void TurnAway(int listener);

  const size_t most_;
  std::mutex mutex_;
  std::map<std::string, Endpoint> endpoints_;  // by path
  UniqueFd spare_;
};

}  // namespace sluice::core
