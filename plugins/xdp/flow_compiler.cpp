// SPDX-License-Identifier: Apache-2.0
#include "flow_compiler.h"

#include <cstring>
#include <span>

namespace sluice::xdp {
namespace {

Error UnsupportedField(const FieldInfo& field, const std::string& why) {
  return {"unsupported_field", "XDP cannot match " + std::string(field.name) + ": " + why};
}

Error UnsupportedAction(const Action& action, const std::string& why) {
  return {"unsupported_action", "XDP cannot do " + ActionName(action) + why};
}

void Copy(std::span<const uint8_t> from, const KeyMember& member, KeyWords& to) {
  auto* bytes = reinterpret_cast<uint8_t*>(to.data());
  std::memcpy(bytes + member.offset + member.size - from.size(), from.data(), from.size());
}

bool AnySet(const KeyMember& member, const KeyWords& words) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(words.data());
  for (size_t i = 0; i < member.size; ++i) {
    if (bytes[member.offset + i] != 0) return true;
  }
  return false;
}

// Turns an action list into edits and one terminal.
class ActionCompiler {
 public:
  ActionCompiler(Groups& groups, Wait wait) : groups_(groups), wait_(wait) {}

  Result<CompiledActions> Compile(const Actions& actions) {
    for (const Action& action : actions) {
      if (std::holds_alternative<Drop>(action)) break;  // nothing after it sees the packet
      auto added = std::visit([&](const auto& which) { return Add(action, which); }, action);
      if (!added) return added.error();
    }
    return Finish();
  }

 private:
  Result<void> Add(const Action& action, const Output& output) {
    if (auto placed = PlaceTerminal(action, SLUICE_ACTION_OUTPUT, 0); !placed) return placed;
    if (!groups_.HasPort(output.port)) {
      return Error{"no_such_port", "Port " + std::to_string(output.port) + " is not one of the XDP plugin's"};
    }
    outputs_.push_back(output.port);
    return {};
  }
  Result<void> Add(const Action& action, const Flood&) { return PlaceTerminal(action, SLUICE_ACTION_FLOOD, 0); }
  Result<void> Add(const Action& action, const ToController& upcall) {
    return PlaceTerminal(action, SLUICE_ACTION_USERSPACE, upcall.max_len);
  }
  Result<void> Add(const Action& action, const PushVlan& push) {
    // The CFI bit only says that there is a tag, as in OVS; on the wire it would be the drop eligible indicator.
    return AddEdit(action, {SLUICE_ACTION_PUSH_VLAN, 0, push.tpid, push.tci & ~0x1000U});
  }
  Result<void> Add(const Action& action, const PopVlan&) {
    if (compiled_.terminal.type == SLUICE_ACTION_NONE && !compiled_.edits.empty() &&
        compiled_.edits.back().type == SLUICE_ACTION_PUSH_VLAN) {
      compiled_.edits.pop_back();
      return {};
    }
    return AddEdit(action, {SLUICE_ACTION_POP_VLAN, 0, 0, 0});
  }
  template <typename Other>
  Result<void> Add(const Action& action, const Other&) {
    return UnsupportedAction(action, "");
  }

  Result<void> AddEdit(const Action& action, const sluice_action& edit) {
    // After an output an edit matters only to what follows; see PlaceTerminal.
    if (compiled_.terminal.type != SLUICE_ACTION_NONE) {
      late_edit_ = &action;
      return {};
    }
    if (compiled_.edits.size() == SLUICE_MAX_EDITS) {
      return UnsupportedAction(action,
                               ": the flow has more than " + std::to_string(SLUICE_MAX_EDITS) + " edits of a packet");
    }
    compiled_.edits.push_back(edit);
    return {};
  }

  Result<void> PlaceTerminal(const Action& action, sluice_action_type type, uint32_t arg) {
    if (late_edit_ != nullptr) {
      return UnsupportedAction(*late_edit_, " between two outputs: it has one copy of the packet");
    }
    if (compiled_.terminal.type == SLUICE_ACTION_NONE) {
      compiled_.terminal = {static_cast<uint8_t>(type), 0, 0, arg};
      return {};
    }
    if (type == SLUICE_ACTION_OUTPUT && compiled_.terminal.type == type) return {};
    return UnsupportedAction(action, " together with other outputs: it has one copy of the packet");
  }

  Result<CompiledActions> Finish() {
    sluice_action& terminal = compiled_.terminal;
    if (terminal.type == SLUICE_ACTION_NONE) {
      terminal.type = SLUICE_ACTION_DROP;
      compiled_.edits.clear();
    } else if (outputs_.size() == 1) {
      terminal.b = outputs_[0];
    } else if (outputs_.size() > 1) {
      auto group = groups_.Acquire(outputs_, wait_);
      if (!group) return group.error();
      compiled_.group = *std::move(group);
      terminal = {SLUICE_ACTION_GROUP, 0, 0, compiled_.group->index};
    }
    return std::move(compiled_);
  }

  Groups& groups_;
  Wait wait_;
  CompiledActions compiled_{{}, {SLUICE_ACTION_NONE, 0, 0, 0}, nullptr};
  std::vector<uint32_t> outputs_;
  const Action* late_edit_ = nullptr;
};

}  // namespace

std::vector<std::string> SupportedActions() { return {"output", "flood", "drop", "push_vlan", "pop_vlan", "upcall"}; }

Result<CompiledMatch> CompileMatch(const Match& match, const KeyLayout& layout) {
  CompiledMatch compiled;
  for (const FieldInfo& field : kFields) {
    if (!match.Has(field.id)) continue;
    if (field.id == Field::in_port) {
      if (!match.IsExact(field.id)) return UnsupportedField(field, "its mask is not the whole number");
      compiled.in_port = static_cast<uint32_t>(match.ValueOf(field.id));
      continue;
    }
    // Every packet is in its first pass here.
    if (field.id == Field::recirc_id && match.ValueOf(field.id) == 0) continue;
    if (!layout.Has(field.id)) return UnsupportedField(field, "the object's key has no such member");

    const KeyMember& member = layout.members[static_cast<size_t>(field.id)];
    if (AnySet(member, compiled.mask)) {
      return UnsupportedField(field, "the key has one place for it and for another field of this match");
    }
    Copy(match.Value(field.id), member, compiled.key);
    Copy(match.Mask(field.id), member, compiled.mask);
  }
  return compiled;
}

Result<CompiledActions> CompileActions(const Actions& actions, Groups& groups, Wait wait) {
  return ActionCompiler(groups, wait).Compile(actions);
}

}  // namespace sluice::xdp
