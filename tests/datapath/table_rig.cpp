// SPDX-License-Identifier: Apache-2.0
#include "table_rig.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "sluice/flow_text.h"

namespace sluice::xdp {
namespace {

template <typename T>
T Must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().reason + ": " + result.error().detail);
  return *std::move(result);
}

}  // namespace

Bytes UdpFrame(uint32_t destination, uint16_t destination_port, uint32_t source) {
  Bytes frame = {2,         0,           0, 0,  0, 1,  2, 0, 0,  0,  0, 2, 0x08, 0x00,                    // Ethernet
                 0x45,      0,           0, 50, 0, 0,  0, 0, 64, 17, 0, 0, 0,    0,    0, 0, 0, 0, 0, 0,  // IPv4
                 1000 >> 8, 1000 & 0xff, 0, 0,  0, 30, 0, 0};
  frame.resize(64);
  const uint32_t addresses[2] = {htonl(source), htonl(destination)};
  std::memcpy(&frame[26], addresses, sizeof addresses);
  const uint16_t port = htons(destination_port);
  std::memcpy(&frame[36], &port, sizeof port);
  return frame;
}

std::optional<uint16_t> Ran::vid() const {
  if (frame.size() < 18 || frame[12] != 0x81 || frame[13] != 0) return std::nullopt;
  return static_cast<uint16_t>((frame[14] & 0xf) << 8 | frame[15]);
}

Ran RunProgram(int program, const Bytes& frame, uint32_t repeat, double* ns_per_packet) {
  Ran ran;
  ran.frame.resize(frame.size() + 256);
  LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame.data(), .data_out = ran.frame.data(),
              .data_size_in = static_cast<uint32_t>(frame.size()),
              .data_size_out = static_cast<uint32_t>(ran.frame.size()), .repeat = static_cast<int>(repeat));
  if (bpf_prog_test_run_opts(program, &run) != 0) {
    throw std::runtime_error(std::string("BPF_PROG_TEST_RUN: ") + std::strerror(errno));
  }
  ran.verdict = run.retval;
  ran.frame.resize(run.data_size_out);
  if (ns_per_packet != nullptr) *ns_per_packet = run.duration;
  return ran;
}

TableRig::TableRig(ObjectOptions options, FlowTableOptions table_options) {
  reclaimer = Must(Reclaimer::Start());
  groups = Must(Groups::Create(*reclaimer));
  for (uint32_t number = 1; number <= 4; ++number) {
    if (auto set = groups->SetPort(number, 1); !set) throw std::runtime_error(set.error().detail);
  }
  if (options.path.empty()) options.path = SLUICE_TEST_OBJECT;
  options.ports_fd = groups->ports_fd();
  options.groups_fd = groups->groups_fd();
  object = Must(Object::Load(options));
  table = Must(MakeFlowTable(*object, *reclaimer, *this, table_options));
}

TableRig::~TableRig() = default;

FlowSpec TableRig::Spec(const std::string& match, const std::string& actions, uint32_t priority, uint64_t cookie) {
  FlowSpec spec;
  const auto compiled = Must(CompileMatch(Must(ParseMatch(match)), object->key_layout()));
  spec.key = compiled.key;
  spec.mask = compiled.mask;
  spec.priority = priority;
  spec.actions = Must(CompileActions(Must(ParseActions(actions)), object->meta(), *groups));
  spec.cookie = cookie;
  return spec;
}

FlowId TableRig::Put(const std::string& match, const std::string& actions, uint32_t priority, uint64_t cookie) {
  return Must(table->Put(Spec(match, actions, priority, cookie)));
}

uint64_t TableRig::Grown(sluice_counter counter) {
  const uint64_t now = object->ReadCounters()[counter];
  return now - std::exchange(seen_[counter], now);
}

std::map<uint64_t, FlowStatsDelta> TableRig::Stats() {
  std::map<uint64_t, FlowStatsDelta> stats;
  table->ForEachChangedStats([&](uint64_t cookie, const FlowStatsDelta& delta) { stats[cookie] = delta; });
  return stats;
}

void TableRig::OnReclaimed(uint64_t cookie, const FlowStatsDelta& rest) { reclaimed.emplace_back(cookie, rest); }

}  // namespace sluice::xdp
