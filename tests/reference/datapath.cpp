// SPDX-License-Identifier: Apache-2.0
#include "reference/datapath.h"

#include <algorithm>
#include <stdexcept>

namespace sluice::reference {
namespace {

constexpr size_t kAddresses = 12;  // destination and source

// A VLAN tag goes between the addresses and what followed them. The bit that OVS sets in a tci to say that there is a
// tag is the drop eligible bit on the wire, and is not sent.
void PushTag(Bytes& frame, const PushVlan& push) {
  const uint16_t tci = push.tci & 0xefff;
  const std::array<uint8_t, 4> tag{static_cast<uint8_t>(push.tpid >> 8), static_cast<uint8_t>(push.tpid),
                                   static_cast<uint8_t>(tci >> 8), static_cast<uint8_t>(tci)};
  frame.insert(frame.begin() + kAddresses, tag.begin(), tag.end());
}

// Takes the outermost tag away. A frame without one stays as it is.
void PopTag(Bytes& frame) {
  const auto type = static_cast<uint16_t>(frame[kAddresses] << 8 | frame[kAddresses + 1]);
  if (type != 0x8100 && type != 0x88a8) return;
  frame.erase(frame.begin() + kAddresses, frame.begin() + kAddresses + 4);
}

}  // namespace

Outcome Execute(const Actions& actions, Bytes frame, uint32_t in_port, const std::set<uint32_t>& ports) {
  Outcome outcome;
  for (const Action& action : actions) {
    if (const auto* output = std::get_if<Output>(&action)) {
      outcome.emissions.push_back({output->port, frame});
    } else if (std::holds_alternative<Flood>(action)) {
      for (uint32_t port : ports) {
        if (port != in_port) outcome.emissions.push_back({port, frame});
      }
    } else if (const auto* push = std::get_if<PushVlan>(&action)) {
      PushTag(frame, *push);
    } else if (std::holds_alternative<PopVlan>(action)) {
      PopTag(frame);
    } else if (const auto* up = std::get_if<ToController>(&action)) {
      const size_t length = up->max_len == 0 ? frame.size() : std::min<size_t>(frame.size(), up->max_len);
      outcome.upcalls.emplace_back(frame.begin(), frame.begin() + static_cast<ptrdiff_t>(length));
    } else if (std::holds_alternative<Drop>(action)) {
      break;
    } else {
      throw std::logic_error("the reference does not know this action");
    }
  }
  return outcome;
}

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
    if (!Matches(flow.match, key)) continue;
    if (!best.empty() && flow.priority < best.front()->priority) continue;
    if (!best.empty() && flow.priority > best.front()->priority) best.clear();
    best.push_back(&flow);
  }
  return best;
}

Outcome Datapath::Hit(Flow& flow, const Bytes& frame, uint32_t in_port) {
  ++flow.counters.packets;
  flow.counters.bytes += frame.size();
  flow.counters.tcp_flags |= static_cast<uint32_t>(Parse(frame).key.ValueOf(Field::tcp_flags));
  return Execute(flow.actions, frame, in_port, ports_);
}

Parsed Datapath::ParseOn(uint32_t in_port, std::span<const uint8_t> frame) {
  Parsed parsed = Parse(frame);
  parsed.key.SetExact(Field::in_port, in_port);
  return parsed;
}

}  // namespace sluice::reference
