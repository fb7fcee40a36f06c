// SPDX-License-Identifier: Apache-2.0
// What a rule can match of a packet: its headers side by side at fixed places, as they are on the wire, and which of
// them it has. A rule's spec and mask are such keys too.
//
// Which packets are malformed, where headers are and what counts as one is soft::Parse's, so that the NIC and the
// software path agree: two tags at most, six IPv6 extension headers, layer 4 of whole packets and first fragments.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "soft/packet.h"

namespace sluice::netsluice {

// Bytes of one stack of headers in a key. A frame has one, the frame inside VXLAN another.
struct Layers {
  size_t kinds;  // four bytes, below
  size_t start;  // of the headers

  [[nodiscard]] constexpr size_t tags() const { return kinds; }     // kFirstTag | kSecondTag
  [[nodiscard]] constexpr size_t l3() const { return kinds + 1; }   // a soft::Layer3
  [[nodiscard]] constexpr size_t l4() const { return kinds + 2; }   // a soft::Layer4
  [[nodiscard]] constexpr size_t has() const { return kinds + 3; }  // kFragmentExt | kVxlan

  [[nodiscard]] constexpr size_t ethernet() const { return start; }                  // 14: with the type on the wire
  [[nodiscard]] constexpr size_t tag(size_t n) const { return start + 14 + 4 * n; }  // 4: TCI, type
  // 40: 20 of IPv4, 40 of IPv6, 28 of ARP. IPv6's next header is what follows the extension headers.
  [[nodiscard]] constexpr size_t network() const { return start + 24; }
  [[nodiscard]] constexpr size_t transport() const { return start + 64; }     // 20, or as many as the header has
  [[nodiscard]] constexpr size_t fragment_ext() const { return start + 84; }  // 8
};

inline constexpr uint8_t kFirstTag = 1;
inline constexpr uint8_t kSecondTag = 2;
inline constexpr uint8_t kFragmentExt = 1;
inline constexpr uint8_t kVxlan =
    2;  // in `has` of the outer: UDP, a VXLAN header, and a frame in it that is well-formed

inline constexpr Layers kOuter{0, 8};
inline constexpr size_t kVxlanHeader = 100;  // 8 bytes
inline constexpr Layers kInner{4, 112};
inline constexpr size_t kKeySize = 208;
inline constexpr size_t kKeyWords = kKeySize / 8;

class Key {
 public:
  [[nodiscard]] uint8_t* at(size_t place) { return bytes() + place; }
  [[nodiscard]] const uint8_t* at(size_t place) const { return bytes() + place; }
  [[nodiscard]] uint64_t word(size_t n) const { return words_[n]; }
  bool operator<(const Key& other) const { return words_ < other.words_; }

 private:
  [[nodiscard]] uint8_t* bytes() { return reinterpret_cast<uint8_t*>(words_.data()); }
  [[nodiscard]] const uint8_t* bytes() const { return reinterpret_cast<const uint8_t*>(words_.data()); }

  std::array<uint64_t, kKeyWords> words_{};
};

// False: the frame is malformed, and `key` of no use. `key` must be new. `headers`: where they are.
// `inner`: look into VXLAN, too.
bool ReadKey(std::span<const uint8_t> frame, bool inner, Key& key, soft::Headers& headers);

// Where the VXLAN header is that ReadKey would find; 0: there is none, or the frame in it is malformed.
size_t FindVxlan(std::span<const uint8_t> frame, const soft::Headers& headers);

}  // namespace sluice::netsluice
