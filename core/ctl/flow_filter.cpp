// SPDX-License-Identifier: Apache-2.0
#include "flow_filter.h"

#include <bit>
#include <optional>

#include "sluice/flow_text.h"

namespace sluice::ctl {
namespace {

constexpr uint64_t kIpv4 = 0x0800;
constexpr uint64_t kIpv6 = 0x86dd;

bool IsVlanType(std::optional<uint64_t> type) { return type && (*type == 0x8100 || *type == 0x88a8); }

std::optional<uint64_t> Exact(const Match& match, Field field) {
  return match.IsExact(field) ? std::optional(match.ValueOf(field)) : std::nullopt;
}

// The protocol of layer 3, where the match says it.
std::optional<uint64_t> InnerEthType(const Match& match) {
  std::optional<uint64_t> type = Exact(match, Field::eth_type);
  if (IsVlanType(type)) type = Exact(match, Field::vlan_eth_type);
  if (IsVlanType(type)) type = Exact(match, Field::cvlan_eth_type);
  return type;
}

bool MayBe(std::optional<uint64_t> known, const FieldNeed& need) { return !known || need.Takes(*known); }

bool MayBeOneOf(std::optional<uint64_t> known, uint64_t one, uint64_t other) {
  return !known || *known == one || *known == other;
}

// Can a packet of this flow have what a field with this need stands on?
bool CanMeet(const Match& flow, const FieldNeed& need) {
  const auto eth_type = InnerEthType(flow);
  switch (need.what) {
    case Need::nothing:
      return true;
    case Need::eth_type:
      return MayBe(Exact(flow, Field::eth_type), need);
    case Need::vlan_eth_type:
      return MayBe(Exact(flow, Field::vlan_eth_type), need);
    case Need::inner_eth_type:
      return MayBe(eth_type, need);
    case Need::ip_proto:
      return MayBeOneOf(eth_type, kIpv4, kIpv6) && MayBe(Exact(flow, Field::ipv4_proto), need) &&
             MayBe(Exact(flow, Field::ipv6_proto), need);
    case Need::ipv4_proto:
      return MayBeOneOf(eth_type, kIpv4, kIpv4) && MayBe(Exact(flow, Field::ipv4_proto), need);
    case Need::ipv6_proto:
      return MayBeOneOf(eth_type, kIpv6, kIpv6) && MayBe(Exact(flow, Field::ipv6_proto), need);
    case Need::icmpv6_type:
      return CanMeet(flow, NeedOf(Field::icmpv6_type)) && MayBe(Exact(flow, Field::icmpv6_type), need);
  }
  return true;
}

bool Agree(const Match& one, const Match& other, Field field) {
  const auto value = one.Value(field);
  const auto mask = one.Mask(field);
  const auto other_value = other.Value(field);
  const auto other_mask = other.Mask(field);
  for (size_t i = 0; i < value.size(); ++i) {
    if (((value[i] ^ other_value[i]) & mask[i] & other_mask[i]) != 0) return false;
  }
  return true;
}

}  // namespace

Result<FlowFilter> FlowFilter::Parse(std::string_view expression,
                                     const google::protobuf::RepeatedPtrField<v1::Port>& ports) {
  PortNumbers names(ports, PortNumbers::Unknown::kNumbered);
  auto match = ParseMatchPart(expression, names);
  if (!match) return match.error();
  return FlowFilter(*match, std::move(names));
}

bool FlowFilter::Overlaps(std::string_view match_text) const {
  const auto flow = ParseMatchPart(match_text, ports_);
  if (!flow) return true;
  for (uint64_t left = match_.FieldBits(); left != 0; left &= left - 1) {
    const auto field = static_cast<Field>(std::countr_zero(left));
    if (!Agree(match_, *flow, field) || !CanMeet(*flow, NeedOf(field))) return false;
  }
  return true;
}

}  // namespace sluice::ctl
