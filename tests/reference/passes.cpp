// SPDX-License-Identifier: Apache-2.0
#include "reference/passes.h"

#include <algorithm>
#include <stdexcept>

namespace sluice::reference {

Journey Passes::Run(uint32_t port, const Bytes& frame) {
  journey_ = {};
  hops_ = 0;
  beside_ = {};
  beside_.SetExact(Field::in_port, port);
  next_ = frame;
  while (next_ && journey_.dropped.empty()) {
    if (journey_.passes.size() > kDepth) {
      journey_.dropped = "depth_exceeded";
      break;
    }
    tracked_last_ = false;
    Pass& pass = journey_.passes.emplace_back();
    pass.frame = *std::exchange(next_, std::nullopt);
    Parsed parsed = Parse(pass.frame);
    pass.malformed = parsed.malformed;
    pass.key = parsed.key;
    for (const FieldInfo& info : kFields) {
      if (beside_.Has(info.id)) pass.key.Set(info.id, beside_.Value(info.id), beside_.Mask(info.id));
    }
    if (pass.malformed != Malformed::kNo) break;
    const auto flows = datapath_.Candidates(pass.key);
    if (flows.empty()) break;
    if (flows.size() > 1) throw std::logic_error("flows of one priority overlap");
    pass.flow = flows.front()->ufid;
    // Between two passes `pass` may move.
    const Bytes bytes = pass.frame;
    journey_.outcome = datapath_.Hit(*flows.front(), bytes, port, this);
  }
  journey_.beside = beside_;
  return std::move(journey_);
}

bool Passes::Hop(bool other_program) {
  if (!journey_.dropped.empty()) return false;
  ++journey_.counters["recirculated"];
  if (!other_program || ++hops_ <= kHops) return true;
  journey_.dropped = "depth_exceeded";
  return false;
}

void Passes::Track(const Ct& ct, const Bytes& frame) {
  if (!Hop()) return;
  tracked_last_ = Parse(frame).malformed == Malformed::kNo;
  const uint64_t before = connections_.committed();
  const Tracked tracked = connections_.Track(ct, frame);
  journey_.tracked.push_back(tracked);
  if (tracked.state == 0) ++journey_.counters["ct_untracked"];
  if ((tracked.state & kCtInv) != 0) ++journey_.counters["ct_invalid"];
  if (connections_.committed() != before) ++journey_.counters["ct_committed"];
  beside_.SetExact(Field::ct_state, tracked.state);
  beside_.SetExact(Field::ct_mark, tracked.mark);
  beside_.SetExact(Field::ct_zone, ct.zone);
}

void Passes::ForgetTracking(const Bytes& frame) {
  if (!Hop()) return;
  tracked_last_ = Parse(frame).malformed == Malformed::kNo;
  for (const Field field : {Field::ct_state, Field::ct_mark, Field::ct_zone}) beside_.Clear(field);
}

void Passes::Recirculate(uint32_t id, const Bytes& frame) {
  if (!Hop(!tracked_last_)) return;
  beside_.SetExact(Field::recirc_id, id);
  next_ = frame;
}

void Passes::Pop(uint32_t tunnel_port, const Bytes& frame) {
  if (!Hop()) return;
  Decapsulated inner = Decapsulate(tunnels_.at(tunnel_port), frame);
  if (!inner.wrong.empty()) {
    journey_.dropped = inner.wrong;
    return;
  }
  ++journey_.counters["tnl_popped"];
  beside_ = inner.tunnel;
  beside_.SetExact(Field::in_port, tunnel_port);
  if (Hop(false)) next_ = std::move(inner.frame);
}

void Passes::Send(uint32_t port, Encapsulated packet) {
  if (!Hop()) return;
  if (packet.length() > std::min<size_t>(mtu_, 0xffff)) {
    journey_.dropped = "tnl_mtu";
    return;
  }
  ++journey_.counters["tnl_pushed"];
  journey_.pushed.emplace_back(port, std::move(packet));
}

void Passes::Push(const TnlPush& push, const Bytes& frame) { Send(push.out_port, {push, frame}); }

bool Passes::PushTo(uint32_t port, const Match& set, const Bytes& frame) {
  const auto tunnel = tunnels_.find(port);
  if (tunnel == tunnels_.end()) return false;
  Send(tunnel->second.underlay, {tunnel->second, set, frame});
  return true;
}

}  // namespace sluice::reference
