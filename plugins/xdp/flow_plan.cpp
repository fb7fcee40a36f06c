// SPDX-License-Identifier: Apache-2.0
#include "flow_plan.h"

#include <utility>

#include "flow_compiler.h"
#include "sluice/flow_text.h"
#include "soft/execute.h"

namespace sluice::xdp {
namespace {

constexpr size_t kMostTexts = 4096;  // remembered

Error NoSuchPort(uint32_t number, const std::optional<std::string>& name) {
  return {"no_such_port", name ? "in_port " + *name + " has no device at present"
                               : "in_port " + std::to_string(number) + " is not a port of XDP's"};
}

bool IsUnsupported(const Error& error) { return error.reason == "unsupported_action"; }

// Whether the port can give a flow to software that XDP cannot do for the reason `why`, or `why` with the reason why
// not.
Result<void> PortMayBeSoftware(const Port& port, const ObjectMeta& meta, bool wider, Error why) {
  if (!port.settings().software) {
    why.detail += "; the port's option software is no";
  } else if (!meta.Can(SLUICE_ACTION_SOFTWARE)) {
    why.detail += "; the object cannot hand packets to software";
  } else if (port.sockets().empty()) {
    why.detail += "; the port has no AF_XDP socket for software";
  } else if (wider && port.settings().miss == SLUICE_MISS_PASS) {
    why.detail += "; with miss=pass software could not give other packets back to the kernel";
  } else {
    return {};
  }
  return why;
}

}  // namespace

FlowPlanner::FlowPlanner(const Ports& ports, Groups& groups, PassTables& passes)
    : ports_(ports), groups_(groups), passes_(passes) {
  context_.steps = &passes_.steps();
  context_.tunnel = [this](uint32_t port) { return ports_.Tunnel(port); };
  context_.mtu = [this](uint32_t port) { return ports_.Mtu(port); };
  OnPasses();
}

void FlowPlanner::OnPasses() {
  Forget();
  const PassObject* programs = passes_.programs();
  context_.programs = programs == nullptr ? nullptr : &programs->meta();
  context_.missing = passes_.missing();
  context_.why_no_ct = programs == nullptr ? "" : programs->why_no_ct();
  context_.zones = programs != nullptr && programs->HasZones();
}

Result<FlowPlanner::Text*> FlowPlanner::Find(const std::string& text) {
  if (const auto known = texts_.find(text); known != texts_.end()) return &known->second;
  auto actions = ParseActions(text, ports_);
  if (!actions) return actions.error();
  if (texts_.size() >= kMostTexts) texts_.clear();
  return &(texts_[text] = {std::make_shared<const Actions>(*std::move(actions)), {}});
}

Result<std::shared_ptr<const Actions>> FlowPlanner::Parse(const std::string& text) {
  const auto found = Find(text);
  if (!found) return found.error();
  return (*found)->actions;
}

Result<CompiledActions> FlowPlanner::Compile(const Place& place, Text& text) {
  for (const auto& [of, compiled] : text.compiled) {
    if (of == place.object) return compiled;
  }
  auto compiled = CompileActions(*text.actions, place.meta, groups_, Wait::kForbidden, &context_);
  if (compiled && compiled->group == nullptr && compiled->step == nullptr) {
    text.compiled.emplace_back(place.object, *compiled);
  }
  return compiled;
}

Result<void> FlowPlanner::MayBeSoftware(const Place& place, bool wider, const Error& why) const {
  if (place.port != nullptr) return PortMayBeSoftware(*place.port, place.meta, wider, why);
  Result<void> may;
  ports_.ForEach([&](const Port& port) {
    if (!may) return;
    may = PortMayBeSoftware(port, place.meta, wider, why);
    if (!may) may = Error{may.error().reason, may.error().detail + " (port " + ports_.NameOf(port) + ")"};
  });
  return may;
}

// The compiler knows numbers only: says by name which output has no device.
Error FlowPlanner::NameOutput(Error error, const Actions& actions) const {
  if (error.reason != "no_such_port") return error;
  for (const auto& action : actions) {
    if (const auto* ttl = std::get_if<DecTtl>(&action)) error = NameOutput(std::move(error), ttl->expired);
    const auto* output = std::get_if<Output>(&action);
    if (output == nullptr || ports_.ByNumber(output->port) != nullptr) continue;
    const auto name = ports_.Name(output->port);
    if (name) error.detail = "output " + *name + " has no device at present";
    break;
  }
  return error;
}

Result<void> FlowPlanner::CheckOutputs(const Actions& actions) const {
  for (const auto& action : actions) {
    if (const auto* output = std::get_if<Output>(&action)) {
      if (ports_.Tunnel(output->port) != nullptr) return Error{"unsupported_action", "software sends into no tunnel"};
      if (auto checked = CheckOutput(output->port, groups_); !checked) return checked;
    }
    if (const auto* ttl = std::get_if<DecTtl>(&action)) {
      if (auto checked = CheckOutputs(ttl->expired); !checked) return checked;
    }
  }
  return {};
}

Result<void> FlowPlanner::PlanFor(const Place& place, const Match& match, uint32_t priority, Text& text,
                                  FlowPlan& plan) {
  auto compiled = CompileMatch(match, place.meta.key);
  if (!compiled) return compiled.error();
  auto steps = Compile(place, text);
  if (!steps && !IsUnsupported(steps.error())) return steps.error();
  if (!steps || compiled->wider) {
    const Error why = compiled->wider ? *compiled->wider : steps.error();
    if (!soft::Check(*plan.actions)) return why;
    if (auto may = MayBeSoftware(place, compiled->wider.has_value(), why); !may) return may;
    if (auto checked = CheckOutputs(*plan.actions); !checked) return IsUnsupported(checked.error()) ? why : checked;
    steps = CompiledActions{};
    steps->terminal = {SLUICE_ACTION_SOFTWARE, compiled->wider ? 1U : 0U};
    if (!plan.software) plan.software = why;
    if (compiled->wider && plan.match == nullptr) plan.match = std::make_shared<const Match>(match);
  }
  FlowPlan::Target& target = plan.targets.emplace_back();
  target.table = place.table;
  target.spec.key = compiled->key;
  target.spec.mask = compiled->mask;
  target.spec.priority = priority;
  target.spec.actions = *std::move(steps);
  return {};
}

Result<void> FlowPlanner::PlanForPort(const Port& port, const Match& match, uint32_t priority, Text& text,
                                      FlowPlan& plan) {
  return PlanFor({port.serial(), port.settings().object, port.meta(), &port}, match, priority, text, plan);
}

Result<void> FlowPlanner::PlanForPasses(Match match, uint32_t priority, Text& text, FlowPlan& plan) {
  const auto generations = passes_.targets();
  if (generations.empty()) return passes_.missing();
  // Without it: what has just come out of a tunnel, and no other packet that comes to this table.
  if (!match.Has(Field::recirc_id)) match.SetExact(Field::recirc_id, 0);
  const auto in_port = static_cast<uint32_t>(match.ValueOf(Field::in_port));
  const Port* port = match.IsExact(Field::in_port) ? ports_.ByNumber(in_port) : nullptr;
  for (const PassGeneration* generation : generations) {
    const std::string name = "generation " + std::to_string(generation->serial);
    const Place place{generation->serial, name, generation->object->meta(), port};
    auto planned = PlanFor(place, match, priority, text, plan);
    // What is on its way out need not have it.
    if (!planned && generation == generations.back()) return planned;
    if (!planned && IsNotYet(planned.error())) return planned;
  }
  return {};
}

Result<void> FlowPlanner::Plan(const v1::FlowState& put, FlowPlan& plan) {
  const auto match = Match::Unpack(put.packed_match());
  if (!match) return match.error();
  if (match->Has(Field::recirc_id) && !match->IsExact(Field::recirc_id)) {
    return Error{"unsupported_field", "XDP cannot match recirc_id: its mask is not the whole number"};
  }
  const bool later = match->ValueOf(Field::recirc_id) != 0;
  const bool one_port = match->IsExact(Field::in_port);
  const auto number = static_cast<uint32_t>(match->ValueOf(Field::in_port));
  const Port* port = one_port ? ports_.ByNumber(number) : nullptr;
  const bool tunnel = one_port && port == nullptr && ports_.Tunnel(number) != nullptr;
  if (one_port && port == nullptr && !tunnel) return NoSuchPort(number, ports_.Name(number));
  const auto text = Find(put.actions());
  if (!text) return text.error();
  plan.actions = (*text)->actions;
  Result<void> planned;
  if (later || tunnel) {
    planned = PlanForPasses(*match, put.priority(), **text, plan);
  } else if (one_port) {
    planned = PlanForPort(*port, *match, put.priority(), **text, plan);
  } else {
    ports_.ForEach([&](const Port& each) {
      if (planned) planned = PlanForPort(each, *match, put.priority(), **text, plan);
    });
    if (planned && ports_.HasTunnels() && !passes_.targets().empty()) {
      planned = PlanForPasses(*match, put.priority(), **text, plan);
    }
    if (planned && plan.targets.empty()) return Error{"no_such_port", "there is no port yet"};
  }
  if (!planned) return NameOutput(planned.error(), *plan.actions);
  return {};
}

}  // namespace sluice::xdp
