// SPDX-License-Identifier: Apache-2.0
#include "flow_service.h"

#include <utility>

#include "flow_spec.h"
#include "sluice/utf8.h"

namespace sluice::core {
namespace {

constexpr size_t kShownUfid = 64;
constexpr size_t kMinFrame = 14;  // an Ethernet header
constexpr size_t kMaxFrame = 65'536;

}  // namespace

void FlowService::Refuse(v1::Reply& reply, uint32_t index, const std::string& ufid, const Error& error) {
  v1::Refusal& refusal = *reply.add_refused();
  refusal.set_index(index);
  refusal.set_ufid(Utf8(ufid, kShownUfid));
  refusal.set_reason(error.reason);
  refusal.set_detail(Utf8(error.detail));
  refusal.set_line(error.line);
  refusal.set_column(error.column);
}

void FlowService::Conclude(v1::Reply& reply) {
  counters_.Add("accepted", reply.accepted());
  reply.set_ok(reply.refused_size() == 0);
  if (reply.ok()) return;
  for (const v1::Refusal& refusal : reply.refused()) counters_.AddReason("refused", refusal.reason());
  reply.set_reason(reply.refused(0).reason());
  const uint64_t all = reply.accepted() + static_cast<uint64_t>(reply.refused_size());
  if (all == 1) {
    reply.set_detail(reply.refused(0).detail());
  } else {
    reply.set_detail(std::to_string(reply.refused_size()) + " of " + std::to_string(all) +
                     " refused; the first: " + reply.refused(0).detail());
  }
}

void FlowService::Put(const v1::FlowPut& request, bool must_exist, bool tell, v1::Reply& reply) {
  const uint64_t now = clock_();
  uint32_t accepted = 0;
  for (int i = 0; i < request.flows_size(); ++i) {
    const v1::Flow& flow = request.flows(i);
    auto spec = ReadFlow(flow, ports_, action_texts_);
    if (spec) spec->publisher = request.publisher();
    auto outcome = spec ? table_.Put(*spec, now, must_exist) : Result<PutOutcome>(spec.error());
    if (outcome) {
      ++accepted;
      if (tell) reply.add_ufids(spec->ufid.ToString());
    } else {
      Refuse(reply, static_cast<uint32_t>(i), spec ? spec->ufid.ToString() : flow.ufid(), outcome.error());
      if (tell) reply.add_ufids();
    }
  }
  reply.set_accepted(accepted);
  Conclude(reply);
}

Result<Flow*> FlowService::Named(const v1::FlowKey& key) const {
  if (!key.ufid().empty()) {
    auto ufid = ReadUfid(key.ufid());
    if (!ufid) return ufid.error();
    if (Flow* flow = table_.Find(*ufid)) return flow;
    return Error{"no_such_flow", "there is no flow " + ufid->ToString(), 0, 0};
  }
  auto match = ReadMatch(key, ports_);
  if (!match) return match.error();
  if (Flow* flow = table_.FindByMatch(*match)) return flow;
  return Error{"no_such_flow", "there is no flow with that match", 0, 0};
}

void FlowService::Delete(const v1::FlowDel& request, bool tell, v1::Reply& reply) {
  uint32_t accepted = 0;
  for (int i = 0; i < request.flows_size(); ++i) {
    auto flow = Named(request.flows(i));
    if (!flow) {
      Refuse(reply, static_cast<uint32_t>(i), request.flows(i).ufid(), flow.error());
      continue;
    }
    if (tell) ShowFlow(**flow, ports_, plugins_.names(), clock_(), *reply.add_flows());
    table_.Delete(**flow, Cause::request);
    ++accepted;
  }
  reply.set_accepted(accepted);
  Conclude(reply);
}

void FlowService::Flush(const v1::FlowFlush& request, v1::Reply& reply) {
  uint32_t port = 0;
  if (!request.port().empty()) {
    const auto number = ports_.Known().Number(request.port());
    if (!number) {
      Refuse(reply, 0, "", Error{"unknown_port", "there is no port " + request.port().substr(0, 64), 0, 0});
      return Conclude(reply);
    }
    port = *number;
  }
  reply.set_ok(true);
  reply.set_accepted(table_.Flush(port));
  counters_.Add("accepted");  // one record, however many flows
}

Result<void> FlowService::Send(v1::PacketOut packet) {
  const PortEntry* port = ports_.Find(packet.in_port());
  if (port == nullptr) {
    return Error{"unknown_port", "there is no port '" + packet.in_port().substr(0, 64) + "'", 0, 0};
  }
  if (port->port.state() != "up") {
    return Error{"port_down", "port " + packet.in_port() + " is " + port->port.state(), 0, 0};
  }
  const size_t size = packet.data().size();
  if (size < kMinFrame || size > kMaxFrame) {
    return Error{"bad_packet",
                 "a packet of " + std::to_string(size) + " bytes: it needs " + std::to_string(kMinFrame) + " to " +
                     std::to_string(kMaxFrame),
                 0, 0};
  }
  if (packet.has_actions()) {
    const auto actions = action_texts_.Read(packet.actions());
    if (!actions) return actions.error();
    packet.set_actions((*actions)->text);
  }
  packet.clear_publisher();
  packet.clear_publisher_seq();
  return plugins_.PacketOut(port->port.plugin(), std::move(packet), sequence_.Next());
}

void FlowService::PacketOut(v1::PacketOut packet, v1::Reply& reply) {
  if (auto queued = Send(std::move(packet))) {
    reply.set_accepted(1);
  } else {
    Refuse(reply, 0, "", queued.error());
  }
  Conclude(reply);
}

void FlowService::PacketOuts(google::protobuf::RepeatedPtrField<v1::PacketOut>& packets, v1::Reply& reply) {
  uint32_t accepted = 0;
  for (int i = 0; i < packets.size(); ++i) {
    if (auto queued = Send(std::move(packets[i]))) {
      ++accepted;
    } else {
      Refuse(reply, static_cast<uint32_t>(i), "", queued.error());
    }
  }
  reply.set_accepted(accepted);
  Conclude(reply);
}

void FlowService::Get(const v1::FlowGet& request, v1::Reply& reply) {
  v1::FlowKey key;
  key.set_ufid(request.ufid());
  auto flow = request.ufid().empty() ? Result<Flow*>(Error{"bad_ufid", "no ufid is given", 0, 0}) : Named(key);
  reply.set_ok(static_cast<bool>(flow));
  if (flow) {
    ShowFlow(**flow, ports_, plugins_.names(), clock_(), *reply.add_flows());
  } else {
    reply.set_reason(flow.error().reason);
    reply.set_detail(Utf8(flow.error().detail));
  }
}

}  // namespace sluice::core
