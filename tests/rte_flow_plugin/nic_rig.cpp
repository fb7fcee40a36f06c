// SPDX-License-Identifier: Apache-2.0
#include "nic_rig.h"

#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <thread>

#include "eal.h"
#include "sluice/flow_text.h"

namespace sluice::rteflow {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kPatience = std::chrono::seconds(5);

rte_mempool* Pool() {
  static rte_mempool* pool = rte_pktmbuf_pool_create("far_ends", 8191, 0, 0, 9216 + RTE_PKTMBUF_HEADROOM, 0);
  if (pool == nullptr) throw std::runtime_error("no memory for the far ends' packets");
  return pool;
}

std::string StartDpdk() {
  if (!std::filesystem::exists(SLUICE_NET_SLUICE))
    return "net_sluice was not built: DPDK's internal headers are missing";
  const Log log = [](int, const std::string& line) { std::fprintf(stderr, "%s\n", line.c_str()); };
  if (const auto started = StartEal(EalArguments("--no-huge -m 768 --no-shconf --no-pci --no-telemetry"), log);
      !started) {
    throw std::runtime_error(started.error().detail);
  }
  if (const auto loaded = LoadDriver(SLUICE_NET_SLUICE); !loaded) throw std::runtime_error(loaded.error().detail);
  return "";
}

std::unique_ptr<EthDevice> OpenFar(const std::string& devargs) {
  PortSettings settings;
  settings.devargs = devargs;
  settings.buffers = 512;
  settings.mtu = 9000;
  auto device = EthDevice::Open(settings, [] {});
  if (!device) throw std::runtime_error(device.error().detail);
  return *std::move(device);
}

std::unique_ptr<Datapath> StartDatapath() {
  Datapath::Settings settings;
  settings.idle_us = 20;
  auto datapath = Datapath::Start(settings);
  if (!datapath) throw std::runtime_error(datapath.error().detail);
  return *std::move(datapath);
}

}  // namespace

const std::string& WhyNoNic() {
  static const std::string kWhy = StartDpdk();
  return kWhy;
}

std::string UfidBytes(uint64_t flow) {
  std::string bytes(16, '\0');
  for (size_t i = 0; i < 8; ++i) bytes[15 - i] = static_cast<char>(flow >> (8 * i));
  return bytes;
}

uint64_t NumberOf(const std::string& ufid_bytes) {
  uint64_t flow = 0;
  for (size_t i = 8; i < 16; ++i) flow = flow << 8 | static_cast<uint8_t>(ufid_bytes.at(i));
  return flow;
}

const v1::Verdict& VerdictOf(const v1::FromPlugin& answer) {
  if (answer.verdicts_size() != 1) {
    throw std::runtime_error(std::to_string(answer.verdicts_size()) + " verdicts: " + answer.ShortDebugString());
  }
  return answer.verdicts(0);
}

NicRig::NicRig(const std::string& devargs, const std::map<std::string, std::string>& options)
    : name_("t" + std::to_string(getpid())),
      devargs_(devargs),
      options_(options),
      faults_("/tmp/" + name_ + ".faults") {
  WriteFaults("");
  Handler::Parts parts;
  parts.datapath = StartDatapath();
  datapath_ = parts.datapath.get();
  parts.defaults.buffers = 1024;
  parts.defaults.upcall_rate = 0;
  parts.defaults.mtu = 9000;
  parts.log = [](int, const std::string& line) { std::fprintf(stderr, "%s\n", line.c_str()); };
  handler_ = std::make_unique<Handler>(std::move(parts));
  handler_->SetWake([this] { woken_ = true; });
  handler_->SetBusy([this](uint32_t) { ++busy_; });
  for (uint32_t port = 1; port <= kPorts; ++port) {
    const std::string wire = name_ + "w" + std::to_string(port);
    far_[port - 1].device = OpenFar("net_sluice_far" + std::to_string(port) + ",ring=" + wire);
    const v1::FromPlugin answer = AddPort(port);
    if (answer.ports_size() == 0 || answer.ports(0).state() != "up")
      throw std::runtime_error(answer.ShortDebugString());
  }
}

NicRig::~NicRig() {
  v1::FromPlugin last;
  handler_->OnStop(false, last);
  handler_.reset();
  std::error_code ignored;
  std::filesystem::remove(faults_, ignored);
}

std::string NicRig::DevArgs(uint32_t port) const {
  const std::string number = std::to_string(port);
  return "net_sluice_near" + number + ",ring=" + name_ + "w" + number + ",faults=" + faults_ +
         (devargs_.empty() ? "" : "," + devargs_);
}

void NicRig::WriteFaults(const std::string& lines) {
  const std::string next = faults_ + ".next";
  std::ofstream(next) << lines;
  std::filesystem::rename(next, faults_);
}

v1::FromPlugin NicRig::Tell(const v1::ToPlugin& batch) {
  v1::FromPlugin answer;
  handler_->OnBatch(batch, answer);
  return answer;
}

v1::FromPlugin NicRig::Tick() {
  v1::FromPlugin out;
  handler_->OnTick(out);
  while (woken_.exchange(false)) handler_->OnWake(out);
  return out;
}

void NicRig::AddPut(v1::ToPlugin& batch, uint64_t flow, const Match& match, const Actions& actions, uint32_t priority) {
  v1::Change& change = *batch.add_changes();
  change.set_seq(++seq_);
  v1::FlowState& put = *change.mutable_put();
  put.set_ufid(UfidBytes(flow));
  put.set_packed_match(match.Pack());
  class Names : public PortNames {
    [[nodiscard]] std::optional<uint32_t> Number(std::string_view) const override { return std::nullopt; }
    [[nodiscard]] std::optional<std::string> Name(uint32_t number) const override {
      return "p" + std::to_string(number);
    }
  };
  put.set_actions(FormatActions(actions, Names()));
  put.set_priority(priority);
  put.set_instance(1);
}

void NicRig::AddDelete(v1::ToPlugin& batch, uint64_t flow) {
  v1::Change& change = *batch.add_changes();
  change.set_seq(++seq_);
  change.mutable_del()->set_ufid(UfidBytes(flow));
  change.mutable_del()->set_instance(1);
}

v1::FromPlugin NicRig::Put(uint64_t flow, const Match& match, const Actions& actions, uint32_t priority) {
  v1::ToPlugin batch;
  AddPut(batch, flow, match, actions, priority);
  return Tell(batch);
}

v1::FromPlugin NicRig::Put(uint64_t flow, const std::string& match, const std::string& actions, uint32_t priority) {
  const auto parsed = ParseMatch(match);
  const auto list = ParseActions(actions);
  if (!parsed) throw std::runtime_error(parsed.error().detail);
  if (!list) throw std::runtime_error(list.error().detail);
  return Put(flow, *parsed, *list, priority);
}

v1::FromPlugin NicRig::Delete(uint64_t flow) {
  v1::ToPlugin batch;
  AddDelete(batch, flow);
  return Tell(batch);
}

v1::FromPlugin NicRig::AddPort(uint32_t number) {
  v1::ToPlugin batch;
  v1::Port& port = *batch.add_changes()->mutable_port_put();
  port.set_name("p" + std::to_string(number));
  port.set_number(number);
  for (const auto& [name, value] : options_) (*port.mutable_options())[name] = value;
  (*port.mutable_options())["devargs"] = DevArgs(number);
  return Tell(batch);
}

v1::FromPlugin NicRig::DeletePort(uint32_t number) {
  v1::ToPlugin batch;
  v1::Port& port = *batch.add_changes()->mutable_port_del();
  port.set_name("p" + std::to_string(number));
  port.set_number(number);
  return Tell(batch);
}

uint64_t NicRig::DeviceCounter(uint32_t port, const std::string& name) const {
  const std::string device = "net_sluice_near" + std::to_string(port);
  uint16_t id = 0;
  uint64_t which = 0;
  uint64_t value = 0;
  if (rte_eth_dev_get_port_by_name(device.c_str(), &id) != 0 ||
      rte_eth_xstats_get_id_by_name(id, name.c_str(), &which) != 0 ||
      rte_eth_xstats_get_by_id(id, &which, &value, 1) != 1) {
    throw std::runtime_error(device + " has no counter " + name);
  }
  return value;
}

void NicRig::SendMany(uint32_t port, const std::vector<reference::Bytes>& frames) {
  const auto had = [&] {
    uint64_t all = 0;
    for (const char* kind : {"rx_matched", "rx_unmatched", "rx_malformed", "rx_too_long"}) {
      all += DeviceCounter(port, kind);
    }
    return all;
  };
  const uint64_t before = had();
  const uint16_t far = far_.at(port - 1).device->id();
  const auto end = Clock::now() + kPatience;
  for (const auto& frame : frames) {
    rte_mbuf* packet = rte_pktmbuf_alloc(Pool());
    while (packet == nullptr && Clock::now() < end) packet = rte_pktmbuf_alloc(Pool());
    char* data = packet == nullptr ? nullptr : rte_pktmbuf_append(packet, static_cast<uint16_t>(frame.size()));
    if (data == nullptr)
      throw std::runtime_error("no buffer for a frame of " + std::to_string(frame.size()) + " bytes");
    std::memcpy(data, frame.data(), frame.size());
    while (rte_eth_tx_burst(far, 0, &packet, 1) == 0) {
      if (Clock::now() > end) throw std::runtime_error("the far end's wire is full");
    }
  }
  while (had() < before + frames.size()) {
    if (Clock::now() > end) throw std::runtime_error("the device does not take the frame in");
    std::this_thread::yield();
  }
  datapath_->WaitFor(datapath_->Fence());
}

Seen NicRig::Look() {
  Seen seen;
  for (uint32_t port = 1; port <= kPorts; ++port) {
    std::array<rte_mbuf*, 32> packets{};
    while (const uint16_t count = rte_eth_rx_burst(far_[port - 1].device->id(), 0, packets.data(), packets.size())) {
      for (uint16_t i = 0; i < count; ++i) {
        const auto* data = rte_pktmbuf_mtod(packets[i], const uint8_t*);
        seen.emissions.push_back({port, {data, data + rte_pktmbuf_data_len(packets[i])}});
        rte_pktmbuf_free(packets[i]);
      }
    }
  }
  v1::FromPlugin up;
  int before = -1;
  while (before != up.upcalls_size()) {
    before = up.upcalls_size();
    handler_->OnReadable(0, up);
  }
  seen.upcalls.assign(up.upcalls().begin(), up.upcalls().end());
  const v1::FromPlugin ticked = Tick();
  for (const auto& stats : ticked.stats()) seen.counted[NumberOf(stats.ufid())] = stats;
  return seen;
}

Seen NicRig::Send(uint32_t port, const reference::Bytes& frame) {
  SendMany(port, {frame});
  return Look();
}

}  // namespace sluice::rteflow
