// SPDX-License-Identifier: Apache-2.0
// Flows as text, and matches in packed form. What is read prints, and reads again as the same; what is refused says
// where and why in one printable line.
#include "flow_line.h"
#include "fuzz.h"
#include "sluice/flow_text.h"

namespace {

using sluice::Error;

void CheckError(const Error& error, std::string_view text) {
  FUZZ_CHECK(!error.reason.empty() && !error.detail.empty());
  FUZZ_CHECK(error.line >= 1 && error.column >= 1 && error.column <= text.size() + 1);
  for (const char c : error.detail) FUZZ_CHECK(c >= ' ' && c < 0x7f);
  FUZZ_CHECK(!sluice::Explain(error, std::string(text)).empty());
}

void Flow(std::string_view text) {
  const auto flow = sluice::ParseFlow(text);
  if (!flow) return CheckError(flow.error(), text);
  const auto again = sluice::ParseFlow(sluice::FormatFlow(*flow));
  FUZZ_CHECK(again && again->match == flow->match && again->actions == flow->actions);
  FUZZ_CHECK(again->priority == flow->priority && again->ufid == flow->ufid);
  FUZZ_CHECK(flow->match.Validate());
}

void Match(std::string_view text) {
  const auto match = sluice::ParseMatch(text);
  if (!match) return CheckError(match.error(), text);
  const auto again = sluice::ParseMatch(sluice::FormatMatch(*match));
  FUZZ_CHECK(again && *again == *match);
  const auto unpacked = sluice::Match::Unpack(match->Pack());
  FUZZ_CHECK(unpacked && *unpacked == *match);
}

void Actions(std::string_view text) {
  const auto actions = sluice::ParseActions(text);
  if (!actions) return CheckError(actions.error(), text);
  const auto again = sluice::ParseActions(sluice::FormatActions(*actions));
  FUZZ_CHECK(again && *again == *actions);
}

void Packed(std::string_view bytes) {
  const auto match = sluice::Match::Unpack(bytes);
  if (!match) return;
  const auto again = sluice::Match::Unpack(match->Pack());
  FUZZ_CHECK(again && *again == *match);
  if (!match->Validate()) return;
  const auto parsed = sluice::ParseMatch(sluice::FormatMatch(*match));
  FUZZ_CHECK(parsed && *parsed == *match);
}

void Line(std::string_view text) {
  const auto line = sluice::ctl::SplitFlow(text);
  if (!line) return CheckError(line.error(), text);
  (void)sluice::ctl::ToFlow(*line);
}

}  // namespace

// The first byte says what the rest is.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const auto rest = sluice::fuzz::Text(data + 1, size - 1);
  switch (data[0]) {
    case 'f':
      Flow(rest);
      break;
    case 'm':
      Match(rest);
      break;
    case 'a':
      Actions(rest);
      break;
    case 'p':
      Packed(rest);
      break;
    case 'l':
      Line(rest);
      break;
    case 'u':
      (void)sluice::Ufid::Parse(rest);
      break;
    default:
      (void)sluice::ParseMatchPart(rest);
  }
  return 0;
}
