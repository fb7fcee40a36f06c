// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "compare/scenario.h"

namespace sluice::compare {
namespace {

using reference::Bytes;
using reference::Rng;

constexpr size_t kVariants = 80;  // half of them with a flow of their own
constexpr size_t kPackets = 300;
constexpr size_t kPiece = 32;  // bits

// What the other fields hang on.
constexpr std::array kStructure{Field::eth_type, Field::vlan_eth_type, Field::cvlan_eth_type, Field::ipv4_proto,
                                Field::ipv6_proto};

bool IsStructure(Field field) { return std::ranges::find(kStructure, field) != kStructure.end(); }

// The one field in which the frames' keys differ; nullopt: none, or several.
std::optional<Field> OnlyDifference(const reference::Parsed& a, const reference::Parsed& b) {
  if (a.malformed != reference::Malformed::kNo || b.malformed != reference::Malformed::kNo) return std::nullopt;
  std::optional<Field> different;
  for (const FieldInfo& field : kFields) {
    const bool same = std::ranges::equal(a.key.Value(field.id), b.key.Value(field.id)) &&
                      std::ranges::equal(a.key.Mask(field.id), b.key.Mask(field.id));
    if (same) continue;
    if (different) return std::nullopt;
    different = field.id;
  }
  return different;
}

// Field to the bits of the frame that it alone is made of.
std::map<Field, std::vector<size_t>> BitsOfFields(const Bytes& frame) {
  std::map<Field, std::vector<size_t>> bits;
  const reference::Parsed parsed = reference::Parse(frame);
  for (size_t bit = 0; bit < std::min<size_t>(frame.size(), 80) * 8; ++bit) {
    Bytes flipped = frame;
    flipped[bit / 8] ^= static_cast<uint8_t>(0x80 >> bit % 8);
    if (const auto field = OnlyDifference(parsed, reference::Parse(flipped)); field && !IsStructure(*field)) {
      bits[*field].push_back(bit);
    }
  }
  return bits;
}

std::vector<Bytes> Variants(Rng& rng, const Bytes& frame, Field field, const std::vector<size_t>& bits) {
  const reference::Parsed parsed = reference::Parse(frame);
  std::set<Bytes> variants{frame};
  for (size_t i = 0; i < 4 * kVariants && variants.size() < kVariants; ++i) {
    Bytes variant = frame;
    for (size_t bit : bits) {
      if (rng.OneIn(2)) variant[bit / 8] ^= static_cast<uint8_t>(0x80 >> bit % 8);
    }
    if (OnlyDifference(parsed, reference::Parse(variant)) == field) variants.insert(variant);
  }
  return {variants.begin(), variants.end()};
}

Step PutFor(uint64_t flow, const Match& match, uint32_t port, uint32_t priority) {
  Step step;
  step.kind = Step::Kind::kPut;
  step.flow = flow;
  step.match = match;
  step.actions = {Output{port}};
  step.priority = priority;
  return step;
}

Scenario ScenarioOf(Rng& rng, Field field, const std::vector<Bytes>& variants) {
  Match all;
  all.SetExact(Field::in_port, 1);
  Scenario scenario{PutFor(1, all, 3, 0)};
  for (size_t i = 0; i < variants.size(); i += 2) {
    const Match key = reference::Parse(variants[i]).key;
    Match match;
    for (const FieldInfo& info : kFields) {
      if (info.id == field || (IsStructure(info.id) && key.Has(info.id))) {
        match.Set(info.id, key.Value(info.id), key.Mask(info.id));
      }
    }
    // Not every structure can be matched: ports of a fragment whose number of bits said that it is a later one, say.
    if (match.Validate()) scenario.push_back(PutFor(2 + i, match, 4, 1));
  }
  for (size_t i = 0; i < kPackets; ++i) {
    Step packet;
    packet.frame = rng.Pick(variants);
    scenario.push_back(packet);
  }
  return scenario;
}

}  // namespace

std::vector<std::pair<std::string, Scenario>> CollisionScenarios(Rng& rng) {
  std::vector<std::pair<std::string, Scenario>> scenarios;
  for (const std::string kind : {"arp", "tcp4", "icmp4", "udp6", "icmp6", "udp6_qinq"}) {
    const auto named = reference::NamedPackets();
    const auto spec = std::ranges::find(named, kind, &std::pair<std::string, reference::PacketSpec>::first);
    const Bytes frame = reference::Build(spec->second);
    for (const auto& [field, bits] : BitsOfFields(frame)) {
      // Long fields in pieces: where all of an address differs, one half of it may be forgotten.
      for (size_t at = 0; at < bits.size(); at += kPiece) {
        const std::vector<size_t> piece(bits.begin() + static_cast<ptrdiff_t>(at),
                                        bits.begin() + static_cast<ptrdiff_t>(std::min(bits.size(), at + kPiece)));
        scenarios.emplace_back(kind + " " + std::string(Info(field).name),
                               ScenarioOf(rng, field, Variants(rng, frame, field, piece)));
      }
    }
  }
  return scenarios;
}

}  // namespace sluice::compare
