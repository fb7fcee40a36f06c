// SPDX-License-Identifier: Apache-2.0
// What the fuzz targets share. A target is one LLVMFuzzerTestOneInput, driven by libFuzzer or by replay.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

// Ends the process, which is how a finding is told; for what is wrong though nothing crashes.
#define FUZZ_CHECK(condition)                                                                  \
  do {                                                                                         \
    if (!(condition)) {                                                                        \
      std::fprintf(stderr, "%s:%d: this does not hold: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                            \
    }                                                                                          \
  } while (false)

namespace sluice::fuzz {

inline std::string_view Text(const uint8_t* data, size_t size) { return {reinterpret_cast<const char*>(data), size}; }

// Inputs of several steps are text as far as their payloads are, so that a corpus can be read and written by hand: each
// step begins with a line feed and "==", the first one without the line feed.
inline std::vector<std::string_view> Steps(std::string_view input) {
  constexpr std::string_view kMark = "\n==";
  std::vector<std::string_view> steps;
  if (input.starts_with(kMark.substr(1))) input.remove_prefix(kMark.size() - 1);
  for (;;) {
    const size_t end = input.find(kMark);
    steps.push_back(input.substr(0, end));
    if (end == std::string_view::npos) return steps;
    input.remove_prefix(end + kMark.size());
  }
}

// The first word, taken off `text` with the space behind it.
inline std::string_view TakeWord(std::string_view& text) {
  const size_t space = text.find(' ');
  const std::string_view word = text.substr(0, space);
  text.remove_prefix(space == std::string_view::npos ? text.size() : space + 1);
  return word;
}

}  // namespace sluice::fuzz
