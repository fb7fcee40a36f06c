// SPDX-License-Identifier: Apache-2.0
#include "full_plan.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "known_packet.h"
#include "pattern.h"
#include "places.h"

namespace sluice::rteflow {
namespace {

constexpr uint16_t kVidBits = 0x0fff;
constexpr uint16_t kPcpBits = 0xe000;
constexpr uint8_t kDscpBits = 0xfc;
constexpr uint8_t kEcnBits = 0x03;
constexpr uint32_t kVxlan = 4;  // OVS_VPORT_TYPE_VXLAN

Error Unsupported(const Action& action, const std::string& why) {
  return {"unsupported_action", "rte_flow cannot do " + ActionName(action) + ": " + why};
}

class Planner {
 public:
  Planner(const Match& match, const EthdevOf& ethdev_of) : packet_(match), ethdev_of_(ethdev_of) {
    plan_.steps.reserve(8);
  }

  Result<FullPlan> Plan(bool tunnel, const Actions& actions) {
    if (tunnel) Add(DecapStep{}, "tnl_decap");
    for (const Actions* list = &actions; list != nullptr;) {
      const Actions* next = nullptr;
      for (const Action& action : *list) {
        if (std::holds_alternative<Drop>(action)) break;
        if (sent_for_good_) return Unsupported(action, "nothing can follow a tnl_push");
        auto done = std::visit([&](const auto& which) { return Do(action, which); }, action);
        if (!done) return done.error();
        next = std::exchange(expired_, nullptr);
        if (next != nullptr) break;
      }
      list = next;
    }
    return Finish();
  }

 private:
  template <typename S>
  void Add(S step, std::string_view name) {
    plan_.steps.emplace_back(std::move(step));
    if (!plan_.shape.empty()) plan_.shape += ',';
    plan_.shape += name;
  }

  Result<void> Output(const Action& action, uint32_t port) {
    const auto ethdev = ethdev_of_ ? ethdev_of_(port) : std::nullopt;
    if (!ethdev) return Unsupported(action, "port " + std::to_string(port) + " is none that the device can send to");
    Add(OutputStep{*ethdev}, "output");
    ++plan_.outputs;
    needed_ = plan_.steps.size();
    named_ = plan_.shape.size();
    return {};
  }
  Result<void> Do(const Action& action, const sluice::Output& output) { return Output(action, output.port); }

  Result<void> Do(const Action&, const PushVlan& push) {
    Add(PushStep{push.tpid}, "push_vlan");
    plan_.steps.emplace_back(VidStep{static_cast<uint16_t>(push.tci & kVidBits)});
    plan_.steps.emplace_back(PcpStep{static_cast<uint8_t>(push.tci >> 13)});
    packet_.PushTag(push.tci);
    return {};
  }

  Result<void> Do(const Action& action, const PopVlan&) {
    if (packet_.Tagged() == Answer::kUnknown) {
      return Unsupported(action, "the match does not say whether there is a tag");
    }
    if (packet_.Tagged() == Answer::kNo) return {};  // has nothing to do
    Add(PopStep{}, "pop_vlan");
    packet_.PopTag();
    return {};
  }

  Result<void> Do(const Action& action, const DecTtl& dec) {
    const auto layer3 = packet_.layer3();
    if (layer3 == Layer3::kUnknown) return Unsupported(action, "the match does not say whether there is a TTL");
    if (layer3 == Layer3::kOther) return {};
    const Field field = layer3 == Layer3::kIpv4 ? Field::ipv4_ttl : Field::ipv6_hlimit;
    const auto ttl = packet_.Exact(field);
    if (!ttl) return Unsupported(action, "what devices do when it comes to an end is not defined");
    if (*ttl <= 1) {
      expired_ = &dec.expired;
      return {};
    }
    Add(DecTtlStep{}, "dec_ttl");
    packet_.SetNumber(field, *ttl - 1);
    return {};
  }

  Result<void> Do(const Action& action, const TnlPush& push) {
    if (push.tnl_type != kVxlan) return Unsupported(action, "of VXLAN only");
    Add(EncapStep{push.header}, "tnl_push");
    sent_for_good_ = true;
    return Output(action, push.out_port);
  }

  Result<void> Do(const Action& action, const SetField& set) {
    for (uint64_t left = set.fields.FieldBits(); left != 0; left &= left - 1) {
      const FieldInfo& field = kFields[static_cast<size_t>(std::countr_zero(left))];
      const Answer has = packet_.HasHeaderOf(field.id);
      if (has == Answer::kUnknown) {
        return Unsupported(action, "the match does not say whether there is the header of " + std::string(field.name));
      }
      if (has == Answer::kNo) continue;  // such an edit does nothing
      if (const char* why = packet_.WhyChecksumUnsure(field.id)) return Unsupported(action, why);
      if (auto done = SetOne(action, field, set.fields); !done) return done;
    }
    return {};
  }

  Result<void> SetOne(const Action& action, const FieldInfo& field, const Match& set) {
    if (field.id == Field::vlan_tci) return SetTag(action, set);
    if (field.id == Field::ipv4_tos || field.id == Field::ipv6_tclass) return SetTos(action, field.id, set);
    if (PlaceOf(field.id).modify == RTE_FLOW_FIELD_START) {
      return Unsupported(action, "there is no action that sets " + std::string(field.name));
    }
    const KnownPacket::Outcome bits = packet_.After(field.id, set);
    if (bits.same) return {};
    const std::string name = "set(" + std::string(field.name);
    if (bits.whole) {
      Add(Piece(field, 0, field.bits, bits.value), name + ")");
    } else {
      AddPieces(field, set.Mask(field.id), bits.value, name + "/mask)");
    }
    packet_.Set(field.id, set);
    return {};
  }

  static SetStep Piece(const FieldInfo& field, size_t offset, size_t width, const std::array<uint8_t, 16>& value) {
    return {field.id, static_cast<uint16_t>(offset), static_cast<uint16_t>(width), value};
  }

  // A step for each run of ones in the mask.
  void AddPieces(const FieldInfo& field, std::span<const uint8_t> mask, const std::array<uint8_t, 16>& value,
                 const std::string& name) {
    const auto one = [&](size_t bit) { return (mask[bit / 8] >> (7 - bit % 8) & 1) != 0; };
    for (size_t begin = 0; begin < field.bits;) {
      size_t end = begin;
      while (end < field.bits && one(end)) ++end;
      if (end > begin) Add(Piece(field, begin, end - begin, value), name);
      begin = end + 1;
    }
  }

  Result<void> SetTag(const Action& action, const Match& set) {
    const auto mask = static_cast<uint16_t>(set.MaskOf(Field::vlan_tci));
    const auto value = static_cast<uint16_t>(set.ValueOf(Field::vlan_tci));
    const auto after = packet_.TagAfter(value, mask);
    for (uint16_t part : {kVidBits, kPcpBits}) {
      if ((mask & part) == 0) continue;
      if ((after.mask & part) != part) return Unsupported(action, "a part of a tag's vid or pcp is not set by itself");
      if (part == kVidBits) Add(VidStep{static_cast<uint16_t>(after.value & kVidBits)}, "set(vlan_vid)");
      if (part == kPcpBits) Add(PcpStep{static_cast<uint8_t>(after.value >> 13)}, "set(vlan_pcp)");
    }
    packet_.SetTag(after);
    return {};
  }

  // Devices have it in two parts (RFC 2474, 3168).
  Result<void> SetTos(const Action& action, Field field, const Match& set) {
    const bool ipv6 = field == Field::ipv6_tclass;
    const auto mask = static_cast<uint8_t>(set.MaskOf(field));
    const auto before = packet_.Known(field);
    packet_.Set(field, set);
    const auto after = packet_.Known(field);
    const auto sets = [&](uint8_t part) {
      const bool same = (before.mask & part) == part && (before.value & part) == (after.value & part);
      return (mask & part) != 0 && !same;
    };
    if (sets(kDscpBits)) {
      if ((after.mask & kDscpBits) != kDscpBits) return Unsupported(action, "a part of the DSCP is not set by itself");
      Add(DscpStep{ipv6, static_cast<uint8_t>(after.value >> 2)}, ipv6 ? "set(ipv6_dscp)" : "set(ipv4_dscp)");
    }
    if (sets(kEcnBits)) {
      if (ipv6) return Unsupported(action, "how IPv6's ECN is written is not defined");
      if ((after.mask & kEcnBits) != kEcnBits) return Unsupported(action, "a part of the ECN is not set by itself");
      Add(EcnStep{static_cast<uint8_t>(after.value & kEcnBits)}, "set(ipv4_ecn)");
    }
    return {};
  }

  template <typename Other>
  Result<void> Do(const Action& action, const Other&) {
    return Unsupported(action, "there is no action for it");
  }

  Result<FullPlan> Finish() {
    plan_.steps.resize(needed_);
    plan_.shape.resize(named_);
    if (needed_ == 0) plan_.shape = "drop";
    for (const Step& step : plan_.steps) {
      plan_.sets = plan_.sets || std::holds_alternative<SetStep>(step) || std::holds_alternative<EcnStep>(step);
      plan_.encaps = plan_.encaps || std::holds_alternative<EncapStep>(step);
    }
    return std::move(plan_);
  }

  KnownPacket packet_;
  const EthdevOf& ethdev_of_;
  FullPlan plan_;
  size_t needed_ = 0;  // steps up to the last output: nobody sees what the others do
  size_t named_ = 0;   // of the shape, likewise
  const Actions* expired_ = nullptr;
  bool sent_for_good_ = false;
};

}  // namespace

Result<FullPlan> PlanFull(const Match& match, bool tunnel, const Actions& actions, const EthdevOf& ethdev_of) {
  return Planner(match, ethdev_of).Plan(tunnel, actions);
}

std::vector<std::string> OffloadableActions() {
  std::vector<std::string> names{"drop", "output", "push_vlan", "pop_vlan", "dec_ttl", "tnl_push", "set(vlan)"};
  for (const FieldInfo& field : kFields) {
    const Place& place = PlaceOf(field.id);
    if (place.modify == RTE_FLOW_FIELD_START && place.old == RTE_FLOW_ACTION_TYPE_END) continue;
    const std::string name = "set(" + std::string(field.group) + ")";
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  return names;
}

}  // namespace sluice::rteflow
