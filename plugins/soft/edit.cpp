// SPDX-License-Identifier: Apache-2.0
#include "edit.h"

#include <linux/if_ether.h>

#include <array>
#include <bit>
#include <cstring>

namespace sluice::soft {
namespace {

constexpr size_t kTagAt = size_t{2} * ETH_ALEN;  // the outermost tag, or the type
constexpr size_t kTagSize = 4;
constexpr uint16_t kCfi = 0x1000;

enum class Header : uint8_t { kNone, kEthernet, kTag, kArp, kIpv4, kIpv6, kTcp, kUdp, kSctp, kIcmp, kIcmpv6 };

// Where fields lie in their headers; of all others `header` is kNone.
struct Place {
  Header header = Header::kNone;
  uint8_t offset = 0;
};

constexpr std::array<Place, kFieldCount> kPlaces = [] {
  std::array<Place, kFieldCount> places{};
  const auto put = [&](Field field, Header header, uint8_t offset) {
    places[static_cast<size_t>(field)] = {header, offset};
  };
  put(Field::eth_dst, Header::kEthernet, 0);
  put(Field::eth_src, Header::kEthernet, 6);
  put(Field::vlan_tci, Header::kTag, 2);
  put(Field::ipv4_tos, Header::kIpv4, 1);
  put(Field::ipv4_ttl, Header::kIpv4, 8);
  put(Field::ipv4_src, Header::kIpv4, 12);
  put(Field::ipv4_dst, Header::kIpv4, 16);
  put(Field::ipv6_tclass, Header::kIpv6, 0);  // bits 4 to 11 of the first word
  put(Field::ipv6_label, Header::kIpv6, 1);
  put(Field::ipv6_hlimit, Header::kIpv6, 7);
  put(Field::ipv6_src, Header::kIpv6, 8);
  put(Field::ipv6_dst, Header::kIpv6, 24);
  put(Field::tcp_src, Header::kTcp, 0);
  put(Field::tcp_dst, Header::kTcp, 2);
  put(Field::udp_src, Header::kUdp, 0);
  put(Field::udp_dst, Header::kUdp, 2);
  put(Field::sctp_src, Header::kSctp, 0);
  put(Field::sctp_dst, Header::kSctp, 2);
  put(Field::icmp_type, Header::kIcmp, 0);
  put(Field::icmp_code, Header::kIcmp, 1);
  put(Field::icmpv6_type, Header::kIcmpv6, 0);
  put(Field::icmpv6_code, Header::kIcmpv6, 1);
  put(Field::arp_op, Header::kArp, 6);
  put(Field::arp_sha, Header::kArp, 8);
  put(Field::arp_sip, Header::kArp, 14);
  put(Field::arp_tha, Header::kArp, 18);
  put(Field::arp_tip, Header::kArp, 24);
  return places;
}();

const Place& PlaceOf(Field field) { return kPlaces[static_cast<size_t>(field)]; }

uint16_t Word(const uint8_t* at) { return static_cast<uint16_t>(at[0] << 8 | at[1]); }
void PutWord(uint8_t* at, uint16_t value) {
  at[0] = static_cast<uint8_t>(value >> 8);
  at[1] = static_cast<uint8_t>(value);
}

// Writes `value` by `mask` to `offset` and says what became of the words that it lies in. Words are those of the
// header, which begins on a word's boundary of whatever its checksum covers.
ChecksumChange Rewrite(uint8_t* header, size_t offset, std::span<const uint8_t> value, std::span<const uint8_t> mask) {
  ChecksumChange change;
  const size_t end = offset + value.size();
  size_t at = offset & ~size_t{1};
  while (at < end) {
    const uint16_t before = Word(header + at);
    for (const size_t word_end = at + 2; at < word_end; ++at) {
      if (at < offset || at >= end) continue;
      const uint8_t bits = mask[at - offset];
      header[at] = static_cast<uint8_t>((header[at] & ~bits) | (value[at - offset] & bits));
    }
    change.Word(before, Word(header + at - 2));
  }
  return change;
}

void UpdateChecksum(uint8_t* at, const ChecksumChange& change) { PutWord(at, change.Apply(Word(at))); }

// RFC 768 and 6935: 0 says that there is none; one that comes out as 0 is sent as its other zero.
void UpdateUdpChecksum(uint8_t* at, const ChecksumChange& change) {
  if (Word(at) == 0) return;
  const uint16_t checksum = change.Apply(Word(at));
  PutWord(at, checksum == 0 ? 0xffff : checksum);
}

}  // namespace

bool CanSet(Field field) { return PlaceOf(field).header != Header::kNone; }

void Editor::Push(const PushVlan& tag) {
  if (frame_.size() < ETH_HLEN) return;
  frame_.GrowFront(kTagSize);
  uint8_t* bytes = frame_.bytes().data();
  std::memmove(bytes, bytes + kTagSize, kTagAt);
  PutWord(bytes + kTagAt, tag.tpid);
  PutWord(bytes + kTagAt + 2, static_cast<uint16_t>(tag.tci & ~kCfi));
  shift_ += kTagSize;
}

void Editor::PopTag() {
  if (!HasTag()) return;
  uint8_t* bytes = frame_.bytes().data();
  std::memmove(bytes + kTagSize, bytes, kTagAt);
  frame_.ShrinkFront(kTagSize);
  shift_ -= kTagSize;
}

bool Editor::HasTag() const {
  if (frame_.size() < ETH_HLEN + kTagSize) return false;
  const uint16_t type = Word(frame_.bytes().data() + kTagAt);
  return type == ETH_P_8021Q || type == ETH_P_8021AD;
}

void Editor::Set(const Match& fields) {
  for (uint64_t left = fields.FieldBits(); left != 0; left &= left - 1) {
    const FieldInfo& field = kFields[static_cast<size_t>(std::countr_zero(left))];
    SetOne(field.id, std::span(fields.KeyBytes()).subspan(field.offset, field.size),
           std::span(fields.MaskBytes()).subspan(field.offset, field.size));
  }
}

void Editor::SetOne(Field field, std::span<const uint8_t> value, std::span<const uint8_t> mask) {
  const Header header = PlaceOf(field).header;
  const size_t offset = PlaceOf(field).offset;
  const Write write{offset, value, mask};
  const auto layer4 = [&](Layer4 wanted) {
    if (headers_.l4 == wanted) UpdateLayer4(Rewrite(Layer4At(), offset, value, mask));
  };
  switch (header) {
    case Header::kNone:
      return;
    case Header::kEthernet:
      if (frame_.size() >= ETH_HLEN) Rewrite(frame_.bytes().data(), offset, value, mask);
      return;
    case Header::kTag:
      return SetTag(write);
    case Header::kArp:
      if (headers_.l3 == Layer3::kArp) Rewrite(Layer3At(), offset, value, mask);
      return;
    case Header::kIpv4:
      return SetIpv4(write, field == Field::ipv4_src || field == Field::ipv4_dst);
    case Header::kIpv6:
      if (field == Field::ipv6_tclass) return SetTrafficClass(value[0], mask[0]);
      return SetIpv6(write, field == Field::ipv6_src || (field == Field::ipv6_dst && !headers_.routed));
    case Header::kTcp:
      return layer4(Layer4::kTcp);
    case Header::kUdp:
      return layer4(Layer4::kUdp);
    case Header::kSctp:
      return SetSctp(write);
    case Header::kIcmp:
      return layer4(Layer4::kIcmp);
    case Header::kIcmpv6:
      return layer4(Layer4::kIcmpv6);
  }
}

// The flow model's CFI bit only says that there is a tag; on the wire it is the drop eligible indicator, and stays.
void Editor::SetTag(const Write& write) {
  if (!HasTag()) return;
  const std::array<uint8_t, 2> mask = {static_cast<uint8_t>(write.mask[0] & ~(kCfi >> 8)), write.mask[1]};
  Rewrite(frame_.bytes().data() + kTagAt, write.offset, write.value, mask);
}

void Editor::SetIpv4(const Write& write, bool address) {
  if (headers_.l3 != Layer3::kIpv4) return;
  uint8_t* ip = Layer3At();
  const ChecksumChange change = Rewrite(ip, write.offset, write.value, write.mask);
  UpdateChecksum(ip + 10, change);
  if (address && headers_.l4 != Layer4::kIcmp) UpdateLayer4(change);  // ICMP's checksum has no pseudo header
}

void Editor::SetIpv6(const Write& write, bool pseudo_header) {
  if (headers_.l3 != Layer3::kIpv6) return;
  const ChecksumChange change = Rewrite(Layer3At(), write.offset, write.value, write.mask);
  if (pseudo_header) UpdateLayer4(change);
}

void Editor::SetTrafficClass(uint8_t value, uint8_t mask) {
  if (headers_.l3 != Layer3::kIpv6) return;
  uint8_t* ip = Layer3At();
  PutWord(ip, static_cast<uint16_t>((Word(ip) & ~(mask << 4)) | (value & mask) << 4));
}

// SCTP's checksum covers the whole message, of which a fragment has only a part. The difference that the edit makes is
// the same whatever the CRC field holds, since a CRC is linear: no need to clear it.
void Editor::SetSctp(const Write& write) {
  if (headers_.l4 != Layer4::kSctp || headers_.fragment) return;
  const std::span<const uint8_t> message = SctpMessage();
  uint32_t difference = Crc32c(message);
  Rewrite(Layer4At(), write.offset, write.value, write.mask);
  difference ^= Crc32c(message);
  uint8_t* crc = Layer4At() + 8;
  for (int i = 0; i < 4; ++i) crc[i] ^= static_cast<uint8_t>(difference >> 8 * i);  // RFC 9260, appendix A
}

// To the end of the IP packet by its length, where that can be true, so that padding of the frame is not in it.
std::span<const uint8_t> Editor::SctpMessage() const {
  const uint8_t* ip = Layer3At();
  const ptrdiff_t header = Layer4At() - ip;  // of IP, with options or extensions
  const ptrdiff_t told = (headers_.l3 == Layer3::kIpv4 ? Word(ip + 2) : 40 + Word(ip + 4)) - header;
  const ptrdiff_t there = frame_.bytes().data() + frame_.size() - Layer4At();
  return {Layer4At(), static_cast<size_t>(told >= 12 && told <= there ? told : there)};
}

void Editor::UpdateLayer4(const ChecksumChange& change) {
  switch (headers_.l4) {
    case Layer4::kTcp:
      return UpdateChecksum(Layer4At() + 16, change);
    case Layer4::kUdp:
      return UpdateUdpChecksum(Layer4At() + 6, change);
    case Layer4::kIcmp:
    case Layer4::kIcmpv6:
      return UpdateChecksum(Layer4At() + 2, change);
    case Layer4::kSctp:
    case Layer4::kNone:
      return;
  }
}

bool Editor::DecrementTtl() {
  if (headers_.l3 != Layer3::kIpv4 && headers_.l3 != Layer3::kIpv6) return true;
  const size_t offset = headers_.l3 == Layer3::kIpv4 ? 8 : 7;
  uint8_t* ip = Layer3At();
  if (ip[offset] <= 1) return false;
  const std::array<uint8_t, 1> value = {static_cast<uint8_t>(ip[offset] - 1)};
  constexpr std::array<uint8_t, 1> kWhole = {0xff};
  const ChecksumChange change = Rewrite(ip, offset, value, kWhole);
  if (headers_.l3 == Layer3::kIpv4) UpdateChecksum(ip + 10, change);
  return true;
}

}  // namespace sluice::soft
