// SPDX-License-Identifier: Apache-2.0
#include "trace_table.h"

#include <algorithm>

namespace sluice::ctl {
namespace {

std::string_view AsText(const FlowKeyBytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

bool TakesOneOf(const Match& match, const std::vector<uint32_t>& in_ports) {
  return std::ranges::any_of(in_ports, [&](uint32_t in_port) {
    return (in_port & match.MaskOf(Field::in_port)) == match.ValueOf(Field::in_port);
  });
}

}  // namespace

std::optional<Match> TraceTable::MatchOf(const v1::Flow& flow) const {
  auto match = ParseMatchPart(flow.match(), names_);
  if (!match) return std::nullopt;
  if (!match->Has(Field::recirc_id)) match->SetExact(Field::recirc_id, 0);
  return *std::move(match);
}

void TraceTable::Put(const v1::Flow& flow) {
  Remove(flow.ufid());
  const auto match = MatchOf(flow);
  const auto ufid = Ufid::Parse(flow.ufid());
  if (!match || !ufid) {
    ++unreadable_;
    return;
  }
  if (!TakesOneOf(*match, in_ports_)) return;
  Place& place = flows_[*ufid];
  place = {flow, MaskPlace(match->MaskBytes()), std::hash<std::string_view>{}(AsText(match->KeyBytes())),
           static_cast<uint32_t>(match->ValueOf(Field::recirc_id))};
  ++recirc_ids_[place.recirc_id];
  masks_[place.mask].flows.emplace(place.hash, &place.flow);
}

size_t TraceTable::MaskPlace(const FlowKeyBytes& mask) {
  // Mostly it is that of the flow before.
  if (last_mask_ < masks_.size() && masks_[last_mask_].mask == mask) return last_mask_;
  const auto [at, added] = mask_places_.try_emplace(std::string(AsText(mask)), masks_.size());
  if (added) masks_.push_back({mask, {}});
  last_mask_ = at->second;
  return last_mask_;
}

void TraceTable::Remove(std::string_view ufid) {
  const auto parsed = Ufid::Parse(ufid);
  const auto known = parsed ? flows_.find(*parsed) : flows_.end();
  if (known == flows_.end()) return;
  auto& same_mask = masks_[known->second.mask].flows;
  const auto [first, last] = same_mask.equal_range(known->second.hash);
  same_mask.erase(std::find_if(first, last, [&](const auto& one) { return one.second == &known->second.flow; }));
  const auto same_id = recirc_ids_.find(known->second.recirc_id);
  if (--same_id->second == 0) recirc_ids_.erase(same_id);
  flows_.erase(known);
}

std::vector<const v1::Flow*> TraceTable::Matching(const soft::Parsed& packet) const {
  std::vector<const v1::Flow*> matching;
  for (const Masked& masked : masks_) {
    FlowKeyBytes key{};
    for (size_t i = 0; i < key.size(); ++i) key[i] = packet.key[i] & masked.mask[i];
    const auto [first, last] = masked.flows.equal_range(std::hash<std::string_view>{}(AsText(key)));
    for (auto one = first; one != last; ++one) {
      const auto match = MatchOf(*one->second);  // the hash alone may be another's
      if (match && soft::Matches(*match, packet)) matching.push_back(one->second);
    }
  }
  std::ranges::sort(matching, [](const v1::Flow* a, const v1::Flow* b) {
    return a->priority() != b->priority() ? a->priority() > b->priority() : a->ufid() < b->ufid();
  });
  return matching;
}

}  // namespace sluice::ctl
