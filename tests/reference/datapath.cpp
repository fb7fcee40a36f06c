// SPDX-License-Identifier: Apache-2.0
#include "reference/datapath.h"

#include <algorithm>

namespace sluice::reference {
bool Matches(const Match& match, const Match& key) {
  return std::ranges::all_of(kFields, [&](const FieldInfo& field) {
    const auto value = match.Value(field.id);
    const auto mask = match.Mask(field.id);
    const auto seen = key.Value(field.id);
    for (size_t i = 0; i < field.size; ++i) {
      if ((seen[i] & mask[i]) != value[i]) return false;
    }
    return true;
  });
}

void Datapath::Put(const Flow& flow) {
  auto [at, added] = flows_.try_emplace(flow.ufid, flow);
  if (added) return;
  const Counters counters = at->second.counters;
  at->second = flow;
  at->second.counters = counters;
}

void Datapath::Delete(const Ufid& ufid) { flows_.erase(ufid); }

std::vector<Flow*> Datapath::Candidates(const Match& key) {
  std::vector<Flow*> best;
  for (auto& [ufid, flow] : flows_) {
    // A flow that says nothing of recirc_id is for 0.
    if (!flow.match.Has(Field::recirc_id) && key.ValueOf(Field::recirc_id) != 0) continue;
    if (!Matches(flow.match, key)) continue;
    if (!best.empty() && flow.priority < best.front()->priority) continue;
    if (!best.empty() && flow.priority > best.front()->priority) best.clear();
    best.push_back(&flow);
  }
  return best;
}

Outcome Datapath::Hit(Flow& flow, const Bytes& frame, uint32_t in_port, Between* between) {
  ++flow.counters.packets;
  flow.counters.bytes += frame.size();
  flow.counters.tcp_flags |= static_cast<uint32_t>(Parse(frame).key.ValueOf(Field::tcp_flags));
  return Execute(flow.actions, frame, in_port, ports_, between);
}

Parsed Datapath::ParseOn(uint32_t in_port, std::span<const uint8_t> frame) {
  Parsed parsed = Parse(frame);
  parsed.key.SetExact(Field::in_port, in_port);
  return parsed;
}

}  // namespace sluice::reference
