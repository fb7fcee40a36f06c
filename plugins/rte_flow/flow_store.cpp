// SPDX-License-Identifier: Apache-2.0
#include "flow_store.h"

#include <algorithm>
#include <ctime>
#include <utility>

#include "sluice/plugin.h"
#include "soft/execute.h"

namespace sluice::rteflow {
namespace {

constexpr size_t kMostTexts = 4096;  // remembered

uint64_t MonotonicNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

v1::Verdict& AddVerdict(v1::FromPlugin& reply, const Ufid& ufid, uint64_t instance, uint64_t seq) {
  v1::Verdict& verdict = *reply.add_verdicts();
  verdict.set_ufid(ufid.bytes.data(), ufid.bytes.size());
  verdict.set_instance(instance);
  verdict.set_seq(seq);
  verdict.set_time_ns(MonotonicNs());
  return verdict;
}

void AddRefusal(v1::FromPlugin& reply, const Ufid& ufid, uint64_t instance, uint64_t seq, const Error& error) {
  v1::Verdict& verdict = AddVerdict(reply, ufid, instance, seq);
  verdict.set_state(v1::REFUSED);
  verdict.set_reason(error.reason);
  verdict.set_detail(error.detail);
}

bool SendsTo(const Actions& actions, uint32_t port) {
  return std::any_of(actions.begin(), actions.end(), [&](const Action& action) {
    if (const auto* output = std::get_if<Output>(&action)) return output->port == port;
    if (const auto* push = std::get_if<TnlPush>(&action)) return push->out_port == port;
    const auto* ttl = std::get_if<DecTtl>(&action);
    return ttl != nullptr && SendsTo(ttl->expired, port);
  });
}

const char* PartOf(Extent extent) {
  switch (extent) {
    case Extent::kFull:
      return "";
    case Extent::kMarkCount:
      return "the device marks and counts, software forwards";
    case Extent::kMarkCountQueue:
      return "the device marks, counts and chooses the queue, software forwards";
    case Extent::kMarkQueue:
      return "the device marks and chooses the queue, software forwards and counts";
  }
  return "";
}

Error Outranked(const DatapathFlow& above) {
  return {"outranked",
          "flow " + above.ufid.ToString() + " has a higher priority, and is not or not wholly in the device"};
}

}  // namespace

void FlowStore::Counts::Add(const Counts& more) {
  packets += more.packets;
  bytes += more.bytes;
  used_ns = std::max(used_ns, more.used_ns);
  tcp_flags |= more.tcp_flags;
}

// ---- reading what the core says

Result<std::shared_ptr<const Actions>> FlowStore::Parse(const std::string& text) {
  if (const auto known = texts_.find(text); known != texts_.end()) return known->second;
  auto actions = ParseActions(text, ports_);
  if (!actions) return actions.error();
  if (auto checked = CheckOutputs(*actions); !checked) return checked.error();
  if (texts_.size() >= kMostTexts) texts_.clear();
  return texts_[text] = std::make_shared<const Actions>(*std::move(actions));
}

Result<void> FlowStore::CheckOutputs(const Actions& actions) const {
  for (const Action& action : actions) {
    if (const auto* ttl = std::get_if<DecTtl>(&action)) {
      if (auto checked = CheckOutputs(ttl->expired); !checked) return checked;
    }
    uint32_t port = 0;
    if (const auto* output = std::get_if<Output>(&action)) {
      port = output->port;
    } else if (const auto* push = std::get_if<TnlPush>(&action)) {
      port = push->out_port;
    } else {
      continue;
    }
    if (ports_.ByNumber(port) != nullptr) continue;
    const auto name = ports_.Name(port);
    return Error{"no_such_port", name ? "output " + *name + " has no device at present"
                                      : "output " + std::to_string(port) + " is not a port of rte_flow's"};
  }
  return {};
}

std::vector<Port*> FlowStore::Targets(const Match& match) const {
  std::vector<Port*> targets;
  if (match.IsExact(Field::in_port)) {
    Port* port = ports_.ByNumber(static_cast<uint32_t>(match.ValueOf(Field::in_port)));
    if (port != nullptr) targets.push_back(port);
  } else {
    ports_.ForEach([&](Port& port) { targets.push_back(&port); });
  }
  return targets;
}

Result<FlowStore::Body> FlowStore::Read(const v1::FlowState& put, const Ufid& ufid) {
  auto match = Match::Unpack(put.packed_match());
  if (!match) return match.error();
  if (Targets(*match).empty()) {
    if (!match->Has(Field::in_port)) return Error{"no_such_port", "there is no port yet"};
    const auto number = static_cast<uint32_t>(match->ValueOf(Field::in_port));
    const auto name = ports_.Name(number);
    return Error{"no_such_port", name ? "in_port " + *name + " has no device at present"
                                      : "in_port " + std::to_string(number) + " is not a port of rte_flow's"};
  }
  const auto actions = Parse(put.actions());
  if (!actions) return actions.error();
  Body body;
  body.datapath = std::make_unique<DatapathFlow>();
  body.datapath->ufid = ufid;
  body.datapath->match = *std::move(match);
  body.datapath->priority = put.priority();
  body.datapath->actions = **actions;
  return body;
}

// ---- changes

FlowStore::Flow* FlowStore::Find(const Ufid& ufid) const {
  const auto found = flows_.find(ufid);
  return found == flows_.end() ? nullptr : found->second.get();
}

FlowStore::Flow* FlowStore::Find(const DatapathFlow& flow) const {
  Flow* found = Find(flow.ufid);
  return found != nullptr && found->body.datapath.get() == &flow ? found : nullptr;
}

FlowStore::Flow& FlowStore::Add(const Ufid& ufid, uint64_t instance) {
  auto& flow = flows_[ufid] = std::make_unique<Flow>();
  flow->ufid = ufid;
  flow->instance = instance;
  flow->place = all_.size();
  all_.push_back(flow.get());
  return *flow;
}

void FlowStore::Erase(Flow& flow, std::optional<uint64_t> deleted) {
  Retire(flow, std::move(flow.body), deleted);
  all_[flow.place] = all_.back();
  all_[flow.place]->place = flow.place;
  all_.pop_back();
  flows_.erase(Ufid(flow.ufid));
}

void FlowStore::Put(const v1::FlowState& put, uint64_t seq, v1::FromPlugin& reply) {
  const auto ufid = Ufid::FromBytes(put.ufid());
  if (!ufid) return;  // the core does not send such
  Flow* flow = Find(*ufid);
  if (flow != nullptr && flow->instance != put.instance()) {
    Erase(*flow, std::nullopt);
    flow = nullptr;
  }
  auto body = Read(put, *ufid);
  if (!body) {
    if (flow != nullptr) Erase(*flow, std::nullopt);
    return AddRefusal(reply, *ufid, put.instance(), seq, body.error());
  }
  const bool known = flow != nullptr;
  if (!known) flow = &Add(*ufid, put.instance());
  flow->seq = seq;
  flow->stale = false;
  const DatapathFlow& next = *body->datapath;
  const Result<void> software = soft::Check(next.actions);
  const DatapathFlow* now = flow->body.datapath.get();
  if (now != nullptr && now->match == next.match && now->priority == next.priority && now->actions == next.actions) {
    Place(flow->body, nullptr);
  } else {
    body->datapath->mark = marks_.Take();
    if (software) datapath_.Insert(*body->datapath);
    body->in_software = static_cast<bool>(software);
    Body old = std::move(flow->body);
    flow->body = *std::move(body);
    Place(flow->body, known ? &old : nullptr);
    flow->body.counts.Add(std::exchange(old.counts, Counts{}));
    if (known) Retire(*flow, std::move(old), std::nullopt);
  }
  if (!software) {
    if (const auto why = Unserved(flow->body, software.error())) {
      Erase(*flow, std::nullopt);
      return AddRefusal(reply, *ufid, put.instance(), seq, *why);
    }
  }
  Answer(*flow);
}

std::optional<Error> FlowStore::Unserved(const Body& body, const Error& software) {
  for (const Placement& placement : body.placements) {
    if (placement.rule && placement.rule->extent == Extent::kFull && placement.rule->exact) continue;
    Error why = placement.why.value_or(Error{"unsupported_action", "the device does not do all of it"});
    why.detail += "; software cannot do it either: " + software.detail;
    return why;
  }
  return std::nullopt;
}

void FlowStore::Delete(const v1::FlowState& del, uint64_t seq) {
  const auto ufid = Ufid::FromBytes(del.ufid());
  if (!ufid) return;
  Flow* flow = Find(*ufid);
  if (flow != nullptr && flow->instance == del.instance()) return Erase(*flow, seq);
  Retiring& nothing = retiring_.emplace_back();
  nothing.ufid = *ufid;
  nothing.instance = del.instance();
  nothing.deleted = seq;
}

void FlowStore::Retire(const Flow& flow, Body body, std::optional<uint64_t> deleted) {
  for (Placement& placement : body.placements) {
    Unsettle(body, placement);
    DropRule(body, placement);
  }
  if (body.in_software) datapath_.Remove(*body.datapath);
  retiring_.push_back({flow.ufid, flow.instance, deleted, std::move(body)});
}

void FlowStore::MarkStale() {
  for (Flow* flow : all_) flow->stale = true;
}

void FlowStore::WithdrawStale() {
  for (size_t i = all_.size(); i-- > 0;) {
    if (all_[i]->stale) Erase(*all_[i], std::nullopt);
  }
}

void FlowStore::WithdrawAll() {
  while (!all_.empty()) Erase(*all_.back(), std::nullopt);
}

// ---- devices

void FlowStore::Place(Body& body, Body* old) {
  const std::vector<Port*> targets = Targets(body.datapath->match);
  for (auto placement = body.placements.begin(); placement != body.placements.end();) {
    const auto same = [&](const Port* port) { return port->number == placement->port; };
    if (std::any_of(targets.begin(), targets.end(), same)) {
      ++placement;
      continue;
    }
    Unsettle(body, *placement);
    DropRule(body, *placement);
    placement = body.placements.erase(placement);
  }
  for (Port* port : targets) {
    auto placement = std::find_if(body.placements.begin(), body.placements.end(),
                                  [&](const Placement& each) { return each.port == port->number; });
    if (placement == body.placements.end()) {
      placement = body.placements.insert(body.placements.end(), Placement{});
      placement->port = port->number;
    } else if (placement->rule) {
      continue;
    } else {
      Unsettle(body, *placement);
    }
    PlaceOn(*port, body, *placement, old);
  }
}

void FlowStore::PlaceOn(Port& port, const Body& body, Placement& placement, Body* old) {
  placement.why.reset();
  placement.outranked = false;
  if (port.offloader == nullptr) {
    placement.why = Error{"offload_off", "the port's option offload is none"};
  } else if (const DatapathFlow* above = precedence_[port.number].Above(*body.datapath)) {
    placement.why = Outranked(*above);
    placement.outranked = true;
  } else if (auto rule = Create(port, *body.datapath, old)) {
    placement.rule = *rule;
  } else {
    placement.why = rule.error();
  }
  Settle(body, placement);
}

// Where the device does not take both, the old goes first: packets meet software for a moment.
Result<OffloadRule> FlowStore::Create(Port& port, const DatapathFlow& flow, Body* old) {
  const OffloadRequest request{flow.match, flow.actions, flow.priority, flow.mark,
                               precedence_[port.number].MayTransfer(flow)};
  auto rule = CreateAndSee(port, request);
  if (rule || old == nullptr) return rule;
  for (Placement& before : old->placements) {
    if (before.port != port.number || !before.rule) continue;
    Unsettle(*old, before);
    DropRule(*old, before);
    before.why = rule.error();
    Settle(*old, before);
    return CreateAndSee(port, request);
  }
  return rule;
}

// Where the rules of a device can be seen, one that is not what was asked for goes again.
Result<OffloadRule> FlowStore::CreateAndSee(Port& port, const OffloadRequest& request) {
  if (port.readback != nullptr) port.readback->Begin();
  auto rule = port.offloader->Create(request);
  if (!rule || port.readback == nullptr) return rule;
  const auto seen = port.readback->Check(request.match);
  if (seen) return rule;
  DestroyRule(port, *rule);
  return seen.error();
}

void FlowStore::DestroyRule(Port& port, OffloadRule& rule) {
  const auto destroyed = port.offloader->Destroy(rule);
  if (destroyed) return;
  log_(SLUICE_LOG_ERROR, "port " + port.name + ": " + destroyed.error().detail);
  broken_.push_back(port.number);
}

void FlowStore::DropRule(Body& body, Placement& placement) {
  if (!placement.rule) return;
  ReadRule(body, placement);
  Port* port = ports_.ByNumber(placement.port);
  if (port != nullptr) DestroyRule(*port, *placement.rule);
  placement.rule.reset();
}

void FlowStore::Settle(const Body& body, const Placement& placement) {
  Precedence& order = precedence_[placement.port];
  if (placement.rule) order.AddRule(*body.datapath, placement.rule->transfer);
  if (placement.outranked) ++outranked_;
  if (placement.rule && !placement.rule->transfer) LeaveSwitchBelow(*body.datapath, placement.port);
  if (placement.rule && placement.rule->exact) return;
  order.AddUncovered(*body.datapath);
  OutrankBelow(*body.datapath, placement.port);
}

void FlowStore::Unsettle(const Body& body, Placement& placement) {
  Precedence& order = precedence_[placement.port];
  if (placement.rule) order.RemoveRule(*body.datapath, placement.rule->transfer);
  if (placement.outranked) --outranked_;
  placement.outranked = false;
  if (placement.rule && placement.rule->exact) return;
  order.RemoveUncovered(*body.datapath);
  may_rise_ = true;
}

FlowStore::Placement* FlowStore::Lift(const DatapathFlow& flow, uint32_t port) {
  Flow* owner = Find(flow);
  if (owner == nullptr) return nullptr;  // the old content of one that is being replaced
  for (Placement& placement : owner->body.placements) {
    if (placement.port != port || !placement.rule) continue;
    Unsettle(owner->body, placement);
    DropRule(owner->body, placement);
    Answer(*owner);
    return &placement;
  }
  return nullptr;
}

void FlowStore::OutrankBelow(const DatapathFlow& flow, uint32_t port) {
  for (const DatapathFlow* below : precedence_[port].Below(flow)) {
    Placement* placement = Lift(*below, port);
    if (placement == nullptr) continue;
    placement->why = Outranked(flow);
    placement->outranked = true;
    Settle(Find(*below)->body, *placement);
  }
}

void FlowStore::LeaveSwitchBelow(const DatapathFlow& flow, uint32_t number) {
  Port* port = ports_.ByNumber(number);
  for (const DatapathFlow* below : precedence_[number].BelowIngress(flow)) {
    Placement* placement = port == nullptr ? nullptr : Lift(*below, number);
    if (placement != nullptr) PlaceOn(*port, Find(*below)->body, *placement, nullptr);
  }
}

// From the highest priority down: one that rises can only be in the way of those below it.
void FlowStore::RetryOutranked() {
  if (!std::exchange(may_rise_, false) || outranked_ == 0) return;
  std::vector<Flow*> flows;
  for (Flow* flow : all_) {
    const auto& placements = flow->body.placements;
    if (std::any_of(placements.begin(), placements.end(), [](const Placement& each) { return each.outranked; })) {
      flows.push_back(flow);
    }
  }
  std::sort(flows.begin(), flows.end(), [](const Flow* one, const Flow* other) {
    return one->body.datapath->priority > other->body.datapath->priority;
  });
  for (Flow* flow : flows) {
    for (Placement& placement : flow->body.placements) {
      Port* port = ports_.ByNumber(placement.port);
      if (!placement.outranked || port == nullptr) continue;
      if (precedence_[placement.port].Above(*flow->body.datapath) != nullptr) continue;
      Unsettle(flow->body, placement);
      PlaceOn(*port, flow->body, placement, nullptr);
      Answer(*flow);
    }
  }
  may_rise_ = false;
}

void FlowStore::BeforeClose(Port& port) {
  texts_.clear();
  for (Flow* flow : all_) {
    auto& placements = flow->body.placements;
    for (auto placement = placements.begin(); placement != placements.end();) {
      const bool here = placement->port == port.number;
      const bool sends_here = !here && placement->rule && placement->rule->extent == Extent::kFull &&
                              SendsTo(flow->body.datapath->actions, port.number);
      if (here || sends_here) {
        Unsettle(flow->body, *placement);
        DropRule(flow->body, *placement);
        Answer(*flow);
      }
      if (here) {
        placement = placements.erase(placement);
        continue;
      }
      if (sends_here) {
        placement->why = Error{"no_such_port", "output " + port.name + " is going"};
        Settle(flow->body, *placement);
      }
      ++placement;
    }
  }
  precedence_.erase(port.number);
  std::erase(broken_, port.number);
}

// A rule that the device did not let go would go on taking packets. So all of its rules go, and come again.
void FlowStore::Repair(v1::FromPlugin& reply) {
  while (!broken_.empty()) {
    const uint32_t number = broken_.back();
    std::erase(broken_, number);
    Port* port = ports_.ByNumber(number);
    if (port == nullptr) continue;
    precedence_.erase(number);
    std::vector<Flow*> there;
    for (Flow* flow : all_) {
      for (Placement& placement : flow->body.placements) {
        if (placement.port != number) continue;
        if (placement.outranked) --outranked_;
        placement.outranked = false;
        placement.rule.reset();
        there.push_back(flow);
      }
    }
    rte_flow_error error{};
    if (port->api->Flush(error) != 0) {
      const std::string why = error.message != nullptr ? error.message : "no reason given";
      log_(SLUICE_LOG_ERROR, "port " + port->name + ": its device does not let rules go: " + why);
      ports_.Fail(std::string(port->name), "the device does not let rules go: " + why, reply);
      continue;
    }
    port->offloader->Forget();
    for (Flow* flow : there) {
      for (Placement& placement : flow->body.placements) {
        if (placement.port == number) PlaceOn(*port, flow->body, placement, nullptr);
      }
      Answer(*flow);
    }
  }
}

// ---- answers

void FlowStore::Answer(Flow& flow) {
  if (std::exchange(flow.queued, true)) return;
  answers_.push_back(flow.ufid);
}

void FlowStore::Flush(v1::FromPlugin& reply) {
  marks_.Rest(datapath_.drained_fence(), MonotonicNs());
  Repair(reply);
  RetryOutranked();
  Repair(reply);
  if (answers_.empty() && retiring_.empty()) return;
  const uint64_t fence = datapath_.Fence();
  datapath_.WaitFor(fence);
  const uint64_t now = MonotonicNs();
  for (Retiring& gone : retiring_) {
    if (gone.body.datapath != nullptr) {
      ReadSoftware(gone.body);
      marks_.Release(gone.body.datapath->mark, fence, now);
      Flow* flow = Find(gone.ufid);
      if (flow != nullptr && flow->instance == gone.instance) {
        flow->body.counts.Add(gone.body.counts);
      } else {
        TellCounts(gone.ufid, gone.instance, gone.body, reply);
      }
    }
    if (gone.deleted) AddVerdict(reply, gone.ufid, gone.instance, *gone.deleted).set_deleted(true);
  }
  retiring_.clear();
  for (const Ufid& ufid : answers_) {
    Flow* flow = Find(ufid);
    if (flow == nullptr || !std::exchange(flow->queued, false)) continue;
    Tell(*flow, reply);
  }
  answers_.clear();
}

void FlowStore::Tell(const Flow& flow, v1::FromPlugin& reply) const {
  const auto& placements = flow.body.placements;
  const auto without = std::find_if(placements.begin(), placements.end(), [](const auto& each) { return !each.rule; });
  v1::Verdict& verdict = AddVerdict(reply, flow.ufid, flow.instance, flow.seq);
  if (without != placements.end()) {
    verdict.set_state(v1::SOFTWARE);
    verdict.set_reason(without->why->reason);
    verdict.set_detail(without->why->detail);
    return;
  }
  verdict.set_state(v1::INSTALLED);
  for (const Placement& placement : placements) {
    if (placement.rule->extent == Extent::kFull) {
      if (!placement.rule->counts) verdict.set_detail("the device does not count it");
      continue;
    }
    verdict.set_reason("partial");
    verdict.set_detail(PartOf(placement.rule->extent));
  }
}

// ---- statistics

// Of a rule that only marks, the loop counts what it executes.
void FlowStore::ReadRule(Body& body, Placement& placement) {
  if (!placement.rule || placement.rule->extent != Extent::kFull || !placement.rule->counts) return;
  Port* port = ports_.ByNumber(placement.port);
  if (port == nullptr) return;
  const auto read = port->offloader->Query(*placement.rule);
  if (read && read->packets > 0) body.counts.Add({read->packets, read->bytes, MonotonicNs(), 0});
}

void FlowStore::ReadSoftware(Body& body) {
  const DatapathFlow& flow = *body.datapath;
  const uint64_t packets = flow.packets.load(std::memory_order_acquire);
  if (packets == body.read_packets) return;
  const uint64_t bytes = flow.bytes.load(std::memory_order_relaxed);
  body.counts.Add({packets - body.read_packets, bytes - body.read_bytes, flow.last_used.load(std::memory_order_relaxed),
                   flow.tcp_flags.load(std::memory_order_relaxed)});
  body.read_packets = packets;
  body.read_bytes = bytes;
}

void FlowStore::TellCounts(const Ufid& ufid, uint64_t instance, Body& body, v1::FromPlugin& out) {
  const Counts counts = std::exchange(body.counts, Counts{});
  if (counts.packets == 0) return;
  v1::FlowStats& stats = *out.add_stats();
  stats.set_ufid(ufid.bytes.data(), ufid.bytes.size());
  stats.set_instance(instance);
  stats.set_packets(counts.packets);
  stats.set_bytes(counts.bytes);
  stats.set_used_ns(counts.used_ns);
  stats.set_tcp_flags(counts.tcp_flags);
}

bool FlowStore::CollectStats(size_t most, v1::FromPlugin& out) {
  for (size_t i = 0; i < most; ++i, ++next_to_read_) {
    if (next_to_read_ >= all_.size()) {
      next_to_read_ = 0;
      return true;
    }
    Flow& flow = *all_[next_to_read_];
    for (Placement& placement : flow.body.placements) ReadRule(flow.body, placement);
    ReadSoftware(flow.body);
    TellCounts(flow.ufid, flow.instance, flow.body, out);
  }
  return false;
}

}  // namespace sluice::rteflow
