// SPDX-License-Identifier: Apache-2.0
#include <cctype>

#include "info_print.h"

namespace sluice::ctl {

Result<std::string> ParseHex(std::string_view text) {
  constexpr std::string_view kHexDigits = "0123456789abcdef";
  std::string bytes;
  int high = -1;
  for (size_t i = text.starts_with("0x") ? 2 : 0; i < text.size(); ++i) {
    const auto c = static_cast<char>(std::tolower(static_cast<unsigned char>(text[i])));
    if (high < 0 && (c == ':' || std::isspace(static_cast<unsigned char>(c)) != 0)) continue;
    const size_t digit = kHexDigits.find(c);
    if (digit == std::string_view::npos) {
      return Error{"bad_hex", std::string("'") + text[i] + "' is not a hexadecimal digit", 1,
                   static_cast<uint32_t>(i + 1)};
    }
    if (high < 0) {
      high = static_cast<int>(digit);
    } else {
      bytes += static_cast<char>(high << 4 | static_cast<int>(digit));
      high = -1;
    }
  }
  if (high >= 0) return Error{"bad_hex", "an odd number of hexadecimal digits", 1, static_cast<uint32_t>(text.size())};
  return bytes;
}

}  // namespace sluice::ctl
