// SPDX-License-Identifier: Apache-2.0
#include "reference/actions.h"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <span>
#include <stdexcept>
#include <utility>

#include "reference/checksum.h"
#include "reference/parser.h"

namespace sluice::reference {
namespace {

constexpr ptrdiff_t kType = 12;    // of the Ethernet header: what follows the addresses, a tag or the type
constexpr ptrdiff_t kTagSize = 4;  // TPID, TCI
constexpr uint16_t kTagPresent = 0x1000;

// Where a field stands, from the beginning of its header.
struct Place {
  enum class Header { kEthernet, kNetwork, kTransport };
  Field field;
  Header header;
  size_t offset;
};

// All that can be set. The IPv6 traffic class lies across two bytes, the label in 20 bits of three.
constexpr std::array kPlaces{
    Place{Field::eth_dst, Place::Header::kEthernet, 0},      Place{Field::eth_src, Place::Header::kEthernet, 6},
    Place{Field::vlan_tci, Place::Header::kEthernet, 14},    Place{Field::ipv4_tos, Place::Header::kNetwork, 1},
    Place{Field::ipv4_ttl, Place::Header::kNetwork, 8},      Place{Field::ipv4_src, Place::Header::kNetwork, 12},
    Place{Field::ipv4_dst, Place::Header::kNetwork, 16},     Place{Field::ipv6_tclass, Place::Header::kNetwork, 0},
    Place{Field::ipv6_label, Place::Header::kNetwork, 1},    Place{Field::ipv6_hlimit, Place::Header::kNetwork, 7},
    Place{Field::ipv6_src, Place::Header::kNetwork, 8},      Place{Field::ipv6_dst, Place::Header::kNetwork, 24},
    Place{Field::arp_op, Place::Header::kNetwork, 6},        Place{Field::arp_sha, Place::Header::kNetwork, 8},
    Place{Field::arp_sip, Place::Header::kNetwork, 14},      Place{Field::arp_tha, Place::Header::kNetwork, 18},
    Place{Field::arp_tip, Place::Header::kNetwork, 24},      Place{Field::tcp_src, Place::Header::kTransport, 0},
    Place{Field::tcp_dst, Place::Header::kTransport, 2},     Place{Field::udp_src, Place::Header::kTransport, 0},
    Place{Field::udp_dst, Place::Header::kTransport, 2},     Place{Field::sctp_src, Place::Header::kTransport, 0},
    Place{Field::sctp_dst, Place::Header::kTransport, 2},    Place{Field::icmp_type, Place::Header::kTransport, 0},
    Place{Field::icmp_code, Place::Header::kTransport, 1},   Place{Field::icmpv6_type, Place::Header::kTransport, 0},
    Place{Field::icmpv6_code, Place::Header::kTransport, 1},
};

uint16_t Load16(const Bytes& bytes, size_t at) { return static_cast<uint16_t>(bytes[at] << 8 | bytes[at + 1]); }

void Store16(Bytes& bytes, size_t at, uint16_t value) {
  bytes[at] = static_cast<uint8_t>(value >> 8);
  bytes[at + 1] = static_cast<uint8_t>(value);
}

void Append(Bytes& bytes, const Bytes& from, size_t at, size_t size) {
  const auto first = from.begin() + static_cast<ptrdiff_t>(at);
  bytes.insert(bytes.end(), first, first + static_cast<ptrdiff_t>(size));
}

// A frame that is being edited, and where its headers are by now.
class Packet {
 public:
  explicit Packet(Bytes frame) : bytes_(std::move(frame)), headers_(Parse(bytes_)) {
    if (headers_.malformed == Malformed::kEthernet) throw std::logic_error("a frame without an Ethernet header");
  }

  [[nodiscard]] const Bytes& bytes() const { return bytes_; }

  void PushTag(const PushVlan& push);
  void PopTag();
  void Set(const Match& fields);
  // False: it ran out. A packet that is not IP has none that could.
  bool DecrementTtl();

 private:
  [[nodiscard]] bool Is(Field field) const { return headers_.key.Has(field); }
  [[nodiscard]] bool IsFragment() const {
    return headers_.key.ValueOf(Field::ipv4_frag) != 0 || headers_.key.ValueOf(Field::ipv6_frag) != 0;
  }
  [[nodiscard]] bool HasTag() const;
  [[nodiscard]] bool CanSet(Field field) const;
  void Shift(ptrdiff_t bytes);
  void Write(const Place& place, std::span<const uint8_t> value, std::span<const uint8_t> mask);
  void WriteMasked(size_t at, const Bytes& value, const Bytes& mask);

  [[nodiscard]] std::optional<size_t> TransportChecksum() const;
  [[nodiscard]] Bytes UnderTransportChecksum(const Bytes& frame) const;
  [[nodiscard]] Bytes SctpMessage(const Bytes& frame) const;
  void UpdateChecksums(const Bytes& before);
  void UpdateTransportChecksum(const Bytes& before);
  void UpdateSctpChecksum(const Bytes& before);

  Bytes bytes_;
  Parsed headers_;
};

// IEEE 802.1Q: TPID and TCI, and there must be a type behind them.
bool Packet::HasTag() const {
  const uint16_t type = Load16(bytes_, kType);
  return (type == 0x8100 || type == 0x88a8) && bytes_.size() >= 18;
}

void Packet::Shift(ptrdiff_t bytes) {
  for (size_t* header : {&headers_.network, &headers_.transport}) {
    if (*header != 0) *header = static_cast<size_t>(static_cast<ptrdiff_t>(*header) + bytes);
  }
}

// A tag goes between the addresses and what followed them. The bit that OVS sets in a tci to say that there is a tag is
// the drop eligible bit on the wire, and is not sent.
void Packet::PushTag(const PushVlan& push) {
  bytes_.insert(bytes_.begin() + kType, kTagSize, 0);
  Store16(bytes_, kType, push.tpid);
  Store16(bytes_, kType + 2, static_cast<uint16_t>(push.tci & ~kTagPresent));
  Shift(kTagSize);
}

void Packet::PopTag() {
  if (!HasTag()) return;
  bytes_.erase(bytes_.begin() + kType, bytes_.begin() + kType + kTagSize);
  Shift(-kTagSize);
}

bool Packet::CanSet(Field field) const {
  switch (field) {
    case Field::vlan_tci:  // of the frame as it is now, not as it came in
      return HasTag();
    case Field::sctp_src:
    case Field::sctp_dst:  // the checksum is over the whole message, of which a fragment is a part
      return Is(field) && !IsFragment();
    default:
      return Is(field);
  }
}

void Packet::Set(const Match& fields) {
  const Bytes before = bytes_;
  for (const FieldInfo& info : kFields) {
    if (!fields.Has(info.id)) continue;
    const auto* place = std::ranges::find(kPlaces, info.id, &Place::field);
    if (place == kPlaces.end()) throw std::logic_error("the reference does not set " + std::string(info.name));
    if (CanSet(info.id)) Write(*place, fields.Value(info.id), fields.Mask(info.id));
  }
  UpdateChecksums(before);
}

void Packet::Write(const Place& place, std::span<const uint8_t> value, std::span<const uint8_t> mask) {
  size_t at = place.offset;
  if (place.header == Place::Header::kNetwork) at += headers_.network;
  if (place.header == Place::Header::kTransport) at += headers_.transport;
  Bytes values(value.begin(), value.end());
  Bytes masks(mask.begin(), mask.end());
  if (place.field == Field::vlan_tci) masks[0] &= static_cast<uint8_t>(~(kTagPresent >> 8));
  if (place.field == Field::ipv6_tclass) {  // RFC 8200: behind the 4 bits of the version
    values = {static_cast<uint8_t>(value[0] >> 4), static_cast<uint8_t>(value[0] << 4)};
    masks = {static_cast<uint8_t>(mask[0] >> 4), static_cast<uint8_t>(mask[0] << 4)};
  }
  WriteMasked(at, values, masks);
}

void Packet::WriteMasked(size_t at, const Bytes& value, const Bytes& mask) {
  for (size_t i = 0; i < value.size(); ++i) {
    bytes_[at + i] = static_cast<uint8_t>((bytes_[at + i] & ~mask[i]) | (value[i] & mask[i]));
  }
}

bool Packet::DecrementTtl() {
  size_t at = headers_.network;
  if (Is(Field::ipv4_ttl)) {
    at += 8;
  } else if (Is(Field::ipv6_hlimit)) {
    at += 7;
  } else {
    return true;
  }
  if (bytes_[at] <= 1) return false;
  const Bytes before = bytes_;
  --bytes_[at];
  UpdateChecksums(before);
  return true;
}

// After an edit that has left the length as it was.
void Packet::UpdateChecksums(const Bytes& before) {
  if (Is(Field::ipv4_src)) {  // RFC 791: of the header alone. Options do not change
    const size_t at = headers_.network + 10;
    Bytes was;
    Bytes is;
    Append(was, before, headers_.network, 20);
    Append(is, bytes_, headers_.network, 20);
    Store16(bytes_, at, UpdatedChecksum(Load16(bytes_, at), was, is));
  }
  UpdateTransportChecksum(before);
  UpdateSctpChecksum(before);
}

std::optional<size_t> Packet::TransportChecksum() const {
  if (Is(Field::tcp_src)) return headers_.transport + 16;
  if (Is(Field::udp_src)) return headers_.transport + 6;
  if (Is(Field::icmp_type) || Is(Field::icmpv6_type)) return headers_.transport + 2;
  return std::nullopt;
}

// What an edit may change of it: the addresses of the pseudo header (RFC 9293, 768; RFC 8200 section 8.1), which ICMP
// over IPv4 does without, and the layer itself. On the way through a routing header the destination in the pseudo
// header is the final one, not the one in the IPv6 header.
Bytes Packet::UnderTransportChecksum(const Bytes& frame) const {
  Bytes under;
  const bool pseudo_header = !Is(Field::icmp_type);
  if (pseudo_header && Is(Field::ipv4_src)) Append(under, frame, headers_.network + 12, 8);
  if (pseudo_header && Is(Field::ipv6_src)) Append(under, frame, headers_.network + 8, headers_.routed ? 16 : 32);
  Append(under, frame, headers_.transport, frame.size() - headers_.transport);
  return under;
}

void Packet::UpdateTransportChecksum(const Bytes& before) {
  const std::optional<size_t> at = TransportChecksum();
  if (!at) return;
  const bool udp = Is(Field::udp_src);
  const uint16_t old = Load16(bytes_, *at);
  if (udp && old == 0) return;  // RFC 768: there is none
  uint16_t checksum = UpdatedChecksum(old, UnderTransportChecksum(before), UnderTransportChecksum(bytes_));
  if (udp && checksum == 0) checksum = 0xffff;
  Store16(bytes_, *at, checksum);
}

// RFC 9260: all chunks of the packet, with the checksum itself as 0. The IP header tells how long it is; where that
// cannot be, what the frame has counts.
Bytes Packet::SctpMessage(const Bytes& frame) const {
  size_t end = headers_.network;
  end += Is(Field::ipv4_src) ? Load16(frame, headers_.network + 2) : 40UL + Load16(frame, headers_.network + 4);
  if (end < headers_.transport + 12 || end > frame.size()) end = frame.size();
  Bytes message;
  Append(message, frame, headers_.transport, end - headers_.transport);
  std::fill_n(message.begin() + 8, 4, 0);
  return message;
}

// The CRC is linear: what it differs by tells what the message differs by.
void Packet::UpdateSctpChecksum(const Bytes& before) {
  if (!Is(Field::sctp_src) || IsFragment()) return;
  const uint32_t difference = Crc32c(SctpMessage(before)) ^ Crc32c(SctpMessage(bytes_));
  for (size_t i = 0; i < 4; ++i) bytes_[headers_.transport + 8 + i] ^= static_cast<uint8_t>(difference >> (8 * i));
}

class Execution {
 public:
  Execution(const Bytes& frame, uint32_t in_port, const std::set<uint32_t>& ports, Between* between)
      : packet_(frame), in_port_(in_port), ports_(ports), between_(between) {}

  void Run(const Actions& actions);
  Outcome TakeOutcome() { return std::move(outcome_); }

 private:
  enum class Did { kNothing, kGoesOn, kLeft };
  Did DoBetween(const Action& action);

  // A copy for the next output or upcall. A trunc before it holds for this one alone.
  Bytes Copy() {
    Bytes copy = packet_.bytes();
    copy.resize(std::min(copy.size(), std::exchange(limit_, kNoLimit)));
    return copy;
  }

  static constexpr size_t kNoLimit = std::numeric_limits<size_t>::max();

  Packet packet_;
  uint32_t in_port_;
  const std::set<uint32_t>& ports_;
  size_t limit_ = kNoLimit;
  Between* between_;
  Match tunnel_;  // of set(tunnel(...))
  Outcome outcome_;
};

Execution::Did Execution::DoBetween(const Action& action) {
  const Bytes& frame = packet_.bytes();
  if (const auto* set = std::get_if<SetField>(&action); set != nullptr && ActionName(action) == "set(tunnel)") {
    for (const FieldInfo& info : kFields) {
      if (set->fields.Has(info.id)) tunnel_.Set(info.id, set->fields.Value(info.id), set->fields.Mask(info.id));
    }
  } else if (const auto* ct = std::get_if<Ct>(&action)) {
    between_->Track(*ct, frame);
  } else if (std::holds_alternative<CtClear>(action)) {
    between_->ForgetTracking(frame);
  } else if (const auto* recirc = std::get_if<Recirc>(&action)) {
    between_->Recirculate(recirc->id, frame);
    return Did::kLeft;
  } else if (const auto* pop = std::get_if<TnlPop>(&action)) {
    between_->Pop(pop->port, frame);
    return Did::kLeft;
  } else if (const auto* push = std::get_if<TnlPush>(&action)) {
    between_->Push(*push, frame);
    return Did::kLeft;
  } else if (const auto* output = std::get_if<Output>(&action)) {
    return between_->PushTo(output->port, tunnel_, frame) ? Did::kLeft : Did::kNothing;
  } else {
    return Did::kNothing;
  }
  return Did::kGoesOn;
}

void Execution::Run(const Actions& actions) {
  for (const Action& action : actions) {
    const Did did = between_ == nullptr ? Did::kNothing : DoBetween(action);
    if (did == Did::kLeft) return;
    if (did == Did::kGoesOn) continue;
    if (const auto* output = std::get_if<Output>(&action)) {
      outcome_.emissions.push_back({output->port, Copy()});
    } else if (std::holds_alternative<Flood>(action)) {
      const Bytes copy = Copy();
      for (uint32_t port : ports_) {
        if (port != in_port_) outcome_.emissions.push_back({port, copy});
      }
    } else if (const auto* up = std::get_if<ToController>(&action)) {
      Bytes copy = Copy();
      if (up->max_len != 0) copy.resize(std::min<size_t>(copy.size(), up->max_len));
      outcome_.upcalls.push_back(std::move(copy));
    } else if (std::holds_alternative<Drop>(action)) {
      return;
    } else if (const auto* push = std::get_if<PushVlan>(&action)) {
      packet_.PushTag(*push);
    } else if (std::holds_alternative<PopVlan>(action)) {
      packet_.PopTag();
    } else if (const auto* set = std::get_if<SetField>(&action)) {
      packet_.Set(set->fields);
    } else if (const auto* dec = std::get_if<DecTtl>(&action)) {
      if (!packet_.DecrementTtl()) return Run(dec->expired);  // instead of the rest
    } else if (const auto* trunc = std::get_if<Trunc>(&action)) {
      limit_ = trunc->max_len;
    } else {
      throw std::logic_error("the reference does not know " + ActionName(action));
    }
  }
}

}  // namespace

Outcome Execute(const Actions& actions, const Bytes& frame, uint32_t in_port, const std::set<uint32_t>& ports,
                Between* between) {
  Execution execution(frame, in_port, ports, between);
  execution.Run(actions);
  return execution.TakeOutcome();
}

}  // namespace sluice::reference
