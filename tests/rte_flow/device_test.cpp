// SPDX-License-Identifier: Apache-2.0
// Flows put into a device that enforces its rules on packets: net_sluice, in each of its profiles.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "flow/random_flow.h"
#include "net_sluice/rig.h"
#include "offload/offloader.h"
#include "reference/actions.h"
#include "reference/datapath.h"
#include "sluice/flow_text.h"

namespace sluice::rteflow {
namespace {

using netsluice::Port;
using netsluice::PortOptions;
using reference::Bytes;

const std::set<uint32_t> kPorts{1, 2, 3, 4};
constexpr size_t kLongest = 1500;

// Four ports, each with a wire and its other end. The flows are the first one's.
class Switch {
 public:
  explicit Switch(const std::string& devargs, Offloader::Settings settings = {}) {
    for (uint32_t i : kPorts) {
      const std::string wire = "ring=say" + std::to_string(i);
      ends_.push_back(std::make_unique<Port>("net_sluice_end" + std::to_string(i), wire));
      PortOptions options;
      options.rx_queues = i == 1 ? settings.queues : 1;
      ports_.push_back(
          std::make_unique<Port>("net_sluice_say" + std::to_string(i), wire + (i == 1 ? devargs : ""), options));
    }
    settings.ethdev = ports_[0]->id();
    settings.port_item = PortItem::kRepresentedPort;
    settings.ethdev_of = [this](uint32_t port) -> std::optional<uint16_t> {
      if (!kPorts.contains(port)) return std::nullopt;
      return ports_[port - 1]->id();
    };
    api_ = std::make_unique<EthdevFlowApi>(ports_[0]->id());
    offloader = std::make_unique<Offloader>(settings, *api_);
  }

  Result<OffloadRule> Put(const std::string& match, const std::string& actions, uint32_t mark = 7) {
    return offloader->Create({*ParseMatch(match), *ParseActions(actions), 0, mark});
  }
  std::string Extent(const std::string& match, const std::string& actions) {
    const auto rule = Put(match, actions);
    if (!rule) return rule.error().reason;
    static constexpr std::array kNames{"full", "mark, count", "mark, count, queue", "mark, queue"};
    return kNames.at(static_cast<size_t>(rule->extent)) + std::string(rule->counts ? "" : ", not counted");
  }

  // What comes out of the wires' other ends, and what comes up, of a frame that comes in by the first wire.
  struct Seen {
    reference::Outcome outcome;
    std::vector<netsluice::Received> up;
  };
  Seen Pass(const Bytes& frame) {
    EXPECT_TRUE(ends_[0]->Send(frame));
    Seen seen;
    seen.up = ports_[0]->Receive();
    for (uint32_t port : kPorts) {
      for (auto& received : ends_[port - 1]->Receive()) {
        seen.outcome.emissions.push_back({port, std::move(received.frame)});
      }
    }
    return seen;
  }

  std::unique_ptr<Offloader> offloader;

 private:
  std::vector<std::unique_ptr<Port>> ends_, ports_;
  std::unique_ptr<EthdevFlowApi> api_;
};

std::vector<reference::Emission> Sorted(std::vector<reference::Emission> emissions) {
  std::ranges::sort(emissions);
  return emissions;
}

// Most of a frame's fields.
Match FlowOf(const Match& key, FlowRng& rng) {
  using namespace random_flow;
  for (;;) {
    Match match;
    const unsigned percent = Pick<unsigned, 3>(rng, {20, 60, 95});
    for (const FieldInfo& field : kFields) {
      const bool type = NeedOf(field.id).what != Need::nothing || field.id == Field::eth_type;
      if (!key.Has(field.id) || !Chance(rng, type ? std::max(percent, 60u) : percent)) continue;
      match.Set(field.id, key.Value(field.id), RandomMask(rng, field, 85));
    }
    if (match.Validate()) return match;
  }
}

struct Tally {
  int full = 0, marked = 0, left = 0, other = 0;
};

void Compare(Switch& nic, const Match& match, const Actions& actions, const std::vector<Bytes>& frames,
             OffloadRule& rule, Tally& tally) {
  uint64_t packets = 0;
  uint64_t bytes = 0;
  for (const Bytes& frame : frames) {
    const auto parsed = reference::Parse(frame);
    const bool belongs = parsed.malformed == reference::Malformed::kNo && reference::Matches(match, parsed.key);
    const auto seen = nic.Pass(frame);
    const std::string what = FormatMatch(match) + " actions:" + FormatActions(actions) + "\n" + reference::Hex(frame);
    const bool marked = !seen.up.empty() && seen.up[0].mark;
    const bool untouched = seen.up.size() == 1 && !marked;
    if (!belongs || (untouched && !rule.exact)) {
      ASSERT_TRUE(untouched && seen.up[0].frame == frame && seen.outcome.emissions.empty()) << what;
      ++(belongs ? tally.left : tally.other);
      continue;
    }
    ++packets;
    bytes += frame.size();
    if (rule.extent == Extent::kFull) {
      const auto wanted = reference::Execute(actions, frame, 1, kPorts);
      ASSERT_EQ(Sorted(seen.outcome.emissions), Sorted(wanted.emissions)) << what;
      ASSERT_TRUE(seen.up.empty()) << what;
      ++tally.full;
    } else {
      ASSERT_TRUE(marked && seen.up[0].mark == 7u && seen.up[0].frame == frame) << what;
      ++tally.marked;
    }
  }
  if (!rule.counts) return;
  const auto counts = nic.offloader->Query(rule);
  ASSERT_TRUE(counts) << counts.error().detail;
  ASSERT_EQ(counts->packets, packets);
  ASSERT_EQ(counts->bytes, bytes);
}

void RandomFlows(Switch& nic, int flows, Tally& tally) {
  const uint64_t seed = FlowSeed();
  FlowRng rng(seed);
  reference::Rng packets(seed);
  RandomFlowOptions options;
  options.actions = {"output",    "output",    "output",    "push_vlan", "pop_vlan", "set(eth)",
                     "set(vlan)", "set(ipv4)", "set(ipv6)", "set(tcp)",  "set(udp)", "dec_ttl"};
  for (int i = 0; i < flows; ++i) {
    std::vector<Bytes> frames;
    while (frames.size() < 8) {
      auto frame = reference::Build(reference::RandomPacket(packets));
      if (frame.size() <= kLongest) frames.push_back(std::move(frame));
    }
    frames.push_back(reference::Damage(frames[0], packets));
    const auto parsed = reference::Parse(frames[0]);
    if (parsed.malformed != reference::Malformed::kNo) continue;
    const Match match = FlowOf(parsed.key, rng);
    const Actions actions = RandomActions(rng, options);
    auto rule = nic.offloader->Create({match, actions, 0, 7});
    if (!rule) {
      ASSERT_EQ(rule.error().reason, "unsupported_field") << rule.error().detail;
      continue;
    }
    Compare(nic, match, actions, frames, *rule, tally);
    if (testing::Test::HasFatalFailure()) return;
    ASSERT_TRUE(nic.offloader->Destroy(*rule));
  }
}

TEST(Device, DoesToPacketsWhatTheFlowSays) {
  Switch nic("");
  Tally tally;
  RandomFlows(nic, 4000, tally);
  EXPECT_GT(tally.full, 1000);
  EXPECT_GT(tally.marked, 100);
  EXPECT_GT(tally.other, 1000);
  for (const auto& [shape, way] : nic.offloader->Learnt()) {
    if (shape.size() < 24) std::printf("  %s: %s\n", shape.c_str(), way.c_str());
  }
}

TEST(Device, MarksThePacketsOfTheFlow) {
  for (const char* profile : {"mark-count", "mark-needs-queue", "no-count"}) {
    Switch nic(std::string(",profile=") + profile);
    Tally tally;
    RandomFlows(nic, 1000, tally);
    EXPECT_GT(tally.marked, 500) << profile;
    EXPECT_GT(tally.other, 500) << profile;
  }
}

TEST(Device, TakesWhatItsProfileHas) {
  struct Case {
    const char* profile;
    const char* forward;
    const char* edit;
    const char* drop;
  };
  for (const Case& each : {
           Case{"full", "full", "full", "full"},
           Case{"mark-count", "mark, count", "mark, count", "full"},
           Case{"mark-needs-queue", "mark, count, queue", "mark, count, queue", "full"},
           Case{"no-count", "mark, queue, not counted", "mark, queue, not counted", "mark, queue, not counted"},
           Case{"drop-only", "device_refused", "device_refused", "full"},
           Case{"i40e", "mark, queue, not counted", "mark, queue, not counted", "mark, queue, not counted"},
           Case{"mlx5", "full", "full", "full"},
           Case{"net_tap", "device_refused", "device_refused", "device_refused"},
       }) {
    for (const uint16_t queues : {1, 2}) {
      Offloader::Settings settings;
      settings.queues = queues;
      Switch nic(std::string(",profile=") + each.profile, settings);
      EXPECT_EQ(nic.Extent("eth_type(0x0800),ipv4(src=10.0.0.1,proto=6),tcp(dst=80)", "2"), each.forward)
          << each.profile;
      EXPECT_EQ(nic.Extent("eth_type(0x0800),ipv4(src=10.0.0.2,proto=6),tcp(dst=80)",
                           "set(eth(dst=02:00:00:00:00:01)),push_vlan(vid=5,pcp=0),2"),
                each.edit)
          << each.profile;
      EXPECT_EQ(nic.Extent("eth_type(0x0800),ipv4(src=10.0.0.3,proto=6),tcp(dst=80)", "drop"), each.drop)
          << each.profile;
    }
  }
}

}  // namespace
}  // namespace sluice::rteflow
