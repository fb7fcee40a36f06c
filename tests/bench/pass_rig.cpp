// SPDX-License-Identifier: Apache-2.0
#include "bench/pass_rig.h"

#include <stdexcept>
#include <string>

namespace sluice::bench {

PassRig::PassRig(unsigned ifindex) {
  reclaimer_ = OrThrow(xdp::Reclaimer::Start());
  groups_ = OrThrow(xdp::Groups::Create(*reclaimer_));
  OrThrow(groups_->SetPort(kOut, ifindex));
  maps_ = OrThrow(xdp::PassMaps::Create());
  maps_->ports()[0].miss_policy = SLUICE_MISS_DROP;
  passes_ = OrThrow(xdp::PassObject::Load(*maps_, {.path = SLUICE_BPF_DIR "/sluice_passes.bpf.o",
                                                   .ports_fd = groups_->ports_fd(),
                                                   .groups_fd = groups_->groups_fd()}));
  OrThrow(passes_->Enter());
  later_ = OrThrow(xdp::MakeFlowTable(passes_->object(), *reclaimer_, *this));
  xdp::ObjectOptions object;
  object.path = SLUICE_BPF_DIR "/" + std::string(xdp::kDefaultObject);
  object.miss_policy = SLUICE_MISS_DROP;
  object.ports_fd = groups_->ports_fd();
  object.groups_fd = groups_->groups_fd();
  object.programs_fd = maps_->programs_fd(false);
  object.state_fd = maps_->state_fd();
  port_ = OrThrow(xdp::Object::Load(object));
  port_->SetPassPort(kIn, 0);
  first_ = OrThrow(xdp::MakeFlowTable(*port_, *reclaimer_, *this));
}

PassRig::~PassRig() = default;

void PassRig::Add(xdp::FlowTable& table, const xdp::KeyLayout& layout, const Match& match, xdp::Terminal terminal) {
  const auto compiled = OrThrow(xdp::CompileMatch(match, layout));
  if (compiled.wider) Throw(*compiled.wider);
  xdp::FlowSpec flow;
  flow.key = compiled.key;
  flow.mask = compiled.mask;
  flow.actions.terminal = terminal;
  OrThrow(table.Put(flow));
}

void PassRig::AddFirst(const Match& match, xdp::Terminal terminal) {
  Add(*first_, port_->key_layout(), match, terminal);
}

void PassRig::AddLater(const Match& match, xdp::Terminal terminal) {
  Add(*later_, passes_->object().key_layout(), match, terminal);
}

uint32_t PassRig::AddStep(const sluice_step& step) {
  maps_->steps()[steps_] = step;
  return steps_++;
}

uint64_t PassRig::Counted(sluice_counter counter) const {
  return port_->ReadCounters()[counter] + passes_->ReadCounters(0)[counter];
}

uint64_t PassRig::Counted(sluice_pass_counter counter) const { return passes_->ReadCounters(0)[counter]; }

}  // namespace sluice::bench
