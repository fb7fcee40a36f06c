// SPDX-License-Identifier: Apache-2.0
#include "flow_line.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "sluice/ufid.h"

namespace sluice::ctl {
namespace {

constexpr std::string_view kActions = "actions:";
// Printed by OVS after the actions.
constexpr std::string_view kExtraInfo = "dp-extra-info:";
// What a dump says beside the flow itself.
constexpr std::array<std::string_view, 10> kStatistics = {"packets", "bytes",    "used",    "flags",  "offloaded",
                                                          "dp",      "software", "refused", "failed", "pending"};

bool IsSeparator(char c) { return c == ',' || c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

// The end of the word that starts at `at`: the next separator outside parentheses.
size_t WordEnd(std::string_view text, size_t at) {
  int depth = 0;
  while (at < text.size() && (depth > 0 || !IsSeparator(text[at]))) {
    if (text[at] == '(') ++depth;
    if (text[at] == ')') depth = std::max(0, depth - 1);
    ++at;
  }
  return at;
}

Error ErrorAt(std::string_view text, size_t at, std::string detail) {
  Error error{"bad_flow", std::move(detail), 1, 1};
  for (size_t i = 0; i < at; ++i) {
    ++error.column;
    if (text[i] == '\n') {
      ++error.line;
      error.column = 1;
    }
  }
  return error;
}

// For a sentence on a terminal.
std::string Shown(std::string_view value) {
  constexpr size_t kMost = 40;
  std::string shown(value.substr(0, kMost));
  std::replace_if(
      shown.begin(), shown.end(), [](char c) { return c < ' ' || c >= 0x7f; }, '?');
  return shown;
}

void Blank(std::string& text, size_t from, size_t to) {
  for (size_t i = from; i < to; ++i) {
    if (text[i] != '\n') text[i] = ' ';
  }
}

void TrimEnd(std::string& text) {
  while (!text.empty() && IsSeparator(text.back())) text.pop_back();
}

// Reads `word` into `line` if it is an attribute. False: it is none.
Result<bool> ReadAttribute(std::string_view text, size_t at, std::string_view word, FlowLine& line) {
  const size_t colon = word.find(':');
  if (colon == std::string_view::npos || word.substr(0, colon).find('(') != std::string_view::npos) return false;
  const std::string_view name = word.substr(0, colon);
  const std::string_view value = word.substr(colon + 1);
  const auto bad = [&](std::string_view what) {
    return ErrorAt(text, at + colon + 1, std::string(name) + ": '" + Shown(value) + "' is not " + std::string(what));
  };
  if (name == "ufid") {
    const auto ufid = Ufid::Parse(value);
    if (!ufid) return bad("32 hexadecimal digits");
    line.ufid = ufid->ToString();
    return true;
  }
  if (name == "priority") {
    uint32_t number = 0;
    const auto end = std::from_chars(value.data(), value.data() + value.size(), number);
    if (end.ec != std::errc() || end.ptr != value.data() + value.size()) return bad("a number from 0 to 4294967295");
    line.priority = number;
    return true;
  }
  if (name == "idle_timeout" || name == "hard_timeout") {
    const auto milliseconds = ParseSeconds(value);
    if (!milliseconds) return bad("a time in seconds");
    (name == "idle_timeout" ? line.idle_timeout_ms : line.hard_timeout_ms) = milliseconds;
    return true;
  }
  return std::find(kStatistics.begin(), kStatistics.end(), name) != kStatistics.end();
}

void TakeActions(std::string_view text, size_t at, FlowLine& line) {
  line.has_actions = true;
  line.actions = text;
  Blank(line.actions, 0, at + kActions.size());
  for (size_t i = at + kActions.size(); i < text.size();) {
    const size_t end = WordEnd(text, i);
    if (text.substr(i, end - i).starts_with(kExtraInfo)) {
      line.actions.resize(i);
      break;
    }
    i = end + 1;
  }
  TrimEnd(line.actions);
}

}  // namespace

std::optional<uint32_t> ParseSeconds(std::string_view text) {
  if (text.ends_with('s')) text.remove_suffix(1);
  double seconds = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), seconds, std::chars_format::fixed);
  if (text.empty() || end.ec != std::errc() || end.ptr != text.data() + text.size()) return std::nullopt;
  const double milliseconds = std::round(seconds * 1000);
  if (!(milliseconds >= 0 && milliseconds <= 4294967295.0)) return std::nullopt;
  return static_cast<uint32_t>(milliseconds);
}

Result<FlowLine> SplitFlow(std::string_view text) {
  FlowLine line;
  line.match = text;
  for (size_t at = 0; at < text.size();) {
    if (IsSeparator(text[at])) {
      ++at;
      continue;
    }
    if (text.substr(at).starts_with(kActions)) {
      TakeActions(text, at, line);
      line.match.resize(at);
      break;
    }
    const size_t end = WordEnd(text, at);
    auto attribute = ReadAttribute(text, at, text.substr(at, end - at), line);
    if (!attribute) return attribute.error();
    // The comma behind an attribute goes with it.
    if (*attribute) Blank(line.match, at, std::min(end + 1, text.size()));
    at = end;
  }
  TrimEnd(line.match);
  return line;
}

v1::Flow ToFlow(const FlowLine& line) {
  v1::Flow flow;
  flow.set_ufid(line.ufid);
  flow.set_match(line.match);
  flow.set_actions(line.actions);
  flow.set_priority(line.priority.value_or(0));
  flow.set_idle_timeout_ms(line.idle_timeout_ms.value_or(0));
  flow.set_hard_timeout_ms(line.hard_timeout_ms.value_or(0));
  return flow;
}

}  // namespace sluice::ctl
