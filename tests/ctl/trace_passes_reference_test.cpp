// SPDX-License-Identifier: Apache-2.0
// Traces through several passes against the reference, on generated flows and packets. SLUICE_SEED=N runs one seed
// again.
#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>

#include "compare/pass_scenario.h"
#include "reference/passes.h"
#include "sluice/flow_text.h"
#include "trace_rig.h"

namespace sluice::ctl {
namespace {

using compare::Scenario;
using compare::Step;
using reference::Bytes;
using reference::Journey;

constexpr int kScenarios = 60;
constexpr size_t kSteps = 300;

// The tunnel ports of the scenarios in the place of the rig's.
void SetTunnels(TraceRig& rig) {
  rig.ports().DeleteSubrange(5, rig.ports().size() - 5);
  for (v1::Port& port : rig.ports()) (*port.mutable_info())["mtu"] = std::to_string(compare::kTunnelMtu);
  for (const auto& [number, tunnel] : compare::TunnelPorts()) {
    using Kind = reference::TunnelPort::Kind;
    using Checksum = reference::TunnelPort::Checksum;
    v1::Port& port = *rig.ports().Add();
    port.set_name("t" + std::to_string(number));
    port.set_number(number);
    port.set_plugin("xdp");
    port.set_state("up");
    auto& options = *port.mutable_options();
    options["tunnel"] = tunnel.kind == Kind::kVxlan ? "vxlan" : tunnel.kind == Kind::kGeneve ? "geneve" : "gre";
    options["underlay"] = "p" + std::to_string(tunnel.underlay);
    if (tunnel.udp_port != 0) options["dst_port"] = std::to_string(tunnel.udp_port);
    options["csum"] = tunnel.checksum == Checksum::kRequire  ? "require"
                      : tunnel.checksum == Checksum::kVerify ? "verify"
                                                             : "ignore";
  }
}

class Both {
 public:
  explicit Both(uint32_t in_port) : in_port_(in_port), rig_(in_port, {21, 22, 23, 24}) { SetTunnels(rig_); }

  void Do(const Step& step) {
    const Ufid ufid = *Ufid::Parse(TraceRig::UfidOf(step.flow));
    if (step.kind == Step::Kind::kDelete) {
      datapath_.Delete(ufid);
      rig_.Remove(step.flow);
    } else if (step.kind == Step::Kind::kPut) {
      datapath_.Put({ufid, step.match, step.actions, step.priority, {}});
      rig_.Put(step.flow, FormatMatch(step.match), FormatActions(step.actions), step.priority);
    } else {
      // Connections are those of packets on all ports.
      const Journey journey = passes_.Run(step.port, step.frame);
      if (step.port == in_port_) Packet(step.frame, journey);
    }
  }

  uint64_t passes = 0, misses = 0, dropped = 0, emissions = 0, tracked = 0;

 private:
  void Packet(const Bytes& frame, const Journey& journey) {
    // A trace is told what ct finds; of marks, one for all.
    rig_.tracking = {};
    std::optional<uint32_t> mark;
    for (const reference::Tracked& found : journey.tracked) {
      rig_.tracking.states.push_back(found.state);
      if ((found.state & reference::kCtInv) != 0 || found.state == 0) continue;
      const uint32_t its = found.found_mark.value_or(0);
      if (mark && *mark != its) return;
      mark = its;
    }
    rig_.tracking.mark = mark.value_or(0);
    tracked += journey.tracked.size();
    const Trace trace = rig_.Run(frame);
    ASSERT_EQ(trace.passes.size(), journey.passes.size()) << trace.why;
    for (size_t i = 0; i < trace.passes.size(); ++i) {
      const reference::Pass& expected = journey.passes[i];
      ASSERT_EQ(trace.passes[i].frame, expected.frame);
      if (expected.malformed == reference::Malformed::kNo) {
        ASSERT_EQ(WithoutZeros(trace.passes[i].packet), WithoutZeros(FormatMatch(expected.key)));
      }
      ASSERT_EQ(trace.passes[i].flow.has_value(), expected.flow.has_value());
      if (expected.flow) {
        ASSERT_EQ(trace.passes[i].flow->ufid(), expected.flow->ToString());
      }
    }
    passes += trace.passes.size() - 1;
    CompareEnd(trace, journey);
  }

  // What was never there and what is 0 print differently, and match the same flows.
  [[nodiscard]] std::string WithoutZeros(const std::string& text) const {
    const Match all = *ParseMatchPart(text, rig_.names());
    Match some;
    for (const FieldInfo& info : kFields) {
      const auto value = all.Value(info.id);
      if (std::ranges::any_of(value, [](uint8_t byte) { return byte != 0; })) {
        some.Set(info.id, value, all.Mask(info.id));
      }
    }
    return FormatMatch(some);
  }

  void CompareEnd(const Trace& trace, const Journey& journey) {
    reference::Outcome traced;
    std::vector<TraceOutput> pushed;
    for (const TraceStep& step : trace.passes.back().steps) {
      for (const TraceOutput& output : step.outputs) {
        if (output.tunnel.empty()) {
          traced.emissions.push_back({output.port, output.frame});
        } else {
          pushed.push_back(output);
        }
      }
      if (step.upcall) traced.upcalls.push_back(step.upcall->frame);
    }
    ASSERT_EQ(pushed.size(), journey.pushed.size()) << trace.why;
    for (size_t i = 0; i < pushed.size(); ++i) {
      const auto& [port, packet] = journey.pushed[i];
      ASSERT_EQ(pushed[i].port, port);
      ASSERT_EQ(pushed[i].frame, packet.Expected(pushed[i].frame));
    }
    emissions += traced.emissions.size() + pushed.size();
    if (!journey.dropped.empty()) {
      ++dropped;
      ASSERT_TRUE(traced.emissions.empty());
      ASSERT_NE(trace.why.find("counted as " + journey.dropped), std::string::npos)
          << trace.why << ", expected " << journey.dropped;
      ASSERT_EQ(trace.end, journey.dropped == "depth_exceeded" ? TraceEnd::kTooDeep : TraceEnd::kTunnel);
    } else if (!journey.passes.back().flow) {
      ++misses;
      const bool malformed = journey.passes.back().malformed != reference::Malformed::kNo;
      ASSERT_EQ(trace.end, malformed ? TraceEnd::kMalformed : TraceEnd::kMiss);
    } else {
      ASSERT_EQ(traced, journey.outcome);
    }
  }

  const uint32_t in_port_;
  TraceRig rig_;
  reference::Datapath datapath_{{1, 2, 3, 4}};
  reference::Passes passes_{datapath_, compare::TunnelPorts(), compare::kTunnelMtu};
};

TEST(TracePassesReference, GeneratedScenarios) {
  const uint64_t first_seed = reference::SeedFromEnvironment();
  std::cout << "seed " << first_seed << "\n";
  uint64_t passes = 0;
  uint64_t misses = 0;
  uint64_t dropped = 0;
  uint64_t emissions = 0;
  uint64_t tracked = 0;
  for (uint64_t seed = first_seed; seed < first_seed + kScenarios; ++seed) {
    reference::Rng rng(seed);
    const Scenario scenario = compare::RandomPassScenario(rng, kSteps, true);
    Both both(1 + seed % 2);
    for (size_t i = 0; i < scenario.size(); ++i) {
      both.Do(scenario[i]);
      ASSERT_FALSE(testing::Test::HasFailure()) << "SLUICE_SEED=" << seed << ", step " << i << "\n" << Print(scenario);
    }
    passes += both.passes;
    misses += both.misses;
    dropped += both.dropped;
    emissions += both.emissions;
    tracked += both.tracked;
  }
  std::cout << passes << " passes after the first, " << misses << " misses, " << dropped << " dropped between passes, "
            << emissions << " emissions, " << tracked << " times ct\n";
  EXPECT_GT(passes, 1000U);
  EXPECT_GT(misses, 200U);
  EXPECT_GT(dropped, 200U);
  EXPECT_GT(emissions, 500U);
  EXPECT_GT(tracked, 500U);
}

}  // namespace
}  // namespace sluice::ctl
