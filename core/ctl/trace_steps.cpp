// SPDX-License-Identifier: Apache-2.0
#include "trace_steps.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "sluice/flow_text.h"
#include "soft/execute.h"
#include "trace_ct.h"
#include "trace_sink.h"
#include "trace_tunnel.h"

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

// What the library does not do on a frame: done here.
bool IsBetweenPasses(const Action& action) {
  if (std::holds_alternative<SetField>(action)) return ActionName(action) == "set(tunnel)";
  return std::holds_alternative<Recirc>(action) || std::holds_alternative<Ct>(action) ||
         std::holds_alternative<CtClear>(action) || std::holds_alternative<TnlPop>(action) ||
         std::holds_alternative<TnlPush>(action);
}

class Walk {
 public:
  Walk(const TracePlace& place, const PassPacket& in, const soft::Parsed& packet, Trace& trace)
      : place_(place), in_(in), packet_(packet), beside_(in.beside), steps_(trace.passes.back().steps), trace_(trace) {}

  std::optional<PassPacket> Run(const Actions& actions) {
    soft::Parsed before = packet_;
    Path path = {{&actions, 0}};
    while (path.back().index < path.back().list->size()) {
      const Action& action = (*path.back().list)[path.back().index];
      if (std::holds_alternative<Drop>(action)) break;
      const auto* dec = std::get_if<DecTtl>(&action);
      const bool between = IsBetweenPasses(action);
      if (const auto can = soft::Check({action}); dec == nullptr && !between && !can) {
        const std::string text = FormatActions({action}, place_.names);
        End(TraceEnd::kUntraceable, "the trace ends before " + text + ": " + can.error().detail);
        return std::nullopt;
      }
      if (Step(action, path, before)) {
        path.push_back({&dec->expired, 0});
      } else {
        ++path.back().index;
      }
      if (ended_) return std::move(next_);
    }
    EndOfList(actions, path.size() > 1);
    return std::nullopt;
  }

 private:
  // True: its TTL has expired, dec_ttl's own list follows.
  bool Step(const Action& action, const Path& path, soft::Parsed& before) {
    TraceStep& step = steps_.emplace_back();
    StepSink sink(place_, sent_, step);
    soft::Frame frame;
    frame.Assign(in_.frame);
    soft::Execute(UpTo(path), frame, packet_.headers, sink);
    sent_ = sink.sent();
    step.expired = sink.expired() == path.size();
    const auto* dec = std::get_if<DecTtl>(&action);
    step.action = FormatActions({action}, place_.names);
    step.frame.assign(frame.bytes().begin(), frame.bytes().end());
    Between(action, step);
    IntoTunnels(step);
    const soft::Parsed after = soft::Parse(step.frame, next_ ? next_->beside : beside_);
    Compare(before, after, place_.names, step);
    if (step.expired) {
      step.note = "the TTL is 1 or 0: it expires, and " +
                  (dec->expired.empty() ? std::string("the packet is dropped")
                                        : FormatActions(dec->expired, place_.names) + " is done instead of the rest");
    } else if (IsEdit(action) && !IsBetweenPasses(action) && step.now.empty() && step.before.empty()) {
      step.note = WhyUnchanged(action, packet_);
    } else if (const auto* trunc = std::get_if<Trunc>(&action)) {
      step.note = "the next copy is of " + std::to_string(trunc->max_len) + " bytes at most";
    } else if (std::holds_alternative<Flood>(action) && step.outputs.empty()) {
      step.note = "there is no other port";
    }
    before = after;
    return step.expired;
  }

  // What the library has passed over.
  void Between(const Action& action, TraceStep& step) {
    const bool leaves = IsBetweenPasses(action) && !std::holds_alternative<SetField>(action);
    // What does ct has parsed the packet, and looks it up itself where recirc follows.
    const bool here = std::holds_alternative<Recirc>(action) && tracked_last_;
    if (leaves && !here && !Hop()) return;
    const bool tracks = std::holds_alternative<Ct>(action) || std::holds_alternative<CtClear>(action);
    tracked_last_ = tracks && soft::Parse(step.frame, uint32_t{0}).malformed == soft::Malformed::kNo;
    if (const auto* set = std::get_if<SetField>(&action); set != nullptr && IsBetweenPasses(action)) {
      for (const FieldInfo& info : kFields) {
        if (set->fields.Has(info.id)) tunnel_.Set(info.id, set->fields.Value(info.id), set->fields.Mask(info.id));
      }
    } else if (const auto* ct = std::get_if<Ct>(&action)) {
      Track(*ct, step);
    } else if (std::holds_alternative<CtClear>(action)) {
      for (const Field field : {Field::ct_state, Field::ct_zone, Field::ct_mark}) beside_.Clear(field);
    } else if (const auto* recirc = std::get_if<Recirc>(&action)) {
      ended_ = true;
      next_ = PassPacket{step.frame, beside_};
      next_->beside.SetExact(Field::recirc_id, recirc->id);
    } else if (const auto* pop = std::get_if<TnlPop>(&action)) {
      auto popped = Pop(place_, pop->port, step.frame);
      if (!popped) return EndInTunnel(popped.error());
      ended_ = true;
      step.frame = popped->frame;
      next_ = *std::move(popped);
    } else if (const auto* push = std::get_if<TnlPush>(&action)) {
      auto pushed = Push(place_, *push, step.frame);
      if (!pushed) return EndInTunnel(pushed.error());
      step.frame = pushed->frame;
      step.note = ChosenLater(pushed->frame);
      WarnOf(place_, *pushed);
      step.outputs.push_back(*std::move(pushed));
      ++sent_;
      End(TraceEnd::kDone, "the actions are done: " + WhereTo());
    }
  }

  // To another program. False: it is one too many.
  bool Hop() {
    if (++trace_.hops <= kMostHops) return true;
    End(TraceEnd::kTooDeep, "it would go from one program to another more than " + std::to_string(kMostHops) +
                                " times: it is dropped, counted as depth_exceeded");
    return false;
  }

  // No connection is known here: what was asked for is what it finds, of packets that could belong to one.
  void Track(const Ct& ct, TraceStep& step) {
    const FirstOfItsKind alone = WithoutConnection(step.frame);
    const std::optional<uint32_t> asked = NextState();
    const bool finds = asked && !alone.fixed;
    const uint32_t state = finds ? kCtTracked | *asked : alone.state;
    uint32_t mark = finds && (state & kCtInvalid) == 0 ? trace_.tracking.mark : 0;
    if ((ct.commit || ct.force) && ct.mark && (state & (kCtNew | kCtEst)) != 0) {
      mark = (mark & ~ct.mark->second) | (ct.mark->first & ct.mark->second);
    }
    if (!finds && alone.why != nullptr) step.note = alone.why;
    beside_.SetExact(Field::ct_state, state);
    beside_.SetExact(Field::ct_zone, ct.zone);
    beside_.SetExact(Field::ct_mark, mark);
  }

  std::optional<uint32_t> NextState() {
    auto& states = trace_.tracking.states;
    if (states.empty()) return std::nullopt;
    const uint32_t state = states.front();
    if (states.size() > 1) states.erase(states.begin());
    return state;
  }

  // Outputs to tunnel ports leave by the ports under those.
  void IntoTunnels(TraceStep& step) {
    for (TraceOutput& output : step.outputs) {
      const auto port = std::ranges::find(place_.ports, output.port, &v1::Port::number);
      if (!output.tunnel.empty() || port == place_.ports.end() || !TunnelOf(*port)) continue;
      if (tunnel_.FieldBits() == 0) {
        output.warning = "it is a tunnel port, and no set(tunnel(...)) says where to";
        continue;
      }
      if (auto sent = Encapsulate(place_, *port, tunnel_, output); !sent) {
        step.outputs.clear();  // it is the only one: no plugin sends on what goes into a tunnel
        return EndInTunnel(sent.error());
      }
      WarnOf(place_, output);
      step.note = ChosenLater(output.frame);
    }
  }

  void EndInTunnel(const Error& error) {
    const bool dropped = error.reason.starts_with("tnl_");
    End(dropped ? TraceEnd::kTunnel : TraceEnd::kUntraceable,
        dropped ? error.detail + ": it is dropped, counted as " + error.reason
                : "the trace ends here: " + error.detail);
  }

  void End(TraceEnd end, std::string why) {
    ended_ = true;
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
  const PassPacket& in_;
  const soft::Parsed& packet_;
  Match beside_;  // what the next pass would see beside the frame
  Match tunnel_;  // of the last set(tunnel(...))
  std::optional<PassPacket> next_;
  std::vector<TraceStep>& steps_;
  Trace& trace_;
  size_t sent_ = 0;  // outputs, floods and upcalls so far
  bool tracked_last_ = false;
  bool ended_ = false;
};

}  // namespace

std::optional<PassPacket> TraceActions(const Actions& actions, const TracePlace& place, const PassPacket& in,
                                       const soft::Parsed& packet, Trace& trace) {
  return Walk(place, in, packet, trace).Run(actions);
}

}  // namespace sluice::ctl
