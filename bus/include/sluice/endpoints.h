// SPDX-License-Identifier: Apache-2.0
// Where a daemon's sockets are.
//
// A daemon is named by its run directory or by the URL of its control endpoint. Plain functions, any thread.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "sluice/error.h"

namespace sluice {

// ZeroMQ endpoints ("ipc:///run/sluice/control").
struct Endpoints {
  std::string ingress;
  std::string control;
  std::string events;
  std::string plugins;
};

inline constexpr std::string_view kDefaultRunDir = "/run/sluice";

// SLUICE_RUN_DIR where it is set and not empty, else kDefaultRunDir.
std::string DefaultRunDir();

// The endpoints of a daemon in run directory `run_dir`, as it makes them unless its configuration says otherwise.
Endpoints EndpointsIn(std::string_view run_dir);

// `where` is a run directory, the URL of a control endpoint, or empty for DefaultRunDir(). For a URL the daemon is
// asked where its other endpoints are; errors are then those of ControlClient::Call ("no_daemon").
Result<Endpoints> FindEndpoints(std::string_view where = {},
                                std::chrono::milliseconds timeout = std::chrono::seconds(5));

// Says why an ipc endpoint cannot be reached: nobody listens, no permission, path too long. Errors: "no_daemon",
// "permission_denied", "bad_endpoint". Other transports are not tried and count as reachable.
Result<void> CheckReachable(const std::string& endpoint);

}  // namespace sluice
