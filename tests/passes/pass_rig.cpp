// SPDX-License-Identifier: Apache-2.0
#include "pass_rig.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "flow_compiler.h"
#include "sluice/flow_text.h"

namespace sluice::xdp {
namespace {

template <typename T>
T Must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().reason + ": " + result.error().detail);
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

void Place(std::span<const uint8_t> bytes, const KeyMember& member, KeyWords& words) {
  if (member.size < bytes.size()) throw std::runtime_error("the key has no such member");
  std::memcpy(reinterpret_cast<uint8_t*>(words.data()) + member.offset + member.size - bytes.size(), bytes.data(),
              bytes.size());
}

}  // namespace

PassRig::PassRig(Options options) {
  reclaimer = Must(Reclaimer::Start());
  groups = Must(Groups::Create(*reclaimer));
  for (uint32_t number = 1; number <= 4; ++number) Must(groups->SetPort(number, 1));
  maps = Must(PassMaps::Create());
  PassOptions later_options;
  later_options.path = SLUICE_TEST_PASSES;
  later_options.depth = options.depth;
  later_options.ports_fd = groups->ports_fd();
  later_options.frags_ports_fd = groups->ports_fd(true);
  later_options.groups_fd = groups->groups_fd();
  passes = Must(PassObject::Load(*maps, later_options));
  if (options.enter) Must(passes->Enter());
  later = Must(MakeFlowTable(passes->object(), *reclaimer, *this));

  ObjectOptions port_options;
  port_options.path = SLUICE_TEST_OBJECT;
  port_options.frags = options.frags;
  port_options.miss_policy = SLUICE_MISS_PASS;
  port_options.ports_fd = groups->ports_fd(options.frags);
  port_options.groups_fd = groups->groups_fd();
  port_options.programs_fd = maps->programs_fd(options.frags);
  port_options.state_fd = maps->state_fd();
  port = Must(Object::Load(port_options));
  port->SetPassPort(kPortNumber, kPassSlot);
  maps->ports()[kPassSlot].miss_policy = SLUICE_MISS_PASS;
  first = Must(MakeFlowTable(*port, *reclaimer, *this));
}

PassRig::~PassRig() = default;

FlowSpec PassRig::Spec(const std::string& match, const Do& what, const KeyLayout& layout, uint64_t cookie) {
  FlowSpec spec;
  const Match parsed = Must(ParseMatch(match));
  for (uint64_t fields = parsed.FieldBits(); fields != 0; fields &= fields - 1) {
    const FieldInfo& field = kFields[std::countr_zero(fields)];
    Place(parsed.Value(field.id), layout.members[static_cast<size_t>(field.id)], spec.key);
    Place(parsed.Mask(field.id), layout.members[static_cast<size_t>(field.id)], spec.mask);
  }
  if (!what.edits.empty()) {
    spec.actions.edits = Must(CompileActions(Must(ParseActions(what.edits + ",1")), port->meta(), *groups)).edits;
  }
  spec.actions.terminal = {what.terminal, what.arg};
  spec.cookie = cookie;
  return spec;
}

void PassRig::First(const std::string& match, const Do& what, uint64_t cookie) {
  Must(first->Put(Spec(match, what, port->key_layout(), cookie)));
}

void PassRig::Later(const std::string& match, const Do& what, uint64_t cookie) {
  Must(later->Put(Spec(match, what, passes->meta().key, cookie)));
}

uint32_t PassRig::Step(const sluice_step& step) {
  maps->steps()[steps_] = step;
  return steps_++;
}

uint64_t PassRig::Grown(sluice_counter counter) {
  const uint64_t now = port->ReadCounters()[counter];
  return now - std::exchange(seen_[counter], now);
}

uint64_t PassRig::PassGrown(uint32_t counter) {
  const uint64_t now = passes->ReadCounters(kPassSlot).values[counter];
  return now - std::exchange(pass_seen_[counter], now);
}

uint64_t PassRig::Taken() {
  std::vector<uint64_t> cookies;
  later->ForEachChangedStats([&](uint64_t cookie, const FlowStatsDelta&) { cookies.push_back(cookie); });
  return cookies.size() == 1 ? cookies[0] : 0;
}

}  // namespace sluice::xdp
