// SPDX-License-Identifier: Apache-2.0
#include "connection_guard.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <optional>

#include "clock.h"

namespace sluice::core {
namespace {

constexpr uint64_t kLookAgainNs = 100'000'000;

std::atomic<ConnectionGuard*>& Current() {
  static std::atomic<ConnectionGuard*> guard = nullptr;
  return guard;
}

// Of a listening socket and of those accepted from it; nullopt where it is not bound, or no Unix socket.
std::optional<std::string> PathOf(int socket) {
  sockaddr_un address{};
  socklen_t size = sizeof(address);
  if (getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) != 0 || address.sun_family != AF_UNIX)
    return {};
  const size_t length = size - std::min<size_t>(size, offsetof(sockaddr_un, sun_path));
  std::string path(address.sun_path, std::min(length, sizeof(address.sun_path)));
  if (path.empty()) return {};
  // One that is no file's (abstract) begins with NUL, and endpoints write "@".
  if (path.front() == '\0') path.front() = '@';
  return path.substr(0, path.find('\0'));
}

int SystemAccept(int listener, sockaddr* address, socklen_t* size, int flags) {
  return static_cast<int>(syscall(SYS_accept4, listener, address, size, flags));
}

int GaveUp() {
  errno = ECONNABORTED;
  return -1;
}

}  // namespace

uint64_t RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  const rlim_t before = std::exchange(limit.rlim_cur, limit.rlim_max);
  return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : before;
}

ConnectionGuard::ConnectionGuard(const std::vector<std::string>& paths, size_t most)
    : most_(most), spare_(open("/dev/null", O_RDONLY | O_CLOEXEC)) {
  for (const std::string& path : paths) endpoints_[path];
  Current() = this;
}

ConnectionGuard::~ConnectionGuard() { Current() = nullptr; }

bool ConnectionGuard::HasRoom(const std::string& path, Endpoint& endpoint) const {
  if (endpoint.peers.size() < most_) return true;
  const uint64_t now = MonotonicNs();
  if (now - endpoint.looked_ns < kLookAgainNs) return false;
  endpoint.looked_ns = now;
  std::erase_if(endpoint.peers, [&](int peer) { return PathOf(peer) != path; });
  return endpoint.peers.size() < most_;
}

void ConnectionGuard::TurnAway(int listener) {
  spare_.Reset();
  const int accepted = SystemAccept(listener, nullptr, nullptr, SOCK_CLOEXEC);
  if (accepted >= 0) close(accepted);
  spare_ = UniqueFd(open("/dev/null", O_RDONLY | O_CLOEXEC));
}

int ConnectionGuard::Admit(int listener, int accepted, int error_number) {
  const std::lock_guard lock(mutex_);
  const auto path = PathOf(listener);
  const auto known = path ? endpoints_.find(*path) : endpoints_.end();
  const bool none_left = accepted < 0 && (error_number == EMFILE || error_number == ENFILE);
  if (known == endpoints_.end() || (accepted < 0 && !none_left)) {
    errno = error_number;
    return accepted;
  }
  if (none_left) {
    TurnAway(listener);
    return GaveUp();
  }
  if (!HasRoom(known->first, known->second)) {
    close(accepted);
    return GaveUp();
  }
  known->second.peers.insert(accepted);
  return accepted;
}

namespace {

int GuardedAccept(int listener, sockaddr* address, socklen_t* size, int flags) {
  const int accepted = SystemAccept(listener, address, size, flags);
  const int error_number = errno;
  ConnectionGuard* guard = Current();
  return guard == nullptr ? accepted : guard->Admit(listener, accepted, error_number);
}

}  // namespace
}  // namespace sluice::core

// libzmq calls this one: a program's own functions come before those of its libraries.
extern "C" __attribute__((visibility("default"))) int accept4(int listener, sockaddr* address, socklen_t* size,
                                                              int flags) {
  return sluice::core::GuardedAccept(listener, address, size, flags);
}
