// SPDX-License-Identifier: Apache-2.0
#include "sluice/utf8.h"

#include <cstdint>

namespace sluice {
namespace {

// Bytes of the character that `text`, which is not empty, begins with; 0: it begins with none.
size_t CharacterAt(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte(0);
  if (first < 0x80) return 1;
  size_t size = 0;
  if (first >= 0xc2 && first <= 0xdf) size = 2;
  if (first >= 0xe0 && first <= 0xef) size = 3;
  if (first >= 0xf0 && first <= 0xf4) size = 4;
  if (size == 0 || text.size() < size) return 0;
  // Overlong forms, surrogates and what is beyond U+10FFFF show in the second byte.
  uint8_t least = 0x80;
  uint8_t most = 0xbf;
  if (first == 0xe0) least = 0xa0;
  if (first == 0xed) most = 0x9f;
  if (first == 0xf0) least = 0x90;
  if (first == 0xf4) most = 0x8f;
  if (byte(1) < least || byte(1) > most) return 0;
  for (size_t i = 2; i < size; ++i) {
    if (byte(i) < 0x80 || byte(i) > 0xbf) return 0;
  }
  return size;
}

}  // namespace

std::string Utf8(std::string_view text, size_t most) {
  std::string out;
  while (!text.empty()) {
    const size_t size = CharacterAt(text);
    if (out.size() + (size == 0 ? 1 : size) > most) break;
    if (size == 0) {
      out += '?';
    } else {
      out.append(text.substr(0, size));
    }
    text.remove_prefix(size == 0 ? 1 : size);
  }
  return out;
}

}  // namespace sluice
