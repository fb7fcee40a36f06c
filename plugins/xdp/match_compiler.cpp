// SPDX-License-Identifier: Apache-2.0
// From matches and packets to keys (flow_compiler.h).
#include <algorithm>
#include <bit>
#include <cstring>
#include <span>
#include <utility>

#include "flow_compiler.h"

namespace sluice::xdp {
namespace {

Error UnsupportedField(const FieldInfo& field, const std::string& why) {
  return {"unsupported_field", "XDP cannot match " + std::string(field.name) + ": " + why};
}

void Copy(std::span<const uint8_t> from, const KeyMember& member, KeyWords& to) {
  auto* bytes = reinterpret_cast<uint8_t*>(to.data());
  std::memcpy(bytes + member.offset + member.size - from.size(), from.data(), from.size());
}

bool AnySet(const KeyMember& member, const KeyWords& words) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(words.data());
  for (size_t i = 0; i < member.size; ++i) {
    if (bytes[member.offset + i] != 0) return true;
  }
  return false;
}

// What every packet that comes in has the value 0 of: it is in its first pass, untracked and unmarked.
bool IsZeroHere(Field field) {
  switch (field) {
    case Field::recirc_id:
    case Field::dp_hash:
    case Field::skb_priority:
    case Field::skb_mark:
    case Field::ct_state:
    case Field::ct_zone:
    case Field::ct_mark:
    case Field::ct_label:
      return true;
    default:
      return false;
  }
}

// Of these only later passes know more.
bool IsFoundOutLater(Field field) {
  return (field >= Field::tun_id && field <= Field::tun_flags) || (field >= Field::ct_state && field <= Field::ct_mark);
}

bool IsInPacket(Field field) { return field >= Field::in_port && field <= Field::arp_tha; }

bool AllZero(std::span<const uint8_t> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte == 0; });
}

}  // namespace

Result<CompiledMatch> CompileMatch(const Match& match, const KeyLayout& layout) {
  CompiledMatch compiled;
  const auto leave_out = [&](Error why) {
    if (!compiled.wider) compiled.wider = std::move(why);
  };
  for (const auto& [field, value] : layout.only) {
    if (match.IsExact(field) && match.ValueOf(field) == value) continue;
    return UnsupportedField(Info(field), "the object knows packets only in which it is " + std::to_string(value) +
                                             ", and the match does not say just that");
  }
  for (uint64_t fields = match.FieldBits(); fields != 0; fields &= fields - 1) {
    const FieldInfo& field = kFields[std::countr_zero(fields)];
    if (layout.IsOnly(field.id)) continue;
    if (field.id == Field::in_port && !layout.Has(field.id)) {
      if (match.IsExact(field.id)) {
        compiled.in_port = static_cast<uint32_t>(match.ValueOf(field.id));
      } else {
        leave_out(UnsupportedField(field, "its mask is not the whole number"));
      }
      continue;
    }
    const KeyMember& member = layout.members[static_cast<size_t>(field.id)];
    if (member.size == 0) {
      const bool later = IsFoundOutLater(field.id);
      if ((IsZeroHere(field.id) || later) && AllZero(match.Value(field.id))) continue;
      if (later) {
        return Error{"never_matches", "no packet has " + std::string(field.name) + " in its first pass, before " +
                                          (field.id >= Field::ct_state ? "ct and recirc" : "tnl_pop")};
      }
      Error why = UnsupportedField(field, "the object's key has no such member");
      if (!IsInPacket(field.id)) return why;
      leave_out(std::move(why));
      continue;
    }
    if (AnySet(member, compiled.mask)) {
      leave_out(UnsupportedField(field, "the key has one place for it and for another field of this match"));
      continue;
    }
    Copy(match.Value(field.id), member, compiled.key);
    Copy(match.Mask(field.id), member, compiled.mask);
  }
  return compiled;
}

KeyWords PacketKey(const FlowKeyBytes& values, uint64_t present, const KeyLayout& layout) {
  KeyWords key{};
  for (const FieldInfo& field : kFields) {
    if ((present >> static_cast<size_t>(field.id) & 1) == 0 || !layout.Has(field.id)) continue;
    Copy(std::span(values).subspan(field.offset, field.size), layout.members[static_cast<size_t>(field.id)], key);
  }
  return key;
}

}  // namespace sluice::xdp
