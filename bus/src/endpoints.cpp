// SPDX-License-Identifier: Apache-2.0
#include "sluice/endpoints.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "sluice/control_client.h"
#include "sluice/unique_fd.h"

namespace sluice {
namespace {

constexpr std::string_view kIpc = "ipc://";

Error Unreachable(const std::string& endpoint, int error_number) {
  const std::string why = std::string(std::strerror(error_number));
  if (error_number == EACCES || error_number == EPERM) {
    return {.reason = "permission_denied", .detail = "no permission to use " + endpoint + ": " + why};
  }
  return {.reason = "no_daemon", .detail = "no daemon answers at " + endpoint + ": " + why};
}

}  // namespace

std::string DefaultRunDir() {
  const char* dir = std::getenv("SLUICE_RUN_DIR");
  return dir != nullptr && *dir != '\0' ? std::string(dir) : std::string(kDefaultRunDir);
}

Endpoints EndpointsIn(std::string_view run_dir) {
  while (run_dir.size() > 1 && run_dir.back() == '/') run_dir.remove_suffix(1);
  const std::string base = std::string(kIpc) + std::string(run_dir);
  return {.ingress = base + "/ingress",
          .control = base + "/control",
          .events = base + "/events",
          .plugins = base + "/plugins"};
}

Result<Endpoints> FindEndpoints(std::string_view where, std::chrono::milliseconds timeout) {
  const std::string name = where.empty() ? DefaultRunDir() : std::string(where);
  if (name.find("://") == std::string::npos) return EndpointsIn(name);
  auto client = ControlClient::Connect({.endpoint = name, .timeout = timeout});
  if (!client) return client.error();
  v1::Request request;
  request.mutable_status();
  auto reply = client->Call(std::move(request));
  if (!reply) return reply.error();
  const auto& told = reply->status().endpoints();
  const auto find = [&told](const char* key) {
    const auto it = told.find(key);
    return it == told.end() ? std::string() : it->second;
  };
  return Endpoints{.ingress = find("ingress"), .control = name, .events = find("events"), .plugins = find("plugins")};
}

Result<void> CheckReachable(const std::string& endpoint) {
  if (!endpoint.starts_with(kIpc)) return {};
  const std::string path = endpoint.substr(kIpc.size());
  sockaddr_un address{};
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    return Error{.reason = "bad_endpoint",
                 .detail = "the path of " + endpoint + " must have 1 to " +
                           std::to_string(sizeof(address.sun_path) - 1) + " characters"};
  }
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  const UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (fd.get() < 0) return {};  // short of descriptors: says nothing about the daemon
  // A full backlog (EAGAIN) is a daemon that is there and busy.
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 || errno == EAGAIN)
    return {};
  return Unreachable(endpoint, errno);
}

}  // namespace sluice
