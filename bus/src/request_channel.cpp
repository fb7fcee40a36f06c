// SPDX-License-Identifier: Apache-2.0
#include "request_channel.h"

#include <vector>
#include <zmq_addon.hpp>

#include "sluice/wire.h"

namespace sluice {

RequestChannel::RequestChannel(const ZmqContext& context, const std::string& endpoint)
    : socket_(context, zmq::socket_type::dealer) {
  // Only to a daemon that is there: a queued request must not be carried out by one that starts much later.
  socket_->set(zmq::sockopt::immediate, 1);
  socket_->set(zmq::sockopt::reconnect_ivl_max, 1000);
  socket_->connect(endpoint);
}

Result<bool> RequestChannel::TrySend(v1::Request& request) {
  request.set_id(last_id_ + 1);
  const std::string payload = Encode(request);
  if (payload.size() > kMaxPayload) {
    return Error{.reason = "too_large",
                 .detail = "the request has " + std::to_string(payload.size()) + " bytes; the limit is " +
                           std::to_string(kMaxPayload)};
  }
  if (!socket_->send(zmq::buffer(payload), zmq::send_flags::dontwait)) return false;
  ++last_id_;
  return true;
}

Result<std::optional<v1::Reply>> RequestChannel::TryReceive() {
  std::vector<zmq::message_t> frames;
  while (zmq::recv_multipart(*socket_, std::back_inserter(frames), zmq::recv_flags::dontwait)) {
    v1::Reply reply;
    if (auto decoded = Decode(View(frames.back()), reply); !decoded) return decoded.error();
    // Without a number: the daemon could not read the request.
    if (reply.id() == last_id_ || (reply.id() == 0 && !reply.ok())) return std::optional(std::move(reply));
    frames.clear();
  }
  return std::optional<v1::Reply>();
}

}  // namespace sluice
