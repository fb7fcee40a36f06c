// SPDX-License-Identifier: Apache-2.0
#include "sluice/ufid.h"

namespace sluice {
namespace {

constexpr bool DashBefore(size_t byte) { return byte == 4 || byte == 6 || byte == 8 || byte == 10; }

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::string Ufid::ToString() const {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(36);
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (DashBefore(i)) text += '-';
    text += kDigits[bytes[i] >> 4];
    text += kDigits[bytes[i] & 0xf];
  }
  return text;
}

std::optional<Ufid> Ufid::Parse(std::string_view text) {
  if (text.starts_with("ufid:")) text.remove_prefix(5);
  const bool dashes = text.size() == 36;
  if (!dashes && text.size() != 32) return std::nullopt;
  Ufid ufid;
  size_t at = 0;
  for (size_t i = 0; i < ufid.bytes.size(); ++i) {
    if (dashes && DashBefore(i) && text[at++] != '-') return std::nullopt;
    const int high = HexDigit(text[at]);
    const int low = HexDigit(text[at + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    ufid.bytes[i] = static_cast<uint8_t>(high << 4 | low);
    at += 2;
  }
  return ufid;
}

std::optional<Ufid> Ufid::FromBytes(std::string_view raw) {
  Ufid ufid;
  if (raw.size() != ufid.bytes.size()) return std::nullopt;
  std::memcpy(ufid.bytes.data(), raw.data(), raw.size());
  return ufid;
}

}  // namespace sluice
