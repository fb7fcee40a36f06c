// SPDX-License-Identifier: Apache-2.0
#include "trace_steps.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <utility>

#include "sluice/flow_text.h"
#include "soft/execute.h"

namespace sluice::ctl {
namespace {

// Where in nested lists: of all but the last the dec_ttl that sent the packet into the next.
struct At {
  const Actions* list;
  size_t index;
};
using Path = std::vector<At>;

// The actions up to and including the one at `path`, as a list that leads there: what libraries execute is whole lists,
// and so each step is what the library makes of it after what went before. A dec_ttl at the end is without its list.
Actions UpTo(std::span<const At> path) {
  const At& at = path.front();
  Actions actions(at.list->begin(), at.list->begin() + static_cast<ptrdiff_t>(at.index));
  const Action& last = (*at.list)[at.index];
  if (path.size() > 1) {
    actions.emplace_back(DecTtl{UpTo(path.subspan(1))});
  } else if (std::holds_alternative<DecTtl>(last)) {
    actions.emplace_back(DecTtl{});
  } else {
    actions.push_back(last);
  }
  return actions;
}

// Passes over what earlier steps have sent, and notes the rest.
class StepSink : public soft::Sink {
 public:
  StepSink(const TracePlace& place, size_t sent_before, TraceStep& step)
      : place_(place), sent_before_(sent_before), step_(step) {}

  void Output(uint32_t port, std::span<const uint8_t> frame) override {
    if (++sent_ > sent_before_) Leave(port, frame);
  }
  void Flood(std::span<const uint8_t> frame) override {
    if (++sent_ <= sent_before_) return;
    for (const v1::Port& port : place_.ports) {
      const bool other = port.number() != place_.port.number();
      if (other && port.plugin() == place_.port.plugin() && port.state() == "up") Leave(port.number(), frame);
    }
  }
  void ToController(const sluice::ToController& action, std::span<const uint8_t> frame, size_t length) override {
    if (++sent_ <= sent_before_) return;
    const size_t most = action.max_len == 0 ? frame.size() : std::min<size_t>(action.max_len, frame.size());
    step_.upcall = {{frame.begin(), frame.begin() + static_cast<ptrdiff_t>(most)}, length};
  }
  void Expired() override { ++expired_; }

  [[nodiscard]] size_t sent() const { return sent_; }
  [[nodiscard]] size_t expired() const { return expired_; }

 private:
  void Leave(uint32_t number, std::span<const uint8_t> frame) {
    TraceOutput& output = step_.outputs.emplace_back();
    output.port = number;
    output.frame.assign(frame.begin(), frame.end());
    const auto port = std::ranges::find(place_.ports, number, &v1::Port::number);
    if (port == place_.ports.end()) {
      output.warning = "there is no such port";
    } else if (port->state() != "up") {
      output.warning = "the port is " + port->state();
    } else {
      WarnOfMtu(*port, output);
    }
  }

  // What the kernel lets through: the MTU is without Ethernet header and one tag.
  static void WarnOfMtu(const v1::Port& port, TraceOutput& output) {
    constexpr size_t kHeaderAndTag = 18;
    const auto told = port.info().find("mtu");
    size_t mtu = 0;
    if (told == port.info().end()) return;
    const char* end = told->second.data() + told->second.size();
    if (std::from_chars(told->second.data(), end, mtu).ptr != end || output.frame.size() <= mtu + kHeaderAndTag) return;
    output.warning = "longer than its MTU of " + told->second + " allows: the kernel drops it";
  }

  const TracePlace& place_;
  const size_t sent_before_;
  TraceStep& step_;
  size_t sent_ = 0;
  size_t expired_ = 0;
};

bool SameValue(const soft::Parsed& one, const soft::Parsed& other, Field field) {
  const FieldInfo& info = Info(field);
  const auto at = [&](const soft::Parsed& packet) { return packet.key.begin() + info.offset; };
  return std::equal(at(one), at(one) + info.size, at(other));
}

// The fields that are not the same before and after.
void Compare(const soft::Parsed& before, const soft::Parsed& after, const PortNames& names, TraceStep& step) {
  Match was = soft::ToMatch(before);
  Match is = soft::ToMatch(after);
  for (uint64_t left = before.present & after.present; left != 0; left &= left - 1) {
    const auto field = static_cast<Field>(std::countr_zero(left));
    if (!SameValue(before, after, field)) continue;
    was.Clear(field);
    is.Clear(field);
  }
  step.before = FormatMatch(was, names);
  step.now = FormatMatch(is, names);
}

bool IsEdit(const Action& action) {
  return std::holds_alternative<SetField>(action) || std::holds_alternative<DecTtl>(action) ||
         std::holds_alternative<PopVlan>(action) || std::holds_alternative<PushVlan>(action);
}

// Why an edit left the packet as it was.
std::string WhyUnchanged(const Action& action, const soft::Parsed& packet) {
  if (std::holds_alternative<PopVlan>(action)) return "there is no tag: nothing changes";
  if (std::holds_alternative<DecTtl>(action)) return "the packet has no TTL: nothing changes";
  const auto* set = std::get_if<SetField>(&action);
  const bool tag = set != nullptr && set->fields.Has(Field::vlan_tci);  // of tags the one that is there by now counts
  if (set != nullptr && !tag && (set->fields.FieldBits() & packet.present) == 0) {
    return "the packet came in without such a header: nothing changes";
  }
  return "nothing changes";
}

std::string Untraceable(const Action& action, const PortNames& names) {
  const std::string text = FormatActions({action}, names);
  if (std::holds_alternative<Recirc>(action)) {
    return "the trace ends before " + text + ": it begins another pass, and passes after the first are not traced";
  }
  const auto unsupported = soft::Check({action});
  return "the trace ends before " + text + ": " + unsupported.error().detail;
}

class Walk {
 public:
  Walk(const TracePlace& place, std::span<const uint8_t> frame, const soft::Parsed& packet, Trace& trace)
      : place_(place), original_(frame), packet_(packet), steps_(trace.passes.back().steps), trace_(trace) {}

  void Run(const Actions& actions) {
    soft::Parsed before = packet_;
    Path path = {{&actions, 0}};
    while (path.back().index < path.back().list->size()) {
      const Action& action = (*path.back().list)[path.back().index];
      if (std::holds_alternative<Drop>(action)) break;
      const auto* dec = std::get_if<DecTtl>(&action);
      if (dec == nullptr && !soft::Check({action}))
        return End(TraceEnd::kUntraceable, Untraceable(action, place_.names));
      if (Step(action, path, before)) {
        path.push_back({&dec->expired, 0});
      } else {
        ++path.back().index;
      }
    }
    EndOfList(actions, path.size() > 1);
  }

 private:
  // True: its TTL has expired, dec_ttl's own list follows.
  bool Step(const Action& action, const Path& path, soft::Parsed& before) {
    TraceStep& step = steps_.emplace_back();
    StepSink sink(place_, sent_, step);
    soft::Frame frame;
    frame.Assign(original_);
    soft::Execute(UpTo(path), frame, packet_.headers, sink);
    sent_ = sink.sent();
    step.expired = sink.expired() == path.size();
    const auto* dec = std::get_if<DecTtl>(&action);
    step.action = FormatActions({action}, place_.names);
    step.frame.assign(frame.bytes().begin(), frame.bytes().end());
    const soft::Parsed after = soft::Parse(step.frame, place_.port.number());
    Compare(before, after, place_.names, step);
    if (step.expired) {
      step.note = "the TTL is 1 or 0: it expires, and " +
                  (dec->expired.empty() ? std::string("the packet is dropped")
                                        : FormatActions(dec->expired, place_.names) + " is done instead of the rest");
    } else if (IsEdit(action) && step.now.empty() && step.before.empty()) {
      step.note = WhyUnchanged(action, packet_);
    } else if (const auto* trunc = std::get_if<Trunc>(&action)) {
      step.note = "the next copy is of " + std::to_string(trunc->max_len) + " bytes at most";
    } else if (std::holds_alternative<Flood>(action) && step.outputs.empty()) {
      step.note = "there is no other port";
    }
    before = after;
    return step.expired;
  }

  void End(TraceEnd end, std::string why) {
    trace_.end = end;
    trace_.why = std::move(why);
  }

  void EndOfList(const Actions& actions, bool expired) {
    if (sent_ > 0) return End(TraceEnd::kDone, "the actions are done: " + WhereTo());
    if (actions.empty() || std::holds_alternative<Drop>(actions.front())) {
      return End(TraceEnd::kDropped, "the flow drops its packets");
    }
    if (expired) return End(TraceEnd::kDropped, "the TTL has expired, and the packet went nowhere: it is dropped");
    End(TraceEnd::kDropped, "the actions are done, and the packet went nowhere: it is dropped");
  }

  [[nodiscard]] std::string WhereTo() const {
    std::string ports;
    bool up = false;
    for (const TraceStep& step : steps_) {
      up = up || step.upcall;
      for (const TraceOutput& output : step.outputs) {
        ports += (ports.empty() ? "" : ",") + FormatActions({Output{output.port}}, place_.names);
      }
    }
    if (ports.empty()) return up ? "it goes to the controller" : "there was no port to flood it to";
    return "it leaves by " + ports + (up ? " and goes to the controller" : "");
  }

  const TracePlace& place_;
  std::span<const uint8_t> original_;
  const soft::Parsed& packet_;
  std::vector<TraceStep>& steps_;
  Trace& trace_;
  size_t sent_ = 0;  // outputs, floods and upcalls so far
};

}  // namespace

void TraceActions(const Actions& actions, const TracePlace& place, std::span<const uint8_t> frame,
                  const soft::Parsed& packet, Trace& trace) {
  Walk(place, frame, packet, trace).Run(actions);
}

}  // namespace sluice::ctl
