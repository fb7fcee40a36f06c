// SPDX-License-Identifier: Apache-2.0
#include "bus.h"

#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace sluice::core {
namespace {

constexpr int kLingerMs = 500;
// What a connection may take up in memory with a message that it has not sent to its end. Ours is larger than the
// configured limit, so that what is a little too large is refused by name and not by hanging up.
constexpr int64_t kFramesPerMessage = 2;
constexpr int64_t kMaxSubscription = 4'096;
constexpr int64_t kMaxFromPlugin = int64_t{64} << 20;  // more than kMaxPayload, and code that we have loaded
// Descriptors for plugins, the maps and sockets of their ports, and files; at most half of all.
constexpr uint64_t kReserved = 4'096;
constexpr uint64_t kEndpoints = 4;
// The credit window keeps what a plugin is told far below this.
constexpr int kToPlugins = 10'000;
// What plugins have said and nobody has read: little, so that a verdict does not stand behind a storm of upcalls for
// long. A plugin that cannot say more takes nothing in until it can, and packets that come up meanwhile are its to drop
// and count.
constexpr int kFromPlugins = 16;
constexpr std::string_view kIpc = "ipc://";

Error Failed(const std::string& endpoint, int error_number) {
  return Error{"bind_failed", "cannot listen on " + endpoint + ": " + std::strerror(error_number), 0, 0};
}

std::string PathOf(const std::string& endpoint) {
  return endpoint.starts_with(kIpc) ? endpoint.substr(kIpc.size()) : "";
}

bool IsBoundSocket(const std::string& endpoint) {
  struct stat info {};
  return lstat(PathOf(endpoint).c_str(), &info) == 0 && S_ISSOCK(info.st_mode);
}

Result<void> Bind(zmq::socket_t& socket, const std::string& endpoint) {
  const std::string path = PathOf(endpoint);
  if (path.size() >= sizeof(sockaddr_un::sun_path)) return Failed(endpoint, ENAMETOOLONG);
  // ZeroMQ replaces whatever is there. A socket was left behind: under the run directory's lock nobody listens on it.
  // Any other file is somebody's.
  if (!path.empty() && access(path.c_str(), F_OK) == 0 && !IsBoundSocket(endpoint)) return Failed(endpoint, EEXIST);
  const mode_t before = umask(0117);  // 0660 from the first moment
  int failed = 0;
  try {
    socket.bind(endpoint);
  } catch (const zmq::error_t& error) {
    failed = error.num();
  }
  umask(before);
  if (failed != 0) return Failed(endpoint, failed);
  return {};
}

uint64_t ConnectionsOf(uint64_t configured) {
  const uint64_t descriptors = RaiseDescriptorLimit();
  const uint64_t free = descriptors - std::min(kReserved, descriptors / 2);
  return std::clamp<uint64_t>(free / kEndpoints, 1, configured);
}

}  // namespace

Bus::Bus(Endpoints endpoints, const BusLimits& limits)
    : endpoints_(std::move(endpoints)),
      context_(1),
      ingress_(context_, zmq::socket_type::sub),
      control_(context_, zmq::socket_type::router),
      events_(context_, zmq::socket_type::xpub),
      plugins_(context_, zmq::socket_type::router) {
  for (zmq::socket_t* socket : {&ingress_, &control_, &events_, &plugins_}) {
    socket->set(zmq::sockopt::linger, kLingerMs);
    socket->set(zmq::sockopt::handshake_ivl, limits.handshake_ms);
  }
  ingress_.set(zmq::sockopt::maxmsgsize, limits.message * kFramesPerMessage);
  control_.set(zmq::sockopt::maxmsgsize, limits.message * kFramesPerMessage);
  events_.set(zmq::sockopt::maxmsgsize, kMaxSubscription);
  plugins_.set(zmq::sockopt::maxmsgsize, kMaxFromPlugin);
  ingress_.set(zmq::sockopt::rcvhwm, limits.ingress);
  ingress_.set(zmq::sockopt::subscribe, "");
  control_.set(zmq::sockopt::router_mandatory, true);
  control_.set(zmq::sockopt::rcvhwm, limits.control);
  control_.set(zmq::sockopt::sndhwm, limits.control);
  events_.set(zmq::sockopt::sndhwm, limits.events);
  // Every subscription, as who has just come is beaten for at once; of unsubscriptions the last of a prefix.
  events_.set(zmq::sockopt::xpub_verbose, true);
  plugins_.set(zmq::sockopt::router_mandatory, true);
  plugins_.set(zmq::sockopt::rcvhwm, kFromPlugins);
  plugins_.set(zmq::sockopt::sndhwm, kToPlugins);
}

Bus::~Bus() {
  for (const std::string& endpoint : {endpoints_.ingress, endpoints_.control, endpoints_.events, endpoints_.plugins}) {
    if (IsBoundSocket(endpoint)) unlink(PathOf(endpoint).c_str());
  }
}

Result<std::unique_ptr<Bus>> Bus::Open(const Endpoints& endpoints, const BusLimits& limits) {
  try {
    std::unique_ptr<Bus> bus(new Bus(endpoints, limits));
    const std::pair<zmq::socket_t*, std::string> bindings[] = {{&bus->ingress_, endpoints.ingress},
                                                               {&bus->control_, endpoints.control},
                                                               {&bus->events_, endpoints.events},
                                                               {&bus->plugins_, endpoints.plugins},
                                                               {&bus->plugins_, kThreadEndpoint}};
    bus->connections_.Watch("ingress", bus->ingress_);
    bus->connections_.Watch("control", bus->control_);
    bus->connections_.Watch("events", bus->events_);
    bus->connections_.Watch("plugins", bus->plugins_);
    std::vector<std::string> paths;
    for (const auto& [socket, endpoint] : bindings) {
      if (const std::string path = PathOf(endpoint); !path.empty()) paths.push_back(path);
    }
    bus->guard_ = std::make_unique<ConnectionGuard>(paths, ConnectionsOf(limits.connections));
    for (const auto& [socket, endpoint] : bindings) {
      if (auto bound = Bind(*socket, endpoint); !bound) return bound.error();
    }
    return bus;
  } catch (const zmq::error_t& error) {
    return Error{"bind_failed", std::string("no ZeroMQ sockets: ") + error.what(), 0, 0};
  }
}

bool Bus::Publish(std::string_view topic, const std::string& payload) {
  const auto flags = zmq::send_flags::dontwait;
  return events_.send(zmq::buffer(topic), flags | zmq::send_flags::sndmore) &&
         events_.send(zmq::buffer(payload), flags);
}

bool Bus::ToPlugin(const std::string& identity, const std::string& payload) {
  const auto flags = zmq::send_flags::dontwait;
  try {
    return plugins_.send(zmq::buffer(identity), flags | zmq::send_flags::sndmore) &&
           plugins_.send(zmq::buffer(payload), flags);
  } catch (const zmq::error_t& error) {
    if (error.num() == EHOSTUNREACH) return false;
    throw;
  }
}

}  // namespace sluice::core
