// SPDX-License-Identifier: Apache-2.0
#include "sluice/flow_mirror.h"

#include "sluice/wire.h"

namespace sluice {

bool FlowMirror::Apply(const MonitorItem& item) {
  if (const auto* received = std::get_if<EventReceived>(&item)) return ApplyEvent(received->event);
  if (const auto* flow = std::get_if<SnapshotFlow>(&item)) return Put(flow->flow, flow->as_of);
  if (const auto* gone = std::get_if<SnapshotDeleted>(&item)) return Remove(gone->ufid, gone->as_of);
  if (std::holds_alternative<SnapshotStarted>(item)) {
    ++walk_;
  } else if (std::holds_alternative<Synced>(item)) {
    synced_ = true;
    return RemoveUnseen();
  } else if (std::holds_alternative<GapDetected>(item)) {
    synced_ = false;
  } else if (std::holds_alternative<EpochChanged>(item)) {
    Forget();
  }
  return false;
}

const v1::Flow* FlowMirror::Find(const std::string& ufid) const {
  const auto it = flows_.find(ufid);
  return it == flows_.end() ? nullptr : &it->second.flow;
}

bool FlowMirror::ApplyEvent(const v1::Event& event) {
  if (!event.has_flow()) return false;
  const v1::Flow& flow = event.flow();
  if (event.topic() == topic::kFlowAdded || event.topic() == topic::kFlowModified) return Put(flow, event.seq());
  if (event.topic() == topic::kFlowDeleted) return Remove(flow.ufid(), event.seq());
  const auto it = flows_.find(flow.ufid());
  if (it == flows_.end() || event.seq() <= it->second.as_of) return false;
  // Only what the topic is about: the rest of the message need not be filled in.
  v1::Flow& known = it->second.flow;
  if (event.topic() == topic::kFlowStats) {
    known.set_packets(flow.packets());
    known.set_bytes(flow.bytes());
    known.set_tcp_flags(flow.tcp_flags());
    if (flow.has_used_ms()) known.set_used_ms(flow.used_ms());
  } else if (event.topic() == topic::kFlowOffload) {
    *known.mutable_offload() = flow.offload();
  } else {
    return false;
  }
  it->second.as_of = event.seq();
  return true;
}

bool FlowMirror::Put(const v1::Flow& flow, uint64_t as_of) {
  auto [it, added] = flows_.try_emplace(flow.ufid());
  Entry& entry = it->second;
  entry.walk = walk_;
  if (!added && as_of < entry.as_of) return false;
  entry.flow = flow;
  entry.as_of = as_of;
  return true;
}

bool FlowMirror::Remove(const std::string& ufid, uint64_t as_of) {
  const auto it = flows_.find(ufid);
  if (it == flows_.end() || as_of < it->second.as_of) return false;
  flows_.erase(it);
  return true;
}

bool FlowMirror::RemoveUnseen() {
  return std::erase_if(flows_, [this](const auto& item) { return item.second.walk != walk_; }) != 0;
}

void FlowMirror::Forget() {
  flows_.clear();
  synced_ = false;
}

}  // namespace sluice
