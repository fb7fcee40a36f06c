// SPDX-License-Identifier: Apache-2.0
#include "daemon.h"

namespace sluice::ctl {
namespace {

// By what the exit code is to be.
Error Sorted(Error error) {
  if (error.reason == "no_daemon" || error.reason == "permission_denied") error.reason = kNoDaemon;
  if (error.reason == "bad_endpoint") error.reason = kUsage;
  return error;
}

Endpoints Named(const std::string& where) {
  if (where.find("://") == std::string::npos) return EndpointsIn(where.empty() ? DefaultRunDir() : where);
  Endpoints endpoints;
  endpoints.control = where;
  return endpoints;
}

// What the daemon itself says wins: its configuration may have put its sockets elsewhere. A relative path is its own.
void Learn(std::string& endpoint, const char* name, const v1::Status& status) {
  constexpr std::string_view kIpc = "ipc://";
  const auto told = status.endpoints().find(name);
  if (told == status.endpoints().end() || told->second.empty()) return;
  const bool relative = told->second.starts_with(kIpc) && !told->second.substr(kIpc.size()).starts_with('/');
  if (!relative || endpoint.empty()) endpoint = told->second;
}

}  // namespace

Result<Daemon> Daemon::Open(const Global& global) {
  const auto given = std::chrono::milliseconds(static_cast<int64_t>(global.timeout.value_or(0) * 1000));
  Endpoints endpoints = Named(global.endpoint);
  auto client =
      ControlClient::Connect({.endpoint = endpoints.control, .timeout = global.timeout ? given : kRequestTimeout});
  if (!client) return Sorted(client.error());
  Daemon daemon(std::move(*client), std::move(endpoints));
  if (auto there = daemon.Hello(global.timeout ? given : kHelloTimeout); !there) return there.error();
  return daemon;
}

Result<void> Daemon::Hello(std::chrono::milliseconds timeout) {
  v1::Request request;
  request.mutable_status();
  auto reply = client_.Call(std::move(request), timeout);
  if (!reply) return Sorted(reply.error());
  if (!reply->ok()) return Error{reply->reason(), reply->detail()};
  status_ = std::move(*reply->mutable_status());
  Learn(endpoints_.ingress, "ingress", status_);
  Learn(endpoints_.events, "events", status_);
  return {};
}

Result<v1::Reply> Daemon::Ask(v1::Request request) {
  auto reply = client_.Call(std::move(request));
  if (!reply) return Sorted(reply.error());
  return reply;
}

Result<v1::Reply> Daemon::AskOk(v1::Request request) {
  auto reply = Ask(std::move(request));
  if (!reply || reply->ok()) return reply;
  if (reply->refused().empty()) return Error{reply->reason(), reply->detail()};
  return ToError(reply->refused(0));
}

Result<v1::Reply> Daemon::Walk(v1::Snapshot snapshot, const std::function<bool(const v1::Reply&)>& chunk) {
  auto reply = client_.Walk(std::move(snapshot), chunk);
  if (!reply) return Sorted(reply.error());
  return reply;
}

}  // namespace sluice::ctl
