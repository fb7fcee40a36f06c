// SPDX-License-Identifier: Apache-2.0
// The plugin and its software NIC against the reference, on generated flows and packets: wherever a flow ends up - in
// the device, marked by it, in software - the packet must do the same, and be counted once.
//
// SLUICE_SEED=N runs one seed again; SLUICE_COMPARE_PACKETS=N that many packets for each profile.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <stdexcept>

#include "compare/scenario.h"
#include "nic_rig.h"

namespace sluice::rteflow {
namespace {

using compare::Step;
using reference::Datapath;
using reference::Outcome;

constexpr size_t kStepsPerScenario = 200;

uint64_t PacketsPerProfile() {
  const char* asked = std::getenv("SLUICE_COMPARE_PACKETS");
  return asked != nullptr ? std::strtoull(asked, nullptr, 0) : 20000;
}

struct Tally {
  bool may_be_uncounted = false;  // the device may drop what it does not count
  uint64_t packets = 0, misses = 0, malformed = 0;
  std::map<std::string, uint64_t> hits;  // by where the flow was: "full", "partial", or the reason of software
};

std::string Show(const std::vector<reference::Emission>& emissions) {
  std::string text;
  for (const auto& [port, frame] : emissions) {
    text += "\n    port " + std::to_string(port) + " " + reference::Hex(frame);
  }
  return text.empty() ? " nothing" : text;
}

Ufid UfidOf(uint64_t flow) { return *Ufid::FromBytes(UfidBytes(flow)); }

// Text has `drop` alone: it ends a list, and so does the list's end.
Actions WithoutDrop(const Actions& actions) {
  Actions kept;
  for (const Action& action : actions) {
    if (std::holds_alternative<Drop>(action)) break;
    kept.push_back(action);
    if (auto* ttl = std::get_if<DecTtl>(&kept.back())) ttl->expired = WithoutDrop(ttl->expired);
  }
  return kept;
}

class Runner {
 public:
  Runner(NicRig& rig, Tally& tally) : rig_(rig), tally_(tally), reference_({1, 2, 3, 4}) {}
  ~Runner() {
    for (const auto& [ufid, flow] : reference_.flows()) rig_.Delete(NumberOf(std::string(ufid.AsBytes())));
  }

  // Throws std::runtime_error with the difference.
  void Do(const Step& step) {
    const bool known = reference_.flows().contains(UfidOf(step.flow));
    switch (step.kind) {
      case Step::Kind::kPut:
        if (!known) Put(step.flow, step.match, step.actions, step.priority);
        return;
      case Step::Kind::kModify:
        if (known) Put(step.flow, reference_.flows().at(UfidOf(step.flow)).match, step.actions, step.priority);
        return;
      case Step::Kind::kDelete:
        if (known) Delete(step.flow);
        return;
      default:
        Packet(step);
    }
  }

 private:
  [[noreturn]] static void Fail(const std::string& what) { throw std::runtime_error(what); }

  void Hear(const v1::FromPlugin& answer) {
    for (const auto& verdict : answer.verdicts()) {
      if (verdict.deleted()) continue;
      std::string where = verdict.reason();
      if (verdict.state() == v1::INSTALLED) {
        where = !where.empty() ? where : verdict.detail().empty() ? "full" : "uncounted";
      } else if (verdict.state() != v1::SOFTWARE) {
        Fail("flow " + std::to_string(NumberOf(verdict.ufid())) + ": " + verdict.ShortDebugString());
      }
      where_[NumberOf(verdict.ufid())] = where;
    }
    if (answer.stats_size() != 0) Fail("stray packets were counted: " + answer.ShortDebugString());
  }

  void Put(uint64_t number, const Match& match, const Actions& actions, uint32_t priority) {
    reference::Flow flow;
    flow.ufid = UfidOf(number);
    flow.match = match;
    flow.actions = actions;
    flow.priority = priority;
    reference_.Put(flow);
    Hear(rig_.Put(number, match, WithoutDrop(actions), priority));
  }

  void Delete(uint64_t number) {
    reference_.Delete(UfidOf(number));
    Hear(rig_.Delete(number));
    where_.erase(number);
  }

  void Packet(const Step& step) {
    ++tally_.packets;
    const reference::Parsed parsed = Datapath::ParseOn(step.port, step.frame);
    const bool malformed = parsed.malformed != reference::Malformed::kNo;
    auto candidates = malformed ? std::vector<reference::Flow*>{} : reference_.Candidates(parsed.key);
    Seen seen = rig_.Send(step.port, step.frame);
    std::ranges::sort(seen.emissions);
    if (candidates.empty()) {
      ++(malformed ? tally_.malformed : tally_.misses);
      if (!seen.counted.empty())
        Fail("flow " + std::to_string(seen.counted.begin()->first) + " counted it, none takes it");
      if (!seen.emissions.empty()) Fail("came out:" + Show(seen.emissions) + "\nexpected nothing");
      CompareUpcalls(seen, {step.frame}, malformed ? "malformed" : "miss");
      return;
    }
    // A device that can do nothing else for a flow drops without counting.
    const auto drops = [&](const auto* flow) {
      return reference::Execute(flow->actions, step.frame, step.port, reference_.ports()) == Outcome{};
    };
    if (seen.counted.empty() && tally_.may_be_uncounted && std::ranges::any_of(candidates, drops)) {
      ++tally_.hits["uncounted"];
      if (!seen.emissions.empty() || !seen.upcalls.empty()) Fail("a dropped packet came out:" + Show(seen.emissions));
      return;
    }
    if (seen.counted.size() != 1) Fail(std::to_string(seen.counted.size()) + " flows counted it");
    const auto& [number, stats] = *seen.counted.begin();
    const auto taken =
        std::ranges::find_if(candidates, [&, n = number](const auto* flow) { return flow->ufid == UfidOf(n); });
    if (taken == candidates.end()) {
      Fail("flow " + std::to_string(number) + " (" + where_[number] + ") took it; flow " +
           std::to_string(NumberOf(std::string(candidates.front()->ufid.AsBytes()))) + " should have");
    }
    const std::string where = " of flow " + std::to_string(number) + " (" + where_[number] + ")";
    ++tally_.hits[where_[number]];
    if (stats.packets() != 1 || stats.bytes() != step.frame.size() || stats.used_ns() == 0) {
      Fail("statistics" + where + ": " + stats.ShortDebugString());
    }
    Outcome outcome = reference_.Hit(**taken, step.frame, step.port);
    std::ranges::sort(outcome.emissions);
    if (seen.emissions != outcome.emissions) {
      Fail("came out" + where + ":" + Show(seen.emissions) + "\nexpected:" + Show(outcome.emissions));
    }
    CompareUpcalls(seen, outcome.upcalls, "action");
  }

  static void CompareUpcalls(const Seen& seen, const std::vector<reference::Bytes>& expected,
                             const std::string& reason) {
    if (seen.upcalls.size() != expected.size()) {
      Fail(std::to_string(seen.upcalls.size()) + " upcalls, expected " + std::to_string(expected.size()));
    }
    for (size_t i = 0; i < expected.size(); ++i) {
      const v1::Upcall& upcall = seen.upcalls[i];
      if (upcall.reason() != reason) Fail("an upcall for " + upcall.reason() + ", expected " + reason);
      const reference::Bytes data(upcall.data().begin(), upcall.data().end());
      if (data != expected[i]) Fail("upcall " + reference::Hex(data) + "\nexpected " + reference::Hex(expected[i]));
    }
  }

  NicRig& rig_;
  Tally& tally_;
  Datapath reference_;
  std::map<uint64_t, std::string> where_;
};

std::optional<std::string> RunScenario(NicRig& rig, const compare::Scenario& scenario, Tally& tally) {
  std::optional<std::string> difference;
  {
    Runner runner(rig, tally);
    for (size_t i = 0; i < scenario.size() && !difference; ++i) {
      try {
        runner.Do(scenario[i]);
      } catch (const std::runtime_error& failure) {
        difference = "step " + std::to_string(i) + ": " + failure.what();
      }
    }
  }
  rig.Look();
  return difference;
}

// Leaves out ever smaller pieces, as long as it fails without them.
compare::Scenario Shrink(NicRig& rig, compare::Scenario least, bool may_be_uncounted) {
  for (size_t piece = least.size() / 2; piece > 0; piece /= 2) {
    for (size_t at = 0; at < least.size();) {
      compare::Scenario attempt = least;
      const auto first = attempt.begin() + static_cast<ptrdiff_t>(at);
      attempt.erase(first, first + static_cast<ptrdiff_t>(std::min(piece, least.size() - at)));
      Tally ignored;
      ignored.may_be_uncounted = may_be_uncounted;
      if (RunScenario(rig, attempt, ignored)) {
        least = std::move(attempt);
      } else {
        at += piece;
      }
    }
  }
  return least;
}

class NicCompare : public testing::TestWithParam<std::string> {};

TEST_P(NicCompare, GeneratedScenarios) {
  if (!WhyNoNic().empty()) GTEST_SKIP() << WhyNoNic();
  const uint64_t first_seed = reference::SeedFromEnvironment();
  std::cout << "seed " << first_seed << "\n";
  const bool is_tap = GetParam() == "profile=net_tap";
  NicRig rig(GetParam(), {{"uncounted", is_tap ? "yes" : "no"}});
  Tally tally;
  tally.may_be_uncounted = is_tap;
  for (uint64_t seed = first_seed; tally.packets < PacketsPerProfile(); ++seed) {
    reference::Rng rng(seed);
    const compare::Scenario scenario = compare::RandomScenario(rng, kStepsPerScenario);
    const auto difference = RunScenario(rig, scenario, tally);
    if (!difference) continue;
    const compare::Scenario least = Shrink(rig, scenario, is_tap);
    Tally ignored;
    ignored.may_be_uncounted = is_tap;
    const auto again = RunScenario(rig, least, ignored);
    FAIL() << "SLUICE_SEED=" << seed << ": " << *difference << "\ncut down to " << least.size()
           << " steps: " << again.value_or("does not fail any more") << "\n"
           << compare::Print(least);
  }
  std::cout << tally.packets << " packets, " << tally.misses << " misses, " << tally.malformed << " malformed; hits:";
  for (const auto& [where, count] : tally.hits) std::cout << " " << where << " " << count;
  std::cout << "\n";
  // The generator is worth something only as long as it reaches all of that.
  EXPECT_GT(tally.misses, tally.packets / 50);
  EXPECT_GT(tally.malformed, tally.packets / 200);
  const std::string profile = GetParam().substr(0, GetParam().find(','));
  if (profile == "profile=full") {
    EXPECT_GT(tally.hits["full"], tally.packets / 50);
  }
  if (profile.starts_with("profile=mark") || profile == "profile=full") {
    EXPECT_GT(tally.hits["partial"], tally.packets / 20);
  }
  EXPECT_EQ(tally.hits.contains("uncounted"), is_tap);
  EXPECT_GT(tally.hits["outranked"], 0U);
  for (uint32_t port = 1; port <= NicRig::kPorts; ++port) {
    EXPECT_EQ(rig.DeviceCounter(port, "flow_rules"), 0U) << "rules were left behind";
  }
}

std::string NameOfProfile(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param.substr(info.param.find('=') + 1);
  std::erase_if(name, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; });
  return name;
}
INSTANTIATE_TEST_SUITE_P(Profiles, NicCompare,
                         testing::Values("profile=full", "profile=mark-count", "profile=mark-needs-queue",
                                         "profile=no-count", "profile=drop-only", "profile=i40e", "profile=mlx5",
                                         "profile=net_tap"),
                         NameOfProfile);

}  // namespace
}  // namespace sluice::rteflow
