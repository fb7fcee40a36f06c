// SPDX-License-Identifier: Apache-2.0
#include "match_validate.h"

#include <bit>
#include <cstdio>

namespace sluice {
namespace {

constexpr uint64_t kCfi = 0x1000;
constexpr uint64_t kFragLater = 2;

constexpr bool IsVlanType(uint64_t type) { return type == 0x8100 || type == 0x88a8; }

// The values of what fields depend on, where they are matched exactly.
class Layers {
 public:
  explicit Layers(const Match& match)
      : eth_type_(Exact(match, Field::eth_type)),
        vlan_eth_type_(Exact(match, Field::vlan_eth_type)),
        inner_eth_type_(eth_type_),
        ipv4_proto_(Exact(match, Field::ipv4_proto)),
        ipv6_proto_(Exact(match, Field::ipv6_proto)),
        icmpv6_type_(Exact(match, Field::icmpv6_type)) {
    if (IsVlanType(eth_type_)) inner_eth_type_ = vlan_eth_type_;
    if (IsVlanType(eth_type_) && IsVlanType(vlan_eth_type_)) inner_eth_type_ = Exact(match, Field::cvlan_eth_type);
  }

  [[nodiscard]] bool Tagged() const { return IsVlanType(eth_type_); }

  [[nodiscard]] bool Meets(const FieldNeed& need) const {
    switch (need.what) {
      case Need::nothing:
        return true;
      case Need::eth_type:
        return need.Takes(eth_type_);
      case Need::vlan_eth_type:
        return need.Takes(vlan_eth_type_);
      case Need::inner_eth_type:
        return need.Takes(inner_eth_type_);
      case Need::ip_proto:
        return need.Takes(ipv4_proto_) || need.Takes(ipv6_proto_);
      case Need::ipv4_proto:
        return need.Takes(ipv4_proto_);
      case Need::ipv6_proto:
        return need.Takes(ipv6_proto_);
      case Need::icmpv6_type:
        return need.Takes(icmpv6_type_);
    }
    return false;
  }

 private:
  static constexpr uint64_t kNotExact = ~uint64_t{0};

  static uint64_t Exact(const Match& match, Field field) {
    return match.IsExact(field) ? match.ValueOf(field) : kNotExact;
  }

  uint64_t eth_type_;
  uint64_t vlan_eth_type_;
  uint64_t inner_eth_type_;
  uint64_t ipv4_proto_;
  uint64_t ipv6_proto_;
  uint64_t icmpv6_type_;
};

std::string EthType(const char* before, uint16_t type, const char* after) {
  char text[48];
  std::snprintf(text, sizeof text, "%seth_type(0x%04x)%s", before, type, after);
  return text;
}

// One value, or both with "or" between them.
template <typename Write>
std::string Either(const FieldNeed& need, Write write) {
  return need.one == need.other ? write(need.one) : write(need.one) + " or " + write(need.other);
}

std::string NeedText(const FieldNeed& need) {
  auto argument = [](const char* text) {
    return [text](uint16_t value) { return text + std::to_string(value) + ')'; };
  };
  switch (need.what) {
    case Need::nothing:
      break;
    case Need::eth_type:
    case Need::inner_eth_type:
      return Either(need, [](uint16_t type) { return EthType("", type, ""); });
    case Need::vlan_eth_type:
      return Either(need, [](uint16_t type) { return EthType("encap(", type, ")"); });
    case Need::ip_proto:
      return Either(need, argument("ipv4(proto=")) + " or " + Either(need, argument("ipv6(proto="));
    case Need::ipv4_proto:
      return Either(need, argument("ipv4(proto="));
    case Need::ipv6_proto:
      return Either(need, argument("ipv6(proto="));
    case Need::icmpv6_type:
      return Either(need, argument("icmpv6(type="));
  }
  return {};
}

bool BelongsToTransport(Field field) {
  const Need what = NeedOf(field).what;
  return what == Need::ip_proto || what == Need::ipv4_proto || what == Need::ipv6_proto || what == Need::icmpv6_type;
}

bool MatchesLaterFragments(const Match& match) {
  return ((match.ValueOf(Field::ipv4_frag) | match.ValueOf(Field::ipv6_frag)) & kFragLater) != 0;
}

// Values that a field by itself cannot have; empty where all is well.
std::string ImpossibleValue(const Match& match, Field field) {
  switch (field) {
    case Field::vlan_tci:
    case Field::cvlan_tci:
      if ((match.MaskOf(field) & kCfi) != 0 && (match.ValueOf(field) & kCfi) == 0) {
        return " with cfi=0 matches no tagged frame; match the Ethernet type for untagged ones";
      }
      break;
    case Field::ipv4_frag:
    case Field::ipv6_frag:
      if (match.ValueOf(field) > kFragLater) return " can only be no, first or later";
      break;
    case Field::ct_state: {
      constexpr uint64_t kTracked = 0x20;
      if ((match.MaskOf(field) & kTracked) != 0 && (match.ValueOf(field) & kTracked) == 0 &&
          match.ValueOf(field) != 0) {
        return " of an untracked packet (-trk) has no other bits";
      }
      break;
    }
    case Field::tun_ipv6_src:
    case Field::tun_ipv6_dst:
      if (match.ValueOf(Field::tun_src) != 0 || match.ValueOf(Field::tun_dst) != 0) {
        return " cannot be matched together with an IPv4 tunnel address";
      }
      break;
    default:
      break;
  }
  return {};
}

}  // namespace

std::string TextName(Field field) {
  if (field == Field::cvlan_eth_type) return "encap(encap(eth_type))";
  const FieldInfo& info = Info(field);
  std::string name(info.group);
  if (!info.sub.empty()) name.append("(").append(info.sub).append(")");
  return name;
}

std::optional<MatchFault> FindFault(const Match& match) {
  const Layers layers(match);
  for (uint64_t left = match.FieldBits(); left != 0; left &= left - 1) {
    const auto field = static_cast<Field>(std::countr_zero(left));
    const FieldNeed& need = NeedOf(field);
    if (!layers.Meets(need)) {
      std::string detail = TextName(field) + " needs " + NeedText(need) + ", matched exactly";
      if (need.what == Need::inner_eth_type && layers.Tagged()) detail += ", inside encap(...)";
      return MatchFault{field, std::move(detail)};
    }
    if (std::string impossible = ImpossibleValue(match, field); !impossible.empty()) {
      return MatchFault{field, TextName(field) + impossible};
    }
    if (BelongsToTransport(field) && MatchesLaterFragments(match)) {
      return MatchFault{field, TextName(field) + " is not in later fragments (frag=later)"};
    }
  }
  return std::nullopt;
}

}  // namespace sluice
