// SPDX-License-Identifier: Apache-2.0
#include "bench/loop_rig.h"

#include <pthread.h>
#include <rte_cycles.h>
#include <rte_lcore.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <thread>

#include "bench/bench_flows.h"
#include "bench/datapath.h"
#include "bench/samples.h"
#include "eal.h"

namespace sluice::bench {

namespace {

constexpr uint32_t kPort = 1;

}  // namespace

void StartDpdk() {
  OrThrow(rteflow::StartEal(rteflow::EalArguments("--no-huge -m 512 --no-shconf --no-pci --no-telemetry"),
                            [](int, const std::string&) {}));
}

std::unique_ptr<rteflow::EthDevice> OpenDevice(const std::string& devargs) {
  rteflow::PortSettings settings;
  settings.devargs = devargs;
  settings.buffers = 512;
  return OrThrow(rteflow::EthDevice::Open(settings, [] {}));
}

int LoopCpu() { return static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)) - 1; }

std::vector<reference::Bytes> LoopFrames(uint32_t flows) {
  std::vector<reference::Bytes> frames;
  for (uint32_t flow = 0; flow < flows; ++flow) {
    reference::Bytes frame = BenchFrame();
    const auto put = [&](size_t at, uint32_t value, int bytes) {
      while (bytes-- > 0) frame[at++] = static_cast<uint8_t>(value >> 8 * bytes);
    };
    put(26, 0x0a000000 + flow, 4);
    put(30, 0x0b000000 + flow, 4);
    put(36, flow, 2);
    frames.push_back(frame);
  }
  return frames;
}

Match LoopMatch(uint32_t number, uint32_t masks) {
  Match match = BenchMatch(number, number % masks);
  match.SetExact(Field::in_port, kPort);
  return match;
}

LoopSubject::LoopSubject(uint32_t flows, uint32_t masks, uint32_t out_port, uint32_t burst, int cpu)
    : out_port_(out_port), flows_(flows) {
  datapath_ = OrThrow(rteflow::Datapath::Start({.cpu = cpu, .idle_us = 1'000'000, .burst = burst, .copies = 255}));
  for (uint32_t i = 0; i < flows; ++i) {
    rteflow::DatapathFlow& flow = flows_[i];
    flow.match = LoopMatch(i, masks);
    flow.actions = {Output{out_port}};
    flow.mark = i + 1;
    datapath_->Insert(flow);
  }
  datapath_->WaitFor(datapath_->Fence());
}

// While it never waits for a packet.
double LoopSubject::Cycles(uint16_t from, uint16_t to, uint32_t packets, bool marked) {
  const rteflow::DatapathLoad before = datapath_->Load();
  if (out_port_ != kPort) datapath_->AddPort({.number = out_port_, .ethdev = to});
  datapath_->AddPort({.number = kPort, .ethdev = from});
  while (datapath_->Load().packets - before.packets < packets) {
    std::this_thread::sleep_for(std::chrono::microseconds(500));
  }
  const auto counters = datapath_->Counters(kPort);
  datapath_->RemovePort(kPort);
  if (out_port_ != kPort) datapath_->RemovePort(out_port_);
  datapath_->WaitFor(datapath_->Fence());
  if ((marked ? counters.hit_software : counters.marked) != 0 || counters.miss != 0 || counters.tx_full != 0) {
    throw std::runtime_error("packets did not go the way that is measured");
  }
  const rteflow::DatapathLoad after = datapath_->Load();
  return static_cast<double>(after.busy_cycles - before.busy_cycles) /
         static_cast<double>(after.packets - before.packets);
}

void OnCpu(int cpu, const std::function<void()>& work) {
  std::thread([&] {
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(static_cast<size_t>(cpu), &cpus);
    pthread_setaffinity_np(pthread_self(), sizeof cpus, &cpus);
    if (rte_thread_register() != 0) return;
    work();
    rte_thread_unregister();
  }).join();
}

void PrintLoop(const std::vector<Case>& cases) {
  const double hz = static_cast<double>(rte_get_tsc_hz());
  std::printf("cycles of the time stamp counter (%.2f GHz) a packet\n", hz / 1e9);
  std::printf("%-30s %8s %8s %8s %8s\n", "", "median", "least", "most", "Mpps");
  for (const Case& one : cases) {
    std::printf("%-30s %8.1f %8.1f %8.1f %8.2f\n", one.name.c_str(), Median(one), Quantile(one.samples, 0),
                Quantile(one.samples, 1), hz / Median(one) / 1e6);
  }
  std::printf("software over MARKed, cycles:        %.2f (by round %.2f)\n", Median(cases[2]) / Median(cases[1]),
              MedianRatio(cases[2], cases[1]));
  std::printf("MARKed over bare, packets a second:  %.2f (by round %.2f)\n", Median(cases[0]) / Median(cases[1]),
              MedianRatio(cases[0], cases[1]));
}

}  // namespace sluice::bench
