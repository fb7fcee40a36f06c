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

Step RandomPut(Rng& rng, uint64_t flow, const std::vector<Bytes>& frames) {
  Step step;
  step.kind = Step::Kind::kPut;
  step.flow = flow;
  const auto key = [&] {
    return reference::Datapath::ParseOn(static_cast<uint32_t>(1 + rng.Below(2)), rng.Pick(frames)).key;
  };
  step.match = RandomMatch(rng, key(), key());
  step.actions = RandomActions(rng);
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

Actions RandomActions(Rng& rng) {
  const auto port = [&] { return static_cast<uint32_t>(1 + rng.Below(Rig::kPorts)); };
  const auto edit = [&](Actions& actions) {
    static const std::vector<uint16_t> kVids{0, 1, 5, 100, 4095};
    if (rng.OneIn(2)) {
      actions.emplace_back(PopVlan{});
    } else {
      const auto tci = static_cast<uint16_t>(0x1000 | rng.Below(8) << 13 | rng.Pick(kVids));
      actions.emplace_back(PushVlan{static_cast<uint16_t>(rng.OneIn(3) ? 0x88a8 : 0x8100), tci});
    }
  };
  Actions actions;
  if (rng.OneIn(3)) {
    for (uint64_t n = rng.OneIn(8) ? 1 + rng.Below(12) : 1 + rng.Below(3); n > 0; --n) edit(actions);
  }
  switch (rng.Below(10)) {
    case 0:
      actions.emplace_back(Flood{});
      break;
    case 1:
      actions.emplace_back(ToController{});
      break;
    case 2:
      if (rng.OneIn(2)) return {};
      actions.emplace_back(Drop{});
      break;
    case 3:
    case 4:
      for (uint64_t n = 2 + rng.Below(3); n > 0; --n) actions.emplace_back(Output{port()});
      break;
    case 5:  // what one packet cannot be: kept from the datapath by the compiler
      if (rng.OneIn(4)) {
        actions.emplace_back(Output{port()});
        edit(actions);
      }
      [[fallthrough]];
    default:
      actions.emplace_back(Output{port()});
      break;
  }
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
        step.actions = RandomActions(rng);
        break;
      case 2:
        step.kind = Step::Kind::kModify;
        step.flow = which;
        step.actions = RandomActions(rng);
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
