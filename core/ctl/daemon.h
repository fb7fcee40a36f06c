// SPDX-License-Identifier: Apache-2.0
// The daemon, asked over its control endpoint. One thread.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "console.h"
#include "sluice/control_client.h"
#include "sluice/endpoints.h"
#include "sluice/error.h"
#include "sluice/sluice.pb.h"

namespace sluice::ctl {

class Daemon {
 public:
  // How long a daemon may take to say that it is there, and to answer a request (attaching a port or starting a plugin
  // takes its time), where --timeout is not given.
  static constexpr std::chrono::milliseconds kHelloTimeout{2000};
  static constexpr std::chrono::milliseconds kRequestTimeout{30000};

  // Connects and asks for the status. Where nothing listens that is told at once. Errors have the reason kNoDaemon, or
  // kUsage for an endpoint that is none.
  static Result<Daemon> Open(const Global& global);

  // The reply, also one that is not ok. Errors are about not having got one: kNoDaemon, mostly.
  Result<v1::Reply> Ask(v1::Request request);
  // As above; a reply that is not ok becomes an error too.
  Result<v1::Reply> AskOk(v1::Request request);
  // ControlClient::Walk.
  Result<v1::Reply> Walk(v1::Snapshot snapshot, const std::function<bool(const v1::Reply&)>& chunk);

  [[nodiscard]] const Endpoints& endpoints() const { return endpoints_; }
  // As of Open().
  [[nodiscard]] const v1::Status& status() const { return status_; }

 private:
  Daemon(ControlClient client, Endpoints endpoints) : client_(std::move(client)), endpoints_(std::move(endpoints)) {}
  Result<void> Hello(std::chrono::milliseconds timeout);

  ControlClient client_;
  Endpoints endpoints_;
  v1::Status status_;
};

}  // namespace sluice::ctl
