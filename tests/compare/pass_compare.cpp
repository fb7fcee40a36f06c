// SPDX-License-Identifier: Apache-2.0
#include "compare/pass_compare.h"

#include <algorithm>
#include <map>
#include <stdexcept>

#include "compare/flow_number.h"
#include "reference/passes.h"
#include "sluice/flow_text.h"

namespace sluice::compare {
namespace {

using reference::Journey;
using reference::Malformed;

template <typename Key>
std::string Show(const std::map<Key, uint64_t>& counts) {
  std::string text;
  for (const auto& [name, value] : counts) {
    if constexpr (std::is_same_v<Key, std::string>) {
      text += " " + name + ":" + std::to_string(value);
    } else {
      text += " " + std::to_string(name) + ":" + std::to_string(value);
    }
  }
  return text.empty() ? " none" : text;
}

std::string Show(const std::vector<reference::Emission>& emissions) {
  std::string text;
  for (const auto& [port, frame] : emissions)
    text += "\n    port " + std::to_string(port) + " " + reference::Hex(frame);
  return text.empty() ? " nothing" : text;
}

std::string Show(const Journey& journey) {
  std::string text;
  for (const reference::Pass& pass : journey.passes) {
    text += "\n    " + FormatMatch(pass.key) + " -> " +
            (pass.flow ? "flow " + std::to_string(NumberOf(*pass.flow)) : std::string("none")) + " " +
            reference::Hex(pass.frame);
  }
  return text + (journey.dropped.empty() ? "" : "\n    dropped: " + journey.dropped);
}

// Without the fields that are 0, which is what a packet has that never got them.
Match WithoutZeros(const Match& match) {
  Match some;
  for (const FieldInfo& info : kFields) {
    const auto value = match.Value(info.id);
    if (match.Has(info.id) && std::ranges::any_of(value, [](uint8_t byte) { return byte != 0; })) {
      some.Set(info.id, value, match.Mask(info.id));
    }
  }
  return some;
}

class Runner {
 public:
  Runner(PassSubject& subject, PassTally& tally) : subject_(subject), tally_(tally) {}

  // Throws std::runtime_error with the difference.
  void Do(const Step& step) {
    if (step.kind == Step::Kind::kPacket) return Packet(step);
    const bool known = datapath_.flows().contains(UfidOf(step.flow));
    if (step.kind == Step::Kind::kDelete) {
      datapath_.Delete(UfidOf(step.flow));
      subject_.Delete(step.flow);
    } else if (!known) {
      const reference::Flow flow{UfidOf(step.flow), step.match, step.actions, step.priority, {}};
      if (auto put = subject_.Put(flow, step.flow); !put) Fail(put.error().reason + ": " + put.error().detail);
      datapath_.Put(flow);
    }
  }

 private:
  [[noreturn]] static void Fail(const std::string& what) { throw std::runtime_error(what); }

  void Packet(const Step& step) {
    const Journey journey = passes_.Run(step.port, step.frame);
    const PassObserved observed = subject_.Run(step.port, step.frame);
    Note(journey);
    try {
      CompareFlows(journey, observed);
      CompareCounters(journey, observed);
      CompareEmissions(journey, observed);
      CompareUpcalls(journey, observed);
    } catch (const std::runtime_error& difference) {
      Fail(std::string(difference.what()) + "\n  the reference:" + Show(journey));
    }
  }

  void Note(const Journey& journey) {
    ++tally_.packets;
    tally_.passes += journey.passes.size() - 1;
    if (journey.passes.size() > 1 && journey.dropped.empty() && !journey.passes.back().flow) ++tally_.misses;
    tally_.popped += journey.counters.contains("tnl_popped") ? 1 : 0;
    tally_.pushed += journey.pushed.size();
    tally_.refused += journey.dropped == "tnl_malformed" || journey.dropped == "tnl_checksum" ? 1 : 0;
    tally_.too_long += journey.dropped == "tnl_mtu" ? 1 : 0;
    tally_.too_deep += journey.dropped == "depth_exceeded" ? 1 : 0;
    for (const reference::Pass& pass : journey.passes) {
      const uint64_t state = pass.key.ValueOf(Field::ct_state);
      tally_.established += (state & reference::kCtEst) != 0 ? 1 : 0;
      tally_.related += (state & reference::kCtRel) != 0 ? 1 : 0;
      tally_.invalid += (state & reference::kCtInv) != 0 ? 1 : 0;
    }
  }

  static void CompareFlows(const Journey& journey, const PassObserved& observed) {
    std::map<uint64_t, uint64_t> expected;
    for (const reference::Pass& pass : journey.passes) {
      if (pass.flow) ++expected[NumberOf(*pass.flow)];
    }
    if (observed.flows != expected) {
      Fail("flows counted:" + Show(observed.flows) + "; expected:" + Show(expected) +
           "; counters:" + Show(observed.counters));
    }
  }

  // Those that tell the way: lookups, what happened between them, and upcalls.
  static void CompareCounters(const Journey& journey, const PassObserved& observed) {
    std::map<std::string, uint64_t> expected = journey.counters;
    if (!journey.dropped.empty()) ++expected[journey.dropped];
    for (const reference::Pass& pass : journey.passes) {
      const std::string prefix = &pass == &journey.passes.front() ? "" : "pass_";
      if (pass.malformed != Malformed::kNo) {
        ++expected[prefix + "malformed_" + std::string(reference::Name(pass.malformed))];
      } else {
        ++expected[prefix + (pass.flow ? "hit" : "miss")];
      }
    }
    const bool missed = journey.dropped.empty() && !journey.passes.back().flow;
    if (const size_t upcalls = journey.outcome.upcalls.size() + (missed ? 1 : 0)) expected["upcall"] += upcalls;
    std::map<std::string, uint64_t> seen;
    for (const auto& [name, value] : observed.counters) {
      if (name == "rx_bytes" || name == "pass_rx_bytes" || name.starts_with("output") || name == "drop") continue;
      if (name == "ttl_expired") continue;
      const bool hit = name.ends_with("hit_cache") || name.ends_with("hit_table");
      seen[hit ? name.substr(0, name.size() - 6) : name] += value;
    }
    if (seen != expected) Fail("counters:" + Show(seen) + "; expected:" + Show(expected));
  }

  static void CompareEmissions(const Journey& journey, const PassObserved& observed) {
    auto expected = journey.outcome.emissions;
    for (const auto& [port, packet] : journey.pushed) {
      const auto seen = std::ranges::find(observed.emissions, port, &reference::Emission::port);
      const reference::Bytes like = seen == observed.emissions.end() ? reference::Bytes() : seen->frame;
      expected.push_back({port, packet.Expected(like)});
    }
    auto emissions = observed.emissions;
    std::ranges::sort(emissions);
    std::ranges::sort(expected);
    if (emissions != expected) {
      Fail("came out:" + Show(emissions) + "\nexpected:" + Show(expected) + "\ncounters:" + Show(observed.counters));
    }
  }

  static void CompareUpcalls(const Journey& journey, const PassObserved& observed) {
    const reference::Pass& last = journey.passes.back();
    std::vector<reference::Bytes> expected = journey.outcome.upcalls;
    uint32_t reason = SLUICE_UPCALL_ACTION;
    if (journey.dropped.empty() && !last.flow) {
      expected = {last.frame};
      reason = last.malformed == Malformed::kNo ? SLUICE_UPCALL_MISS : SLUICE_UPCALL_MALFORMED;
    }
    if (observed.upcalls.size() != expected.size()) {
      Fail(std::to_string(observed.upcalls.size()) + " upcalls, expected " + std::to_string(expected.size()));
    }
    if (expected.empty()) return;
    const PassUpcall& seen = observed.upcalls.front();
    if (seen.reason != reason) Fail("upcall reason " + std::to_string(seen.reason));
    // All of it comes; user space reports as much as max_len says.
    if (seen.frame.size() < expected.front().size() ||
        !std::equal(expected.front().begin(), expected.front().end(), seen.frame.begin())) {
      Fail("upcall " + reference::Hex(seen.frame) + "\nexpected " + reference::Hex(expected.front()));
    }
    if (reason == SLUICE_UPCALL_ACTION && seen.cookie != NumberOf(*last.flow)) Fail("upcall of another flow");
    const bool left = journey.counters.contains("recirculated");
    if (left != seen.beside.has_value()) Fail("an upcall of another pass");
    if (left && WithoutZeros(*seen.beside) != WithoutZeros(journey.beside)) {
      Fail("upcall with " + FormatMatch(*seen.beside) + "\nexpected " + FormatMatch(journey.beside));
    }
  }

  PassSubject& subject_;
  PassTally& tally_;
  reference::Datapath datapath_{Rig::ports()};
  reference::Passes passes_{datapath_, TunnelPorts(), kTunnelMtu};
};

}  // namespace

std::optional<std::string> RunPassScenario(PassSubject& subject, const Scenario& scenario, size_t reload_every,
                                           PassTally& tally) {
  std::optional<std::string> difference;
  Runner runner(subject, tally);
  for (size_t i = 0; i < scenario.size() && !difference; ++i) {
    try {
      if (reload_every != 0 && i % reload_every == reload_every - 1) {
        if (auto reloaded = subject.Reload(); !reloaded) throw std::runtime_error("reload: " + reloaded.error().detail);
      }
      runner.Do(scenario[i]);
    } catch (const std::runtime_error& failure) {
      difference = "step " + std::to_string(i) + ": " + failure.what();
    }
  }
  subject.Clear();
  return difference;
}

}  // namespace sluice::compare
