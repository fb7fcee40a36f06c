// SPDX-License-Identifier: Apache-2.0
// Where the fields of a match stand in an XDP object's packet key.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <utility>
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
  // Fields that all packets which the object looks up have this value of, host order; of others it does not know flows.
  std::vector<std::pair<Field, uint32_t>> only;

  [[nodiscard]] uint32_t words() const { return size / 8; }
  [[nodiscard]] bool Has(Field field) const { return members[static_cast<size_t>(field)].size != 0; }
  [[nodiscard]] bool IsOnly(Field field) const {
    return std::any_of(only.begin(), only.end(), [&](const auto& one) { return one.first == field; });
  }
  [[nodiscard]] std::vector<std::string> FieldNames() const {  // of those that a match may have
    std::vector<std::string> names;
    for (const FieldInfo& field : kFields) {
      if (Has(field.id) || IsOnly(field.id)) names.emplace_back(field.name);
    }
    return names;
  }
};

}  // namespace sluice::xdp
