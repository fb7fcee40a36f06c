// SPDX-License-Identifier: Apache-2.0
#include "pattern.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <span>

namespace sluice::rteflow {
namespace {

constexpr uint64_t kCfi = 0x1000;
constexpr uint64_t kNotEthernetII = 0x05ff;  // what the flow model has for a length
constexpr uint64_t kFirstType = 0x0600;      // below: a length (IEEE 802.3)
constexpr uint64_t kMoreFragments = 0x2000;  // of an IPv4 header's flags and offset (RFC 791)
constexpr uint64_t kFragmentOffset = 0x1fff;
constexpr uint64_t kVxlanPort = 4789;  // RFC 7348

// What every packet that comes in has the value 0 of: it is in its first pass, untracked and unmarked.
constexpr bool IsZeroHere(Field field) {
  return field <= Field::skb_mark || (field >= Field::ct_state && field <= Field::ct_label);
}
constexpr bool IsTunnel(Field field) { return field >= Field::tun_id && field <= Field::tun_flags; }
static_assert(IsZeroHere(Field::recirc_id) && IsZeroHere(Field::ct_mark) && !IsZeroHere(Field::in_port));

bool AllZero(std::span<const uint8_t> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte == 0; });
}

Error Unsupported(Field field, const std::string& why) {
  return {"unsupported_field", "rte_flow cannot match " + std::string(Info(field).name) + ": " + why};
}

}  // namespace

std::vector<std::string> MatchableFields() {
  std::vector<std::string> names{std::string(Info(Field::in_port).name)};  // it chooses the device
  for (const FieldInfo& field : kFields) {
    if (PlaceOf(field.id).say != Say::kNot) names.emplace_back(field.name);
  }
  return names;
}

Fragments FragmentsOf(const Match& match, Field frag) {
  const auto takes = [&](uint64_t kind) { return (kind & match.MaskOf(frag)) == match.ValueOf(frag); };
  return {takes(0), takes(1), takes(2)};
}

Pattern::Storage& Pattern::Use(Layer layer) {
  const auto index = static_cast<size_t>(layer);
  Storage& storage = storage_[index];
  if (!used_[index]) {
    storage.spec.fill(0);
    storage.mask.fill(0);
    used_.set(index);
  }
  return storage;
}

void Pattern::Put(Layer layer, size_t offset, size_t size, uint64_t value, uint64_t mask) {
  Storage& storage = Use(layer);
  for (size_t i = size; i-- > 0;) {
    storage.spec[offset + i] |= static_cast<uint8_t>(value);
    storage.mask[offset + i] |= static_cast<uint8_t>(mask);
    value >>= 8;
    mask >>= 8;
  }
}

void Pattern::Copy(const Match& match, const FieldInfo& field) {
  const Place& place = PlaceOf(field.id);
  if (place.shift != 0) {
    Put(place, match.ValueOf(field.id) << place.shift, match.MaskOf(field.id) << place.shift);
    return;
  }
  // Bits beside the field in its first byte are others'.
  Storage& storage = Use(place.layer);
  const auto value = match.Value(field.id);
  const auto mask = match.Mask(field.id);
  for (size_t i = 0; i < place.size; ++i) {
    storage.spec[place.offset + i] |= value[i];
    storage.mask[place.offset + i] |= mask[i];
  }
}

// The model has all lengths as 0x05ff; a device compares what is in the frame.
Result<void> Pattern::SayType(const Match& match, const FieldInfo& field) {
  const uint64_t value = match.ValueOf(field.id);
  const uint64_t mask = match.MaskOf(field.id);
  if (value < kFirstType) {  // so the device takes frames of some lengths
    if ((kNotEthernetII & mask) != value) return Unsupported(field.id, "the mask would let 802.3 lengths through");
    if ((mask & (std::bit_ceil(kFirstType) - 1)) != 0) exact_ = false;
  }
  Copy(match, field);
  return {};
}

Result<void> Pattern::SayIpv4Frag(const Match& match) {
  const Fragments takes = FragmentsOf(match, Field::ipv4_frag);
  const Place& place = PlaceOf(Field::ipv4_frag);
  if (takes.no && takes.first && takes.later) return {};
  if (takes.later) return Unsupported(Field::ipv4_frag, "a mask cannot say that the fragment's offset is not 0");
  const uint64_t more = takes.no && takes.first ? 0 : kMoreFragments;
  Put(place, takes.first && !takes.no ? kMoreFragments : 0, kFragmentOffset | more);
  return {};
}

// Where the base header's next header is the protocol there is no fragment header.
Result<void> Pattern::SayIpv6Frag(const Match& match) {
  const Fragments takes = FragmentsOf(match, Field::ipv6_frag);
  if (takes.no && takes.first && takes.later) return {};
  exact_ = false;  // what is behind other extension headers, and fragments that are the whole packet
  if (takes.no) {
    Storage& storage = Use(Layer::ipv6);
    rte_flow_item_ipv6 has{};
    has.has_frag_ext = 1;
    // Bit fields have no offsetof.
    std::array<uint8_t, sizeof(has)> bytes{};
    std::memcpy(bytes.data(), &has, sizeof(has));
    for (size_t i = 0; i < bytes.size(); ++i) storage.mask.at(i) |= bytes.at(i);
    return {};
  }
  if (takes.first && !takes.no && !takes.later && match.IsExact(Field::ipv6_proto)) {
    Put(PlaceOf(Field::ipv6_frag), 0x0001, 0xfff9);  // offset 0, more fragments (RFC 8200, section 4.5)
    return {};
  }
  return Unsupported(Field::ipv6_frag, takes.later ? "a mask cannot say that the fragment's offset is not 0"
                                                   : "of first fragments only with proto, matched exactly");
}

// rte_flow has the base header's next header, the model the protocol behind the extension headers.
Result<void> Pattern::SayIpv6Proto(const Match& match) {
  const uint64_t value = match.ValueOf(Field::ipv6_proto);
  const uint64_t mask = match.MaskOf(Field::ipv6_proto);
  for (uint64_t extension = 0; extension < 256; ++extension) {
    if (!IsIpv6Extension(extension)) continue;
    if ((extension & mask) == value) {
      return Unsupported(Field::ipv6_proto, "it would take packets with extension header " + std::to_string(extension));
    }
  }
  exact_ = false;
  const Fragments takes = FragmentsOf(match, Field::ipv6_frag);
  if (takes.first && !takes.no && mask == 0xff) {  // SayIpv6Frag adds the fragment header
    constexpr uint64_t kFragmentHeader = 44;
    Put(PlaceOf(Field::ipv6_proto), kFragmentHeader, 0xff);
    Put(Layer::ipv6_fragment, offsetof(rte_flow_item_ipv6_frag_ext, hdr.next_header), 1, value, mask);
    return {};
  }
  Put(PlaceOf(Field::ipv6_proto), value, mask);
  return {};
}

// With other kinds of addresses a packet has none of the fields: they count as 0.
Result<void> Pattern::SayArp(const Match& match, const FieldInfo& field) {
  for (Field type : {Field::eth_type, Field::vlan_eth_type, Field::cvlan_eth_type}) {
    if (match.ValueOf(type) == 0x8035) return Unsupported(field.id, "the item is ARP's, not RARP's");
  }
  using Arp = rte_flow_item_arp_eth_ipv4;
  if (!Uses(Layer::arp)) {
    Put(Layer::arp, offsetof(Arp, hrd), 2, 1, 0xffff);
    Put(Layer::arp, offsetof(Arp, pro), 2, 0x0800, 0xffff);
    Put(Layer::arp, offsetof(Arp, hln), 1, 6, 0xff);
    Put(Layer::arp, offsetof(Arp, pln), 1, 4, 0xff);
  }
  Copy(match, field);
  return {};
}

Result<void> Pattern::Say(const Match& match, const FieldInfo& field) {
  const Place& place = PlaceOf(field.id);
  switch (place.say) {
    case Say::kNot:
      return Unsupported(field.id, "there is no item for it");
    case Say::kCopied:
    case Say::kIpv4Proto:
      Copy(match, field);
      return {};
    case Say::kType:
      return SayType(match, field);
    case Say::kTag:
      Put(place, match.ValueOf(field.id) & ~kCfi, match.MaskOf(field.id) & ~kCfi);
      return {};
    case Say::kArp:
      return SayArp(match, field);
    case Say::kIpv4Frag:
      return SayIpv4Frag(match);
    case Say::kIpv6Proto:
      return SayIpv6Proto(match);
    case Say::kIpv6Frag:
      return SayIpv6Frag(match);
    default:
      return SayTunnel(match, field);
  }
}

// The outer headers of VXLAN (RFC 7348), as far as every packet in a tunnel has them.
Result<void> Pattern::BeginTunnel(const Match& match) {
  const auto says = [&](Field field) { return !AllZero(match.Value(field)); };
  for (const FieldInfo& field : kFields) tunnel_ = tunnel_ || (IsTunnel(field.id) && says(field.id));
  if (!tunnel_) return {};  // no packet is in a tunnel here
  const bool ipv6 = says(Field::tun_ipv6_src) || says(Field::tun_ipv6_dst);
  if (!ipv6 && !says(Field::tun_src) && !says(Field::tun_dst)) {
    return Unsupported(Field::tun_id, "without src or dst of the tunnel it is not said whether it is IPv4 or IPv6");
  }
  Put(Layer::outer_eth, offsetof(rte_flow_item_eth, hdr.ether_type), 2, ipv6 ? 0x86dd : 0x0800, 0xffff);
  if (ipv6) Put(Layer::outer_ipv6, offsetof(rte_flow_item_ipv6, hdr.proto), 1, 17, 0xff);
  if (!ipv6) Use(Layer::outer_ipv4);
  Put(Layer::outer_udp, offsetof(rte_flow_item_udp, hdr.dst_port), 2, kVxlanPort, 0xffff);
  Put(Layer::vxlan, 0, 1, 0x08, 0x08);  // the flag that there is an identifier
  return {};
}

Result<void> Pattern::SayTunnelFlags(const Match& match) {
  constexpr uint64_t kOam = 1;
  constexpr uint64_t kDontFragment = 2;
  constexpr uint64_t kChecksum = 4;
  constexpr uint64_t kKey = 8;
  const uint64_t value = match.ValueOf(Field::tun_flags);
  const uint64_t mask = match.MaskOf(Field::tun_flags);
  if ((mask & ~value & kKey) != 0) return Unsupported(Field::tun_flags, "VXLAN without a key is none");
  if ((value & kOam) != 0) return Unsupported(Field::tun_flags, "VXLAN has no OAM flag");
  if ((value & kChecksum) != 0) return Unsupported(Field::tun_flags, "a mask cannot say that the checksum is not 0");
  if ((mask & kChecksum) != 0) Put(Layer::outer_udp, offsetof(rte_flow_item_udp, hdr.dgram_cksum), 2, 0, 0xffff);
  if ((mask & kDontFragment) == 0) return {};
  if (Uses(Layer::outer_ipv4)) {
    Put(PlaceOf(Field::tun_flags), (value & kDontFragment) != 0 ? 0x4000 : 0, 0x4000);
  } else if ((value & kDontFragment) != 0) {
    return Unsupported(Field::tun_flags, "IPv6 has no such flag");
  }
  return {};
}

Result<void> Pattern::SayTunnel(const Match& match, const FieldInfo& field) {
  if (!tunnel_) return {};
  const bool ipv6 = Uses(Layer::outer_ipv6);
  const uint64_t value = match.ValueOf(field.id);
  const uint64_t mask = match.MaskOf(field.id);
  const Place& place = PlaceOf(field.id);
  switch (place.say) {
    case Say::kVni:
      if (value >> 24 != 0) return Unsupported(field.id, "a VXLAN identifier has 24 bits");
      Put(place, value, mask & 0xffffff);
      return {};
    case Say::kOuterTos:
      if (ipv6) Put(Layer::outer_ipv6, offsetof(rte_flow_item_ipv6, hdr.vtc_flow), 2, value << 4, mask << 4);
      if (!ipv6) Copy(match, field);
      return {};
    case Say::kOuterTtl:
      if (ipv6) Put(Layer::outer_ipv6, offsetof(rte_flow_item_ipv6, hdr.hop_limits), 1, value, mask);
      if (!ipv6) Copy(match, field);
      return {};
    case Say::kOuterPort:
      if ((kVxlanPort & mask) != value) return Unsupported(field.id, "VXLAN's port is 4789");
      return {};
    case Say::kOuterFlags:
      return SayTunnelFlags(match);
    default:  // an address of the other family is 0
      if (Uses(place.layer)) Copy(match, field);
      return {};
  }
}

// Packets that have not a header count as having 0 in all its fields; a device wants the header to be there.
void Pattern::CheckAbsentHeaders(const Match& match) {
  const auto only_zeros = [&](Layer layer) {
    for (const FieldInfo& field : kFields) {
      const Place& place = PlaceOf(field.id);
      if (place.say != Say::kNot && place.layer == layer && !AllZero(match.Value(field.id))) return false;
    }
    return true;
  };
  if (Uses(Layer::arp) && only_zeros(Layer::arp)) exact_ = false;  // other kinds of addresses
  if (!FragmentsOf(match, Field::ipv4_frag).later) return;
  for (Layer layer : {Layer::tcp, Layer::udp, Layer::sctp, Layer::icmp}) {
    if (Uses(layer) && only_zeros(layer)) exact_ = false;
  }
}

void Pattern::Finish(PortItem port_item, uint16_t ethdev) {
  port_item_ = port_item;
  port_ = {ethdev};
  port_id_ = {ethdev};
  rte_flow_item& port = items_[0];
  switch (port_item) {
    case PortItem::kNone:
      break;
    case PortItem::kPortRepresentor:
      port = {RTE_FLOW_ITEM_TYPE_PORT_REPRESENTOR, &port_, nullptr, &port_mask_};
      break;
    case PortItem::kRepresentedPort:
      port = {RTE_FLOW_ITEM_TYPE_REPRESENTED_PORT, &port_, nullptr, &port_mask_};
      break;
    case PortItem::kPortId:
      port = {RTE_FLOW_ITEM_TYPE_PORT_ID, &port_id_, nullptr, &port_id_mask_};
      break;
  }
  // The item of the protocol says it, too, and some devices do not take both.
  if (Uses(Layer::ipv4) && (Uses(Layer::tcp) || Uses(Layer::udp) || Uses(Layer::sctp) || Uses(Layer::icmp))) {
    const size_t proto = PlaceOf(Field::ipv4_proto).offset;
    Use(Layer::ipv4).spec[proto] = Use(Layer::ipv4).mask[proto] = 0;
  }
  if (!tag_type_ && Uses(Layer::vlan)) {
    constexpr std::array<uint8_t, 2> kCustomerTag{0x81, 0x00};
    const size_t type = PlaceOf(Field::eth_type).offset;
    Storage& eth = Use(Layer::eth);
    if (std::equal(kCustomerTag.begin(), kCustomerTag.end(), &eth.spec[type])) {
      std::fill_n(&eth.spec[type], 2, 0);
      std::fill_n(&eth.mask[type], 2, 0);
    }
  }
  size_t count = 1;
  for (size_t layer = 0; layer < kLayers.size(); ++layer) {
    if (!used_[layer]) continue;
    const Storage& storage = storage_[layer];
    const bool masked = !AllZero(storage.mask);
    items_[count++] = {kLayers[layer].item, masked ? &storage.spec : nullptr, nullptr,
                       masked ? &storage.mask : nullptr};
  }
  items_[count] = {RTE_FLOW_ITEM_TYPE_END, nullptr, nullptr, nullptr};
}

Result<void> Pattern::Build(const Match& match, PortItem port_item, uint16_t ethdev) {
  used_.reset();
  exact_ = true;
  tunnel_ = false;
  if (auto begun = BeginTunnel(match); !begun) return begun;
  Use(Layer::eth);
  for (uint64_t left = match.FieldBits(); left != 0; left &= left - 1) {
    const FieldInfo& field = kFields[static_cast<size_t>(std::countr_zero(left))];
    if (field.id == Field::in_port) continue;
    if (IsZeroHere(field.id)) {
      if (AllZero(match.Value(field.id))) continue;
      return Unsupported(field.id, "it is 0 in every packet that comes in");
    }
    if (auto said = Say(match, field); !said) return said;
  }
  CheckAbsentHeaders(match);
  Finish(port_item, ethdev);
  return {};
}

const rte_flow_item* Pattern::Items(bool transfer) const {
  return items_.data() + (port_item_ != PortItem::kNone && transfer ? 0 : 1);
}

}  // namespace sluice::rteflow
