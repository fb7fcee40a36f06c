// SPDX-License-Identifier: Apache-2.0
#include "compare/scenario.h"

#include <algorithm>

#include "compare/rig.h"
#include "sluice/flow_text.h"

namespace sluice::compare {
namespace {

using reference::Bytes;
using reference::Rng;

constexpr size_t kMinFrame = 14;

// A mask over `info.bits` bits: exact, a prefix, a few bits, or any.
std::vector<uint8_t> RandomMask(Rng& rng, const FieldInfo& info) {
  std::vector<uint8_t> mask(info.size, 0xff);
  const size_t spare = info.size * 8U - info.bits;
  switch (rng.Below(5)) {
    case 0: {
      const size_t prefix = spare + 1 + rng.Below(info.bits);
      for (size_t bit = prefix; bit < info.size * 8U; ++bit) mask[bit / 8] &= static_cast<uint8_t>(~(0x80 >> bit % 8));
      break;
    }
    case 1:
      for (auto& byte : mask) byte = static_cast<uint8_t>(rng.Bits());
      break;
    case 2:
      for (auto& byte : mask) byte = static_cast<uint8_t>(rng.Bits() & rng.Bits() & rng.Bits());
      break;
    default:
      break;
  }
  for (size_t bit = 0; bit < spare; ++bit) mask[bit / 8] &= static_cast<uint8_t>(~(0x80 >> bit % 8));
  return mask;
}

uint32_t RandomPort(Rng& rng) { return static_cast<uint32_t>(1 + rng.Below(Rig::kPorts)); }

// The groups of fields that can be set in a packet, with their fields.
const std::vector<std::vector<FieldInfo>>& SettableGroups() {
  static const auto kGroups = [] {
    std::vector<std::vector<FieldInfo>> groups;
    for (const std::string_view name : {"eth", "vlan", "ipv4", "ipv6", "arp", "tcp", "udp", "sctp", "icmp", "icmpv6"}) {
      std::vector<FieldInfo>& group = groups.emplace_back();
      for (const FieldInfo& info : kFields) {
        if (info.settable && info.group == name) group.push_back(info);
      }
    }
    return groups;
  }();
  return kGroups;
}

// Small numbers, the ends of the field, and any: at the ends, one's complement sums go wrong.
Bytes RandomValue(Rng& rng, const FieldInfo& info) {
  Bytes value(info.size, rng.OneIn(4) ? 0xff : 0);
  if (rng.OneIn(2)) {
    for (auto& byte : value) byte = static_cast<uint8_t>(rng.Bits());
  } else if (rng.OneIn(2)) {
    value.back() = static_cast<uint8_t>(1 + rng.Below(4));
  }
  return value;
}

// Mostly of fields that a packet with the key `like` has.
Action RandomSet(Rng& rng, const Match& like) {
  constexpr uint64_t kTagPresent = 0x1000;
  auto groups = SettableGroups();
  std::erase_if(groups, [&](const auto& fields) { return !like.Has(fields.front().id); });
  const std::vector<FieldInfo>& group = rng.Pick(groups.empty() || rng.OneIn(4) ? SettableGroups() : groups);
  SetField set;
  while (set.fields.FieldBits() == 0) {
    for (const FieldInfo& info : group) {
      if (rng.OneIn(2)) set.fields.Set(info.id, RandomValue(rng, info), RandomMask(rng, info));
    }
    // As set(vlan(vid=..,pcp=..)) is read, where it does not name this bit.
    if (set.fields.Has(Field::vlan_tci) && !rng.OneIn(8)) {
      set.fields.SetMasked(Field::vlan_tci, set.fields.ValueOf(Field::vlan_tci) | kTagPresent,
                           set.fields.MaskOf(Field::vlan_tci) | kTagPresent);
    }
  }
  return set;
}

Action RandomPush(Rng& rng) {
  static const std::vector<uint16_t> kVids{0, 1, 5, 100, 4095};
  const auto tci = static_cast<uint16_t>(0x1000 | rng.Below(8) << 13 | rng.Pick(kVids));
  return PushVlan{static_cast<uint16_t>(rng.OneIn(3) ? 0x88a8 : 0x8100), tci};
}

// Where a packet goes.
Action RandomOutput(Rng& rng) {
  switch (rng.Below(8)) {
    case 0:
      return Flood{};
    case 1:
      return ToController{static_cast<uint32_t>(rng.OneIn(2) ? 0 : 1 + rng.Below(200)), 0};
    default:
      return Output{RandomPort(rng)};
  }
}

// Of a list of edits: mostly a few, now and then very many.
size_t RandomLength(Rng& rng) {
  if (rng.OneIn(12)) return 1 + rng.Below(40);
  return 1 + rng.Below(rng.OneIn(6) ? 12 : 3);
}

// Puts something into the list, anywhere, that XDP with its one packet cannot do.
void MakeSoftware(Rng& rng, const Match& like, Actions& actions) {
  std::vector<Action> more;
  switch (rng.Below(4)) {
    case 0:
      more = {Trunc{static_cast<uint32_t>(14 + rng.Below(rng.OneIn(2) ? 60 : 2000))}};
      break;
    case 1:
      more = {RandomOutput(rng), RandomEdit(rng, like, actions)};
      break;
    case 2:
      more = {RandomOutput(rng), RandomOutput(rng)};
      break;
    default: {  // a list of more than one action for packets that expire, perhaps with such a list in it
      DecTtl dec;
      for (uint64_t n = 1 + rng.Below(3); n > 0; --n) {
        dec.expired.push_back(RandomEdit(rng, like, actions));
        dec.expired.push_back(RandomOutput(rng));
      }
      more = {dec};
      break;
    }
  }
  const auto at = static_cast<ptrdiff_t>(rng.Below(actions.size() + 1));
  actions.insert(actions.begin() + at, more.begin(), more.end());
}

// What other fields depend on has to be exact to be there at all.
bool OthersDependOn(Field field) {
  return field == Field::in_port || field == Field::eth_type || field == Field::vlan_eth_type ||
         field == Field::cvlan_eth_type || field == Field::ipv4_proto || field == Field::ipv6_proto;
}

// How a match begins: with the Ethernet types and, mostly, the protocol, so that the rest may be matched.
bool Include(Rng& rng, Field field) {
  if (field == Field::in_port) return !rng.OneIn(3);
  return OthersDependOn(field) ? !rng.OneIn(5) : rng.OneIn(4);
}

// The key of one of the frames.
Match KeyOf(Rng& rng, const std::vector<Bytes>& frames) {
  return reference::Datapath::ParseOn(static_cast<uint32_t>(1 + rng.Below(2)), rng.Pick(frames)).key;
}

Step RandomPut(Rng& rng, uint64_t flow, const std::vector<Bytes>& frames) {
  Step step;
  step.kind = Step::Kind::kPut;
  step.flow = flow;
  const Match key = KeyOf(rng, frames);
  step.match = RandomMatch(rng, key, KeyOf(rng, frames));
  step.actions = RandomActions(rng, key);
  step.priority = static_cast<uint32_t>(rng.Below(4));
  return step;
}

Step RandomPacketStep(Rng& rng, std::vector<Bytes>& frames) {
  Step step;
  step.port = static_cast<uint32_t>(1 + rng.Below(2));
  if (rng.OneIn(6)) frames[rng.Below(frames.size())] = RandomFrame(rng);
  step.frame = rng.Pick(frames);
  // A neighbour: what keeps flows and cache entries apart may be a single bit.
  if (rng.OneIn(4))
    step.frame[rng.Below(std::min<size_t>(step.frame.size(), 64))] ^= static_cast<uint8_t>(1U << rng.Below(8));
  if (rng.OneIn(20)) step.frame = reference::Damage(step.frame, rng);
  if (step.frame.size() < kMinFrame) step.frame.resize(kMinFrame);
  return step;
}

}  // namespace

// What XDP does to a packet and, rarely, set(sctp). As long as it is, a list does not push more tags than the headroom
// in front of a packet and the rig's buffers have room for.
Action RandomEdit(Rng& rng, const Match& like, const Actions& before) {
  constexpr ptrdiff_t kPushes = 20;
  const auto is_push = [](const Action& action) { return std::holds_alternative<PushVlan>(action); };
  switch (rng.Below(10)) {
    case 0:
    case 1:
      return PopVlan{};
    case 2:
    case 3:
      if (std::ranges::count_if(before, is_push) < kPushes) return RandomPush(rng);
      [[fallthrough]];
    case 4:
    case 5:
      return rng.OneIn(2) ? DecTtl{} : DecTtl{{RandomOutput(rng)}};
    default: {
      const Action set = RandomSet(rng, like);
      return ActionName(set) == "set(sctp)" && !rng.OneIn(4) ? RandomEdit(rng, like, before) : set;
    }
  }
}

Bytes RandomFrame(Rng& rng) {
  Bytes frame = reference::Build(reference::RandomPacket(rng));
  frame.resize(std::max(frame.size(), kMinFrame));
  return frame;
}

Match RandomMatch(Rng& rng, const Match& key, const Match& other) {
  while (true) {
    Match match;
    for (const FieldInfo& info : kFields) {
      if (!key.Has(info.id) || !Include(rng, info.id)) continue;
      const auto value = rng.OneIn(20) ? other.Value(info.id) : key.Value(info.id);
      const std::vector<uint8_t> mask =
          OthersDependOn(info.id) ? std::vector<uint8_t>(info.size, 0xff) : RandomMask(rng, info);
      match.Set(info.id, value, mask);
    }
    // Validate refuses, among others, ports without their protocol: those are left out next time, or the time after.
    if (match.Validate()) return match;
  }
}

Actions RandomActions(Rng& rng, const Match& like) {
  Actions actions;
  if (rng.OneIn(2)) {
    for (size_t n = RandomLength(rng); n > 0; --n) actions.push_back(RandomEdit(rng, like, actions));
  }
  switch (rng.Below(10)) {
    case 0:
      if (rng.OneIn(2)) return {};
      actions.emplace_back(Drop{});
      break;
    case 1:
    case 2:
      for (uint64_t n = 2 + rng.Below(3); n > 0; --n) actions.emplace_back(Output{RandomPort(rng)});
      break;
    default:
      actions.push_back(RandomOutput(rng));
      break;
  }
  if (rng.OneIn(10)) actions.push_back(RandomEdit(rng, like, actions));  // which nobody sees, mostly
  if (rng.OneIn(8)) MakeSoftware(rng, like, actions);
  return actions;
}

Scenario RandomScenario(Rng& rng, size_t steps) {
  std::vector<Bytes> frames(8);
  for (Bytes& frame : frames) frame = RandomFrame(rng);
  Scenario scenario;
  uint64_t flows = 0;
  for (; flows < 10; ++flows) scenario.push_back(RandomPut(rng, flows + 1, frames));
  while (scenario.size() < steps) {
    const uint64_t which = 1 + rng.Below(flows);
    Step step;
    switch (rng.Below(16)) {
      case 0:
        step = RandomPut(rng, ++flows, frames);
        break;
      case 1:  // the same match once more: another flow, perhaps of another priority
        step = scenario[rng.Below(10)];
        step.flow = ++flows;
        step.priority = static_cast<uint32_t>(rng.Below(4));
        step.actions = RandomActions(rng, KeyOf(rng, frames));
        break;
      case 2:
        step.kind = Step::Kind::kModify;
        step.flow = which;
        step.actions = RandomActions(rng, KeyOf(rng, frames));
        step.priority = static_cast<uint32_t>(rng.Below(4));
        break;
      case 3:
        step.kind = Step::Kind::kDelete;
        step.flow = which;
        break;
      default:
        step = RandomPacketStep(rng, frames);
        break;
    }
    scenario.push_back(std::move(step));
  }
  return scenario;
}

std::string Print(const Step& step) {
  const std::string name = "flow " + std::to_string(step.flow);
  const std::string how = "priority:" + std::to_string(step.priority);
  switch (step.kind) {
    case Step::Kind::kPut:
      return "put " + name + ": " + how + "," + FormatMatch(step.match) + ", actions:" + FormatActions(step.actions);
    case Step::Kind::kModify:
      return "modify " + name + ": " + how + ", actions:" + FormatActions(step.actions);
    case Step::Kind::kDelete:
      return "delete " + name;
    default:
      return "packet on port " + std::to_string(step.port) + ": " + reference::Hex(step.frame) + "  # " +
             FormatMatch(reference::Datapath::ParseOn(step.port, step.frame).key);
  }
}

std::string Print(const Scenario& scenario) {
  std::string text;
  for (size_t i = 0; i < scenario.size(); ++i) text += std::to_string(i) + ". " + Print(scenario[i]) + "\n";
  return text;
}

}  // namespace sluice::compare
