// SPDX-License-Identifier: Apache-2.0
#include "compare/compare.h"

#include <linux/bpf.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <sstream>
#include <stdexcept>
#include <variant>

#include "compare/flow_number.h"
#include "compare/xdp_actions.h"
#include "sluice/flow_text.h"

namespace sluice::compare {
namespace {

using reference::Datapath;
using reference::Flow;
using reference::Outcome;

// What a packet is expected to do to the subject.
struct Expected {
  uint32_t verdict = XDP_DROP;
  std::vector<reference::Emission> emissions;
  std::map<std::string, uint64_t> counters;  // hit_cache and hit_table together are "hit"
  uint32_t upcall_reason = 0;
  reference::Bytes upcall;
  bool never_sent = false;  // dropped whatever it is: edits and TTL need not be looked at
  // The packet goes to user space, which does what XDP cannot: these are the upcalls that it makes of it.
  std::optional<std::vector<reference::Bytes>> by_software;
};

// A packet that no flow takes, for the given reason, goes where the miss policy says.
Expected ExpectPolicy(sluice_miss_policy policy, const reference::Parsed& parsed, const reference::Bytes& frame) {
  Expected expected;
  const bool malformed = parsed.malformed != reference::Malformed::kNo;
  expected.counters[malformed ? "malformed_" + std::string(reference::Name(parsed.malformed)) : "miss"] = 1;
  switch (policy) {
    case SLUICE_MISS_PASS:
      expected.verdict = XDP_PASS;
      expected.counters["miss_pass"] = 1;
      break;
    case SLUICE_MISS_DROP:
      expected.verdict = XDP_DROP;
      expected.counters["miss_drop"] = 1;
      break;
    default:
      expected.verdict = XDP_REDIRECT;
      expected.counters["upcall"] = 1;
      expected.upcall_reason = malformed ? SLUICE_UPCALL_MALFORMED : SLUICE_UPCALL_MISS;
      expected.upcall = frame;
      break;
  }
  return expected;
}

Expected ExpectHit(const Actions& actions, const Way& way, const Outcome& outcome, const reference::Bytes& edited) {
  Expected expected;
  expected.never_sent = !SendsAnything(actions);
  expected.counters["hit"] = 1;
  if (way.expired) expected.counters["ttl_expired"] = 1;
  expected.emissions = outcome.emissions;
  std::ranges::sort(expected.emissions);
  const auto terminal = std::ranges::find_if(way.actions, IsTerminal);
  if (terminal == way.actions.end()) {
    expected.counters["drop"] = 1;
    return expected;
  }
  expected.verdict = XDP_REDIRECT;
  if (std::holds_alternative<ToController>(*terminal)) {
    expected.counters["upcall"] = 1;
    expected.upcall_reason = SLUICE_UPCALL_ACTION;
    expected.upcall = edited;  // all of it: user space reports as much as max_len says
  } else {
    const bool many = std::holds_alternative<Flood>(*terminal) || std::ranges::count_if(way.actions, IsOutput) > 1;
    expected.counters[many ? "output_many" : "output"] = 1;
  }
  return expected;
}

Expected ExpectSoftware(const Outcome& outcome) {
  Expected expected;
  expected.verdict = XDP_REDIRECT;
  expected.counters["hit"] = 1;
  expected.counters["software"] = 1;
  expected.emissions = outcome.emissions;
  std::ranges::sort(expected.emissions);
  expected.by_software = outcome.upcalls;
  return expected;
}

std::string Show(const std::vector<reference::Emission>& emissions) {
  std::string text;
  for (const auto& [port, frame] : emissions)
    text += "\n    port " + std::to_string(port) + " " + reference::Hex(frame);
  return text.empty() ? " nothing" : text;
}

std::string Show(const std::map<std::string, uint64_t>& counters) {
  std::string text;
  for (const auto& [name, value] : counters) text += " " + name + ":" + std::to_string(value);
  return text;
}

class Runner {
 public:
  Runner(Subject& subject, sluice_miss_policy policy, Tally& tally)
      : subject_(subject), policy_(policy), tally_(tally), reference_(Rig::ports()) {}

  // Throws std::runtime_error with the difference.
  void Do(const Step& step) {
    switch (step.kind) {
      case Step::Kind::kPut:
        return Put(step);
      case Step::Kind::kModify:
        return Modify(step);
      case Step::Kind::kDelete:
        reference_.Delete(UfidOf(step.flow));
        subject_.Delete(step.flow);
        if (!subject_.stray_packets().empty()) Fail("stray packets: " + subject_.stray_packets());
        return;
      default:
        Packet(step, false);
        Packet(step, true);
        ++tally_.packets;
    }
  }

 private:
  [[noreturn]] static void Fail(const std::string& what) { throw std::runtime_error(what); }

  void Taken(const Result<void>& result, const Actions& actions) {
    if (!result) Fail(result.error().reason + ": " + result.error().detail);
    tally_.for_software += XdpCanDo(actions) ? 0 : 1;
  }

  void Put(const Step& step) {
    if (reference_.flows().contains(UfidOf(step.flow))) return;
    Flow flow;
    flow.ufid = UfidOf(step.flow);
    flow.match = step.match;
    flow.actions = step.actions;
    flow.priority = step.priority;
    Taken(subject_.Put(flow, step.flow), step.actions);
    reference_.Put(flow);
    ++tally_.flows;
  }

  void Modify(const Step& step) {
    auto at = reference_.flows().find(UfidOf(step.flow));
    if (at == reference_.flows().end()) return;
    Flow flow = at->second;
    flow.actions = step.actions;
    flow.priority = step.priority;
    Taken(subject_.Modify(flow, step.flow), step.actions);
    reference_.Put(flow);
  }

  // The flow that the subject took, which has to be one of those that may take it.
  Flow* Taken(const std::vector<Flow*>& candidates, const Observed& observed) {
    std::string text = "flows counted:";
    for (const auto& [cookie, delta] : observed.flows) text += " " + std::to_string(cookie);
    text += "; expected";
    for (const Flow* flow : candidates)
      text += (flow == candidates.front() ? " " : " or ") + std::to_string(NumberOf(flow->ufid));
    if (candidates.empty()) text += " none";
    if (observed.flows.size() != (candidates.empty() ? 0 : 1)) Fail(text);
    if (candidates.empty()) return nullptr;
    for (Flow* flow : candidates) {
      if (NumberOf(flow->ufid) == observed.flows.begin()->first) return flow;
    }
    Fail(text);
  }

  void Packet(const Step& step, bool live) {
    const reference::Parsed parsed = Datapath::ParseOn(step.port, step.frame);
    const bool malformed = parsed.malformed != reference::Malformed::kNo;
    const auto candidates = malformed ? std::vector<Flow*>{} : reference_.Candidates(parsed.key);
    const Observed observed = live ? subject_.RunLive(step.port, step.frame) : subject_.RunDry(step.port, step.frame);
    tally_.cache_hits += observed.counters.contains("hit_cache") ? 1 : 0;
    Flow* flow = Taken(candidates, observed);
    if (flow == nullptr) {
      if (observed.looked_up) Fail("a lookup in user space finds a flow");
      (malformed ? tally_.malformed : tally_.misses) += 1;
      Compare(step, live, ExpectPolicy(policy_, parsed, step.frame), observed, step.frame, std::nullopt);
      return;
    }
    ++tally_.hits;
    const Outcome outcome = reference_.Hit(*flow, step.frame, step.port);
    const xdp::FlowStatsDelta& delta = observed.flows.begin()->second;
    // A flow of several ports is in several tables, and each tells what it has seen.
    uint32_t& tcp_flags = tcp_flags_[NumberOf(flow->ufid)];
    tcp_flags |= delta.tcp_flags;
    if (delta.packets != 1 || delta.bytes != step.frame.size() || delta.used_ns == 0 ||
        tcp_flags != flow->counters.tcp_flags) {
      Fail("statistics of flow " + std::to_string(NumberOf(flow->ufid)) + ": " + std::to_string(delta.packets) +
           " packets, " + std::to_string(delta.bytes) + " bytes, TCP flags " + std::to_string(tcp_flags) +
           " where 1, " + std::to_string(step.frame.size()) + ", " + std::to_string(flow->counters.tcp_flags) +
           " were expected");
    }
    if (live && (!observed.looked_up || std::ranges::none_of(candidates, [&](const Flow* each) {
          return NumberOf(each->ufid) == observed.looked_up;
        }))) {
      Fail("a lookup in user space finds another flow");
    }
    if (!XdpCanDo(flow->actions)) {
      tally_.software += 1;
      Compare(step, live, ExpectSoftware(outcome), observed, step.frame, NumberOf(flow->ufid));
      return;
    }
    const Way way = WayOf(flow->actions, step.frame);
    const reference::Bytes edited = Edited(way, step.frame);
    tally_.edited += edited != step.frame ? 1 : 0;
    tally_.expired += way.expired ? 1 : 0;
    Compare(step, live, ExpectHit(flow->actions, way, outcome, edited), observed, edited, NumberOf(flow->ufid));
  }

  static void Compare(const Step& step, bool live, const Expected& expected, const Observed& observed,
                      const reference::Bytes& edited, std::optional<uint64_t> flow) {
    auto counters = observed.counters;
    const uint64_t hits = counters["hit_cache"] + counters["hit_table"];
    counters.erase("hit_cache");
    counters.erase("hit_table");
    if (hits != 0) counters["hit"] = hits;
    auto wanted = expected.counters;
    wanted["rx_bytes"] = step.frame.size();
    if (expected.never_sent) {
      wanted.erase("ttl_expired");
      counters.erase("ttl_expired");
    }
    if (counters != wanted) Fail("counters:" + Show(counters) + "; expected:" + Show(wanted));
    if (!live) {
      if (observed.verdict != expected.verdict) {
        Fail("verdict " + std::to_string(*observed.verdict) + ", expected " + std::to_string(expected.verdict));
      }
      // Nobody sees the bytes of a dropped packet: it need not be edited.
      if (expected.verdict != XDP_DROP && *observed.data != edited) {
        Fail("bytes " + reference::Hex(*observed.data) + "\nexpected " + reference::Hex(edited));
      }
      return;
    }
    auto emissions = observed.emissions;
    std::ranges::sort(emissions);
    if (emissions != expected.emissions) Fail("came out:" + Show(emissions) + "\nexpected:" + Show(expected.emissions));
    CompareUpcall(expected, observed, flow);
  }

  static void CompareSoftware(const std::vector<reference::Bytes>& expected, const Observed& observed) {
    std::vector<reference::Bytes> upcalls;
    for (const UpcallSeen& seen : observed.upcalls) upcalls.push_back(seen.frame);
    if (upcalls != expected) Fail("software made other upcalls");
  }

  static void CompareUpcall(const Expected& expected, const Observed& observed, std::optional<uint64_t> flow) {
    if (expected.by_software) return CompareSoftware(*expected.by_software, observed);
    const size_t wanted = expected.upcall_reason != 0 ? 1 : 0;
    if (observed.upcalls.size() != wanted) {
      Fail(std::to_string(observed.upcalls.size()) + " upcalls, expected " + std::to_string(wanted));
    }
    if (wanted == 0) return;
    const UpcallSeen& seen = observed.upcalls.front();
    if (seen.reason != expected.upcall_reason) Fail("upcall reason " + std::to_string(seen.reason));
    if (seen.frame != expected.upcall)
      Fail("upcall " + reference::Hex(seen.frame) + "\nexpected " + reference::Hex(expected.upcall));
    if (seen.reason == SLUICE_UPCALL_ACTION && seen.cookie != flow) Fail("upcall of another flow");
  }

  Subject& subject_;
  sluice_miss_policy policy_;
  Tally& tally_;
  Datapath reference_;
  std::map<uint64_t, uint32_t> tcp_flags_;  // as the subject told them, by flow
};

}  // namespace

std::optional<std::string> RunScenario(Subject& subject, const Scenario& scenario, sluice_miss_policy policy,
                                       Tally& tally) {
  std::optional<std::string> difference;
  Runner runner(subject, policy, tally);
  for (size_t i = 0; i < scenario.size() && !difference; ++i) {
    try {
      runner.Do(scenario[i]);
    } catch (const std::runtime_error& failure) {
      difference = "step " + std::to_string(i) + ": " + failure.what();
    }
  }
  subject.Clear();
  return difference;
}

// Leaves out ever smaller pieces, as long as it fails without them.
Scenario Shrink(Subject& subject, const Scenario& failing, sluice_miss_policy policy, unsigned seconds) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  const auto in_time = [&] { return std::chrono::steady_clock::now() < deadline; };
  Scenario least = failing;
  bool smaller = true;
  for (size_t piece = least.size() / 2; in_time() && (piece > 1 || smaller); piece = std::max<size_t>(1, piece / 2)) {
    smaller = false;
    for (size_t at = 0; at < least.size() && in_time();) {
      Scenario attempt = least;
      const auto first = attempt.begin() + static_cast<ptrdiff_t>(at);
      attempt.erase(first, first + static_cast<ptrdiff_t>(std::min(piece, least.size() - at)));
      Tally ignored;
      if (RunScenario(subject, attempt, policy, ignored)) {
        least = std::move(attempt);
        smaller = true;
      } else {
        at += piece;
      }
    }
  }
  return least;
}

}  // namespace sluice::compare
