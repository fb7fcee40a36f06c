// SPDX-License-Identifier: Apache-2.0
#include "flow_compiler.h"

#include <algorithm>
#include <bit>
#include <span>
#include <utility>

#include "wire_places.h"

namespace sluice::xdp {
namespace {

Error UnsupportedAction(const Action& action, const std::string& why) {
  return {"unsupported_action", "XDP cannot do " + ActionName(action) + why};
}

// The terminal that a list of one action, or none, is.
std::optional<Terminal> SimpleTerminal(const Actions& actions) {
  if (actions.empty() || std::holds_alternative<Drop>(actions[0])) return Terminal{};
  if (actions.size() != 1) return std::nullopt;
  if (const auto* output = std::get_if<Output>(actions.data())) return Terminal{SLUICE_ACTION_OUTPUT, output->port};
  if (std::holds_alternative<Flood>(actions[0])) return Terminal{SLUICE_ACTION_FLOOD, 0};
  if (const auto* upcall = std::get_if<ToController>(actions.data())) {
    return Terminal{SLUICE_ACTION_USERSPACE, upcall->max_len};
  }
  return std::nullopt;
}

}  // namespace

Result<void> CheckOutput(uint32_t port, const Groups& groups) {
  if (groups.HasPort(port)) return {};
  return Error{"no_such_port", "Port " + std::to_string(port) + " is not one of the XDP plugin's"};
}

namespace {

// Turns an action list into edits and one terminal.
class ActionCompiler {
 public:
  ActionCompiler(const ObjectMeta& meta, Groups& groups, Wait wait, const PassContext* passes)
      : meta_(meta), groups_(groups), wait_(wait), passes_(passes) {
    compiled_.terminal.type = SLUICE_ACTION_NONE;
  }

  Result<CompiledActions> Compile(const Actions& actions) {
    for (const Action& action : actions) {
      if (std::holds_alternative<Drop>(action)) break;  // nothing after it sees the packet
      if (last_ != nullptr)
        return UnsupportedAction(*last_, " before " + ActionName(action) + ": it has to be the last");
      auto added = std::visit([&](const auto& which) { return Add(action, which); }, action);
      if (!added) return added.error();
    }
    return Finish();
  }

 private:
  Result<void> Add(const Action& action, const Output& output) {
    const TunnelPort* tunnel = passes_ != nullptr ? passes_->tunnel(output.port) : nullptr;
    if (tunnel != nullptr) return AddPush(action, *tunnel);
    if (auto placed = PlaceTerminal(action, {SLUICE_ACTION_OUTPUT, 0}); !placed) return placed;
    if (auto known = CheckOutput(output.port, groups_); !known) return known;
    outputs_.push_back(output.port);
    return {};
  }
  Result<void> Add(const Action& action, const Flood&) { return PlaceTerminal(action, {SLUICE_ACTION_FLOOD, 0}); }
  Result<void> Add(const Action& action, const ToController& upcall) {
    return PlaceTerminal(action, {SLUICE_ACTION_USERSPACE, upcall.max_len});
  }
  Result<void> Add(const Action& action, const PushVlan& push) {
    sluice_edit edit{};
    edit.type = SLUICE_ACTION_PUSH_VLAN;
    edit.tpid = push.tpid;
    // The CFI bit only says that there is a tag, as in OVS; on the wire it would be the drop eligible indicator.
    edit.tci = push.tci & ~0x1000U;
    return AddEdit(action, edit);
  }
  Result<void> Add(const Action& action, const PopVlan&) {
    if (compiled_.terminal.type == SLUICE_ACTION_NONE && !compiled_.edits.empty() &&
        compiled_.edits.back().type == SLUICE_ACTION_PUSH_VLAN) {
      compiled_.edits.pop_back();
      return {};
    }
    sluice_edit edit{};
    edit.type = SLUICE_ACTION_POP_VLAN;
    return AddEdit(action, edit);
  }
  Result<void> Add(const Action& action, const SetField& set) {
    if (passes_ != nullptr && set.fields.FieldBits() != 0 &&
        kFields[std::countr_zero(set.fields.FieldBits())].group == "tunnel") {
      return SetTunnel(action, set.fields);
    }
    auto edits = SetEdits(set.fields);
    if (!edits) return UnsupportedAction(action, edits.error().detail.empty() ? "" : ": " + edits.error().detail);
    for (const sluice_edit& edit : *edits) {
      if (auto added = AddEdit(action, edit); !added) return added;
    }
    return {};
  }
  Result<void> Add(const Action& action, const DecTtl& ttl) {
    const auto expired = SimpleTerminal(ttl.expired);
    if (!expired) return UnsupportedAction(action, " with more than one action for packets whose time is over");
    if (!meta_.Can(expired->type)) return UnsupportedAction(ttl.expired[0], ": the object is without it");
    if (expired->type == SLUICE_ACTION_OUTPUT) {
      if (auto known = CheckOutput(expired->arg, groups_); !known) return known;
    }
    sluice_edit edit{};
    edit.type = SLUICE_ACTION_DEC_TTL;
    edit.expired = expired->type;
    edit.expired_arg = expired->arg;
    return AddEdit(action, edit);
  }
  Result<void> Add(const Action& action, const Recirc& recirc) {
    if (auto may = MayLeave(action, SLUICE_ACTION_RECIRC); !may) return may;
    compiled_.terminal = {SLUICE_ACTION_RECIRC, recirc.id};
    last_ = &action;
    return {};
  }
  Result<void> Add(const Action& action, const Ct& ct) {
    if (auto may = MayLeave(action, SLUICE_ACTION_CT); !may) return may;
    if (!ct.label.empty()) return UnsupportedAction(action, " with a label");
    if (ct.zone != 0 && !passes_->zones) {
      return UnsupportedAction(action, " with a zone: the connection tracking of this kernel takes none from XDP");
    }
    const bool commit = ct.commit || ct.force;
    if (ct.mark && !commit) return UnsupportedAction(action, " with a mark but without commit");
    sluice_step step{};
    if (commit) step.flags |= SLUICE_STEP_COMMIT;
    if (ct.force) step.flags |= SLUICE_STEP_FORCE;
    step.zone = ct.zone;
    if (ct.mark) {
      step.flags |= SLUICE_STEP_MARK;
      step.mark_mask = ct.mark->second;
      step.mark = ct.mark->first & ct.mark->second;
    }
    return AddStep(action, SLUICE_ACTION_CT, step);
  }
  Result<void> Add(const Action& action, const CtClear&) {
    if (auto may = MayLeave(action, SLUICE_ACTION_CT); !may) return may;
    sluice_step step{};
    step.flags = SLUICE_STEP_CT_CLEAR;
    return AddStep(action, SLUICE_ACTION_CT, step);
  }
  Result<void> Add(const Action& action, const TnlPop& pop) {
    if (auto may = MayLeave(action, SLUICE_ACTION_TNL_POP); !may) return may;
    const TunnelPort* tunnel = passes_->tunnel(pop.port);
    if (tunnel == nullptr) return NoTunnel(pop.port);
    last_ = &action;
    compiled_.terminal = {SLUICE_ACTION_RECIRC, 0};
    return AddStep(action, SLUICE_ACTION_TNL_POP, PopStep(*tunnel));
  }
  Result<void> Add(const Action& action, const TnlPush& push) {
    if (auto may = MayLeave(action, SLUICE_ACTION_TNL_PUSH); !may) return may;
    if (auto known = CheckOutput(push.out_port, groups_); !known) return known;
    const auto step = PushStep(passes_->tunnel(push.tnl_port), push, passes_->mtu(push.out_port));
    if (!step) return step.error();
    last_ = &action;
    compiled_.terminal = {SLUICE_ACTION_OUTPUT, push.out_port};
    return AddStep(action, SLUICE_ACTION_TNL_PUSH, *step);
  }
  Result<void> Add(const Action& action, const Trunc&) { return UnsupportedAction(action, ""); }
  Result<void> Add(const Action& action, const Drop&) { return UnsupportedAction(action, ""); }  // not reached

  static Error NoTunnel(uint32_t port) {
    return {"no_such_port", "Port " + std::to_string(port) + " is not a tunnel port of the XDP plugin's that is up"};
  }

  // Who executes what comes next: the record's own object, or the programs of the steps.
  [[nodiscard]] const ObjectMeta& Doer() const {
    return passes_ == nullptr || steps_.empty() ? meta_ : *passes_->programs;
  }

  // Whether the packet can leave this pass, by a terminal of that type.
  Result<void> MayLeave(const Action& action, sluice_action_type type) const {
    if (passes_ == nullptr) return UnsupportedAction(action, "");
    if (!Doer().Can(type) && (steps_.empty() || type != SLUICE_ACTION_CT)) {
      return UnsupportedAction(action, ": the object is without it");
    }
    if (passes_->programs == nullptr) return passes_->missing;
    if (!passes_->programs->Can(type)) {
      const bool ct = type == SLUICE_ACTION_CT && !passes_->why_no_ct.empty();
      return UnsupportedAction(action,
                               ": " + (ct ? passes_->why_no_ct : "the programs of later passes are without it"));
    }
    if (compiled_.terminal.type != SLUICE_ACTION_NONE) {
      return UnsupportedAction(action, " together with other outputs: it has one copy of the packet");
    }
    return {};
  }

  Result<void> AddStep(const Action& action, sluice_action_type type, const sluice_step& step) {
    steps_.emplace_back(type, step);
    step_ = &action;
    return {};
  }

  Result<void> SetTunnel(const Action& action, const Match& fields) {
    if (auto may = MayLeave(action, SLUICE_ACTION_TNL_PUSH); !may) return may;
    set_tunnel_ = &action;
    for (uint64_t bits = fields.FieldBits(); bits != 0; bits &= bits - 1) {
      const Field field = kFields[std::countr_zero(bits)].id;
      tunnel_.Set(field, fields.Value(field), fields.Mask(field));
    }
    return {};
  }

  Result<void> AddPush(const Action& action, const TunnelPort& tunnel) {
    if (auto may = MayLeave(action, SLUICE_ACTION_TNL_PUSH); !may) return may;
    if (set_tunnel_ == nullptr) return UnsupportedAction(action, " to a tunnel port without set(tunnel()) before it");
    if (tunnel.underlay == 0) {
      return UnsupportedAction(action, " to a tunnel port that has no underlay: its option says which port that is");
    }
    const auto step = PushStep(tunnel, tunnel_);
    if (!step) return step.error();
    set_tunnel_ = nullptr;
    last_ = &action;
    compiled_.terminal = {SLUICE_ACTION_OUTPUT, tunnel.underlay};
    return AddStep(action, SLUICE_ACTION_TNL_PUSH, *step);
  }

  Result<void> AddEdit(const Action& action, const sluice_edit& edit) {
    if (!meta_.Can(static_cast<sluice_action_type>(edit.type))) {
      return UnsupportedAction(action, ": the object is without it");
    }
    if (!steps_.empty()) {
      return UnsupportedAction(action, " after " + ActionName(*step_) + ": put it behind a recirc");
    }
    // After an output an edit matters only to what follows; see PlaceTerminal.
    if (compiled_.terminal.type != SLUICE_ACTION_NONE) {
      if (edit.type == SLUICE_ACTION_DEC_TTL && edit.expired != SLUICE_ACTION_DROP) {
        return UnsupportedAction(action, " that may send the packet a second time: it has one copy of it");
      }
      late_edit_ = &action;
      return {};
    }
    if (compiled_.edits.size() == meta_.max_edits) {
      return UnsupportedAction(action, ": the flow has more than " + std::to_string(meta_.max_edits) +
                                           " edits of a packet, the object's max_edits");
    }
    compiled_.edits.push_back(edit);
    return {};
  }

  Result<void> PlaceTerminal(const Action& action, Terminal terminal) {
    if (!Doer().Can(terminal.type)) return UnsupportedAction(action, ": the object is without it");
    if (late_edit_ != nullptr) {
      return UnsupportedAction(*late_edit_, " between two outputs: it has one copy of the packet");
    }
    if (compiled_.terminal.type == SLUICE_ACTION_NONE) {
      compiled_.terminal = terminal;
      return {};
    }
    if (terminal.type != SLUICE_ACTION_OUTPUT || compiled_.terminal.type != terminal.type) {
      return UnsupportedAction(action, " together with other outputs: it has one copy of the packet");
    }
    if (!Doer().Can(SLUICE_ACTION_GROUP))
      return UnsupportedAction(action, " to several ports: the object is without it");
    return {};
  }

  Result<CompiledActions> Finish() {
    if (set_tunnel_ != nullptr) return UnsupportedAction(*set_tunnel_, ": no output to a tunnel port follows it");
    Terminal& terminal = compiled_.terminal;
    const bool expires = std::any_of(compiled_.edits.begin(), compiled_.edits.end(), [](const sluice_edit& edit) {
      return edit.type == SLUICE_ACTION_DEC_TTL && edit.expired != SLUICE_ACTION_DROP;
    });
    if (terminal.type == SLUICE_ACTION_NONE) {
      terminal.type = SLUICE_ACTION_DROP;
      if (!expires && steps_.empty()) compiled_.edits.clear();  // nobody sees what they do
    } else if (outputs_.size() == 1) {
      terminal.arg = outputs_[0];
    } else if (outputs_.size() > 1) {
      auto group = groups_.Acquire(outputs_, wait_);
      if (!group) return group.error();
      compiled_.group = *std::move(group);
      terminal = {SLUICE_ACTION_GROUP, compiled_.group->index};
    }
    if (auto chained = ChainSteps(); !chained) return chained.error();
    return std::move(compiled_);
  }

  // The record's terminal is the first step, and the last one's is what was the record's.
  Result<void> ChainSteps() {
    std::shared_ptr<const void> next = steps_.empty() ? nullptr : std::exchange(compiled_.group, nullptr);
    for (auto at = steps_.rbegin(); at != steps_.rend(); ++at) {
      auto& [type, step] = *at;
      step.terminal = compiled_.terminal.type;
      step.terminal_arg = compiled_.terminal.arg;
      auto taken = passes_->steps->Acquire(step, std::move(next));
      if (!taken) return taken.error();
      compiled_.step = *std::move(taken);
      compiled_.terminal = {type, compiled_.step->index};
      next = compiled_.step;
    }
    return {};
  }

  const ObjectMeta& meta_;
  Groups& groups_;
  Wait wait_;
  const PassContext* passes_;
  CompiledActions compiled_;
  std::vector<uint32_t> outputs_;
  const Action* late_edit_ = nullptr;
  std::vector<std::pair<sluice_action_type, sluice_step>> steps_;
  const Action* step_ = nullptr;        // that made the newest of them
  const Action* last_ = nullptr;        // nothing may follow this one
  const Action* set_tunnel_ = nullptr;  // not used yet
  Match tunnel_;
};

}  // namespace

std::vector<std::string> SupportedActions(const ObjectMeta& meta) {
  std::vector<std::string> names;
  for (const auto& [type, name] : {std::pair{SLUICE_ACTION_DROP, "drop"},
                                   {SLUICE_ACTION_OUTPUT, "output"},
                                   {SLUICE_ACTION_FLOOD, "flood"},
                                   {SLUICE_ACTION_USERSPACE, "upcall"},
                                   {SLUICE_ACTION_PUSH_VLAN, "push_vlan"},
                                   {SLUICE_ACTION_POP_VLAN, "pop_vlan"},
                                   {SLUICE_ACTION_DEC_TTL, "dec_ttl"}}) {
    if (meta.Can(type)) names.emplace_back(name);
  }
  if (!meta.Can(SLUICE_ACTION_SET)) return names;
  for (const WirePlace& place : kWirePlaces) {
    const std::string name = "set(" + std::string(Info(place.field).group) + ")";
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  return names;
}

std::vector<std::string> PassActions(const ObjectMeta& meta) {
  std::vector<std::string> names;
  for (const auto& [type, name] : {std::pair{SLUICE_ACTION_RECIRC, "recirc"},
                                   {SLUICE_ACTION_CT, "ct"},
                                   {SLUICE_ACTION_CT, "ct_clear"},
                                   {SLUICE_ACTION_TNL_POP, "tnl_pop"},
                                   {SLUICE_ACTION_TNL_PUSH, "tnl_push"},
                                   {SLUICE_ACTION_TNL_PUSH, "set(tunnel)"}}) {
    if (meta.Can(type)) names.emplace_back(name);
  }
  return names;
}

Result<CompiledActions> CompileActions(const Actions& actions, const ObjectMeta& meta, Groups& groups, Wait wait,
                                       const PassContext* passes) {
  return ActionCompiler(meta, groups, wait, passes).Compile(actions);
}

}  // namespace sluice::xdp
