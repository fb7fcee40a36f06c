// SPDX-License-Identifier: Apache-2.0
#include "known_packet.h"

#include <netinet/in.h>

#include <algorithm>

#include "pattern.h"

namespace sluice::rteflow {
namespace {

constexpr bool IsTag(uint64_t type) { return type == 0x8100 || type == 0x88a8; }

bool IsPort(Field field) { return field >= Field::tcp_src && field <= Field::udp_dst; }
bool IsAddress(Field field) {
  return field == Field::ipv4_src || field == Field::ipv4_dst || field == Field::ipv6_src || field == Field::ipv6_dst;
}

}  // namespace

KnownPacket::KnownPacket(const Match& match) : known_(match) {
  const std::array<Field, 3> types{Field::eth_type, Field::vlan_eth_type, Field::cvlan_eth_type};
  const std::array<Field, 2> tags{Field::vlan_tci, Field::cvlan_tci};
  std::optional<uint64_t> type;
  for (size_t i = 0; i < types.size(); ++i) {
    type = Exact(types[i]);
    if (!type || !IsTag(*type)) break;
    tags_.insert(tags_.begin(), i < tags.size() ? Known(tags[i]) : KnownBits{});
  }
  more_tags_ = !type || IsTag(*type);
  if (type) layer3_ = *type == 0x0800 ? Layer3::kIpv4 : *type == 0x86dd ? Layer3::kIpv6 : Layer3::kOther;
  if (layer3_ == Layer3::kIpv4) {
    const Fragments takes = FragmentsOf(match, Field::ipv4_frag);
    first_fragments_ = takes.first;
    later_fragments_ = takes.later;
  } else if (layer3_ == Layer3::kIpv6 && Exact(Field::ipv6_proto)) {
    // The pattern wants the protocol right behind the base header, or behind that of a first fragment.
    const Fragments takes = FragmentsOf(match, Field::ipv6_frag);
    first_fragments_ = takes.first && !takes.no;
    later_fragments_ = false;
  }
}

Answer KnownPacket::Tagged() const {
  if (!tags_.empty()) return Answer::kYes;
  return more_tags_ ? Answer::kUnknown : Answer::kNo;
}

KnownBits KnownPacket::TagAfter(uint16_t value, uint16_t mask) const {
  const KnownBits before = tags_.back();
  return {static_cast<uint16_t>((before.value & ~mask) | (value & mask)), static_cast<uint16_t>(before.mask | mask)};
}

Answer KnownPacket::HasProtocol(uint64_t proto) const {
  if (layer3_ == Layer3::kOther) return Answer::kNo;
  if (layer3_ == Layer3::kUnknown) return Answer::kUnknown;
  const auto known = Exact(layer3_ == Layer3::kIpv4 ? Field::ipv4_proto : Field::ipv6_proto);
  if (!known) return Answer::kUnknown;
  if (*known != proto) return Answer::kNo;
  return later_fragments_ ? Answer::kUnknown : Answer::kYes;
}

Answer KnownPacket::HasHeaderOf(Field field) const {
  const auto is = [&](Layer3 layer3) {
    if (layer3_ == Layer3::kUnknown) return Answer::kUnknown;
    return layer3_ == layer3 ? Answer::kYes : Answer::kNo;
  };
  switch (field) {
    case Field::vlan_tci:
      return Tagged();
    case Field::tcp_src:
    case Field::tcp_dst:
      return HasProtocol(IPPROTO_TCP);
    case Field::udp_src:
    case Field::udp_dst:
      return HasProtocol(IPPROTO_UDP);
    default:
      if (field >= Field::ipv4_src && field <= Field::ipv4_frag) return is(Layer3::kIpv4);
      if (field >= Field::ipv6_src && field <= Field::ipv6_frag) return is(Layer3::kIpv6);
      return Answer::kYes;  // Ethernet's; of the others nothing can be set
  }
}

const char* KnownPacket::WhyChecksumUnsure(Field field) const {
  if (!IsAddress(field) && !IsPort(field)) return nullptr;
  if (layer3_ == Layer3::kIpv6 && !Exact(Field::ipv6_proto)) {
    return "what devices do to checksums behind extension headers is not defined; match proto";
  }
  const auto proto = Exact(Field::ipv4_proto);
  if (field <= Field::ipv4_dst && proto && *proto != IPPROTO_TCP && *proto != IPPROTO_UDP) return nullptr;
  if (first_fragments_) return "what devices do to the checksum of fragments is not defined; match frag=no";
  return nullptr;
}

std::optional<uint64_t> KnownPacket::Exact(Field field) const {
  if (!known_.IsExact(field)) return std::nullopt;
  return known_.ValueOf(field);
}

KnownBits KnownPacket::Known(Field field) const {
  return {static_cast<uint16_t>(known_.ValueOf(field)), static_cast<uint16_t>(known_.MaskOf(field))};
}

KnownPacket::Outcome KnownPacket::After(Field field, const Match& set) const {
  Outcome outcome{.same = true, .whole = true};
  const auto before = known_.Value(field);
  const auto known = known_.Mask(field);
  const auto value = set.Value(field);
  const auto mask = set.Mask(field);
  for (size_t i = 0; i < value.size(); ++i) {
    outcome.value.at(i) = static_cast<uint8_t>((before[i] & ~mask[i]) | value[i]);
    outcome.whole = outcome.whole && (known[i] | mask[i]) == 0xff;
    outcome.same = outcome.same && (known[i] & mask[i]) == mask[i] && (before[i] & mask[i]) == value[i];
  }
  return outcome;
}

void KnownPacket::Set(Field field, const Match& set) {
  const Outcome after = After(field, set);
  std::array<uint8_t, 16> mask{};
  const auto known = known_.Mask(field);
  const auto sets = set.Mask(field);
  for (size_t i = 0; i < known.size(); ++i) mask.at(i) = known[i] | sets[i];
  known_.Set(field, std::span(after.value).first(known.size()), std::span(mask).first(known.size()));
}

}  // namespace sluice::rteflow
