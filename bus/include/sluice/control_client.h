// SPDX-License-Identifier: Apache-2.0
// Requests to the daemon over its control endpoint, each answered.
//
// One thread at a time. Errors are values: "no_daemon" (nobody answered in time), "permission_denied", "bad_endpoint",
// "bad_payload" (the answer cannot be read), "too_large" (the request). A reply that says no is not an error of these
// functions: look at Reply.ok.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "sluice/error.h"
#include "sluice/sluice.pb.h"

namespace sluice {

class ControlClient {
 public:
  struct Settings {
    std::string endpoint;
    std::chrono::milliseconds timeout = std::chrono::seconds(5);  // for an answer, connecting included
    // Where no daemon listens on an ipc endpoint: say so at once. False: wait for one until the timeout.
    bool fail_fast = true;
    void* zmq_context = nullptr;  // to share, for inproc endpoints; must outlive the client
  };

  // Does not wait for the daemon. Errors: "bad_endpoint".
  static Result<ControlClient> Connect(Settings settings);
  ControlClient(ControlClient&&) noexcept;
  ControlClient& operator=(ControlClient&&) noexcept;
  ~ControlClient();

  // Numbers the request, sends it, waits for its reply. A request that timed out may still be carried out: flow
  // requests are idempotent, ask again. Nothing is sent before there is a connection, so none is carried out by a
  // daemon that starts later.
  Result<v1::Reply> Call(v1::Request request);
  Result<v1::Reply> Call(v1::Request request, std::chrono::milliseconds timeout);

  // Walks a snapshot: `chunk` gets every reply in order, and ends the walk by returning false. A flow may come again in
  // a later chunk, newer; Reply.deleted names flows of earlier chunks that are gone. Returns the last reply; a refusal
  // ("epoch_changed") is an error here.
  Result<v1::Reply> Walk(v1::Snapshot snapshot, const std::function<bool(const v1::Reply&)>& chunk);

  // The whole table as of Reply.seq of the last chunk, in the order of the flows' last change. `filter` may name a port
  // and a plugin.
  Result<std::vector<v1::Flow>> Flows(const v1::Snapshot& filter = {});

 private:
  class Impl;
  explicit ControlClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice
