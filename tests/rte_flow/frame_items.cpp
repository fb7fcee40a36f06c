// SPDX-License-Identifier: Apache-2.0
#include "frame_items.h"

#include <array>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <stdexcept>

namespace sluice::rteflow {
namespace {

size_t SizeOf(rte_flow_item_type type) {
  switch (type) {
    case RTE_FLOW_ITEM_TYPE_ETH:
      return sizeof(rte_flow_item_eth);
    case RTE_FLOW_ITEM_TYPE_VLAN:
      return sizeof(rte_flow_item_vlan);
    case RTE_FLOW_ITEM_TYPE_ARP_ETH_IPV4:
      return sizeof(rte_flow_item_arp_eth_ipv4);
    case RTE_FLOW_ITEM_TYPE_IPV4:
      return sizeof(rte_flow_item_ipv4);
    case RTE_FLOW_ITEM_TYPE_IPV6:
      return sizeof(rte_flow_item_ipv6);
    case RTE_FLOW_ITEM_TYPE_IPV6_FRAG_EXT:
      return sizeof(rte_flow_item_ipv6_frag_ext);
    case RTE_FLOW_ITEM_TYPE_ICMP:
      return sizeof(rte_flow_item_icmp);
    case RTE_FLOW_ITEM_TYPE_ICMP6:
      return sizeof(rte_flow_item_icmp6);
    case RTE_FLOW_ITEM_TYPE_TCP:
      return sizeof(rte_flow_item_tcp);
    case RTE_FLOW_ITEM_TYPE_UDP:
      return sizeof(rte_flow_item_udp);
    case RTE_FLOW_ITEM_TYPE_SCTP:
      return sizeof(rte_flow_item_sctp);
    case RTE_FLOW_ITEM_TYPE_VXLAN:
      return sizeof(rte_flow_item_vxlan);
    case RTE_FLOW_ITEM_TYPE_PORT_REPRESENTOR:
    case RTE_FLOW_ITEM_TYPE_REPRESENTED_PORT:
      return sizeof(rte_flow_item_ethdev);
    case RTE_FLOW_ITEM_TYPE_PORT_ID:
      return sizeof(rte_flow_item_port_id);
    default:
      throw std::logic_error("an item of a type that is not known here");
  }
}

class Walk {
 public:
  explicit Walk(std::span<const uint8_t> frame) : frame_(frame) {}

  bool Take(const rte_flow_item& item) {
    if (item.last != nullptr) throw std::logic_error("there is no range to be said");
    if ((item.spec == nullptr) != (item.mask == nullptr)) throw std::logic_error("spec and mask go together");
    spec_ = static_cast<const uint8_t*>(item.spec);
    mask_ = static_cast<const uint8_t*>(item.mask);
    for (size_t i = 0; spec_ != nullptr && i < SizeOf(item.type); ++i) {
      if ((spec_[i] & ~mask_[i]) != 0) throw std::logic_error("spec beside the mask");
    }
    switch (item.type) {
      case RTE_FLOW_ITEM_TYPE_ETH:
        return Ethernet();
      case RTE_FLOW_ITEM_TYPE_VLAN:
        return Vlan();
      case RTE_FLOW_ITEM_TYPE_ARP_ETH_IPV4:
        return Arp();
      case RTE_FLOW_ITEM_TYPE_IPV4:
        return Ipv4();
      case RTE_FLOW_ITEM_TYPE_IPV6:
        return Ipv6();
      case RTE_FLOW_ITEM_TYPE_IPV6_FRAG_EXT:
        return Fragment();
      case RTE_FLOW_ITEM_TYPE_ICMP:
        return Transport(1, 8);
      case RTE_FLOW_ITEM_TYPE_ICMP6:
        return Transport(58, 4);
      case RTE_FLOW_ITEM_TYPE_TCP:
        return Transport(6, 20);
      case RTE_FLOW_ITEM_TYPE_UDP:
        return Udp();
      case RTE_FLOW_ITEM_TYPE_SCTP:
        return Transport(132, 12);
      case RTE_FLOW_ITEM_TYPE_VXLAN:
        return Vxlan();
      default:
        SizeOf(item.type);  // throws where it is not known
        return true;
    }
  }

 private:
  [[nodiscard]] bool Left(size_t size) const { return frame_.size() - at_ >= size; }
  [[nodiscard]] uint16_t Word(size_t offset) const {
    return static_cast<uint16_t>(frame_[at_ + offset] << 8 | frame_[at_ + offset + 1]);
  }
  // `size` bytes of the frame from `offset` of the header on, against those of the item from `in_item` on.
  [[nodiscard]] bool Equal(size_t offset, size_t in_item, size_t size) const {
    for (size_t i = 0; mask_ != nullptr && i < size; ++i) {
      if (((frame_[at_ + offset + i] ^ spec_[in_item + i]) & mask_[in_item + i]) != 0) return false;
    }
    return true;
  }
  // The bits behind the header in the item's structure.
  template <typename Item>
  [[nodiscard]] Item Spec() const {
    Item item{};
    if (spec_ != nullptr) std::memcpy(&item, spec_, sizeof(item));
    return item;
  }
  template <typename Item>
  [[nodiscard]] Item Mask() const {
    Item item{};
    if (mask_ != nullptr) std::memcpy(&item, mask_, sizeof(item));
    return item;
  }
  static bool IsTag(uint16_t type) { return type == 0x8100 || type == 0x88a8; }

  bool Ethernet() {
    if (!Left(14) || !Equal(0, 0, 14)) return false;
    type_ = Word(12);
    if (Mask<rte_flow_item_eth>().has_vlan != 0 && (Spec<rte_flow_item_eth>().has_vlan != 0) != IsTag(type_)) {
      return false;
    }
    at_ += 14;
    return true;
  }
  bool Vlan() {
    if (!IsTag(type_) || !Left(4) || !Equal(0, 0, 4)) return false;
    type_ = Word(2);
    at_ += 4;
    return true;
  }
  bool Arp() {
    if (type_ != 0x0806 || !Left(28)) return false;
    using Item = rte_flow_item_arp_eth_ipv4;
    return Equal(0, offsetof(Item, hrd), 2) && Equal(2, offsetof(Item, pro), 2) && Equal(4, offsetof(Item, hln), 1) &&
           Equal(5, offsetof(Item, pln), 1) && Equal(6, offsetof(Item, op), 2) && Equal(8, offsetof(Item, sha), 6) &&
           Equal(14, offsetof(Item, spa), 4) && Equal(18, offsetof(Item, tha), 6) && Equal(24, offsetof(Item, tpa), 4);
  }
  bool Ipv4() {
    if (type_ != 0x0800 || !Left(20) || !Equal(0, 0, 20)) return false;
    proto_ = frame_[at_ + 9];
    if ((Word(6) & 0x1fff) != 0) proto_ = kNone;
    at_ += size_t{4} * (frame_[at_] & 0xf);
    return true;
  }
  bool Ipv6() {
    if (type_ != 0x86dd || !Left(40) || !Equal(0, 0, 40)) return false;
    proto_ = frame_[at_ + 6];
    at_ += 40;
    const auto mask = Mask<rte_flow_item_ipv6>();
    const auto spec = Spec<rte_flow_item_ipv6>();
    return mask.has_frag_ext == 0 || (spec.has_frag_ext != 0) == HasFragment();
  }
  // Anywhere among the extension headers (RFC 8200, section 4).
  [[nodiscard]] bool HasFragment() const {
    size_t at = at_;
    for (int proto = proto_; proto == 0 || proto == 43 || proto == 60 || proto == 51 || proto == 44;) {
      if (proto == 44) return true;
      if (at + 8 > frame_.size()) return false;
      const uint8_t next = frame_[at];
      const size_t units = frame_[at + 1];
      at += proto == 51 ? (units + 2) * 4 : (units + 1) * 8;
      proto = next;
    }
    return false;
  }
  bool Fragment() {
    if (proto_ != 44 || !Left(8) || !Equal(0, 0, 8)) return false;
    proto_ = (Word(2) & 0xfff8) != 0 ? kNone : frame_[at_];
    at_ += 8;
    return true;
  }
  bool Transport(int proto, size_t size) { return proto_ == proto && Left(size) && Equal(0, 0, size); }
  bool Udp() {
    if (!Transport(17, 8)) return false;
    vxlan_ = Word(2) == 4789;
    at_ += 8;
    return true;
  }
  bool Vxlan() {
    if (!vxlan_ || !Left(8) || !Equal(0, 0, 8)) return false;
    at_ += 8;
    return true;
  }

  static constexpr int kNone = -1;

  std::span<const uint8_t> frame_;
  size_t at_ = 0;
  const uint8_t* spec_ = nullptr;
  const uint8_t* mask_ = nullptr;
  uint16_t type_ = 0;
  int proto_ = kNone;
  bool vxlan_ = false;
};

const char* NameOf(rte_flow_item_type type) {
  switch (type) {
    case RTE_FLOW_ITEM_TYPE_ETH:
      return "eth";
    case RTE_FLOW_ITEM_TYPE_VLAN:
      return "vlan";
    case RTE_FLOW_ITEM_TYPE_ARP_ETH_IPV4:
      return "arp";
    case RTE_FLOW_ITEM_TYPE_IPV4:
      return "ipv4";
    case RTE_FLOW_ITEM_TYPE_IPV6:
      return "ipv6";
    case RTE_FLOW_ITEM_TYPE_IPV6_FRAG_EXT:
      return "ipv6_frag_ext";
    case RTE_FLOW_ITEM_TYPE_ICMP:
      return "icmp";
    case RTE_FLOW_ITEM_TYPE_ICMP6:
      return "icmp6";
    case RTE_FLOW_ITEM_TYPE_TCP:
      return "tcp";
    case RTE_FLOW_ITEM_TYPE_UDP:
      return "udp";
    case RTE_FLOW_ITEM_TYPE_SCTP:
      return "sctp";
    case RTE_FLOW_ITEM_TYPE_VXLAN:
      return "vxlan";
    case RTE_FLOW_ITEM_TYPE_PORT_REPRESENTOR:
      return "port_representor";
    case RTE_FLOW_ITEM_TYPE_REPRESENTED_PORT:
      return "represented_port";
    case RTE_FLOW_ITEM_TYPE_PORT_ID:
      return "port_id";
    default:
      return "?";
  }
}

}  // namespace

bool Takes(const rte_flow_item* pattern, std::span<const uint8_t> frame) {
  Walk walk(frame);
  for (; pattern->type != RTE_FLOW_ITEM_TYPE_END; ++pattern) {
    if (!walk.Take(*pattern)) return false;
  }
  return true;
}

std::string PatternText(const rte_flow_item* pattern) {
  std::string text;
  for (; pattern->type != RTE_FLOW_ITEM_TYPE_END; ++pattern) {
    text += (text.empty() ? "" : " / ") + std::string(NameOf(pattern->type));
    const auto* spec = static_cast<const uint8_t*>(pattern->spec);
    const auto* mask = static_cast<const uint8_t*>(pattern->mask);
    for (size_t i = 0; mask != nullptr && i < SizeOf(pattern->type); ++i) {
      if (mask[i] == 0) continue;
      std::array<char, 24> byte{};
      std::snprintf(byte.data(), byte.size(), mask[i] == 0xff ? " %zu:%02x" : " %zu:%02x/%02x", i, spec[i], mask[i]);
      text += byte.data();
    }
  }
  return text;
}

}  // namespace sluice::rteflow
