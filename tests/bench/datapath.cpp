// SPDX-License-Identifier: Apache-2.0
#include "bench/datapath.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <unistd.h>

#include <cstring>
#include <stdexcept>
#include <vector>

#include "bench/bench_flows.h"

namespace sluice::bench {
namespace {

void Check(int result, const char* what) {
  if (result < 0) throw std::runtime_error(std::string(what) + ": " + std::strerror(-result));
}

void SetElement(int map_fd, uint32_t key, const void* value) {
  Check(bpf_map_update_elem(map_fd, &key, value, BPF_ANY), "bpf_map_update_elem");
}

}  // namespace

void Throw(const Error& error) { throw std::runtime_error(error.reason + ": " + error.detail); }

void SetGenerator(int bench_fd, uint32_t flows) {
  const uint32_t state_and_flows[2] = {1, flows};
  SetElement(bench_fd, 0, state_and_flows);
}

Datapath::Datapath(const Options& options, unsigned ifindex) {
  const bool bench = options.object == "bench";
  reclaimer_ = OrThrow(xdp::Reclaimer::Start());
  groups_ = OrThrow(xdp::Groups::Create(*reclaimer_));
  OrThrow(groups_->SetPort(2, ifindex));
  xdp::ObjectOptions object;
  object.path = bench ? SLUICE_BENCH_DIR "/bench_subject.bpf.o" : SLUICE_BPF_DIR "/" + std::string(xdp::kDefaultObject);
  object.cache_entries = options.cache_entries;
  object.ports_fd = groups_->ports_fd();
  object.groups_fd = groups_->groups_fd();
  object_ = OrThrow(xdp::Object::Load(object));
  if (bench) SetGenerator(object_->MapFd(".data.bench"), options.flows);
  table_ = OrThrow(xdp::MakeFlowTable(*object_, *reclaimer_, *this, {.spare_subtables = options.masks}));
  std::vector<xdp::FlowSpec> flows;
  for (uint32_t flow = 0; flow < options.flows; ++flow) {
    auto match = OrThrow(xdp::CompileMatch(BenchMatch(flow, flow % options.masks), object_->key_layout()));
    flows.push_back(
        {match.key, match.mask, 0, OrThrow(xdp::CompileActions({Output{2}}, object_->meta(), *groups_)), flow});
  }
  for (auto& id : table_->PutMany(flows)) OrThrow(std::move(id));
}

Datapath::~Datapath() = default;

void Baseline::Close::operator()(bpf_object* object) const { bpf_object__close(object); }

Baseline::Baseline(unsigned ifindex) {
  object_.reset(bpf_object__open_file(SLUICE_BENCH_DIR "/bench_base.bpf.o", nullptr));
  if (object_ == nullptr) throw std::runtime_error("cannot open bench_base.bpf.o");
  bpf_map* cpus = bpf_object__find_map_by_name(object_.get(), "cpus");
  Check(bpf_map__set_max_entries(cpus, static_cast<uint32_t>(libbpf_num_possible_cpus())), "cpus");
  Check(bpf_object__load(object_.get()), "load bench_base.bpf.o");
  SetElement(bpf_object__find_map_fd_by_name(object_.get(), "ports"), 2, &ifindex);
}

Baseline::~Baseline() = default;

int Baseline::ProgramFd(const char* name) const {
  return bpf_program__fd(bpf_object__find_program_by_name(object_.get(), name));
}

void Baseline::SetTransmit(unsigned ifindex) const {
  SetElement(bpf_object__find_map_fd_by_name(object_.get(), "tx"), 0, &ifindex);
}

void Baseline::SetFlows(uint32_t flows) const {
  SetGenerator(bpf_object__find_map_fd_by_name(object_.get(), ".data.bench"), flows);
}

uint64_t Baseline::Received() const {
  const uint32_t key = 0;
  uint64_t received = 0;
  Check(bpf_map_lookup_elem(bpf_object__find_map_fd_by_name(object_.get(), ".data.received"), &key, &received),
        "bpf_map_lookup_elem");
  return received;
}

}  // namespace sluice::bench
