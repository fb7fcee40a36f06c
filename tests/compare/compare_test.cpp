// SPDX-License-Identifier: Apache-2.0
// The XDP program against the reference, on generated flows and packets.
//
// SLUICE_SEED=N runs one seed again; SLUICE_COMPARE_PACKETS=N that many packets per miss policy.
#include "compare/compare.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <memory>

#include "sluice/flow_text.h"
#include "soft/packet.h"
#include "support/netns.h"

namespace sluice::compare {
namespace {

constexpr size_t kStepsPerScenario = 200;

uint64_t PacketsPerPolicy() {
  const char* asked = std::getenv("SLUICE_COMPARE_PACKETS");
  return asked != nullptr ? std::strtoull(asked, nullptr, 0) : 25000;
}

class CompareFields : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    why_not_ = test::WhyNoKernelTests();
    if (why_not_.empty()) rig_ = std::make_unique<Rig>();
  }
  static void TearDownTestSuite() { rig_.reset(); }
  void SetUp() override {
    if (!why_not_.empty()) GTEST_SKIP() << why_not_;
  }

  static inline std::string why_not_;
  static inline std::unique_ptr<Rig> rig_;
};

class Compare : public CompareFields, public testing::WithParamInterface<sluice_miss_policy> {};

TEST_P(Compare, GeneratedScenarios) {
  const uint64_t first_seed = reference::SeedFromEnvironment();
  std::cout << "seed " << first_seed << "\n";
  Subject subject(*rig_, GetParam());
  Tally tally;
  for (uint64_t seed = first_seed; tally.packets < PacketsPerPolicy(); ++seed) {
    reference::Rng rng(seed);
    const Scenario scenario = RandomScenario(rng, kStepsPerScenario);
    const auto difference = RunScenario(subject, scenario, GetParam(), tally);
    if (!difference) continue;
    const Scenario least = Shrink(subject, scenario, GetParam(), 20);
    Tally ignored;
    const auto again = RunScenario(subject, least, GetParam(), ignored);
    FAIL() << "SLUICE_SEED=" << seed << ": " << *difference << "\ncut down to " << least.size()
           << " steps: " << again.value_or("does not fail any more") << "\n"
           << Print(least);
  }
  std::cout << tally.packets << " packets, each dry and live: " << tally.hits << " hits (" << tally.cache_hits
            << " from the cache; " << tally.edited << " edited, " << tally.expired << " expired), " << tally.misses
            << " misses, " << tally.malformed << " malformed; " << tally.flows << " flows, " << tally.for_software
            << " times actions for software, which did " << tally.software << " packets\n";
  // The generator is worth something only as long as it reaches all of that.
  EXPECT_GT(tally.hits, tally.packets / 2);
  EXPECT_GT(tally.cache_hits, tally.packets / 4);
  EXPECT_GT(tally.edited, tally.packets / 10);
  EXPECT_GT(tally.expired, tally.packets / 200);
  EXPECT_GT(tally.misses, tally.packets / 50);
  EXPECT_GT(tally.malformed, tally.packets / 200);
  EXPECT_GT(tally.software, tally.packets / 50);
}

std::string PolicyName(const testing::TestParamInfo<sluice_miss_policy>& policy) {
  if (policy.param == SLUICE_MISS_PASS) return "Pass";
  return policy.param == SLUICE_MISS_DROP ? "Drop" : "Upcall";
}
INSTANTIATE_TEST_SUITE_P(MissPolicies, Compare, testing::Values(SLUICE_MISS_PASS, SLUICE_MISS_DROP, SLUICE_MISS_UPCALL),
                         PolicyName);

TEST_F(CompareFields, FramesThatDifferInOneField) {
  const uint64_t seed = reference::SeedFromEnvironment();
  std::cout << "seed " << seed << "\n";
  reference::Rng rng(seed);
  Subject subject(*rig_, SLUICE_MISS_DROP);
  Tally tally;
  for (const auto& [name, scenario] : CollisionScenarios(rng)) {
    const auto difference = RunScenario(subject, scenario, SLUICE_MISS_DROP, tally);
    if (!difference) continue;
    FAIL() << "SLUICE_SEED=" << seed << ": " << name << ": " << *difference << "\n" << Print(scenario);
  }
  EXPECT_GT(tally.cache_hits, 1000U);
}

// Every named packet, cut at every byte, against an empty table: the same counter, and the bytes untouched.
TEST_P(Compare, CutAtEveryByte) {
  Subject subject(*rig_, GetParam());
  Scenario scenario;
  for (const auto& [name, spec] : reference::NamedPackets()) {
    const reference::Bytes frame = reference::Build(spec);
    for (size_t length = 14; length <= frame.size(); ++length) {
      Step step;
      step.frame.assign(frame.begin(), frame.begin() + static_cast<ptrdiff_t>(length));
      scenario.push_back(step);
    }
  }
  Tally tally;
  const auto difference = RunScenario(subject, scenario, GetParam(), tally);
  EXPECT_FALSE(difference) << *difference;
  EXPECT_GT(tally.malformed, 500U);
}

// What user space says a packet's fields are, when it tells a controller: the same values, and as a match one that only
// packets like it have. It may say that a field is 0 which such a packet has no room for.
TEST(PacketMatch, IsTheReferencesKey) {
  const uint64_t seed = reference::SeedFromEnvironment();
  std::cout << "seed " << seed << "\n";
  reference::Rng rng(seed);
  for (int i = 0; i < 50000; ++i) {
    reference::Bytes frame = RandomFrame(rng);
    if (rng.OneIn(4)) frame = reference::Damage(frame, rng);
    const reference::Parsed parsed = reference::Datapath::ParseOn(3, frame);
    if (parsed.malformed != reference::Malformed::kNo) continue;
    const Match match = soft::ToMatch(soft::Parse(frame, 3));
    for (const FieldInfo& field : kFields) {
      const bool same = std::ranges::equal(match.Value(field.id), parsed.key.Value(field.id));
      const bool exact = match.IsExact(field.id) || !parsed.key.Has(field.id);
      ASSERT_TRUE(same && exact) << "SLUICE_SEED=" << seed << " " << field.name << " of " << reference::Hex(frame)
                                 << "\n"
                                 << FormatMatch(match) << "\n"
                                 << FormatMatch(parsed.key);
    }
  }
}

}  // namespace
}  // namespace sluice::compare
