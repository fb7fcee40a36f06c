// SPDX-License-Identifier: Apache-2.0
#include "wire_places.h"

#include <algorithm>
#include <cstring>
#include <string>

namespace sluice::xdp {
namespace {

constexpr uint8_t kDropEligible = 0x10;  // in a tag's third byte: to the flow model it says that there is a tag

// A header's first bytes, with what is to be set in them.
struct Bytes {
  std::array<uint8_t, 40> value{};
  std::array<uint8_t, 40> mask{};
};

// `bytes` at `place`, moved to the left by its shift, which begins one byte earlier then.
void Lay(const WirePlace& place, std::span<const uint8_t> bytes, std::array<uint8_t, 40>& into) {
  for (size_t i = 0; i < bytes.size(); ++i) {
    const auto shifted = static_cast<unsigned>(bytes[i]) << place.shift;
    into[place.offset + i] |= static_cast<uint8_t>(shifted);
    if (place.shift != 0) into[place.offset + i - 1] |= static_cast<uint8_t>(shifted >> 8);
  }
}

uint32_t Word(const std::array<uint8_t, 40>& bytes, size_t at) {
  uint32_t word = 0;
  std::memcpy(&word, &bytes[at], sizeof word);
  return word;
}

}  // namespace

Result<std::vector<sluice_edit>> SetEdits(const Match& fields) {
  for (const FieldInfo& info : kFields) {
    const auto has_place = [&](const WirePlace& place) { return place.field == info.id; };
    if (fields.Has(info.id) && std::none_of(kWirePlaces.begin(), kWirePlaces.end(), has_place)) {
      return Error{"unsupported_action", "XDP cannot set " + std::string(info.name)};
    }
  }
  std::vector<sluice_edit> edits;
  // Those of a header stand together in the table; a word belongs to fields with the same sums.
  for (auto place = kWirePlaces.begin(); place != kWirePlaces.end();) {
    Bytes bytes;
    std::array<sluice_sums, 10> sums{};
    const sluice_header header = place->header;
    for (; place != kWirePlaces.end() && place->header == header; ++place) {
      if (!fields.Has(place->field)) continue;
      Lay(*place, fields.Value(place->field), bytes.value);
      Lay(*place, fields.Mask(place->field), bytes.mask);
      const size_t last = place->offset + Info(place->field).size - 1U;
      for (size_t word = place->offset / 4U; word <= last / 4; ++word) sums[word] = place->sums;
    }
    if (header == SLUICE_HEADER_VLAN) {
      bytes.value[2] &= static_cast<uint8_t>(~kDropEligible);
      bytes.mask[2] &= static_cast<uint8_t>(~kDropEligible);
    }
    for (size_t word = 0; word < sums.size(); ++word) {
      sluice_edit edit{};
      edit.type = SLUICE_ACTION_SET;
      edit.header = static_cast<uint8_t>(header);
      edit.offset = static_cast<uint8_t>(word * 4);
      edit.sums = static_cast<uint8_t>(sums[word]);
      edit.value = Word(bytes.value, word * 4);
      edit.mask = Word(bytes.mask, word * 4);
      if (edit.mask != 0) edits.push_back(edit);
    }
  }
  return edits;
}

}  // namespace sluice::xdp
