// SPDX-License-Identifier: Apache-2.0
// Reads flow text from left to right and remembers the first error with its position.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

#include "sluice/error.h"

namespace sluice {

// Every function that returns bool returns false after the first Fail(), which callers pass on.
class TextScanner {
 public:
  explicit TextScanner(std::string_view text) : text_(text) {}

  [[nodiscard]] size_t Position() const { return at_; }
  [[nodiscard]] bool AtEnd() const { return at_ == text_.size(); }
  [[nodiscard]] char Peek() const { return AtEnd() ? '\0' : text_[at_]; }
  // Back to a position that Position() gave.
  void Rewind(size_t position) { at_ = position; }
  [[nodiscard]] std::string_view Rest() const { return text_.substr(at_); }

  void SkipSpace() {
    while (!AtEnd() && IsSpace(text_[at_])) ++at_;
  }
  // White space and commas, as OVS separates groups and actions. False where there was none.
  bool SkipDelimiters() {
    const size_t start = at_;
    while (!AtEnd() && (text_[at_] == ',' || IsSpace(text_[at_]))) ++at_;
    return at_ != start;
  }
  // Takes `c`, white space before it included, where it comes next.
  bool Accept(char c) {
    SkipSpace();
    if (Peek() != c || AtEnd()) return false;
    ++at_;
    return true;
  }
  bool Expect(char c);

  // Letters, digits, '_' and '-'; empty where something else comes next. White space before it is skipped.
  std::string_view Word();
  // What a port's name or an action may be: all up to white space, comma, slash or parenthesis.
  std::string_view Token();
  // All up to the next of `stops` or the end.
  std::string_view Until(std::string_view stops);
  // Over anything up to (not including) a comma, white space or unbalanced ')' outside all parentheses.
  std::string_view Balanced();

  // Decimal or 0x hexadecimal, at most `max`. `what` names it in errors.
  bool Number(uint64_t max, std::string_view what, uint64_t* value);
  // Hexadecimal without 0x.
  bool HexByte(uint8_t* value);

  // `detail` is the sentence about the text at `position`. Always false.
  bool Fail(size_t position, std::string detail);
  bool Fail(size_t position, std::string_view reason, std::string detail);
  // "expected WHAT, found ...", here.
  bool FailExpected(std::string_view what);
  [[nodiscard]] bool Failed() const { return failed_; }
  // The error with line and column; `reason` where the failure itself gave none.
  [[nodiscard]] Error TakeError(std::string_view reason);

 private:
  static bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

  std::string_view text_;
  size_t at_ = 0;
  bool failed_ = false;
  size_t failed_at_ = 0;
  std::string reason_;
  std::string detail_;
};

// 'text', at most 40 bytes of it, without anything that a terminal or UTF-8 would choke on.
std::string Quote(std::string_view text);

// "; did you mean 'x'?" where one of `names` is near `word`, else nothing.
std::string DidYouMean(std::string_view word, std::span<const std::string_view> names);

// The whole of `text` is a number as Number() reads it (of whatever size).
bool LooksLikeNumber(std::string_view text);

}  // namespace sluice
