// SPDX-License-Identifier: Apache-2.0
#include "sluice/control_client.h"

#include <algorithm>
#include <unordered_map>
#include <zmq.hpp>

#include "request_channel.h"
#include "sluice/endpoints.h"
#include "zmq_socket.h"

namespace sluice {
namespace {

using Clock = std::chrono::steady_clock;

// A connection to a daemon that is there takes less than this; after it, look whether one is.
constexpr auto kConnectGrace = std::chrono::milliseconds(20);

void Poll(ZmqSocket& socket, short events, std::chrono::milliseconds timeout) {
  zmq::pollitem_t item = socket.PollItem(events);
  zmq::poll(&item, 1, timeout);
}

}  // namespace

class ControlClient::Impl {
 public:
  explicit Impl(Settings settings)
      : settings_(std::move(settings)), context_(settings_.zmq_context), channel_(context_, settings_.endpoint) {}

  Result<v1::Reply> Call(v1::Request& request, std::chrono::milliseconds timeout) {
    const auto deadline = Clock::now() + timeout;
    if (auto sent = Send(request, deadline); !sent) return sent.error();
    for (;;) {
      auto reply = channel_.TryReceive();
      if (!reply) return reply.error();
      if (reply->has_value()) return std::move(**reply);
      if (Clock::now() >= deadline) return NoDaemon(timeout);
      Poll(channel_.socket(), ZMQ_POLLIN, Until(deadline));
    }
  }

  [[nodiscard]] std::chrono::milliseconds timeout() const { return settings_.timeout; }

 private:
  Result<void> Send(v1::Request& request, Clock::time_point deadline) {
    const auto started = Clock::now();
    for (;;) {
      auto sent = channel_.TrySend(request);
      if (!sent) return sent.error();
      if (*sent) return {};
      const auto now = Clock::now();
      if (settings_.fail_fast && now - started >= kConnectGrace) {
        if (auto reachable = CheckReachable(settings_.endpoint); !reachable) return reachable.error();
      }
      if (now >= deadline) return NoDaemon(std::chrono::duration_cast<std::chrono::milliseconds>(now - started));
      Poll(channel_.socket(), ZMQ_POLLOUT, std::min(Until(deadline), kConnectGrace));
    }
  }

  [[nodiscard]] Error NoDaemon(std::chrono::milliseconds waited) const {
    if (auto reachable = CheckReachable(settings_.endpoint); !reachable) return reachable.error();
    return {.reason = "no_daemon",
            .detail = "no answer from " + settings_.endpoint + " within " + std::to_string(waited.count()) + " ms"};
  }

  Settings settings_;
  ZmqContext context_;
  RequestChannel channel_;
};

ControlClient::ControlClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ControlClient::ControlClient(ControlClient&&) noexcept = default;
ControlClient& ControlClient::operator=(ControlClient&&) noexcept = default;
ControlClient::~ControlClient() = default;

Result<ControlClient> ControlClient::Connect(Settings settings) {
  const std::string endpoint = settings.endpoint;
  try {
    return ControlClient(std::make_unique<Impl>(std::move(settings)));
  } catch (const zmq::error_t& error) {
    return BadEndpoint(endpoint, error);
  }
}

Result<v1::Reply> ControlClient::Call(v1::Request request) { return Call(std::move(request), impl_->timeout()); }

Result<v1::Reply> ControlClient::Call(v1::Request request, std::chrono::milliseconds timeout) {
  try {
    return impl_->Call(request, timeout);
  } catch (const zmq::error_t& error) {
    return Error{.reason = "no_daemon", .detail = std::string("the connection failed: ") + error.what()};
  }
}

Result<v1::Reply> ControlClient::Walk(v1::Snapshot snapshot, const std::function<bool(const v1::Reply&)>& chunk) {
  for (;;) {
    v1::Request request;
    *request.mutable_snapshot() = snapshot;
    auto reply = Call(std::move(request));
    if (!reply) return reply;
    if (!reply->ok()) return Error{.reason = reply->reason(), .detail = reply->detail()};
    if (!chunk(*reply) || reply->done()) return reply;
    snapshot.set_after(reply->cursor());
    snapshot.set_epoch(reply->epoch());
  }
}

Result<std::vector<v1::Flow>> ControlClient::Flows(const v1::Snapshot& filter) {
  std::vector<v1::Flow> flows;
  std::unordered_map<std::string, size_t> place;  // of a ufid in `flows`; an emptied flow there has been superseded
  const auto forget = [&](const std::string& ufid) {
    const auto it = place.find(ufid);
    if (it == place.end()) return;
    flows[it->second].Clear();
    place.erase(it);
  };
  v1::Snapshot snapshot = filter;
  snapshot.set_after(0);
  auto last = Walk(std::move(snapshot), [&](const v1::Reply& reply) {
    for (const auto& ufid : reply.deleted()) forget(ufid);
    for (const auto& flow : reply.flows()) {
      forget(flow.ufid());
      place[flow.ufid()] = flows.size();
      flows.push_back(flow);
    }
    return true;
  });
  if (!last) return last.error();
  std::erase_if(flows, [](const v1::Flow& flow) { return flow.ufid().empty(); });
  return flows;
}

}  // namespace sluice
