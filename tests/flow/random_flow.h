// SPDX-License-Identifier: Apache-2.0
// Random valid matches and actions, for every test that wants many flows. Everything follows from kFields and
// kFieldNeeds, so a new field is generated without a change here unless some of its values cannot be.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "sluice/flow_text.h"

namespace sluice {

using FlowRng = std::mt19937_64;

// A seed for FlowRng, printed so that a failure can be repeated: SLUICE_TEST_SEED=N.
inline uint64_t FlowSeed() {
  const char* given = std::getenv("SLUICE_TEST_SEED");
  const uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 0) : std::random_device{}();
  std::printf("seed %llu (SLUICE_TEST_SEED=%llu repeats)\n", static_cast<unsigned long long>(seed),
              static_cast<unsigned long long>(seed));
  return seed;
}

struct RandomFlowOptions {
  uint64_t fields = ~uint64_t{0};  // bit n: field n may be matched
  uint32_t ports = 4;              // in_port and outputs are 1 to this
  unsigned percent = 30;           // how often a field that may be matched is
  unsigned exact_percent = 50;     // how often it is matched exactly
  std::vector<std::string_view>
      actions;  // action names as ActionName gives them, "set" for all of set(...); empty: all
};

namespace random_flow {

inline uint64_t Below(FlowRng& rng, uint64_t bound) { return rng() % bound; }
inline bool Chance(FlowRng& rng, unsigned percent) { return Below(rng, 100) < percent; }
template <typename T, size_t kSize>
T Pick(FlowRng& rng, const std::array<T, kSize>& choices) {
  return choices[Below(rng, kSize)];
}
constexpr uint64_t Bit(Field field) { return uint64_t{1} << static_cast<size_t>(field); }

// The headers of the packets that a match is about. 0 (kAny): nothing is said of that layer.
struct Shape {
  static constexpr uint32_t kAny = 0x10000;
  uint32_t tags = 0;
  uint32_t inner_type = kAny;
  uint32_t proto = kAny;
  uint32_t icmpv6_type = kAny;
  bool tunnel_ipv6 = false;
  bool later = false;  // fragments after the first

  static Shape Random(FlowRng& rng) {
    Shape shape;
    shape.tags = static_cast<uint32_t>(Pick<int, 5>(rng, {0, 0, 0, 1, 2}));
    shape.inner_type = Pick<uint32_t, 9>(rng, {0x0800, 0x0800, 0x0800, 0x86dd, 0x86dd, 0x0806, 0x8035, 0x88cc, kAny});
    if (shape.inner_type == 0x0800) shape.proto = Pick<uint32_t, 8>(rng, {6, 6, 17, 17, 132, 1, 47, kAny});
    if (shape.inner_type == 0x86dd) shape.proto = Pick<uint32_t, 8>(rng, {6, 17, 132, 58, 58, 58, 59, kAny});
    if (shape.inner_type == 0x86dd && shape.proto == 58) {
      shape.icmpv6_type = Pick<uint32_t, 4>(rng, {135, 136, 128, kAny});
    }
    shape.tunnel_ipv6 = Chance(rng, 50);
    shape.later = shape.proto == kAny && Chance(rng, 20);
    return shape;
  }

  [[nodiscard]] bool Meets(const FieldNeed& need) const {
    switch (need.what) {
      case Need::nothing:
        return true;
      case Need::eth_type:
        return tags >= 1;
      case Need::vlan_eth_type:
        return tags >= 2;
      case Need::inner_eth_type:
        return need.Takes(inner_type);
      case Need::ip_proto:
        return need.Takes(proto);
      case Need::ipv4_proto:
        return inner_type == 0x0800 && need.Takes(proto);
      case Need::ipv6_proto:
        return inner_type == 0x86dd && need.Takes(proto);
      case Need::icmpv6_type:
        return need.Takes(icmpv6_type);
    }
    return false;
  }

  [[nodiscard]] bool Allows(Field field) const {
    const bool tunnel_ipv4_field = field == Field::tun_src || field == Field::tun_dst;
    const bool tunnel_ipv6_field = field == Field::tun_ipv6_src || field == Field::tun_ipv6_dst;
    if (tunnel_ipv6 ? tunnel_ipv4_field : tunnel_ipv6_field) return false;
    return Meets(NeedOf(field));
  }

  // Sets what the upper layers need. Fields that are not in `fields` cannot be set, which makes the shape shallower.
  void Pin(FlowRng& rng, uint64_t fields, Match& match) {
    auto pin = [&](Field field, uint32_t value) {
      if (value == kAny || (fields & Bit(field)) == 0) return false;
      match.SetExact(field, value);
      return true;
    };
    constexpr std::array<Field, 3> kTypes{Field::eth_type, Field::vlan_eth_type, Field::cvlan_eth_type};
    for (uint32_t tag = 0; tag < tags; ++tag) {
      if (!pin(kTypes[tag], Pick<uint32_t, 3>(rng, {0x8100, 0x8100, 0x88a8}))) {
        tags = tag;
        inner_type = proto = icmpv6_type = kAny;
      }
    }
    if (!pin(kTypes[tags], inner_type)) inner_type = proto = icmpv6_type = kAny;
    if (!pin(inner_type == 0x0800 ? Field::ipv4_proto : Field::ipv6_proto, proto)) proto = icmpv6_type = kAny;
    if (!pin(Field::icmpv6_type, icmpv6_type)) icmpv6_type = kAny;
  }
};

// A mask that is not 0: all ones, leading ones, or anything.
inline std::vector<uint8_t> RandomMask(FlowRng& rng, const FieldInfo& info, unsigned exact_percent) {
  std::vector<uint8_t> mask(info.size, 0xff);
  if (!Chance(rng, exact_percent)) {
    const size_t first = 8 * size_t{info.size} - info.bits;  // significant bits are the low ones
    const size_t ones = 1 + Below(rng, info.bits);
    const bool prefix = Chance(rng, 40);
    for (size_t bit = 0; bit < 8 * size_t{info.size}; ++bit) {
      const bool one = prefix ? bit < first + ones : Chance(rng, 50) || bit == first + ones - 1;
      if (!one) mask[bit / 8] &= static_cast<uint8_t>(~(0x80u >> (bit % 8)));
    }
  }
  if (info.bits % 8 != 0) mask[0] &= static_cast<uint8_t>((1u << (info.bits % 8)) - 1);
  return mask;
}

// Where not every value can be.
inline void SetRandom(FlowRng& rng, const RandomFlowOptions& options, const Shape& shape, Field field, Match& match) {
  const FieldInfo& info = Info(field);
  const std::vector<uint8_t> mask = RandomMask(rng, info, options.exact_percent);
  std::vector<uint8_t> value(info.size);
  for (uint8_t& byte : value) byte = static_cast<uint8_t>(rng());
  match.Set(field, value, mask);
  switch (field) {
    case Field::in_port:
      match.SetExact(field, 1 + Below(rng, options.ports));
      break;
    case Field::vlan_tci:
    case Field::cvlan_tci:  // a tag's CFI bit is set
      match.SetMasked(field, match.ValueOf(field) | 0x1000, match.MaskOf(field));
      break;
    case Field::ct_state:  // the others mean nothing without trk
      match.SetMasked(field, match.ValueOf(field) | 0x20, match.MaskOf(field));
      break;
    case Field::ipv4_frag:
    case Field::ipv6_frag:
      match.SetExact(field, shape.later ? 2 : Below(rng, shape.proto == Shape::kAny ? 3 : 2));
      break;
    case Field::eth_type:
    case Field::vlan_eth_type:
    case Field::cvlan_eth_type:  // nothing is pinned above it, so that it may be anything
    default:
      break;
  }
}

}  // namespace random_flow

// A match that Validate() accepts. With `wanted`, that field is in it (its prerequisites must be in options.fields).
inline Match RandomMatch(FlowRng& rng, const RandomFlowOptions& options = {},
                         std::optional<Field> wanted = std::nullopt) {
  using namespace random_flow;
  Shape shape;
  do {
    shape = Shape::Random(rng);
  } while (wanted && !shape.Allows(*wanted));
  Match match;
  shape.Pin(rng, options.fields, match);
  for (const FieldInfo& info : kFields) {
    const bool may = (options.fields & Bit(info.id)) != 0 && shape.Allows(info.id) && !match.Has(info.id);
    if (may && (info.id == wanted || Chance(rng, options.percent))) SetRandom(rng, options, shape, info.id, match);
  }
  return match;
}

namespace random_flow {

inline std::string RandomMac(FlowRng& rng) {
  char text[18];
  std::snprintf(text, sizeof text, "02:%02x:%02x:%02x:%02x:%02x", static_cast<unsigned>(Below(rng, 256)),
                static_cast<unsigned>(Below(rng, 256)), static_cast<unsigned>(Below(rng, 256)),
                static_cast<unsigned>(Below(rng, 256)), static_cast<unsigned>(Below(rng, 256)));
  return text;
}

inline std::string Number(FlowRng& rng, uint64_t bound) { return std::to_string(Below(rng, bound)); }

inline std::string RandomTnlPush(FlowRng& rng, uint32_t ports) {
  const bool ipv6 = Chance(rng, 50);
  const auto kind = Below(rng, 3);
  std::string tunnel;
  size_t size = 14 + (ipv6 ? 40 : 20);
  std::string type = "4";
  if (kind == 2) {
    const uint64_t flags = Below(rng, 8);  // csum, key, seq
    type = ipv6 ? "109" : "3";
    size += 4 + 4 * static_cast<size_t>((flags & 1) + (flags >> 1 & 1) + (flags >> 2));
    tunnel = "gre((flags=" + std::to_string((flags & 1) << 15 | (flags >> 1 & 1) << 13 | (flags >> 2) << 12) +
             ",proto=0x6558)";
    if ((flags & 1) != 0) tunnel += ",csum=" + Number(rng, 0x10000);
    if ((flags & 2) != 0) tunnel += ",key=" + Number(rng, uint64_t{1} << 32);
    if ((flags & 4) != 0) tunnel += ",seq=" + Number(rng, uint64_t{1} << 32);
  } else {
    size += 16;
    tunnel =
        "udp(src=" + Number(rng, 0x10000) + ",dst=" + Number(rng, 0x10000) + ",csum=" + Number(rng, 0x10000) + "),";
    if (kind == 1) type = "5";
    tunnel += kind == 0 ? "vxlan(flags=0x8000000,vni=" : Chance(rng, 50) ? "geneve(oam,crit,vni=" : "geneve(vni=";
    tunnel += Number(rng, 1 << 24);
  }
  const std::string proto = kind == 2 ? "47" : "17";
  std::string ip = ipv6
                       ? "ipv6(src=2001:db8::" + Number(rng, 10000) + ",dst=fe80::" + Number(rng, 10000) +
                             ",label=" + Number(rng, 1 << 20) + ",proto=" + proto + ",tclass=" + Number(rng, 256) +
                             ",hlimit=" + Number(rng, 256)
                       : "ipv4(src=10.0.0." + Number(rng, 256) + ",dst=10.0.1." + Number(rng, 256) + ",proto=" + proto +
                             ",tos=" + Number(rng, 256) + ",ttl=" + Number(rng, 256) + ",frag=0x4000";
  return "tnl_push(tnl_port(" + std::to_string(1 + Below(rng, ports)) + "),header(size=" + std::to_string(size) +
         ",type=" + type + ",eth(dst=" + RandomMac(rng) + ",src=" + RandomMac(rng) +
         ",dl_type=" + (ipv6 ? "0x86dd" : "0x0800") + ")," + ip + ")," + tunnel + ")),out_port(" +
         std::to_string(1 + Below(rng, ports)) + "))";
}

// One or more settable fields of one group.
inline SetField RandomSet(FlowRng& rng, const RandomFlowOptions& options) {
  SetField set;
  std::vector<Field> settable;
  for (const FieldInfo& info : kFields) {
    if (info.settable) settable.push_back(info.id);
  }
  const Field first = settable[Below(rng, settable.size())];
  for (const Field field : settable) {
    if (Info(field).group != Info(first).group || (field != first && !Chance(rng, 40))) continue;
    SetRandom(rng, options, Shape{}, field, set.fields);
  }
  return set;
}

inline Ct RandomCt(FlowRng& rng) {
  Ct ct;
  ct.commit = Chance(rng, 70);
  ct.force = ct.commit && Chance(rng, 30);
  ct.zone = static_cast<uint16_t>(Chance(rng, 50) ? rng() : 0);
  if (ct.commit && Chance(rng, 50)) {
    const auto mask = static_cast<uint32_t>(rng() | 1);
    ct.mark = {static_cast<uint32_t>(rng()) & mask, mask};
  }
  if (ct.commit && Chance(rng, 50)) {
    std::string value;
    std::string mask;
    for (int i = 0; i < 16; ++i) {
      mask += static_cast<char>(rng() | 1);
      value += static_cast<char>(rng() & static_cast<unsigned char>(mask.back()));
    }
    ct.label = value + mask;
  }
  return ct;
}

inline Action RandomAction(FlowRng& rng, const RandomFlowOptions& options, std::string_view name, unsigned depth);

inline Actions RandomList(FlowRng& rng, const RandomFlowOptions& options, size_t most, unsigned depth) {
  static constexpr std::array<std::string_view, 13> kAll{"output",  "flood",    "push_vlan", "pop_vlan", "set",
                                                         "dec_ttl", "upcall",   "recirc",    "ct",       "ct_clear",
                                                         "tnl_pop", "tnl_push", "trunc"};
  Actions actions;
  for (size_t left = Below(rng, most + 1); left > 0; --left) {
    const std::string_view name =
        options.actions.empty() ? Pick(rng, kAll) : options.actions[Below(rng, options.actions.size())];
    actions.push_back(RandomAction(rng, options, name, depth));
  }
  return actions;
}

inline Action RandomAction(FlowRng& rng, const RandomFlowOptions& options, std::string_view name, unsigned depth) {
  const auto port = static_cast<uint32_t>(1 + Below(rng, options.ports));
  if (name == "flood") return Flood{};
  if (name == "push_vlan") {
    const auto tag = static_cast<uint16_t>(rng() | 0x1000);
    return PushVlan{static_cast<uint16_t>(Chance(rng, 70) ? 0x8100 : 0x88a8), tag};
  }
  if (name == "pop_vlan") return PopVlan{};
  if (name.starts_with("set")) {
    SetField set = RandomSet(rng, options);
    while (name != "set" && ActionName(set) != name) set = RandomSet(rng, options);
    return set;
  }
  if (name == "dec_ttl")
    return DecTtl{depth < 3 && Chance(rng, 50) ? RandomList(rng, options, 2, depth + 1) : Actions{}};
  if (name == "upcall") {
    return ToController{static_cast<uint32_t>(Chance(rng, 50) ? Below(rng, 1500) : 0),
                        static_cast<uint32_t>(Chance(rng, 50) ? rng() : 0)};
  }
  if (name == "recirc") return Recirc{static_cast<uint32_t>(1 + Below(rng, 1000))};
  if (name == "ct") return RandomCt(rng);
  if (name == "ct_clear") return CtClear{};
  if (name == "tnl_pop") return TnlPop{port};
  if (name == "tnl_push") return (*ParseActions(RandomTnlPush(rng, options.ports))).front();
  if (name == "trunc") return Trunc{static_cast<uint32_t>(14 + Below(rng, 1500))};
  return Output{port};
}

}  // namespace random_flow

// Up to six actions; none is drop.
inline Actions RandomActions(FlowRng& rng, const RandomFlowOptions& options = {}) {
  return random_flow::RandomList(rng, options, 6, 0);
}

}  // namespace sluice
