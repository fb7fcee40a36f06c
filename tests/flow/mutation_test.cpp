// SPDX-License-Identifier: Apache-2.0
// Valid text with a few random changes: refused or read, never a crash; and what is read prints and reads again.
#include <gtest/gtest.h>

#include "random_flow.h"

namespace sluice {
namespace {

std::string Mutate(FlowRng& rng, std::string text, const std::string& donor) {
  static constexpr std::string_view kBytes = "(),=/:|+-.0123456789abcdefx \n\t\x00\xff[]{}";
  for (uint64_t n = 1 + rng() % 4; n > 0; --n) {
    const size_t at = text.empty() ? 0 : rng() % text.size();
    const size_t length = rng() % 12;
    switch (rng() % 6) {
      case 0:
        if (!text.empty()) text[at] = kBytes[rng() % kBytes.size()];
        break;
      case 1:
        text.insert(at, 1, kBytes[rng() % kBytes.size()]);
        break;
      case 2:
        text.erase(at, length);
        break;
      case 3:
        text.insert(at, text.substr(rng() % (text.size() + 1), length));
        break;
      case 4:
        text.insert(at, donor.substr(rng() % (donor.size() + 1), length * 4));
        break;
      default:
        text.resize(at);
    }
  }
  return text;
}

std::string RandomFlowText(FlowRng& rng) {
  FlowText flow;
  flow.match = RandomMatch(rng);
  flow.actions = RandomActions(rng);
  flow.has_actions = true;
  flow.ufid = flow.match.DeriveUfid();
  flow.priority = static_cast<uint32_t>(rng());
  flow.idle_timeout_ms = static_cast<uint32_t>(rng());
  return FormatFlow(flow);
}

TEST(Mutation, NeverCrashes) {
  FlowRng rng(FlowSeed());
  size_t accepted = 0;
  for (int i = 0; i < 60000; ++i) {
    const std::string text = Mutate(rng, RandomFlowText(rng), RandomFlowText(rng));
    const Result<FlowText> flow = ParseFlow(text);
    if (!flow) {
      ASSERT_FALSE(flow.error().detail.empty()) << text;
      ASSERT_FALSE(flow.error().reason.empty()) << text;
      ASSERT_GE(flow.error().line, 1u) << text;
      ASSERT_GE(flow.error().column, 1u) << text;
      ASSERT_LE(flow.error().column, text.size() + 1) << text;
      for (const char c : flow.error().detail) ASSERT_TRUE(c >= ' ' && c < 0x7f) << flow.error().detail;
      ASSERT_FALSE(Explain(flow.error(), text).empty());
      continue;
    }
    ++accepted;
    const std::string printed = FormatFlow(*flow);
    const Result<FlowText> again = ParseFlow(printed);
    ASSERT_TRUE(again) << text << "\nprinted\n" << Explain(again.error(), printed);
    ASSERT_EQ(again->match, flow->match) << text;
    ASSERT_EQ(again->actions, flow->actions) << text;
    ASSERT_TRUE(flow->match.Validate()) << text;
  }
  EXPECT_GT(accepted, 100u) << "mutations that are never accepted test little";
}

TEST(Mutation, NoiseIsRefused) {
  FlowRng rng(FlowSeed());
  for (int i = 0; i < 20000; ++i) {
    std::string noise(rng() % 64, '\0');
    for (char& c : noise) c = static_cast<char>(rng());
    const bool delimiters_only = noise.find_first_not_of(", \t\r\n") == std::string::npos;
    EXPECT_EQ(static_cast<bool>(ParseMatch(noise)), delimiters_only) << noise;
    (void)ParseActions(noise);
    (void)Ufid::Parse(noise);
  }
}

}  // namespace
}  // namespace sluice
