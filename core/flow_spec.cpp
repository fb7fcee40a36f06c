// SPDX-License-Identifier: Apache-2.0
#include "flow_spec.h"

#include <algorithm>

#include "sluice/flow_text.h"

namespace sluice::core {
namespace {

Result<Match> MatchOf(const std::string& text, const std::string& packed, const PortNames& names) {
  if (packed.empty()) return ParseMatch(text, names);
  if (!text.empty()) return Error{"bad_match", "match and packed_match are both given", 0, 0};
  auto match = Match::Unpack(packed);
  if (!match) return match;
  if (auto valid = match->Validate(); !valid) return valid.error();
  if (match->IsExact(Field::in_port) && !names.Name(static_cast<uint32_t>(match->ValueOf(Field::in_port)))) {
    return Error{"unknown_port", "there is no port number " + std::to_string(match->ValueOf(Field::in_port)), 0, 0};
  }
  return match;
}

}  // namespace

Result<Ufid> ReadUfid(const std::string& text) {
  if (auto ufid = Ufid::Parse(text)) return *ufid;
  return Error{"bad_ufid", "'" + text.substr(0, 80) + "' is not a ufid: it has 32 hexadecimal digits", 0, 0};
}

Result<FlowSpec> ReadFlow(const v1::Flow& flow, const Ports& ports, ActionTexts& texts) {
  FlowSpec spec;
  auto match = MatchOf(flow.match(), flow.packed_match(), ports.Live());
  if (!match) return match.error();
  const auto actions = texts.Read(flow.actions());
  if (!actions) return actions.error();
  if (flow.ufid().empty()) {
    spec.ufid = match->DeriveUfid();
  } else if (auto ufid = ReadUfid(flow.ufid())) {
    spec.ufid = *ufid;
  } else {
    return ufid.error();
  }
  spec.ports = (*actions)->ports;
  if (match->IsExact(Field::in_port)) {
    spec.in_port = static_cast<uint32_t>(match->ValueOf(Field::in_port));
    const auto place = std::lower_bound(spec.ports.begin(), spec.ports.end(), spec.in_port);
    if (place == spec.ports.end() || *place != spec.in_port) spec.ports.insert(place, spec.in_port);
  }
  spec.match = match->Pack();
  spec.actions = (*actions)->text;
  spec.floods = (*actions)->floods;
  spec.priority = flow.priority();
  spec.idle_timeout_ms = flow.idle_timeout_ms();
  spec.hard_timeout_ms = flow.hard_timeout_ms();
  return spec;
}

Result<std::string> ReadMatch(const v1::FlowKey& key, const Ports& ports) {
  auto match = MatchOf(key.match(), key.packed_match(), ports.Known());
  if (!match) return match.error();
  return match->Pack();
}

void ShowFlow(const Flow& flow, const Ports& ports, const std::vector<std::string>& names, uint64_t now_ns,
              v1::Flow& out) {
  out.set_ufid(flow.ufid.ToString());
  if (auto match = Match::Unpack(flow.match())) out.set_match(FormatMatch(*match, ports.Known()));
  out.set_actions(flow.actions().data(), flow.actions().size());
  out.set_priority(flow.priority);
  out.set_idle_timeout_ms(flow.idle_timeout_ms);
  out.set_hard_timeout_ms(flow.hard_timeout_ms);
  out.set_packets(flow.packets);
  out.set_bytes(flow.bytes);
  if (flow.used_ns != 0) out.set_used_ms(now_ns > flow.used_ns ? (now_ns - flow.used_ns) / 1'000'000 : 0);
  out.set_tcp_flags(flow.tcp_flags);
  out.set_seq(flow.shown_seq);
  for (size_t index = 0; index < names.size(); ++index) {
    if (names[index].empty()) continue;
    v1::Offload& offload = *out.add_offload();
    offload.set_plugin(names[index]);
    const Placement* placement = flow.In(static_cast<uint8_t>(index));
    const bool judged = placement != nullptr && placement->state != v1::OFFLOAD_STATE_UNSPECIFIED;
    offload.set_state(judged ? static_cast<v1::OffloadState>(placement->state) : v1::PENDING);
    if (judged && placement->why != nullptr) {
      offload.set_reason(placement->why->reason);
      offload.set_detail(placement->why->detail);
    }
  }
}

}  // namespace sluice::core
