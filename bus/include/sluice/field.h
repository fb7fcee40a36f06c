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
  hex,
  mac,
  ipv4,
  ipv6,
  port,       // a port's name or number
  eth_type,   // 0x%04x
  frag,       // no, first, later
  vlan_tci,   // vid=,pcp=,cfi=
  tcp_flags,  // 0x012 or +syn-ack
  ct_state,   // +trk+new
  tun_flags,  // df|csum|key|oam
  bytes,      // 0x and all digits (ct_label)
};

struct FieldInfo {
  Field id;
  std::string_view name;   // also the member's name in a BPF object's key
  std::string_view group;  // text: group(sub=value/mask,...) or, where sub is empty, group(value/mask)
  std::string_view sub;
  uint8_t size;     // bytes; values are in network byte order
  uint8_t bits;     // significant bits, the low ones
  uint16_t offset;  // in FlowKey
  Format format;
  bool settable;  // may stand in set(...)
};

inline constexpr size_t kFieldCount = 0
#define SLUICE_FIELD(name, ...) +1
#include "sluice/field.def"
#undef SLUICE_FIELD
    ;

// Bytes of all fields together.
inline constexpr size_t kFlowKeySize = 0
#define SLUICE_FIELD(name, group, sub, bits, format, settable) +((bits) + 7) / 8
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

}  // namespace sluice
