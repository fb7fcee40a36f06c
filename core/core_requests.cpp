// SPDX-License-Identifier: Apache-2.0
// Core's control requests.
#include <utility>

#include "core.h"
#include "message_items.h"
#include "sluice/utf8.h"
#include "sluice/wire.h"

namespace sluice::core {
namespace {

void Deny(v1::Reply& reply, const Error& error) {
  reply.set_ok(false);
  reply.set_reason(error.reason);
  reply.set_detail(Utf8(error.detail));
}

template <typename T>
std::map<std::string, std::string> ToMap(const T& options) {
  return {options.begin(), options.end()};
}

}  // namespace

void Core::Finish(v1::Reply& reply, uint64_t id) const {
  reply.set_id(id);
  reply.set_seq(sequence_.last);
  reply.set_epoch(settings_.epoch);
}

void Core::OnControl(std::string_view payload, Reply reply) {
  counters_.Add("control_requests");
  v1::Request request;
  Result<void> taken = CheckItems(payload, 2);
  if (payload.size() > settings_.max_message) {
    const std::string detail = "a request of " + std::to_string(payload.size()) + " bytes; the limit is " +
                               std::to_string(settings_.max_message);
    taken = Error{"too_large", detail, 0, 0};
  } else if (taken) {
    if (auto decoded = Decode(payload, request); !decoded) taken = Error{"bad_request", decoded.error().detail, 0, 0};
  }
  if (taken) return OnRequest(request, std::move(reply));
  v1::Reply refusal;
  Deny(refusal, taken.error());
  counters_.AddReason("refused", refusal.reason());
  Finish(refusal, 0);
  reply(std::move(refusal));
}

void Core::OnRequest(const v1::Request& request, Reply reply) {
  const Reply finish = [this, id = request.id(), reply = std::move(reply)](v1::Reply answer) {
    Finish(answer, id);
    reply(std::move(answer));
  };
  switch (request.op_case()) {
    case v1::Request::kPortAdd:
    case v1::Request::kPortDel:
      return OnPortRequest(request, finish);
    case v1::Request::kPluginLoad:
    case v1::Request::kPluginUnload:
    case v1::Request::kPluginReload:
      return OnPluginRequest(request, finish);
    default:
      break;
  }
  v1::Reply answer;
  OnFlowRequest(request, answer);
  finish(std::move(answer));
}

void Core::OnFlowRequest(const v1::Request& request, v1::Reply& reply) {
  // On its way here nothing is lost unnoticed: no count is followed.
  const auto account = [&](const auto& message) {
    const auto [accepted, refused] = Fared(message, reply);
    publishers_.TakeRequest(message.publisher(), accepted, refused, clock_());
  };
  switch (request.op_case()) {
    case v1::Request::kFlowPut:
      flow_service_.Put(request.flow_put(), false, true, reply);
      return account(request.flow_put());
    case v1::Request::kFlowMod:
      flow_service_.Put(request.flow_mod(), true, true, reply);
      return account(request.flow_mod());
    case v1::Request::kFlowDel:
      flow_service_.Delete(request.flow_del(), true, reply);
      return account(request.flow_del());
    case v1::Request::kFlowFlush:
      flow_service_.Flush(request.flow_flush(), reply);
      return account(request.flow_flush());
    case v1::Request::kPacketOut:
      flow_service_.PacketOut(request.packet_out(), reply);
      return account(request.packet_out());
    case v1::Request::kPacketOuts: {
      auto packets = request.packet_outs().packets();
      flow_service_.PacketOuts(packets, reply);
      return account(request.packet_outs());
    }
    default:
      return OnQuery(request, reply);
  }
}

void Core::OnQuery(const v1::Request& request, v1::Reply& reply) {
  reply.set_ok(true);
  switch (request.op_case()) {
    case v1::Request::kFlowGet:
      return flow_service_.Get(request.flow_get(), reply);
    case v1::Request::kSnapshot: {
      const v1::Snapshot& snapshot = request.snapshot();
      if (!snapshot.epoch().empty() && snapshot.epoch() != settings_.epoch) {
        return Deny(reply,
                    Error{"epoch_changed", "the daemon has started anew since: its epoch is " + settings_.epoch, 0, 0});
      }
      auto taken = snapshots_.Take(snapshot, plugins_.names(), clock_(), reply);
      if (!taken) return Deny(reply, taken.error());
      return;
    }
    case v1::Request::kPortList:
      for (const PortEntry* port : ports_.All()) *reply.add_ports() = port->port;
      return;
    case v1::Request::kPluginList:
      return plugins_.Show(*reply.mutable_plugins());
    case v1::Request::kStatus:
      return Status(*reply.mutable_status());
    case v1::Request::kPublisherGet: {
      const v1::PublisherGet& get = request.publisher_get();
      if (publishers_.Show(get.name(), get.run(), *reply.add_publishers())) return;
      reply.clear_publishers();
      const std::string run = get.run() == 0 ? "" : " with a run " + std::to_string(get.run());
      return Deny(reply, Error{"no_such_publisher",
                               "nothing has come from a publisher '" + Utf8(get.name(), 64) + "'" + run, 0, 0});
    }
    default:
      counters_.AddReason("refused", "bad_request");
      return Deny(reply, Error{"bad_request", "the request names no operation", 0, 0});
  }
}

void Core::OnPortRequest(const v1::Request& request, const Reply& finish) {
  const auto done = [this, finish](const Result<v1::Port>& port) {
    v1::Reply reply;
    reply.set_ok(static_cast<bool>(port));
    if (port) {
      *reply.add_ports() = *port;
    } else {
      counters_.AddReason("refused", port.error().reason);
      Deny(reply, port.error());
    }
    finish(std::move(reply));
  };
  if (request.op_case() == v1::Request::kPortDel) return port_service_.Remove(request.port_del().name(), done);
  const v1::PortAdd& add = request.port_add();
  const std::string plugin = add.plugin().empty() ? "xdp" : add.plugin();
  port_service_.Add(add.name(), plugin, ToMap(add.options()), plugins_.Has(plugin), done);
}

void Core::OnPluginRequest(const v1::Request& request, const Reply& finish) {
  const auto done_for = [this, finish](std::string name) {
    return [this, finish, name = std::move(name)](const Result<void>& result) {
      v1::Reply reply;
      reply.set_ok(static_cast<bool>(result));
      if (!result) {
        counters_.AddReason("refused", result.error().reason);
        Deny(reply, result.error());
      }
      google::protobuf::RepeatedPtrField<v1::Plugin> all;
      plugins_.Show(all);
      for (const v1::Plugin& plugin : all) {
        if (plugin.name() == name) *reply.add_plugins() = plugin;
      }
      finish(std::move(reply));
    };
  };
  if (request.op_case() == v1::Request::kPluginUnload) {
    const auto& unload = request.plugin_unload();
    return plugins_.Unload(unload.name(), unload.keep(), done_for(unload.name()));
  }
  if (request.op_case() == v1::Request::kPluginReload) {
    const auto& name = request.plugin_reload().name();
    return plugins_.Reload(name, done_for(name));
  }
  const v1::PluginLoad& load = request.plugin_load();
  auto spec = SpecOf(load.name(), load.isolation(), load.orphan(), ToMap(load.options()));
  if (!spec) return done_for(load.name())(spec.error());
  const std::string name = spec->name;
  plugins_.Load(std::move(*spec), false, done_for(name));
}

}  // namespace sluice::core
