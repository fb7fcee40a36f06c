// SPDX-License-Identifier: Apache-2.0
// 128-bit flow name (OVS: unique flow identifier).
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace sluice {

struct Ufid {
  std::array<uint8_t, 16> bytes{};

  // "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx".
  [[nodiscard]] std::string ToString() const;
  // 32 hex digits, with or without the dashes, with or without "ufid:" in front.
  static std::optional<Ufid> Parse(std::string_view text);
  // From the 16 raw bytes; nullopt if `raw` has another size.
  static std::optional<Ufid> FromBytes(std::string_view raw);
  [[nodiscard]] std::string_view AsBytes() const { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

  bool operator==(const Ufid&) const = default;
  auto operator<=>(const Ufid&) const = default;
};

}  // namespace sluice

template <>
struct std::hash<sluice::Ufid> {
  size_t operator()(const sluice::Ufid& ufid) const noexcept {
    uint64_t low = 0;
    uint64_t high = 0;
    std::memcpy(&low, ufid.bytes.data(), 8);
    std::memcpy(&high, ufid.bytes.data() + 8, 8);
    return low ^ (high * 0x9e3779b97f4a7c15ULL);
  }
};
