// SPDX-License-Identifier: Apache-2.0
// Where the fields of a match stand in an XDP object's packet key.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "sluice/field.h"
#include "table.h"

namespace sluice::xdp {

// The largest key of an object, in 8-byte words.
inline constexpr size_t kMaxKeyWords = SLUICE_MAX_KEY_WORDS;
// The bytes of a key as they lie in memory; what is beyond KeyLayout::size is 0.
using KeyWords = std::array<uint64_t, kMaxKeyWords>;

struct KeyMember {
  uint16_t offset = 0;
  uint16_t size = 0;  // 0: the object has no such member. At least Info(field).size; values stand at its end
};

struct KeyLayout {
  uint32_t size = 0;  // bytes, a multiple of 8
  std::array<KeyMember, kFieldCount> members{};

  [[nodiscard]] uint32_t words() const { return size / 8; }
  [[nodiscard]] bool Has(Field field) const { return members[static_cast<size_t>(field)].size != 0; }
  [[nodiscard]] std::vector<std::string> FieldNames() const {  // of those it has
    std::vector<std::string> names;
    for (const FieldInfo& field : kFields) {
      if (Has(field.id)) names.emplace_back(field.name);
    }
    return names;
  }
};

}  // namespace sluice::xdp
