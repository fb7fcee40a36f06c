// SPDX-License-Identifier: Apache-2.0
// Traces against the reference, on generated flows and packets. SLUICE_SEED=N runs one seed again.
#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>

#include "compare/scenario.h"
#include "reference/datapath.h"
#include "sluice/flow_text.h"
#include "trace_rig.h"

namespace sluice::ctl {
namespace {

using compare::Scenario;
using compare::Step;
using reference::Bytes;

constexpr int kScenarios = 60;
constexpr size_t kSteps = 200;
constexpr uint32_t kInPort = 1;

// As flows are read from text, where `drop` stands alone: without what a packet does not come to anyway.
Actions UpToDrop(const Actions& actions) {
  const auto drop = std::ranges::find_if(actions, [](const Action& one) { return std::holds_alternative<Drop>(one); });
  return {actions.begin(), drop};
}

// The flows of one scenario here and there.
class Both {
 public:
  void Put(const Step& step) {
    const Ufid ufid = *Ufid::Parse(TraceRig::UfidOf(step.flow));
    if (step.kind == Step::Kind::kModify && !datapath_.flows().contains(ufid)) return;
    reference::Flow flow{ufid, step.match, step.actions, step.priority, {}};
    if (step.kind == Step::Kind::kModify) flow.match = datapath_.flows().at(ufid).match;
    datapath_.Put(flow);
    rig_.Put(step.flow, FormatMatch(flow.match, rig_.names()), FormatActions(UpToDrop(flow.actions), rig_.names()),
             flow.priority, step.flow % 2 == 0 ? v1::INSTALLED : v1::SOFTWARE);
  }
  void Delete(const Step& step) {
    datapath_.Delete(*Ufid::Parse(TraceRig::UfidOf(step.flow)));
    rig_.Remove(step.flow);
  }

  void Packet(const Bytes& frame) {
    const Trace trace = rig_.Run(frame);
    const reference::Parsed parsed = reference::Datapath::ParseOn(kInPort, frame);
    ASSERT_EQ(trace.passes.size(), 1U);
    const TracePass& pass = trace.passes[0];
    if (parsed.malformed != reference::Malformed::kNo) {
      ++malformed;
      ASSERT_EQ(trace.end, TraceEnd::kMalformed);
      ASSERT_FALSE(pass.flow);
      return;
    }
    ASSERT_EQ(pass.packet, FormatMatch(parsed.key, rig_.names()));
    const auto candidates = datapath_.Candidates(parsed.key);
    if (candidates.empty()) {
      ++misses;
      ASSERT_EQ(trace.end, TraceEnd::kMiss);
      ASSERT_FALSE(pass.flow);
      return;
    }
    ++hits;
    ASSERT_TRUE(pass.flow);
    ASSERT_EQ(pass.equals.size() + 1, candidates.size());
    const auto same = [&](const reference::Flow* flow) { return flow->ufid.ToString() == pass.flow->ufid(); };
    const auto flow = std::ranges::find_if(candidates, same);
    ASSERT_NE(flow, candidates.end());
    Compare(trace, datapath_.Hit(**flow, frame, kInPort));
  }

  uint64_t hits = 0, misses = 0, malformed = 0, emissions = 0;

 private:
  void Compare(const Trace& trace, const reference::Outcome& expected) {
    reference::Outcome traced;
    for (const TraceStep& step : trace.passes[0].steps) {
      for (const TraceOutput& output : step.outputs) traced.emissions.push_back({output.port, output.frame});
      if (step.upcall) traced.upcalls.push_back(step.upcall->frame);
    }
    ASSERT_EQ(traced, expected);
    const bool dropped = expected.emissions.empty() && expected.upcalls.empty();
    const bool flood =
        FormatActions(*ParseActions(trace.passes[0].flow->actions(), rig_.names())).find("flood") != std::string::npos;
    if (!dropped || !flood) {
      ASSERT_EQ(trace.end, dropped ? TraceEnd::kDropped : TraceEnd::kDone);
    }
    emissions += expected.emissions.size();
  }

  TraceRig rig_{kInPort};
  reference::Datapath datapath_{{1, 2, 3, 4}};
};

TEST(TraceReference, GeneratedScenarios) {
  const uint64_t first_seed = reference::SeedFromEnvironment();
  std::cout << "seed " << first_seed << "\n";
  uint64_t hits = 0;
  uint64_t misses = 0;
  uint64_t malformed = 0;
  uint64_t emissions = 0;
  for (uint64_t seed = first_seed; seed < first_seed + kScenarios; ++seed) {
    reference::Rng rng(seed);
    const Scenario scenario = compare::RandomScenario(rng, kSteps);
    Both both;
    for (size_t i = 0; i < scenario.size(); ++i) {
      const Step& step = scenario[i];
      if (step.kind == Step::Kind::kPacket) {
        both.Packet(step.frame);
      } else if (step.kind == Step::Kind::kDelete) {
        both.Delete(step);
      } else {
        both.Put(step);
      }
      ASSERT_FALSE(testing::Test::HasFailure()) << "SLUICE_SEED=" << seed << ", step " << i << "\n" << Print(scenario);
    }
    hits += both.hits;
    misses += both.misses;
    malformed += both.malformed;
    emissions += both.emissions;
  }
  std::cout << hits << " hits, " << misses << " misses, " << malformed << " malformed, " << emissions << " emissions\n";
  EXPECT_GT(hits, 1000U);
  EXPECT_GT(misses, 100U);
  EXPECT_GT(malformed, 20U);
  EXPECT_GT(emissions, 500U);
}

}  // namespace
}  // namespace sluice::ctl
