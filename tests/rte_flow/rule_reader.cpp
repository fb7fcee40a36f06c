// SPDX-License-Identifier: Apache-2.0
#include "rule_reader.h"

#include <rte_byteorder.h>

#include <array>
#include <cstdio>
#include <map>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

namespace sluice::rteflow {
namespace {

template <typename T>
const T& Conf(const rte_flow_action& action) {
  if (action.conf == nullptr) throw std::logic_error("an action without what it is to do");
  return *static_cast<const T*>(action.conf);
}

std::string Hex(const void* bytes, size_t size) {
  std::string text;
  for (size_t i = 0; i < size; ++i) {
    std::array<char, 3> byte{};
    std::snprintf(byte.data(), byte.size(), "%02x", static_cast<const uint8_t*>(bytes)[i]);
    text += byte.data();
  }
  return text;
}

struct Known {
  const char* name;
  Field ipv4;  // of frames of IPv4 and others
  Field ipv6;
};

const std::map<int, Known>& ModifyFields() {
  static const std::map<int, Known> known{
      {RTE_FLOW_FIELD_MAC_DST, {"mac_dst", Field::eth_dst, Field::eth_dst}},
      {RTE_FLOW_FIELD_MAC_SRC, {"mac_src", Field::eth_src, Field::eth_src}},
      {RTE_FLOW_FIELD_IPV4_SRC, {"ipv4_src", Field::ipv4_src, Field::ipv4_src}},
      {RTE_FLOW_FIELD_IPV4_DST, {"ipv4_dst", Field::ipv4_dst, Field::ipv4_dst}},
      {RTE_FLOW_FIELD_IPV4_TTL, {"ipv4_ttl", Field::ipv4_ttl, Field::ipv4_ttl}},
      {RTE_FLOW_FIELD_IPV4_ECN, {"ipv4_ecn", Field::ipv4_tos, Field::ipv4_tos}},
      {RTE_FLOW_FIELD_IPV6_SRC, {"ipv6_src", Field::ipv6_src, Field::ipv6_src}},
      {RTE_FLOW_FIELD_IPV6_DST, {"ipv6_dst", Field::ipv6_dst, Field::ipv6_dst}},
      {RTE_FLOW_FIELD_IPV6_HOPLIMIT, {"ipv6_hoplimit", Field::ipv6_hlimit, Field::ipv6_hlimit}},
      {RTE_FLOW_FIELD_TCP_PORT_SRC, {"tcp_port_src", Field::tcp_src, Field::tcp_src}},
      {RTE_FLOW_FIELD_TCP_PORT_DST, {"tcp_port_dst", Field::tcp_dst, Field::tcp_dst}},
      {RTE_FLOW_FIELD_UDP_PORT_SRC, {"udp_port_src", Field::udp_src, Field::udp_src}},
      {RTE_FLOW_FIELD_UDP_PORT_DST, {"udp_port_dst", Field::udp_dst, Field::udp_dst}},
  };
  return known;
}

const std::map<int, Known>& OldActions() {
  static const std::map<int, Known> known{
      {RTE_FLOW_ACTION_TYPE_SET_MAC_SRC, {"set_mac_src", Field::eth_src, Field::eth_src}},
      {RTE_FLOW_ACTION_TYPE_SET_MAC_DST, {"set_mac_dst", Field::eth_dst, Field::eth_dst}},
      {RTE_FLOW_ACTION_TYPE_SET_IPV4_SRC, {"set_ipv4_src", Field::ipv4_src, Field::ipv4_src}},
      {RTE_FLOW_ACTION_TYPE_SET_IPV4_DST, {"set_ipv4_dst", Field::ipv4_dst, Field::ipv4_dst}},
      {RTE_FLOW_ACTION_TYPE_SET_IPV6_SRC, {"set_ipv6_src", Field::ipv6_src, Field::ipv6_src}},
      {RTE_FLOW_ACTION_TYPE_SET_IPV6_DST, {"set_ipv6_dst", Field::ipv6_dst, Field::ipv6_dst}},
      {RTE_FLOW_ACTION_TYPE_SET_TTL, {"set_ttl", Field::ipv4_ttl, Field::ipv6_hlimit}},
  };
  return known;
}

SetField Set(Field field, std::span<const uint8_t> value, size_t offset, size_t width) {
  const size_t size = Info(field).size;
  std::vector<uint8_t> mask(size);
  for (size_t bit = offset; bit < offset + width; ++bit) mask.at(bit / 8) |= static_cast<uint8_t>(0x80 >> bit % 8);
  SetField set;
  set.fields.Set(field, value.first(size), mask);
  return set;
}

SetField SetNumber(Field field, uint64_t value, uint64_t mask) {
  SetField set;
  set.fields.SetMasked(field, value, mask);
  return set;
}

SetField Modify(const rte_flow_action_modify_field& modify) {
  if (modify.operation != RTE_FLOW_MODIFY_SET || modify.src.field != RTE_FLOW_FIELD_VALUE || modify.dst.level != 0) {
    throw std::logic_error("only immediate values are set, in the outermost header");
  }
  const Field field = ModifyFields().at(modify.dst.field).ipv4;
  if (modify.dst.field == RTE_FLOW_FIELD_IPV4_ECN) {
    if (modify.width != 2) throw std::logic_error("ECN has two bits");
    return SetNumber(field, modify.src.value[0], 0x03);
  }
  return Set(field, modify.src.value, modify.dst.offset, modify.width);
}

std::string Text(const rte_flow_action& action) {
  if (const auto old = OldActions().find(action.type); old != OldActions().end()) {
    return old->second.name + (" " + Hex(action.conf, Info(old->second.ipv4).size));
  }
  switch (action.type) {
    case RTE_FLOW_ACTION_TYPE_COUNT:
      return "count";
    case RTE_FLOW_ACTION_TYPE_DROP:
      return "drop";
    case RTE_FLOW_ACTION_TYPE_MARK:
      return "mark " + std::to_string(Conf<rte_flow_action_mark>(action).id);
    case RTE_FLOW_ACTION_TYPE_QUEUE:
      return "queue " + std::to_string(Conf<rte_flow_action_queue>(action).index);
    case RTE_FLOW_ACTION_TYPE_RSS: {
      const auto& rss = Conf<rte_flow_action_rss>(action);
      std::string text = "rss";
      for (uint32_t i = 0; i < rss.queue_num; ++i) text += " " + std::to_string(rss.queue[i]);
      return text;
    }
    case RTE_FLOW_ACTION_TYPE_REPRESENTED_PORT:
      return "represented_port " + std::to_string(Conf<rte_flow_action_ethdev>(action).port_id);
    case RTE_FLOW_ACTION_TYPE_PORT_ID:
      return "port_id " + std::to_string(Conf<rte_flow_action_port_id>(action).id);
    case RTE_FLOW_ACTION_TYPE_SAMPLE: {
      const auto& sample = Conf<rte_flow_action_sample>(action);
      return "sample " + std::to_string(sample.ratio) + " {" + ActionsText(sample.actions) + "}";
    }
    case RTE_FLOW_ACTION_TYPE_OF_PUSH_VLAN:
      return "of_push_vlan " + Hex(action.conf, 2);
    case RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_VID:
      return "of_set_vlan_vid " + Hex(action.conf, 2);
    case RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_PCP:
      return "of_set_vlan_pcp " + std::to_string(Conf<rte_flow_action_of_set_vlan_pcp>(action).vlan_pcp);
    case RTE_FLOW_ACTION_TYPE_OF_POP_VLAN:
      return "of_pop_vlan";
    case RTE_FLOW_ACTION_TYPE_DEC_TTL:
      return "dec_ttl";
    case RTE_FLOW_ACTION_TYPE_SET_IPV4_DSCP:
      return "set_ipv4_dscp " + Hex(action.conf, 1);
    case RTE_FLOW_ACTION_TYPE_SET_IPV6_DSCP:
      return "set_ipv6_dscp " + Hex(action.conf, 1);
    case RTE_FLOW_ACTION_TYPE_SET_TP_SRC:
      return "set_tp_src " + Hex(action.conf, 2);
    case RTE_FLOW_ACTION_TYPE_SET_TP_DST:
      return "set_tp_dst " + Hex(action.conf, 2);
    case RTE_FLOW_ACTION_TYPE_VXLAN_DECAP:
      return "vxlan_decap";
    case RTE_FLOW_ACTION_TYPE_RAW_ENCAP: {
      const auto& encap = Conf<rte_flow_action_raw_encap>(action);
      return "raw_encap " + std::string(encap.preserve == nullptr ? "" : "preserve ") + Hex(encap.data, encap.size);
    }
    case RTE_FLOW_ACTION_TYPE_VXLAN_ENCAP: {
      std::string text = "vxlan_encap";
      for (const auto* item = Conf<rte_flow_action_vxlan_encap>(action).definition;
           item->type != RTE_FLOW_ITEM_TYPE_END; ++item) {
        text += " " + std::to_string(item->type) + ":" + Hex(item->spec, 4);
      }
      return text;
    }
    case RTE_FLOW_ACTION_TYPE_MODIFY_FIELD: {
      const auto& modify = Conf<rte_flow_action_modify_field>(action);
      const Known& known = ModifyFields().at(modify.dst.field);
      return "modify_field " + std::string(known.name) + " " + std::to_string(modify.dst.offset) + "+" +
             std::to_string(modify.width) + " " + Hex(modify.src.value, Info(known.ipv4).size);
    }
    default:
      throw std::logic_error("an action that is not known here");
  }
}

}  // namespace

std::string ActionsText(const rte_flow_action* actions) {
  std::string text;
  for (; actions->type != RTE_FLOW_ACTION_TYPE_END; ++actions) text += (text.empty() ? "" : ", ") + Text(*actions);
  return text;
}

Actions ReadActions(const rte_flow_action* actions, bool ipv6) {
  Actions read;
  for (; actions->type != RTE_FLOW_ACTION_TYPE_END; ++actions) {
    const rte_flow_action& action = *actions;
    if (const auto old = OldActions().find(action.type); old != OldActions().end()) {
      const Field field = ipv6 ? old->second.ipv6 : old->second.ipv4;
      const FieldInfo& info = Info(field);
      read.emplace_back(Set(field, {static_cast<const uint8_t*>(action.conf), info.size}, 0, info.bits));
      continue;
    }
    switch (action.type) {
      case RTE_FLOW_ACTION_TYPE_COUNT:
      case RTE_FLOW_ACTION_TYPE_MARK:
        break;
      case RTE_FLOW_ACTION_TYPE_DROP:
        if (actions[1].type != RTE_FLOW_ACTION_TYPE_END) throw std::logic_error("nothing follows a drop");
        break;
      case RTE_FLOW_ACTION_TYPE_REPRESENTED_PORT:
        read.emplace_back(Output{Conf<rte_flow_action_ethdev>(action).port_id});
        break;
      case RTE_FLOW_ACTION_TYPE_PORT_ID:
        read.emplace_back(Output{Conf<rte_flow_action_port_id>(action).id});
        break;
      case RTE_FLOW_ACTION_TYPE_SAMPLE: {
        const auto& sample = Conf<rte_flow_action_sample>(action);
        if (sample.ratio != 1) throw std::logic_error("not of every packet");
        for (Action& each : ReadActions(sample.actions, ipv6)) read.push_back(std::move(each));
        break;
      }
      case RTE_FLOW_ACTION_TYPE_OF_PUSH_VLAN:
        read.emplace_back(PushVlan{rte_be_to_cpu_16(Conf<rte_flow_action_of_push_vlan>(action).ethertype), 0x1fff});
        break;
      case RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_VID:
        read.emplace_back(SetNumber(Field::vlan_tci,
                                    rte_be_to_cpu_16(Conf<rte_flow_action_of_set_vlan_vid>(action).vlan_vid), 0x0fff));
        break;
      case RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_PCP:
        read.emplace_back(
            SetNumber(Field::vlan_tci, Conf<rte_flow_action_of_set_vlan_pcp>(action).vlan_pcp << 13, 0xe000));
        break;
      case RTE_FLOW_ACTION_TYPE_OF_POP_VLAN:
        read.emplace_back(PopVlan{});
        break;
      case RTE_FLOW_ACTION_TYPE_DEC_TTL:
        read.emplace_back(DecTtl{{Output{999}}});  // which nobody wants to see
        break;
      case RTE_FLOW_ACTION_TYPE_SET_IPV4_DSCP:
        read.emplace_back(SetNumber(Field::ipv4_tos, Conf<rte_flow_action_set_dscp>(action).dscp << 2, 0xfc));
        break;
      case RTE_FLOW_ACTION_TYPE_SET_IPV6_DSCP:
        read.emplace_back(SetNumber(Field::ipv6_tclass, Conf<rte_flow_action_set_dscp>(action).dscp << 2, 0xfc));
        break;
      case RTE_FLOW_ACTION_TYPE_SET_TP_SRC:
      case RTE_FLOW_ACTION_TYPE_SET_TP_DST: {
        const bool src = action.type == RTE_FLOW_ACTION_TYPE_SET_TP_SRC;
        const uint16_t port = rte_be_to_cpu_16(Conf<rte_flow_action_set_tp>(action).port);
        // A frame has one of the two headers; an edit of the other does nothing.
        read.emplace_back(SetNumber(src ? Field::tcp_src : Field::tcp_dst, port, 0xffff));
        read.emplace_back(SetNumber(src ? Field::udp_src : Field::udp_dst, port, 0xffff));
        break;
      }
      case RTE_FLOW_ACTION_TYPE_MODIFY_FIELD:
        read.emplace_back(Modify(Conf<rte_flow_action_modify_field>(action)));
        break;
      default:
        throw std::logic_error("an action that is not known here");
    }
  }
  return read;
}

}  // namespace sluice::rteflow
