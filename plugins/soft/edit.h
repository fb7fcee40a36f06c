// SPDX-License-Identifier: Apache-2.0
// Edits of one frame's headers, with the checksums that follow from them. Internal to the library.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "checksum.h"
#include "execute.h"
#include "packet.h"
#include "sluice/action.h"
#include "sluice/match.h"

namespace sluice::soft {

// Whether Editor::Set knows the field.
bool CanSet(Field field);

// An edit of a header that the frame does not have does nothing. One object per frame and list of actions.
class Editor {
 public:
  // `headers`: where they are in `frame` as it is now. Pushes and pops are minded from then on.
  Editor(Frame& frame, const Headers& headers) : frame_(frame), headers_(headers) {}

  void Push(const PushVlan& tag);
  void PopTag();
  // Each field of `fields`, by its mask: new = (old & ~mask) | (value & mask).
  void Set(const Match& fields);
  // False, and nothing done, where the packet has a TTL or hop limit, of 1 or 0.
  [[nodiscard]] bool DecrementTtl();

 private:
  // A field's place in a header, and what is to become of its bytes.
  struct Write {
    size_t offset;  // from the header's beginning
    std::span<const uint8_t> value;
    std::span<const uint8_t> mask;
  };

  void SetOne(Field field, std::span<const uint8_t> value, std::span<const uint8_t> mask);
  void SetTag(const Write& write);
  void SetIpv4(const Write& write, bool address);
  void SetIpv6(const Write& write, bool pseudo_header);
  void SetTrafficClass(uint8_t value, uint8_t mask);
  void SetSctp(const Write& write);
  void UpdateLayer4(const ChecksumChange& change);

  [[nodiscard]] bool HasTag() const;
  [[nodiscard]] uint8_t* Layer3At() const { return frame_.bytes().data() + headers_.l3_offset + shift_; }
  [[nodiscard]] uint8_t* Layer4At() const { return frame_.bytes().data() + headers_.l4_offset + shift_; }
  [[nodiscard]] std::span<const uint8_t> SctpMessage() const;

  Frame& frame_;
  const Headers headers_;
  ptrdiff_t shift_ = 0;  // how much further back layers 3 and 4 are than headers_ says
};

}  // namespace sluice::soft
