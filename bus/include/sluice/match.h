// SPDX-License-Identifier: Apache-2.0
// A masked match over the fields of field.def.
//
// Plain data, no locks: share between threads as you would a struct. Values are in network byte order throughout.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "sluice/error.h"
#include "sluice/field.h"
#include "sluice/ufid.h"

namespace sluice {

using FlowKeyBytes = std::array<uint8_t, kFlowKeySize>;

class Match {
 public:
  // `value` and `mask` have Info(field).size bytes. Mask bits above Info(field).bits and value bits outside the mask
  // are cleared. Spans of another size change nothing.
  void Set(Field field, std::span<const uint8_t> value, std::span<const uint8_t> mask);
  // For fields of up to 8 bytes (others are left as they are); `value` and `mask` in host order, cut to the field.
  void SetExact(Field field, uint64_t value);
  void SetMasked(Field field, uint64_t value, uint64_t mask);
  void Clear(Field field);

  [[nodiscard]] std::span<const uint8_t> Value(Field field) const;
  [[nodiscard]] std::span<const uint8_t> Mask(Field field) const;
  // Host order, fields of up to 8 bytes.
  [[nodiscard]] uint64_t ValueOf(Field field) const;
  [[nodiscard]] uint64_t MaskOf(Field field) const;
  [[nodiscard]] bool Has(Field field) const;      // any mask bit set
  [[nodiscard]] bool IsExact(Field field) const;  // all significant mask bits set
  // Bit n is set where Has(Field n).
  [[nodiscard]] uint64_t FieldBits() const { return present_; }
  // All fields at once, each at its Info(field).offset. Key bits outside the mask are 0.
  [[nodiscard]] const FlowKeyBytes& KeyBytes() const { return key_; }
  [[nodiscard]] const FlowKeyBytes& MaskBytes() const { return mask_; }

  // Refuses what no packet can be: a field whose protocol is not matched exactly (ports without ip proto, ipv4 without
  // eth_type 0x0800, a second tag without the first, ...), named in the error ("bad_match").
  [[nodiscard]] Result<void> Validate() const;

  // Packed form, as it travels (bus/flow.md): for each field with a mask, in the order of field.def, one byte field
  // number, one byte size, value, mask. Equal matches have equal packed forms.
  [[nodiscard]] std::string Pack() const;
  // Validates sizes and field numbers, not Validate(). Takes fields in any order, each once. Errors: "bad_match".
  static Result<Match> Unpack(std::string_view packed);

  // XXH3 (128 bits, seed 0, canonical big-endian form) of the packed form: the same match has the same ufid on every
  // machine and version.
  [[nodiscard]] Ufid DeriveUfid() const;

  bool operator==(const Match&) const = default;

 private:
  FlowKeyBytes key_{};
  FlowKeyBytes mask_{};
  uint64_t present_ = 0;  // follows from mask_
};
static_assert(kFieldCount <= 64, "present_ has a bit for each field");

}  // namespace sluice
