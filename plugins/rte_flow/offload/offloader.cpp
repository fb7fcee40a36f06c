// SPDX-License-Identifier: Apache-2.0
#include "offloader.h"

#include <rte_errno.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>
#include <string>
#include <system_error>
#include <unordered_map>
#include <utility>
#include <vector>

#include "attempts.h"
#include "counter_reader.h"
#include "full_plan.h"
#include "pattern.h"
#include "rule_actions.h"

namespace sluice::rteflow {
namespace {

constexpr std::array<uint32_t, 8> kLevels{65536, 4096, 256, 16, 8, 4, 2, 1};
constexpr size_t kMostShapes = 4096;  // remembered

// Of the rules with one attribute, transfer or ingress: their priorities are their own.
struct Priorities {
  uint32_t levels = kLevels[0];
  bool taken = false;  // by a rule: the device has not fewer, as far as was seen
  size_t rules = 0;    // in the device: they have their priorities from `levels`

  // After `priority` (rte_flow's) was refused. False: there is nothing less.
  bool Lower(uint32_t priority) {
    const auto* next = std::find_if(kLevels.begin(), kLevels.end(), [&](uint32_t count) { return count <= priority; });
    if (rules > 0 || next == kLevels.end()) return false;
    levels = *next;
    taken = false;
    return true;
  }
};

// What this device made of a list of ways. Learnt once, by a rule that it took: of ways that were refused before for
// the same pattern it is known then that they were not refused for the pattern.
struct Memory {
  std::vector<Way> ways;
  bool learnt = false;
  size_t start = 0;  // the first way that worked; the number of ways: none did
  std::string text;  // for people: that way
  std::string why;   // for people: what was said of the last one before it
};

}  // namespace

class Offloader::Impl {
 public:
  Impl(Settings settings, FlowApi& api)
      : settings_(std::move(settings)), api_(api), counters_(api), pattern_(settings_.tag_type) {
    Forget();
  }

  Result<OffloadRule> Create(const OffloadRequest& request);
  Result<void> Destroy(OffloadRule& rule);
  Result<OffloadCounts> Query(OffloadRule& rule) { return counters_.Read(rule); }
  void Forget();
  [[nodiscard]] std::map<std::string, std::string> Learnt() const;
  [[nodiscard]] uint64_t refused() const { return refused_; }

 private:
  // How far the ways of one list got a flow.
  struct Walk {
    const FullPlan* plan = nullptr;  // of full offload; else it is about `mark`
    uint32_t mark = 0;
    bool transfer = true;  // it may be said with it
    Way way;               // the one that is tried
    size_t at = 0;         // its place in the list; behind the last: none worked
    rte_flow* handle = nullptr;
    bool about_ways = true;     // all that were refused were so for the way itself
    std::optional<Refusal> no;  // of the last one that was refused
    std::string refused;        // the same in words
    std::optional<Error> end;   // no other way is to be tried
  };

  void Try(const Memory& memory, uint32_t priority, Walk& walk);
  void TryWay(uint32_t priority, bool known, Walk& walk);
  rte_flow* Ask(const rte_flow_attr& attr, bool known, Refusal& no);
  static void Note(Walk& walk, Refusal no, bool ranked);

  Memory& MemoryOf(const FullPlan& plan);
  static void Learn(Memory& memory, const Walk& walk);
  [[nodiscard]] OffloadRule Made(const Walk& walk) const;
  static Error Refused(const Walk& full, const Walk& marks, const Result<FullPlan>& plan);

  const Settings settings_;
  FlowApi& api_;
  CounterReader counters_;
  Pattern pattern_;
  RuleActions actions_;
  std::array<Priorities, 2> priorities_;  // of ingress, of transfer
  std::unordered_map<std::string, Memory> full_;
  Memory marks_;
  Memory uncounted_;  // of packets that are to be dropped
  uint64_t refused_ = 0;
};

Memory& Offloader::Impl::MemoryOf(const FullPlan& plan) {
  if (const auto known = full_.find(plan.shape); known != full_.end()) return known->second;
  if (full_.size() >= kMostShapes) full_.clear();
  Memory& memory = full_[plan.shape];
  memory.ways = FullWays(plan);
  return memory;
}

// `ranked`: there are rules with priorities to which this one's would be compared. It is not to go where it is not.
void Offloader::Impl::Note(Walk& walk, Refusal no, bool ranked) {
  const About about = no.about();
  if (about != About::kWay) walk.about_ways = false;
  std::string text = Describe(walk.way, walk.plan);
  if (walk.plan == nullptr) text += " of mark " + std::to_string(walk.mark);
  text += " was refused: " + no.Text();
  if (about == About::kPriority && ranked) walk.end = Error{"unsupported_priority", text};
  if (about == About::kSpace) walk.end = Error{"table_full", "the device's table is full: " + text};
  if (about == About::kOverlap) {
    walk.end = Error{"device_refused", "the device has a rule that overlaps with this one and takes no other: " + text};
  }
  if (about == About::kFailure) walk.end = Error{"device_failed", "the device failed: " + text};
  walk.refused = std::move(text);
  walk.no = std::move(no);
}

// A way that is known to work is not asked about first.
rte_flow* Offloader::Impl::Ask(const rte_flow_attr& attr, bool known, Refusal& no) {
  const rte_flow_item* items = pattern_.Items(attr.transfer != 0);
  rte_flow_error error{};
  const auto tell = [&](int code) {
    no = {code, error.type, error.message != nullptr ? error.message : ""};
    ++refused_;
  };
  if (!known) {
    const int answer = api_.Validate(attr, items, actions_.Actions(), error);
    if (answer < 0 && answer != -ENOSYS) {
      tell(-answer);
      return nullptr;
    }
    error = {};
  }
  rte_errno = 0;
  rte_flow* handle = api_.Create(attr, items, actions_.Actions(), error);
  if (handle == nullptr) tell(rte_errno != 0 ? rte_errno : EINVAL);
  return handle;
}

// The actions are built.
void Offloader::Impl::TryWay(uint32_t priority, bool known, Walk& walk) {
  Priorities& priorities = priorities_[walk.way.transfer ? 1 : 0];
  for (;;) {
    if (priority >= priorities.levels) {
      Note(walk,
           {ERANGE, RTE_FLOW_ERROR_TYPE_ATTR_PRIORITY,
            "priority " + std::to_string(priority) + " where the device has " + std::to_string(priorities.levels) +
                " at most"},
           priorities.rules > 0);
      return;
    }
    rte_flow_attr attr{};
    attr.priority = priorities.levels - 1 - priority;
    attr.transfer = walk.way.transfer ? 1 : 0;
    attr.ingress = walk.way.transfer ? 0 : 1;
    Refusal no;
    if (rte_flow* handle = Ask(attr, known, no); handle != nullptr) {
      priorities.taken = true;
      ++priorities.rules;
      walk.handle = handle;
      return;
    }
    const bool again = no.about() == About::kPriority && priorities.Lower(attr.priority);
    if (!again) {
      Note(walk, std::move(no), priorities.rules > 0);
      return;
    }
  }
}

void Offloader::Impl::Try(const Memory& memory, uint32_t priority, Walk& walk) {
  for (walk.at = memory.start; walk.at < memory.ways.size(); ++walk.at) {
    walk.way = memory.ways[walk.at];
    if (walk.way.transfer && !walk.transfer) {
      walk.about_ways = false;
      continue;
    }
    if (walk.plan == nullptr) {
      actions_.BuildMark(walk.way, walk.mark, settings_.queues);
    } else if (!actions_.BuildFull(*walk.plan, walk.way)) {
      continue;
    }
    TryWay(priority, memory.learnt && walk.at == memory.start, walk);
    if (walk.handle != nullptr || walk.end) return;
  }
}

// After a rule was made, in this list or in a later one.
void Offloader::Impl::Learn(Memory& memory, const Walk& walk) {
  if (memory.learnt || !walk.about_ways) return;
  memory.learnt = true;
  memory.start = walk.at;
  if (walk.handle != nullptr) memory.text = Describe(walk.way, walk.plan);
  memory.why = walk.refused;
}

OffloadRule Offloader::Impl::Made(const Walk& walk) const {
  OffloadRule rule;
  rule.handle = walk.handle;
  rule.extent = walk.way.extent;
  rule.counts = walk.way.count;
  rule.exact = pattern_.exact();
  rule.transfer = walk.way.transfer;
  return rule;
}

Error Offloader::Impl::Refused(const Walk& full, const Walk& marks, const Result<FullPlan>& plan) {
  const Walk& least = marks.no ? marks : full;
  if (!least.no) return plan ? Error{"device_refused", "there is no way to say it"} : plan.error();
  Error error{least.no->about() == About::kPriority ? "unsupported_priority" : "device_refused", least.refused};
  if (!plan) error.detail += "; " + plan.error().detail;
  return error;
}

Result<OffloadRule> Offloader::Impl::Create(const OffloadRequest& request) {
  if (auto built = pattern_.Build(request.match, settings_.port_item, settings_.ethdev); !built) return built.error();
  const bool tunnel = pattern_.tunnel();
  if (tunnel && !settings_.full) {
    return Error{"unsupported_field", "rte_flow cannot match tun_id: tunnels end in full offload only"};
  }
  Result<FullPlan> plan = settings_.full ? PlanFull(request.match, tunnel, request.actions, settings_.ethdev_of)
                                         : Error{"unsupported_action", "full offload is switched off"};
  Walk full;
  Walk marks;
  Walk uncounted;
  full.plan = uncounted.plan = plan ? &*plan : nullptr;
  full.transfer = uncounted.transfer = request.transfer;
  marks.mark = request.mark;
  Memory* memory = plan ? &MemoryOf(*plan) : nullptr;
  if (memory != nullptr) Try(*memory, request.priority, full);
  if (full.end) return *std::move(full.end);
  // Packets of tunnels are nothing that software could do.
  if (full.handle == nullptr && !tunnel) Try(marks_, request.priority, marks);
  if (marks.end) return *std::move(marks.end);
  // A flow that counts nothing looks idle. Only of packets that nobody is to see that is better than software.
  const bool drop =
      settings_.uncounted && plan && plan->steps.empty() && full.handle == nullptr && marks.handle == nullptr;
  if (drop) Try(uncounted_, request.priority, uncounted);
  if (uncounted.end) return *std::move(uncounted.end);
  const Walk& made = full.handle != nullptr ? full : marks.handle != nullptr ? marks : uncounted;
  if (made.handle == nullptr) return Refused(full, marks, plan);
  if (memory != nullptr) Learn(*memory, full);
  if (full.handle == nullptr && !tunnel) Learn(marks_, marks);
  if (uncounted.handle != nullptr) Learn(uncounted_, uncounted);
  return Made(made);
}

Result<void> Offloader::Impl::Destroy(OffloadRule& rule) {
  if (rule.handle == nullptr) return {};
  rte_flow_error error{};
  if (const int failed = api_.Destroy(rule.handle, error); failed < 0) {
    const Refusal no{-failed, error.type, error.message != nullptr ? error.message : ""};
    return Error{"device_failed", "a rule could not be destroyed: " + no.Text()};
  }
  rule.handle = nullptr;
  size_t& rules = priorities_[rule.transfer ? 1 : 0].rules;
  if (rules > 0) --rules;
  return {};
}

void Offloader::Impl::Forget() {
  full_.clear();
  marks_ = {};
  marks_.ways = MarkWays(settings_.queues, settings_.rss);
  uncounted_ = {};
  uncounted_.ways = {Way{.transfer = true, .count = false}, Way{.transfer = false, .count = false}};
  priorities_ = {};
  counters_.Forget();
}

std::map<std::string, std::string> Offloader::Impl::Learnt() const {
  std::map<std::string, std::string> texts;
  const auto with_why = [](const std::string& text, const Memory& memory) {
    return memory.why.empty() ? text : text + "; " + memory.why;
  };
  if (marks_.learnt) texts["mark"] = with_why(marks_.text.empty() ? "none" : marks_.text, marks_);
  if (uncounted_.learnt) texts["drop, not counted"] = uncounted_.text;
  for (const auto& [shape, memory] : full_) {
    if (memory.learnt) texts[shape] = with_why(memory.text.empty() ? "mark only" : memory.text, memory);
  }
  for (const bool transfer : {false, true}) {
    const Priorities& priorities = priorities_[transfer ? 1 : 0];
    if (priorities.taken) texts[transfer ? "priorities of transfer" : "priorities"] = std::to_string(priorities.levels);
  }
  texts["counters are reset when read"] = counters_.Resets();
  return texts;
}

Offloader::Offloader(Settings settings, FlowApi& api) : impl_(std::make_unique<Impl>(std::move(settings), api)) {}
Offloader::~Offloader() = default;
Result<OffloadRule> Offloader::Create(const OffloadRequest& request) { return impl_->Create(request); }
Result<void> Offloader::Destroy(OffloadRule& rule) { return impl_->Destroy(rule); }
Result<OffloadCounts> Offloader::Query(OffloadRule& rule) { return impl_->Query(rule); }
void Offloader::Forget() { impl_->Forget(); }
std::map<std::string, std::string> Offloader::Learnt() const { return impl_->Learnt(); }
uint64_t Offloader::refused_attempts() const { return impl_->refused(); }

}  // namespace sluice::rteflow
