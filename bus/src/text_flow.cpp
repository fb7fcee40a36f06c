// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>

#include "action_parser.h"
#include "field_text.h"
#include "match_parser.h"
#include "sluice/flow_text.h"

namespace sluice {
namespace {

// Statistics and origin in a dump: read over.
constexpr std::array<std::string_view, 11> kIgnored{"packets",  "bytes",   "used",   "flags",   "offloaded",    "dp",
                                                    "software", "refused", "failed", "pending", "dp-extra-info"};
constexpr std::array<std::string_view, 5> kAttributes{"ufid", "priority", "idle_timeout", "hard_timeout", "actions"};

class FlowParser {
 public:
  FlowParser(TextScanner& in, const PortNames& ports) : in_(in), ports_(ports), match_(in, ports) {}

  bool Parse(FlowText& flow) {
    in_.SkipDelimiters();
    while (!in_.AtEnd()) {
      const size_t position = in_.Position();
      const std::string_view word = in_.Word();
      if (word == "actions" && in_.Accept(':')) {
        if (!match_.Finish()) return false;
        flow.has_actions = true;
        reason_ = "bad_actions";
        if (!ActionParser(in_, ports_).All(flow.actions)) return false;
        break;
      }
      if (!(in_.Peek() == ':' ? Attribute(word, position, flow) : match_.Group(word, position))) return false;
      if (!in_.SkipDelimiters() && !in_.AtEnd()) return in_.FailExpected("',' or the end of the flow");
    }
    if (!flow.has_actions && !match_.Finish()) return false;
    flow.match = match_.match();
    return true;
  }

  [[nodiscard]] std::string_view reason() const { return reason_; }

 private:
  bool Attribute(std::string_view word, size_t position, FlowText& flow) {
    in_.Accept(':');
    if (std::find(kIgnored.begin(), kIgnored.end(), word) != kIgnored.end()) {
      in_.Balanced();
      return true;
    }
    const auto known = std::find(kAttributes.begin(), kAttributes.end(), word);
    if (known == kAttributes.end()) {
      return in_.Fail(position, "bad_flow", "unknown attribute " + Quote(word) + DidYouMean(word, kAttributes));
    }
    const unsigned bit = 1u << (known - kAttributes.begin());
    if ((seen_ & bit) != 0) return in_.Fail(position, "bad_flow", std::string(word) + ": appears twice");
    seen_ |= bit;
    if (word == "ufid") return ParseUfid(flow);
    if (word == "priority") return Priority(flow);
    return Timeout(word == "idle_timeout" ? flow.idle_timeout_ms : flow.hard_timeout_ms);
  }

  bool ParseUfid(FlowText& flow) {
    in_.SkipSpace();
    const size_t position = in_.Position();
    flow.ufid = Ufid::Parse(in_.Balanced());
    return flow.ufid ||
           in_.Fail(position, "bad_flow", "expected a ufid: 32 hexadecimal digits, with or without dashes");
  }

  bool Priority(FlowText& flow) {
    in_.SkipSpace();
    const size_t position = in_.Position();
    const std::string_view text = in_.Balanced();
    TextScanner number(text);
    uint64_t value = 0;
    if (!number.Number(0xffffffff, "priority", &value) || !number.AtEnd()) {
      return in_.Fail(position, "bad_flow", "expected a priority from 0 to 4294967295, found " + Quote(text));
    }
    flow.priority = static_cast<uint32_t>(value);
    return true;
  }

  // Seconds with at most three decimals, an 's' after them allowed.
  bool Timeout(uint32_t& ms) {
    in_.SkipSpace();
    const size_t position = in_.Position();
    std::string_view text = in_.Balanced();
    const std::string_view whole_text = text;
    if (text.ends_with('s')) text.remove_suffix(1);
    const std::string_view seconds = text.substr(0, text.find('.'));
    const std::string_view decimals = seconds.size() < text.size() ? text.substr(seconds.size() + 1) : "0";
    constexpr std::string_view kDigits = "0123456789";
    const bool digits = !seconds.empty() && !decimals.empty() && seconds.size() <= 7 && decimals.size() <= 3 &&
                        seconds.find_first_not_of(kDigits) == std::string_view::npos &&
                        decimals.find_first_not_of(kDigits) == std::string_view::npos;
    uint64_t value = 0;
    for (size_t i = 0; digits && i < seconds.size(); ++i) value = value * 10 + static_cast<uint64_t>(seconds[i] - '0');
    for (size_t i = 0; i < 3; ++i) {
      value = value * 10 + (digits && i < decimals.size() ? static_cast<uint64_t>(decimals[i] - '0') : 0);
    }
    if (!digits || value > 0xffffffff) {
      return in_.Fail(position, "bad_flow",
                      "expected seconds, with at most three decimals and up to 4294967, found " + Quote(whole_text));
    }
    ms = static_cast<uint32_t>(value);
    return true;
  }

  TextScanner& in_;
  const PortNames& ports_;
  MatchParser match_;
  unsigned seen_ = 0;  // kAttributes
  std::string_view reason_ = "bad_match";
};

void AppendTimeout(std::string& out, std::string_view name, uint32_t ms) {
  if (ms == 0) return;
  out += name;
  AppendDecimal(out, ms / 1000);
  if (ms % 1000 == 0) return;
  std::string decimals = std::to_string(1000 + ms % 1000);
  decimals[0] = '.';
  while (decimals.back() == '0') decimals.pop_back();
  out += decimals;
}

}  // namespace

Result<FlowText> ParseFlow(std::string_view text, const PortNames& ports) {
  TextScanner in(text);
  if (text.size() > kMaxTextLength) {
    in.Fail(kMaxTextLength, "the text is longer than " + std::to_string(kMaxTextLength) + " bytes");
    return in.TakeError("bad_flow");
  }
  FlowText flow;
  FlowParser parser(in, ports);
  if (!parser.Parse(flow)) return in.TakeError(parser.reason());
  return flow;
}

std::string FormatFlow(const FlowText& flow, const PortNames& ports) {
  std::string out;
  if (flow.ufid) out += ", ufid:" + flow.ufid->ToString();
  if (flow.priority != 0) out += ", priority:" + std::to_string(flow.priority);
  if (flow.match.FieldBits() != 0) out += ", " + FormatMatch(flow.match, ports);
  AppendTimeout(out, ", idle_timeout:", flow.idle_timeout_ms);
  AppendTimeout(out, ", hard_timeout:", flow.hard_timeout_ms);
  if (flow.has_actions) out += ", actions:" + FormatActions(flow.actions, ports);
  return out.empty() ? out : out.substr(2);
}

std::string FormatTcpFlags(uint32_t flags) {
  // OVS's order and letters, as tcpdump's.
  constexpr std::array<std::pair<uint32_t, std::string_view>, 12> kLetters{{{0x002, "S"},
                                                                            {0x001, "F"},
                                                                            {0x008, "P"},
                                                                            {0x004, "R"},
                                                                            {0x020, "U"},
                                                                            {0x010, "."},
                                                                            {0x040, "E"},
                                                                            {0x080, "C"},
                                                                            {0x100, "N"},
                                                                            {0x200, "[200]"},
                                                                            {0x400, "[400]"},
                                                                            {0x800, "[800]"}}};
  std::string out;
  for (const auto& [bit, letter] : kLetters) {
    if ((flags & bit) != 0) out += letter;
  }
  return out.empty() ? "none" : out;
}

}  // namespace sluice
