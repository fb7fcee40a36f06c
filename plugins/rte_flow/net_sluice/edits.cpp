// SPDX-License-Identifier: Apache-2.0
// Tags, TTL, and headers put on and taken off.
#include <linux/if_ether.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "program.h"

namespace sluice::netsluice {
namespace {

constexpr size_t kMostEncap = 256;

Refusal Bad(const rte_flow_action& action, const std::string& what) {
  return {EINVAL, RTE_FLOW_ERROR_TYPE_ACTION_CONF, &action, ActionName(action.type) + ": " + what};
}

void PutWord(std::vector<uint8_t>& bytes, size_t at, uint16_t value) {
  bytes[at] = static_cast<uint8_t>(value >> 8);
  bytes[at + 1] = static_cast<uint8_t>(value);
}

MaybeRefusal Push(const rte_flow_action& action, Program& program) {
  const auto type = rte_be_to_cpu_16(static_cast<const rte_flow_action_of_push_vlan*>(action.conf)->ethertype);
  if (type != ETH_P_8021Q && type != ETH_P_8021AD) return Bad(action, "the type must be 0x8100 or 0x88a8");
  program.steps.emplace_back(PushStep{{type, 0}});
  return {};
}

// The headers that the items of a vxlan_encap say, outermost first.
class Encapsulation {
 public:
  MaybeRefusal Add(const rte_flow_action& action, const rte_flow_item& item);
  [[nodiscard]] bool whole() const { return !type_at_.has_value() && done_; }
  [[nodiscard]] std::vector<uint8_t> Take() { return std::move(bytes_); }

 private:
  uint8_t* Append(const void* header, size_t size) {
    const size_t at = bytes_.size();
    bytes_.resize(at + size);
    std::memcpy(bytes_.data() + at, header, size);
    return bytes_.data() + at;
  }
  // What the layer before says of this one.
  void Is(uint16_t type) {
    if (type_at_) PutWord(bytes_, *type_at_, type);
    type_at_.reset();
  }

  std::vector<uint8_t> bytes_;
  std::optional<size_t> type_at_;  // the EtherType that is not known yet
  bool done_ = false;
};

// A specification is taken as it is; what is 0 in it and cannot be is filled in.
MaybeRefusal Encapsulation::Add(const rte_flow_action& action, const rte_flow_item& item) {
  if (item.spec == nullptr) return Bad(action, ItemName(item.type) + " has no spec");
  switch (item.type) {
    case RTE_FLOW_ITEM_TYPE_ETH:
      Append(item.spec, ETH_HLEN);
      type_at_ = bytes_.size() - 2;
      return {};
    case RTE_FLOW_ITEM_TYPE_VLAN:
      if (!type_at_) break;
      Is(ETH_P_8021Q);
      Append(item.spec, 4);
      type_at_ = bytes_.size() - 2;
      return {};
    case RTE_FLOW_ITEM_TYPE_IPV4: {
      if (!type_at_) break;
      Is(ETH_P_IP);
      uint8_t* ip = Append(item.spec, 20);
      ip[0] = 0x45;
      if (ip[8] == 0) ip[8] = 64;
      ip[9] = IPPROTO_UDP;
      return {};
    }
    case RTE_FLOW_ITEM_TYPE_IPV6: {
      if (!type_at_) break;
      Is(ETH_P_IPV6);
      uint8_t* ip = Append(item.spec, 40);
      ip[0] = static_cast<uint8_t>(0x60 | (ip[0] & 0x0f));
      ip[6] = IPPROTO_UDP;
      if (ip[7] == 0) ip[7] = 64;
      return {};
    }
    case RTE_FLOW_ITEM_TYPE_UDP: {
      if (type_at_ || bytes_.empty()) break;
      const size_t at = bytes_.size();
      Append(item.spec, 8);
      if (bytes_[at + 2] == 0 && bytes_[at + 3] == 0) PutWord(bytes_, at + 2, 4789);
      PutWord(bytes_, at + 6, 0);  // RFC 7348, section 5
      return {};
    }
    case RTE_FLOW_ITEM_TYPE_VXLAN: {
      if (type_at_ || bytes_.empty()) break;
      uint8_t* vxlan = Append(item.spec, 8);
      vxlan[0] |= 0x08;
      done_ = true;
      return {};
    }
    default:
      break;
  }
  return Bad(action, ItemName(item.type) + " cannot stand here in its definition");
}

MaybeRefusal VxlanEncap(const rte_flow_action& action, Program& program) {
  Encapsulation encapsulation;
  const rte_flow_item* item = static_cast<const rte_flow_action_vxlan_encap*>(action.conf)->definition;
  for (; item != nullptr && item->type != RTE_FLOW_ITEM_TYPE_END; ++item) {
    if (item->type == RTE_FLOW_ITEM_TYPE_VOID) continue;
    if (auto refusal = encapsulation.Add(action, *item)) return refusal;
  }
  if (!encapsulation.whole()) return Bad(action, "its definition must be eth, vlan or not, ipv4 or ipv6, udp, vxlan");
  program.steps.emplace_back(EncapStep{encapsulation.Take()});
  return {};
}

MaybeRefusal RawEncap(const rte_flow_action& action, Program& program) {
  const auto& encap = *static_cast<const rte_flow_action_raw_encap*>(action.conf);
  if (encap.data == nullptr || encap.size == 0 || encap.size > kMostEncap) {
    return Bad(action, "must be of 1 to " + std::to_string(kMostEncap) + " bytes");
  }
  program.steps.emplace_back(EncapStep{{encap.data, encap.data + encap.size}});
  return {};
}

MaybeRefusal RawDecap(const rte_flow_action& action, Program& program) {
  const auto& decap = *static_cast<const rte_flow_action_raw_decap*>(action.conf);
  if (decap.size == 0) return Bad(action, "has no size");
  program.steps.emplace_back(StripStep{decap.size});
  return {};
}

}  // namespace

EditOutcome ReadEdit(const rte_flow_action& action, Program& program) {
  switch (action.type) {
    case RTE_FLOW_ACTION_TYPE_OF_POP_VLAN:
      program.steps.emplace_back(PopStep{});
      return {true, {}};
    case RTE_FLOW_ACTION_TYPE_OF_PUSH_VLAN:
      return {true, Push(action, program)};
    case RTE_FLOW_ACTION_TYPE_DEC_TTL:
      program.steps.emplace_back(DecTtlStep{});
      return {true, {}};
    case RTE_FLOW_ACTION_TYPE_VXLAN_DECAP:
      program.steps.emplace_back(DecapStep{});
      return {true, {}};
    case RTE_FLOW_ACTION_TYPE_VXLAN_ENCAP:
      return {true, VxlanEncap(action, program)};
    case RTE_FLOW_ACTION_TYPE_RAW_ENCAP:
      return {true, RawEncap(action, program)};
    case RTE_FLOW_ACTION_TYPE_RAW_DECAP:
      return {true, RawDecap(action, program)};
    default:
      return {};
  }
}

}  // namespace sluice::netsluice
