// SPDX-License-Identifier: Apache-2.0
// The match fields. Each is declared once, in field.def; parser, printer, packed form, key layouts of the plugins and
// the tests follow from that table.
//
// The model is that of OVS's datapath flow keys, unfolded: the Ethernet types and VLAN tags of a frame are the chain
//   eth_type [vlan_tci vlan_eth_type [cvlan_tci cvlan_eth_type]]
// in the order in which they stand in the frame. eth_type is what follows the source address: 0x8100 or 0x88a8 in a
// tagged frame; vlan_eth_type what follows the first tag; cvlan_eth_type what follows the second. The text form nests:
// eth_type(0x8100),vlan(vid=5),encap(eth_type(0x0800)). So eth_type(0x0800) alone matches untagged frames only.
// vlan_tci has the CFI bit (0x1000) set in every tagged frame and is 0 in an untagged one, as in OVS.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace sluice {

enum class Field : uint8_t {
#define SLUICE_FIELD(name, ...) name,
#include "sluice/field.def"
#undef SLUICE_FIELD
};

// How a value is written in text.
enum class Format : uint8_t {
  decimal,
  hex,  // 0 or 0x..
  mac,
  ipv4,
  ipv6,
  port,       // a port's name or number
  eth_type,   // 0x%04x
  frag,       // no, first, later
  vlan_tci,   // vid=,pcp=,cfi=
  tcp_flags,  // syn|ack or +syn-ack
  ct_state,   // +trk+new
  tun_flags,  // df|csum|key or +df-csum
  bytes,      // one long hexadecimal number (ct_label)
};

struct FieldInfo {
  Field id;
  std::string_view name;   // also the member's name in a BPF object's key
  std::string_view group;  // text: group(sub=value/mask,...) or, where sub is empty, group(value/mask)
  std::string_view sub;
  uint8_t size;     // bytes; values are in network byte order
  uint8_t bits;     // significant bits, the low ones; mask bits above them are never set
  uint16_t offset;  // in FlowKey
  Format format;
  bool settable;  // may stand in set(...)
};

inline constexpr size_t kFieldCount = 0
#define SLUICE_FIELD(name, ...) +1  // NOLINT(bugprone-macro-parentheses)
#include "sluice/field.def"
#undef SLUICE_FIELD
    ;

// Bytes of all fields together.
inline constexpr size_t kFlowKeySize = 0
#define SLUICE_FIELD(name, group, sub, bits, format, settable) +((bits) + 7) / 8  // NOLINT(bugprone-macro-parentheses)
#include "sluice/field.def"
#undef SLUICE_FIELD
    ;

inline constexpr std::array<FieldInfo, kFieldCount> kFields = [] {
  std::array<FieldInfo, kFieldCount> fields{FieldInfo{}};
  size_t n = 0;
  uint16_t offset = 0;
#define SLUICE_FIELD(name, group, sub, bits, format, settable)                                                       \
  fields[n++] = FieldInfo{Field::name, #name, group, sub, ((bits) + 7) / 8, bits, offset, Format::format, settable}; \
  offset += ((bits) + 7) / 8;
#include "sluice/field.def"
#undef SLUICE_FIELD
  return fields;
}();

constexpr const FieldInfo& Info(Field field) { return kFields[static_cast<size_t>(field)]; }

// nullptr where there is none of that name.
const FieldInfo* FindField(std::string_view name);

// What must be matched exactly before a field means anything. Each field's need is declared in field_needs.def.
enum class Need : uint8_t {
  nothing,
  eth_type,        // what follows the source address
  vlan_eth_type,   // what follows the first tag
  inner_eth_type,  // what follows the last tag: the protocol of layer 3
  ip_proto,        // ipv4_proto or ipv6_proto
  ipv4_proto,
  ipv6_proto,
  icmpv6_type,
};

// `what` must have one of the two values (the same twice where there is but one).
struct FieldNeed {
  Need what;
  uint16_t one;
  uint16_t other;

  [[nodiscard]] constexpr bool Takes(uint64_t value) const { return value == one || value == other; }
};

inline constexpr std::array<FieldNeed, kFieldCount> kFieldNeeds = [] {
  std::array<FieldNeed, kFieldCount> needs{};
#define SLUICE_NEED(first, last, what, one, other)                                               \
  for (auto f = static_cast<size_t>(Field::first); f <= static_cast<size_t>(Field::last); ++f) { \
    needs[f] = FieldNeed{Need::what, one, other};                                                \
  }
#include "sluice/field_needs.def"
#undef SLUICE_NEED
  return needs;
}();

constexpr const FieldNeed& NeedOf(Field field) { return kFieldNeeds[static_cast<size_t>(field)]; }

// Bits of tun_flags, ct_state and tcp_flags that have names in text; numbers as in OVS.
struct FlagName {
  std::string_view name;
  uint32_t bit;
};
inline constexpr std::array<FlagName, 4> kTunnelFlagNames{{{"oam", 0x1}, {"df", 0x2}, {"csum", 0x4}, {"key", 0x8}}};
inline constexpr std::array<FlagName, 8> kCtStateNames{{{"new", 0x01},
                                                        {"est", 0x02},
                                                        {"rel", 0x04},
                                                        {"rpl", 0x08},
                                                        {"inv", 0x10},
                                                        {"trk", 0x20},
                                                        {"snat", 0x40},
                                                        {"dnat", 0x80}}};
inline constexpr std::array<FlagName, 12> kTcpFlagNames{{{"fin", 0x001},
                                                         {"syn", 0x002},
                                                         {"rst", 0x004},
                                                         {"psh", 0x008},
                                                         {"ack", 0x010},
                                                         {"urg", 0x020},
                                                         {"ece", 0x040},
                                                         {"cwr", 0x080},
                                                         {"ns", 0x100},
                                                         {"[200]", 0x200},
                                                         {"[400]", 0x400},
                                                         {"[800]", 0x800}}};

}  // namespace sluice
