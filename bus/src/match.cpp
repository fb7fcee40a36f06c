// SPDX-License-Identifier: Apache-2.0
#include "sluice/match.h"

#include <xxhash.h>

#include <bit>

#include "match_validate.h"

namespace sluice {
namespace {

constexpr size_t Index(Field field) { return static_cast<size_t>(field); }
constexpr uint64_t Bit(Field field) { return uint64_t{1} << Index(field); }

constexpr uint64_t LowBits(unsigned bits) { return bits >= 64 ? ~uint64_t{0} : (uint64_t{1} << bits) - 1; }

// The significant bits of a field's first byte; those of the others are all.
constexpr uint8_t FirstByteMask(const FieldInfo& info) {
  return info.bits % 8 == 0 ? 0xff : static_cast<uint8_t>((1u << (info.bits % 8)) - 1);
}

// memcpy of the sizes that fields have, without a call.
void Copy(void* to, const void* from, size_t size) {
  switch (size) {
    case 1:
      std::memcpy(to, from, 1);
      return;
    case 2:
      std::memcpy(to, from, 2);
      return;
    case 4:
      std::memcpy(to, from, 4);
      return;
    case 6:
      std::memcpy(to, from, 6);
      return;
    case 16:
      std::memcpy(to, from, 16);
      return;
    default:
      std::memcpy(to, from, size);
  }
}

uint64_t Load(const uint8_t* bytes, size_t size) {
  uint64_t value = 0;
  for (size_t i = 0; i < size; ++i) value = value << 8 | bytes[i];
  return value;
}

Error BadPacked(std::string detail) { return Error{"bad_match", "packed match: " + std::move(detail)}; }

}  // namespace

void Match::Set(Field field, std::span<const uint8_t> value, std::span<const uint8_t> mask) {
  const FieldInfo& info = Info(field);
  if (value.size() != info.size || mask.size() != info.size) return;
  uint8_t* key_at = key_.data() + info.offset;
  uint8_t* mask_at = mask_.data() + info.offset;
  Copy(mask_at, mask.data(), info.size);
  mask_at[0] &= FirstByteMask(info);
  uint8_t any = 0;
  for (size_t i = 0; i < info.size; ++i) {
    key_at[i] = value[i] & mask_at[i];
    any |= mask_at[i];
  }
  present_ = any != 0 ? present_ | Bit(field) : present_ & ~Bit(field);
}

void Match::SetExact(Field field, uint64_t value) { SetMasked(field, value, LowBits(Info(field).bits)); }

void Match::SetMasked(Field field, uint64_t value, uint64_t mask) {
  const FieldInfo& info = Info(field);
  if (info.size > 8) return;
  mask &= LowBits(info.bits);
  value &= mask;
  uint8_t* key_at = key_.data() + info.offset;
  uint8_t* mask_at = mask_.data() + info.offset;
  for (size_t i = info.size; i-- > 0;) {
    key_at[i] = static_cast<uint8_t>(value);
    mask_at[i] = static_cast<uint8_t>(mask);
    value >>= 8;
    mask >>= 8;
  }
  present_ &= ~Bit(field);
  if (Load(mask_at, info.size) != 0) present_ |= Bit(field);
}

void Match::Clear(Field field) {
  const FieldInfo& info = Info(field);
  std::memset(key_.data() + info.offset, 0, info.size);
  std::memset(mask_.data() + info.offset, 0, info.size);
  present_ &= ~Bit(field);
}

std::span<const uint8_t> Match::Value(Field field) const {
  return {key_.data() + Info(field).offset, Info(field).size};
}

std::span<const uint8_t> Match::Mask(Field field) const {
  return {mask_.data() + Info(field).offset, Info(field).size};
}

uint64_t Match::ValueOf(Field field) const {
  return Info(field).size > 8 ? 0 : Load(key_.data() + Info(field).offset, Info(field).size);
}

uint64_t Match::MaskOf(Field field) const {
  return Info(field).size > 8 ? 0 : Load(mask_.data() + Info(field).offset, Info(field).size);
}

bool Match::Has(Field field) const { return (present_ & Bit(field)) != 0; }

bool Match::IsExact(Field field) const {
  const FieldInfo& info = Info(field);
  const uint8_t* mask_at = mask_.data() + info.offset;
  if (mask_at[0] != FirstByteMask(info)) return false;
  for (size_t i = 1; i < info.size; ++i) {
    if (mask_at[i] != 0xff) return false;
  }
  return true;
}

Result<void> Match::Validate() const {
  if (auto fault = FindFault(*this)) return Error{"bad_match", std::move(fault->detail)};
  return {};
}

std::string Match::Pack() const {
  // Twice the whole key and two bytes a field is the most there can be.
  std::array<char, 2 * (kFlowKeySize + kFieldCount)> buffer;
  char* at = buffer.data();
  for (uint64_t left = present_; left != 0; left &= left - 1) {
    const FieldInfo& info = kFields[static_cast<size_t>(std::countr_zero(left))];
    at[0] = static_cast<char>(info.id);
    at[1] = static_cast<char>(info.size);
    Copy(at + 2, key_.data() + info.offset, info.size);
    Copy(at + 2 + info.size, mask_.data() + info.offset, info.size);
    at += 2 + 2 * info.size;
  }
  return {buffer.data(), at};
}

Result<Match> Match::Unpack(std::string_view packed) {
  Result<Match> unpacked{Match()};
  Match& match = *unpacked;
  uint64_t seen = 0;
  while (!packed.empty()) {
    if (packed.size() < 2) return BadPacked("cut off within a field");
    const auto number = static_cast<uint8_t>(packed[0]);
    const auto size = static_cast<uint8_t>(packed[1]);
    if (number >= kFieldCount) return BadPacked("there is no field " + std::to_string(number));
    const FieldInfo& info = kFields[number];
    if (size != info.size) {
      return BadPacked(std::string(info.name) + " has " + std::to_string(info.size) + " bytes, not " +
                       std::to_string(size));
    }
    if (packed.size() < 2 + 2 * size_t{size}) return BadPacked("cut off within " + std::string(info.name));
    if ((seen & Bit(info.id)) != 0) return BadPacked(std::string(info.name) + " appears twice");
    seen |= Bit(info.id);
    const auto* bytes = reinterpret_cast<const uint8_t*>(packed.data()) + 2;
    match.Set(info.id, {bytes, size}, {bytes + size, size});
    packed.remove_prefix(2 + 2 * size_t{size});
  }
  return unpacked;
}

Ufid Match::DeriveUfid() const {
  const std::string packed = Pack();
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits(packed.data(), packed.size()));
  Ufid ufid;
  std::memcpy(ufid.bytes.data(), canonical.digest, sizeof canonical.digest);
  return ufid;
}

}  // namespace sluice
