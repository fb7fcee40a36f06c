// SPDX-License-Identifier: Apache-2.0
#include "text_scanner.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <vector>

namespace sluice {
namespace {

constexpr bool IsWordChar(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || (c >= 'A' && c <= 'Z');
}

constexpr bool IsTokenChar(char c) {
  return static_cast<unsigned char>(c) > ' ' && c != 0x7f && c != ',' && c != '/' && c != '(' && c != ')';
}

template <bool (*kTest)(char)>
constexpr std::array<bool, 256> Table() {
  std::array<bool, 256> table{};
  for (int c = 0; c < 256; ++c) table[static_cast<size_t>(c)] = kTest(static_cast<char>(c));
  return table;
}
constexpr auto kWordChars = Table<IsWordChar>();
constexpr auto kTokenChars = Table<IsTokenChar>();

size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row[b.size()];
}

}  // namespace

bool TextScanner::Expect(char c) {
  if (Accept(c)) return true;
  return FailExpected(std::string{'\'', c, '\''});
}

std::string_view TextScanner::Word() {
  SkipSpace();
  const size_t start = at_;
  while (!AtEnd() && kWordChars[static_cast<unsigned char>(text_[at_])]) ++at_;
  return text_.substr(start, at_ - start);
}

std::string_view TextScanner::Token() {
  SkipSpace();
  const size_t start = at_;
  while (!AtEnd() && kTokenChars[static_cast<unsigned char>(text_[at_])]) ++at_;
  return text_.substr(start, at_ - start);
}

std::string_view TextScanner::Until(std::string_view stops) {
  const size_t start = at_;
  at_ = std::min(text_.find_first_of(stops, at_), text_.size());
  return text_.substr(start, at_ - start);
}

std::string_view TextScanner::Balanced() {
  const size_t start = at_;
  size_t depth = 0;
  for (; !AtEnd(); ++at_) {
    const char c = text_[at_];
    if (c == '(') ++depth;
    if (depth == 0 && (c == ')' || c == ',' || IsSpace(c))) break;
    if (c == ')') --depth;
  }
  return text_.substr(start, at_ - start);
}

bool TextScanner::Number(uint64_t max, std::string_view what, uint64_t* value) {
  SkipSpace();
  const char* begin = text_.data() + at_;
  const char* end = text_.data() + text_.size();
  const bool hex = end - begin > 2 && begin[0] == '0' && (begin[1] | 0x20) == 'x';
  const auto [stop, error] = std::from_chars(hex ? begin + 2 : begin, end, *value, hex ? 16 : 10);
  if (error == std::errc::invalid_argument) {
    return FailExpected(std::string(what.empty() ? "" : what) + (what.empty() ? "a number" : " as a number"));
  }
  const auto length = static_cast<size_t>(stop - begin);
  const std::string_view text = text_.substr(at_, length);
  if (error == std::errc::result_out_of_range || *value > max) {
    return Fail(at_, (what.empty() ? std::string("number") : std::string(what)) + ' ' + std::string(Quote(text)) +
                         " is too large: at most " + std::to_string(max));
  }
  if (!hex && length > 1 && begin[0] == '0') {
    return Fail(at_, "number " + Quote(text) + " starts with 0; write it without, or as 0x..");
  }
  at_ += length;
  return true;
}

bool TextScanner::HexByte(uint8_t* value) {
  const char* begin = text_.data() + at_;
  const char* end = text_.data() + std::min(at_ + 2, text_.size());
  const auto [stop, error] = std::from_chars(begin, end, *value, 16);
  if (error != std::errc{}) return false;
  at_ += static_cast<size_t>(stop - begin);
  return true;
}

bool TextScanner::Fail(size_t position, std::string detail) { return Fail(position, {}, std::move(detail)); }

bool TextScanner::Fail(size_t position, std::string_view reason, std::string detail) {
  if (!failed_) {
    failed_ = true;
    failed_at_ = position;
    reason_ = reason;
    detail_ = std::move(detail);
  }
  return false;
}

bool TextScanner::FailExpected(std::string_view what) {
  SkipSpace();
  std::string found = "the end of the text";
  if (!AtEnd()) {
    size_t end = at_;
    while (end < text_.size() && kTokenChars[static_cast<unsigned char>(text_[end])]) ++end;
    found = Quote(text_.substr(at_, std::max<size_t>(end - at_, 1)));
  }
  return Fail(at_, "expected " + std::string(what) + ", found " + found);
}

Error TextScanner::TakeError(std::string_view reason) {
  const std::string_view before = text_.substr(0, failed_at_);
  const size_t line_start = before.rfind('\n') + 1;  // npos + 1 is 0
  return Error{reason_.empty() ? std::string(reason) : reason_, detail_,
               static_cast<uint32_t>(std::count(before.begin(), before.end(), '\n') + 1),
               static_cast<uint32_t>(failed_at_ - line_start + 1)};
}

std::string Quote(std::string_view text) {
  constexpr size_t kMost = 40;
  std::string out = "'";
  for (const char c : text.substr(0, kMost)) {
    if (c >= ' ' && c < 0x7f) {
      out += c;
    } else {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\x%02x", static_cast<unsigned char>(c));
      out += escaped;
    }
  }
  return out + (text.size() > kMost ? "...'" : "'");
}

std::string DidYouMean(std::string_view word, std::span<const std::string_view> names) {
  if (word.empty() || word.size() > 32) return {};
  std::string_view best;
  size_t best_distance = std::min<size_t>(3, (word.size() + 3) / 2);
  for (const std::string_view name : names) {
    const size_t distance = EditDistance(word, name);
    if (distance < best_distance) {
      best_distance = distance;
      best = name;
    }
  }
  return best.empty() ? std::string() : "; did you mean " + Quote(best) + '?';
}

bool LooksLikeNumber(std::string_view text) {
  if (text.empty()) return false;
  if (text.size() > 2 && text[0] == '0' && (text[1] | 0x20) == 'x') {
    text.remove_prefix(2);
    return text.find_first_not_of("0123456789abcdefABCDEF") == std::string_view::npos;
  }
  return text.find_first_not_of("0123456789") == std::string_view::npos;
}

}  // namespace sluice
