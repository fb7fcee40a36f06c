// SPDX-License-Identifier: Apache-2.0
// Fields set: the set_* and of_set_* actions, and modify_field from an immediate value. All become a set(...) of the
// flow model, which the software path executes.
#include <rte_byteorder.h>

#include <array>
#include <cstring>
#include <span>
#include <string>

#include "program.h"
#include "sluice/field.h"

namespace sluice::netsluice {
namespace {

constexpr std::array<uint8_t, 16> kOnes = [] {
  std::array<uint8_t, 16> ones{};
  ones.fill(0xff);
  return ones;
}();

Refusal Unsupported(const rte_flow_action& action, const std::string& what) {
  return {ENOTSUP, RTE_FLOW_ERROR_TYPE_ACTION_CONF, &action, ActionName(action.type) + ": " + what};
}

void AddSet(Program& program, const Match& fields) {
  program.steps.emplace_back(SetStep{std::make_unique<const Match>(fields)});
}

// Of TCP and UDP ports a packet has one pair: setting both sets the one that is there.
void SetWhole(Program& program, std::initializer_list<Field> fields, const void* value) {
  Match match;
  for (const Field field : fields) {
    const size_t size = Info(field).size;
    match.Set(field, std::span(static_cast<const uint8_t*>(value), size), std::span(kOnes).first(size));
  }
  AddSet(program, match);
}

void SetBits(Program& program, std::initializer_list<Field> fields, uint64_t value, uint64_t mask) {
  Match match;
  for (const Field field : fields) match.SetMasked(field, value, mask);
  AddSet(program, match);
}

struct FieldBits {
  rte_flow_field_id id;
  Field field;
  uint8_t shift;  // of its lowest bit in the flow model's field
  uint8_t width;
};

constexpr std::array kModifiable = {
    FieldBits{RTE_FLOW_FIELD_MAC_DST, Field::eth_dst, 0, 48},
    FieldBits{RTE_FLOW_FIELD_MAC_SRC, Field::eth_src, 0, 48},
    FieldBits{RTE_FLOW_FIELD_VLAN_ID, Field::vlan_tci, 0, 12},
    FieldBits{RTE_FLOW_FIELD_IPV4_DSCP, Field::ipv4_tos, 2, 6},
    FieldBits{RTE_FLOW_FIELD_IPV4_ECN, Field::ipv4_tos, 0, 2},
    FieldBits{RTE_FLOW_FIELD_IPV4_TTL, Field::ipv4_ttl, 0, 8},
    FieldBits{RTE_FLOW_FIELD_IPV4_SRC, Field::ipv4_src, 0, 32},
    FieldBits{RTE_FLOW_FIELD_IPV4_DST, Field::ipv4_dst, 0, 32},
    FieldBits{RTE_FLOW_FIELD_IPV6_DSCP, Field::ipv6_tclass, 2, 6},
    FieldBits{RTE_FLOW_FIELD_IPV6_ECN, Field::ipv6_tclass, 0, 2},
    FieldBits{RTE_FLOW_FIELD_IPV6_HOPLIMIT, Field::ipv6_hlimit, 0, 8},
    FieldBits{RTE_FLOW_FIELD_IPV6_SRC, Field::ipv6_src, 0, 128},
    FieldBits{RTE_FLOW_FIELD_IPV6_DST, Field::ipv6_dst, 0, 128},
    FieldBits{RTE_FLOW_FIELD_TCP_PORT_SRC, Field::tcp_src, 0, 16},
    FieldBits{RTE_FLOW_FIELD_TCP_PORT_DST, Field::tcp_dst, 0, 16},
    FieldBits{RTE_FLOW_FIELD_UDP_PORT_SRC, Field::udp_src, 0, 16},
    FieldBits{RTE_FLOW_FIELD_UDP_PORT_DST, Field::udp_dst, 0, 16},
};

// `width` bits of the field, `offset` bits after its first, which is its highest. The value lies as in the field's
// item: in network byte order, whole bytes for as many bits as the field has, and at the same offset. (DPDK's guide:
// the third byte of a MAC address is at offset 16.)
Match ModifyMatch(const FieldBits& bits, const rte_flow_action_modify_field& modify) {
  const FieldInfo& info = Info(bits.field);
  const size_t value_size = (size_t{bits.width} + 7) / 8;
  std::array<uint8_t, 16> value{};
  std::array<uint8_t, 16> mask{};
  const uint32_t end = bits.width - modify.dst.offset;
  for (uint32_t bit = end - modify.width; bit < end; ++bit) {
    const bool one = (modify.src.value[value_size - 1 - bit / 8] >> bit % 8 & 1) != 0;
    const size_t to = bit + bits.shift;
    const auto place = static_cast<uint8_t>(1 << to % 8);
    mask[info.size - 1 - to / 8] |= place;
    if (one) value[info.size - 1 - to / 8] |= place;
  }
  Match match;
  match.Set(bits.field, std::span(value).first(info.size), std::span(mask).first(info.size));
  return match;
}

MaybeRefusal Modify(const rte_flow_action& action, Program& program) {
  const auto& modify = *static_cast<const rte_flow_action_modify_field*>(action.conf);
  if (modify.operation != RTE_FLOW_MODIFY_SET) return Unsupported(action, "only set is supported");
  if (modify.src.field != RTE_FLOW_FIELD_VALUE) return Unsupported(action, "only from an immediate value");
  if (modify.dst.level > 1) return Unsupported(action, "only of the outermost header");
  for (const FieldBits& bits : kModifiable) {
    if (bits.id != modify.dst.field) continue;
    if (modify.width == 0 || modify.dst.offset + uint64_t{modify.width} > bits.width) {
      return Unsupported(action, "the field has bits 0 to " + std::to_string(bits.width - 1));
    }
    AddSet(program, ModifyMatch(bits, modify));
    return {};
  }
  return Unsupported(action, "field " + std::to_string(modify.dst.field) + " cannot be set");
}

}  // namespace

EditOutcome ReadModify(const rte_flow_action& action, Program& program) {
  const void* conf = action.conf;
  switch (action.type) {
    case RTE_FLOW_ACTION_TYPE_MODIFY_FIELD:
      return {true, Modify(action, program)};
    case RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_VID:
      SetBits(program, {Field::vlan_tci},
              rte_be_to_cpu_16(static_cast<const rte_flow_action_of_set_vlan_vid*>(conf)->vlan_vid), 0x0fff);
      break;
    case RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_PCP:
      SetBits(program, {Field::vlan_tci},
              static_cast<uint64_t>(static_cast<const rte_flow_action_of_set_vlan_pcp*>(conf)->vlan_pcp) << 13, 0xe000);
      break;
    case RTE_FLOW_ACTION_TYPE_SET_MAC_SRC:
      SetWhole(program, {Field::eth_src}, conf);
      break;
    case RTE_FLOW_ACTION_TYPE_SET_MAC_DST:
      SetWhole(program, {Field::eth_dst}, conf);
      break;
    case RTE_FLOW_ACTION_TYPE_SET_IPV4_SRC:
      SetWhole(program, {Field::ipv4_src}, conf);
      break;
    case RTE_FLOW_ACTION_TYPE_SET_IPV4_DST:
      SetWhole(program, {Field::ipv4_dst}, conf);
      break;
    case RTE_FLOW_ACTION_TYPE_SET_IPV6_SRC:
      SetWhole(program, {Field::ipv6_src}, conf);
      break;
    case RTE_FLOW_ACTION_TYPE_SET_IPV6_DST:
      SetWhole(program, {Field::ipv6_dst}, conf);
      break;
    case RTE_FLOW_ACTION_TYPE_SET_TTL:
      SetWhole(program, {Field::ipv4_ttl, Field::ipv6_hlimit}, conf);
      break;
    case RTE_FLOW_ACTION_TYPE_SET_IPV4_DSCP:
      SetBits(program, {Field::ipv4_tos},
              static_cast<uint64_t>(static_cast<const rte_flow_action_set_dscp*>(conf)->dscp) << 2, 0xfc);
      break;
    case RTE_FLOW_ACTION_TYPE_SET_IPV6_DSCP:
      SetBits(program, {Field::ipv6_tclass},
              static_cast<uint64_t>(static_cast<const rte_flow_action_set_dscp*>(conf)->dscp) << 2, 0xfc);
      break;
    case RTE_FLOW_ACTION_TYPE_SET_TP_SRC:
      SetWhole(program, {Field::tcp_src, Field::udp_src, Field::sctp_src}, conf);
      break;
    case RTE_FLOW_ACTION_TYPE_SET_TP_DST:
      SetWhole(program, {Field::tcp_dst, Field::udp_dst, Field::sctp_dst}, conf);
      break;
    default:
      return {};
  }
  return {true, {}};
}

}  // namespace sluice::netsluice
