// SPDX-License-Identifier: Apache-2.0
#include "pattern.h"

#include <array>
#include <cstddef>
#include <cstring>
#include <string>

#include "default_masks.h"

namespace sluice::netsluice {
namespace {

// The layers in the order in which items must stand.
enum class Layer : uint8_t { kStart, kLink, kTag, kNetwork, kFragment, kTransport, kTunnel };

// An item that mirrors a header: its first `size` bytes are the header's, at `place` of the key.
struct HeaderItem {
  rte_flow_item_type type;
  Layer layer;
  size_t item_size;  // of the struct
  size_t size;
  size_t (*place)(const Layers&);
  soft::Layer3 l3 = soft::Layer3::kNone;
  soft::Layer4 l4 = soft::Layer4::kNone;
};

size_t EthernetPlace(const Layers& layers) { return layers.ethernet(); }
size_t NetworkPlace(const Layers& layers) { return layers.network(); }
size_t FragmentPlace(const Layers& layers) { return layers.fragment_ext(); }
size_t TransportPlace(const Layers& layers) { return layers.transport(); }

template <typename Item>
constexpr HeaderItem Network(rte_flow_item_type type, size_t size, soft::Layer3 l3) {
  return {type, Layer::kNetwork, sizeof(Item), size, NetworkPlace, l3};
}
template <typename Item>
constexpr HeaderItem Transport(rte_flow_item_type type, size_t size, soft::Layer4 l4) {
  return {type, Layer::kTransport, sizeof(Item), size, TransportPlace, soft::Layer3::kNone, l4};
}

constexpr std::array kHeaderItems = {
    HeaderItem{RTE_FLOW_ITEM_TYPE_ETH, Layer::kLink, sizeof(rte_flow_item_eth), 14, EthernetPlace},
    Network<rte_flow_item_ipv4>(RTE_FLOW_ITEM_TYPE_IPV4, 20, soft::Layer3::kIpv4),
    Network<rte_flow_item_ipv6>(RTE_FLOW_ITEM_TYPE_IPV6, 40, soft::Layer3::kIpv6),
    Network<rte_flow_item_arp_eth_ipv4>(RTE_FLOW_ITEM_TYPE_ARP_ETH_IPV4, 28, soft::Layer3::kArp),
    HeaderItem{RTE_FLOW_ITEM_TYPE_IPV6_FRAG_EXT, Layer::kFragment, sizeof(rte_flow_item_ipv6_frag_ext), 8,
               FragmentPlace},
    Transport<rte_flow_item_tcp>(RTE_FLOW_ITEM_TYPE_TCP, 20, soft::Layer4::kTcp),
    Transport<rte_flow_item_udp>(RTE_FLOW_ITEM_TYPE_UDP, 8, soft::Layer4::kUdp),
    Transport<rte_flow_item_sctp>(RTE_FLOW_ITEM_TYPE_SCTP, 12, soft::Layer4::kSctp),
    Transport<rte_flow_item_icmp>(RTE_FLOW_ITEM_TYPE_ICMP, 8, soft::Layer4::kIcmp),
    Transport<rte_flow_item_icmp6>(RTE_FLOW_ITEM_TYPE_ICMP6, 4, soft::Layer4::kIcmpv6),
};

const HeaderItem* FindHeaderItem(rte_flow_item_type type) {
  for (const HeaderItem& item : kHeaderItems) {
    if (item.type == type) return &item;
  }
  return nullptr;
}

// The only item whose struct has gaps that the header has not (RFC 826).
std::array<uint8_t, 28> ArpHeader(const rte_flow_item_arp_eth_ipv4& item) {
  std::array<uint8_t, 28> header{};
  std::memcpy(header.data(), &item, 8);
  std::memcpy(header.data() + 8, &item.sha, 6);
  std::memcpy(header.data() + 14, &item.spa, 4);
  std::memcpy(header.data() + 18, &item.tha, 6);
  std::memcpy(header.data() + 24, &item.tpa, 4);
  return header;
}

class Reader {
 public:
  Reader(const Profile& profile, Pattern& pattern) : profile_(profile), pattern_(pattern) {}

  MaybeRefusal Read(const rte_flow_item& item);

 private:
  // An item's spec and mask as they count: the spec's bits within the mask; both 0 where there is no spec.
  template <typename Item>
  MaybeRefusal Values(const rte_flow_item& item, Item& spec, Item& mask) const {
    return Values(item, &spec, &mask, sizeof(Item));
  }
  MaybeRefusal Values(const rte_flow_item& item, void* spec, void* mask, size_t size) const;

  MaybeRefusal Header(const rte_flow_item& item, const HeaderItem& header);
  MaybeRefusal Ipv6Extensions(const rte_flow_item& item, const rte_flow_item_ipv6& spec,
                              const rte_flow_item_ipv6& mask);
  MaybeRefusal Vlan(const rte_flow_item& item);
  MaybeRefusal Vxlan(const rte_flow_item& item);
  MaybeRefusal Port(const rte_flow_item& item);

  MaybeRefusal Follow(const rte_flow_item& item, Layer layer);
  void Match(size_t place, const void* spec, const void* mask, size_t size);
  void MatchByte(size_t place, uint8_t value, uint8_t mask = 0xff) { Match(place, &value, &mask, 1); }
  [[nodiscard]] std::string Name(const rte_flow_item& item) const {
    return (layers_ == &kInner ? "inner " : "") + ItemName(item.type);
  }

  const Profile& profile_;
  Pattern& pattern_;
  const Layers* layers_ = &kOuter;
  Layer layer_ = Layer::kStart;
  size_t tags_ = 0;
  bool ipv6_ = false;
  bool port_ = false;
};

MaybeRefusal Reader::Values(const rte_flow_item& item, void* spec, void* mask, size_t size) const {
  std::memset(spec, 0, size);
  std::memset(mask, 0, size);
  if (item.last != nullptr) {
    return Refusal{ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM_LAST, &item, Name(item) + ": ranges (last) are not supported"};
  }
  if (item.spec == nullptr) {
    if (item.mask == nullptr) return {};
    return Refusal{EINVAL, RTE_FLOW_ERROR_TYPE_ITEM_SPEC, &item, Name(item) + ": mask without spec"};
  }
  std::memcpy(mask, item.mask != nullptr ? item.mask : sluice_default_mask(item.type), size);
  const auto* value = static_cast<const uint8_t*>(item.spec);
  const auto* may = static_cast<const uint8_t*>(MatchableBits(profile_, item.type));
  for (size_t i = 0; i < size; ++i) {
    const uint8_t bits = static_cast<const uint8_t*>(mask)[i];
    static_cast<uint8_t*>(spec)[i] = value[i] & bits;
    if (may != nullptr && (bits & ~may[i]) != 0) {
      return Refusal{ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM_MASK, &item,
                     Name(item) + ": its mask has bits that cannot be matched (byte " + std::to_string(i) + ")"};
    }
  }
  return {};
}

void Reader::Match(size_t place, const void* spec, const void* mask, size_t size) {
  for (size_t i = 0; i < size; ++i) {
    pattern_.spec.at(place)[i] |= static_cast<const uint8_t*>(spec)[i];
    pattern_.mask.at(place)[i] |= static_cast<const uint8_t*>(mask)[i];
  }
}

// Items stand as the headers do, without gaps; the first may be of any layer.
MaybeRefusal Reader::Follow(const rte_flow_item& item, Layer layer) {
  bool follows = layer_ == Layer::kStart;
  switch (layer) {
    case Layer::kStart:
      break;
    case Layer::kLink:
      follows = follows || layer_ == Layer::kTunnel;
      break;
    case Layer::kTag:
    case Layer::kNetwork:
      follows = follows || layer_ == Layer::kLink || layer_ == Layer::kTag;
      break;
    case Layer::kFragment:
      follows = layer_ == Layer::kNetwork && ipv6_;
      break;
    case Layer::kTransport:
      follows = follows || layer_ == Layer::kNetwork || layer_ == Layer::kFragment;
      break;
    case Layer::kTunnel:
      follows = layer_ == Layer::kTransport && layers_ == &kOuter;
      break;
  }
  if (!follows) {
    return Refusal{EINVAL, RTE_FLOW_ERROR_TYPE_ITEM, &item, Name(item) + ": cannot stand here in the pattern"};
  }
  layer_ = layer;
  return {};
}

MaybeRefusal Reader::Read(const rte_flow_item& item) {
  if (item.type == RTE_FLOW_ITEM_TYPE_VOID) return {};
  if (auto refusal = CheckItem(profile_, item)) return refusal;
  switch (item.type) {
    case RTE_FLOW_ITEM_TYPE_VLAN:
      return Vlan(item);
    case RTE_FLOW_ITEM_TYPE_VXLAN:
      return Vxlan(item);
    case RTE_FLOW_ITEM_TYPE_PORT_ID:
    case RTE_FLOW_ITEM_TYPE_PORT_REPRESENTOR:
    case RTE_FLOW_ITEM_TYPE_REPRESENTED_PORT:
      return Port(item);
    default:
      break;
  }
  if (const HeaderItem* header = FindHeaderItem(item.type); header != nullptr) return Header(item, *header);
  return Refusal{ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM, &item, Name(item) + ": not supported"};
}

MaybeRefusal Reader::Header(const rte_flow_item& item, const HeaderItem& header) {
  if (auto refusal = Follow(item, header.layer)) return refusal;
  union Any {
    rte_flow_item_eth eth;
    rte_flow_item_ipv4 ipv4;
    rte_flow_item_ipv6 ipv6;
    rte_flow_item_arp_eth_ipv4 arp;
    rte_flow_item_tcp tcp;
  } spec{};
  Any mask{};
  if (auto refusal = Values(item, &spec, &mask, header.item_size)) return refusal;
  if (item.type == RTE_FLOW_ITEM_TYPE_ARP_ETH_IPV4) {
    Match(header.place(*layers_), ArpHeader(spec.arp).data(), ArpHeader(mask.arp).data(), header.size);
  } else {
    Match(header.place(*layers_), &spec, &mask, header.size);
  }
  if (header.l3 != soft::Layer3::kNone) MatchByte(layers_->l3(), static_cast<uint8_t>(header.l3));
  if (header.l4 != soft::Layer4::kNone) MatchByte(layers_->l4(), static_cast<uint8_t>(header.l4));
  if (header.layer == Layer::kFragment) MatchByte(layers_->has(), kFragmentExt, kFragmentExt);
  if (item.type == RTE_FLOW_ITEM_TYPE_ETH && mask.eth.has_vlan != 0) {
    MatchByte(layers_->tags(), spec.eth.has_vlan != 0 ? kFirstTag : 0, kFirstTag);
  }
  ipv6_ = ipv6_ || item.type == RTE_FLOW_ITEM_TYPE_IPV6;
  if (item.type == RTE_FLOW_ITEM_TYPE_IPV6) return Ipv6Extensions(item, spec.ipv6, mask.ipv6);
  return {};
}

MaybeRefusal Reader::Ipv6Extensions(const rte_flow_item& item, const rte_flow_item_ipv6& spec,
                                    const rte_flow_item_ipv6& mask) {
  if (mask.has_hop_ext != 0 || mask.has_route_ext != 0 || mask.has_auth_ext != 0 || mask.has_esp_ext != 0 ||
      mask.has_dest_ext != 0 || mask.has_mobil_ext != 0 || mask.has_hip_ext != 0 || mask.has_shim6_ext != 0) {
    return Refusal{ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM_MASK, &item,
                   Name(item) + ": of the extension headers only has_frag_ext is supported"};
  }
  if (mask.has_frag_ext != 0) MatchByte(layers_->has(), spec.has_frag_ext != 0 ? kFragmentExt : 0, kFragmentExt);
  return {};
}

MaybeRefusal Reader::Vlan(const rte_flow_item& item) {
  if (tags_ == profile_.most_tags) {
    return Refusal{ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM, &item,
                   Name(item) + ": more than " + std::to_string(tags_) + " tags are not supported"};
  }
  if (auto refusal = Follow(item, Layer::kTag)) return refusal;
  rte_flow_item_vlan spec;
  rte_flow_item_vlan mask;
  if (auto refusal = Values(item, spec, mask)) return refusal;
  Match(layers_->tag(tags_), &spec, &mask, 4);
  const uint8_t bit = tags_ == 0 ? kFirstTag : kSecondTag;
  MatchByte(layers_->tags(), bit, bit);
  if (mask.has_more_vlan != 0 && tags_ == 0) {
    MatchByte(layers_->tags(), spec.has_more_vlan != 0 ? kSecondTag : 0, kSecondTag);
  }
  ++tags_;
  pattern_.vlan = pattern_.vlan || layers_ == &kOuter;
  return {};
}

MaybeRefusal Reader::Vxlan(const rte_flow_item& item) {
  const bool udp =
      *pattern_.mask.at(kOuter.l4()) != 0 && *pattern_.spec.at(kOuter.l4()) == static_cast<uint8_t>(soft::Layer4::kUdp);
  if (!udp && layer_ != Layer::kStart) {
    return Refusal{EINVAL, RTE_FLOW_ERROR_TYPE_ITEM, &item, Name(item) + ": must follow udp"};
  }
  if (layer_ == Layer::kStart) MatchByte(kOuter.l4(), static_cast<uint8_t>(soft::Layer4::kUdp));
  layer_ = Layer::kTransport;
  if (auto refusal = Follow(item, Layer::kTunnel)) return refusal;
  rte_flow_item_vxlan spec;
  rte_flow_item_vxlan mask;
  if (auto refusal = Values(item, spec, mask)) return refusal;
  Match(kVxlanHeader, &spec, &mask, 8);
  MatchByte(kOuter.has(), kVxlan, kVxlan);
  // RFC 7348: the port of VXLAN, where the pattern does not ask for another.
  const size_t port = kOuter.transport() + 2;
  if (pattern_.mask.at(port)[0] == 0 && pattern_.mask.at(port)[1] == 0) {
    constexpr std::array<uint8_t, 2> kPort = {4789 >> 8, 4789 & 0xff};
    constexpr std::array<uint8_t, 2> kWhole = {0xff, 0xff};
    Match(port, kPort.data(), kWhole.data(), 2);
  }
  layers_ = &kInner;
  tags_ = 0;
  ipv6_ = false;
  pattern_.vxlan = true;
  return {};
}

MaybeRefusal Reader::Port(const rte_flow_item& item) {
  if (port_) {
    return Refusal{EINVAL, RTE_FLOW_ERROR_TYPE_ITEM, &item, Name(item) + ": there is a port in the pattern already"};
  }
  port_ = true;
  uint32_t port = 0;
  uint32_t mask = 0;
  uint32_t whole = UINT16_MAX;
  if (item.type == RTE_FLOW_ITEM_TYPE_PORT_ID) {
    rte_flow_item_port_id spec;
    rte_flow_item_port_id bits;
    if (auto refusal = Values(item, spec, bits)) return refusal;
    port = spec.id;
    mask = bits.id;
    whole = UINT32_MAX;
  } else {
    rte_flow_item_ethdev spec;
    rte_flow_item_ethdev bits;
    if (auto refusal = Values(item, spec, bits)) return refusal;
    port = spec.port_id;
    mask = bits.port_id;
  }
  if (mask != whole && mask != UINT16_MAX) {
    return Refusal{ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM_MASK, &item, Name(item) + ": only one port can be matched"};
  }
  pattern_.from = item.type == RTE_FLOW_ITEM_TYPE_PORT_REPRESENTOR ? Pattern::From::kEthdev : Pattern::From::kWire;
  pattern_.port = static_cast<uint16_t>(port);
  return {};
}

}  // namespace

MaybeRefusal ReadPattern(const rte_flow_item* items, const Profile& profile, Pattern& pattern) {
  Reader reader(profile, pattern);
  for (const rte_flow_item* item = items; item->type != RTE_FLOW_ITEM_TYPE_END; ++item) {
    if (auto refusal = reader.Read(*item)) return refusal;
  }
  return {};
}

}  // namespace sluice::netsluice
