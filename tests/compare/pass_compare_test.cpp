// SPDX-License-Identifier: Apache-2.0
// The XDP programs of first and later passes against the reference, on generated flows and packets: recirculation,
// tunnels, connection tracking.
//
// SLUICE_SEED=N runs one seed again; SLUICE_COMPARE_PACKETS=N that many packets.
#include "compare/pass_compare.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <memory>

#include "support/netns.h"
#include "support/process.h"

namespace sluice::compare {
namespace {

constexpr size_t kStepsPerScenario = 300;

uint64_t Packets() {
  const char* asked = std::getenv("SLUICE_COMPARE_PACKETS");
  return asked != nullptr ? std::strtoull(asked, nullptr, 0) : 10000;
}

class ComparePasses : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    why_not_ = test::WhyNoKernelTests();
    if (!why_not_.empty()) return;
    rig_ = std::make_unique<Rig>();
    // Where set(tunnel(...)) sends: the kernel knows the way.
    const std::string device = Rig::Device(3);
    std::ofstream("/proc/sys/net/ipv4/conf/" + device + "/forwarding") << "1";
    test::RunOrThrow({"ip", "addr", "add", "172.16.3.1/24", "dev", device});
    for (const std::string last : {"2", "3"}) {
      test::RunOrThrow({"ip", "neigh", "replace", "172.16.3." + last, "lladdr", "02:00:00:00:03:0" + last, "dev",
                        device, "nud", "permanent"});
    }
  }
  static void TearDownTestSuite() { rig_.reset(); }
  void SetUp() override {
    if (!why_not_.empty()) GTEST_SKIP() << why_not_;
  }

  static inline std::string why_not_;
  static inline std::unique_ptr<Rig> rig_;
};

// As few steps of a failing scenario as still fail, within 30 seconds.
Scenario Shrink(PassSubject& subject, Scenario least) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  for (size_t piece = least.size() / 2; piece > 0; piece /= 2) {
    for (size_t at = 0; at < least.size() && std::chrono::steady_clock::now() < deadline;) {
      Scenario attempt = least;
      const auto first = attempt.begin() + static_cast<ptrdiff_t>(at);
      attempt.erase(first, first + static_cast<ptrdiff_t>(std::min(piece, least.size() - at)));
      PassTally ignored;
      if (RunPassScenario(subject, attempt, 0, ignored)) {
        least = std::move(attempt);
      } else {
        at += piece;
      }
    }
  }
  return least;
}

TEST_F(ComparePasses, GeneratedScenarios) {
  const uint64_t first_seed = reference::SeedFromEnvironment();
  std::cout << "seed " << first_seed << "\n";
  PassSubject subject(*rig_, SLUICE_MISS_UPCALL);
  if (!subject.why_no_ct().empty()) GTEST_SKIP() << subject.why_no_ct();
  PassTally tally;
  const auto missing = [&] { return std::min({tally.too_long, tally.too_deep, tally.related}) <= Packets() / 5000; };
  for (uint64_t seed = first_seed; tally.packets < (missing() ? 4 : 1) * Packets(); ++seed) {
    reference::Rng rng(seed);
    const Scenario scenario = RandomPassScenario(rng, kStepsPerScenario, subject.HasZones());
    // Now and then with other programs taking over in between.
    const auto difference = RunPassScenario(subject, scenario, seed % 8 == 0 ? 100 : 0, tally);
    if (!difference) continue;
    const Scenario least = Shrink(subject, scenario);
    PassTally ignored;
    const auto again = RunPassScenario(subject, least, 0, ignored);
    FAIL() << "SLUICE_SEED=" << seed << ": " << *difference << "\ncut down to " << least.size()
           << " steps: " << again.value_or("does not fail any more") << "\n"
           << Print(least);
  }
  std::cout << tally.packets << " packets: " << tally.passes << " passes after the first, " << tally.misses
            << " misses in them; " << tally.popped << " popped, " << tally.refused << " refused; " << tally.pushed
            << " pushed, " << tally.too_long << " too long; " << tally.too_deep
            << " too deep; ct: " << tally.established << " established, " << tally.related << " related, "
            << tally.invalid << " invalid\n";
  // The generator is worth something only as long as it reaches all of that.
  EXPECT_GT(tally.passes, tally.packets / 4);
  for (const uint64_t few :
       {tally.misses, tally.popped, tally.refused, tally.pushed, tally.established, tally.invalid}) {
    EXPECT_GT(few, tally.packets / 200);
  }
  EXPECT_FALSE(missing());
}

}  // namespace
}  // namespace sluice::compare
