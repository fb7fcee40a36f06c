// SPDX-License-Identifier: Apache-2.0
// The DEALER end of the control endpoint: requests out, replies in, without waiting. ControlClient waits on it; Monitor
// polls it beside its subscription.
#pragma once

#include <optional>
#include <string>

#include "sluice/error.h"
#include "sluice/sluice.pb.h"
#include "zmq_socket.h"

namespace sluice {

class RequestChannel {
 public:
  // Throws zmq::error_t where the endpoint is none.
  RequestChannel(const ZmqContext& context, const std::string& endpoint);

  // Numbers and sends; false where there is no connection (yet). Errors: "too_large". Earlier requests are given up:
  // their replies are ignored.
  Result<bool> TrySend(v1::Request& request);
  // The reply to the last request sent, if it is there. Errors: "bad_payload".
  Result<std::optional<v1::Reply>> TryReceive();

  ZmqSocket& socket() { return socket_; }

 private:
  ZmqSocket socket_;
  uint64_t last_id_ = 0;
};

}  // namespace sluice
