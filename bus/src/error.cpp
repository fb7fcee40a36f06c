// SPDX-License-Identifier: Apache-2.0
#include "sluice/error.h"

#include <algorithm>
#include <string_view>

namespace sluice {
namespace {

constexpr size_t kWindow = 120;  // columns of the excerpt; pasted dumps have lines of many hundreds

std::string_view LineOf(std::string_view text, uint32_t line) {
  for (uint32_t n = 1; n < line; ++n) {
    const size_t end = text.find('\n');
    if (end == std::string_view::npos) return {};
    text.remove_prefix(end + 1);
  }
  return text.substr(0, text.find_first_of("\r\n"));
}

bool IsContinuation(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

}  // namespace

std::string Explain(const Error& error, const std::string& text) {
  if (error.line == 0) return error.detail;
  std::string out =
      "line " + std::to_string(error.line) + ", column " + std::to_string(error.column) + ": " + error.detail + '\n';
  const std::string_view line = LineOf(text, error.line);
  const size_t column = std::min<size_t>(error.column > 0 ? error.column - 1 : 0, line.size());
  // The excerpt keeps the column in view, with some of what stands before it.
  const size_t first = line.size() <= kWindow || column <= kWindow / 2 ? 0 : column - kWindow / 2;
  const std::string_view excerpt = line.substr(first, kWindow);
  std::string caret;
  if (first > 0) {
    out += "...";
    caret = "   ";
  }
  for (size_t i = 0; i < excerpt.size(); ++i) {
    const char c = excerpt[i];
    const bool control = static_cast<unsigned char>(c) < 0x20 && c != '\t';
    out += control || c == 0x7f ? '?' : c;
    if (first + i < column && !IsContinuation(c)) caret += c == '\t' ? '\t' : ' ';
  }
  if (first + excerpt.size() < line.size()) out += "...";
  return out + '\n' + caret + '^';
}

}  // namespace sluice
