// SPDX-License-Identifier: Apache-2.0
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <net/if.h>
#include <sched.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "bench/bench_flows.h"
#include "bench/benches.h"
#include "bench/datapath.h"
#include "bench/samples.h"
#include "bench/wire.h"

namespace sluice::bench {
namespace {

// Frames a second that came out at the far end, sent by live test runs of the generator.
double Send(const Baseline& baseline, uint32_t packets) {
  reference::Bytes frame = BenchFrame();
  LIBBPF_OPTS(bpf_test_run_opts, run);
  run.data_in = frame.data();
  run.data_size_in = static_cast<uint32_t>(frame.size());
  run.repeat = static_cast<int>(packets);
  run.flags = BPF_F_TEST_XDP_LIVE_FRAMES;
  run.batch_size = 64;
  const uint64_t before = baseline.Received();
  const auto start = std::chrono::steady_clock::now();
  if (int failed = bpf_prog_test_run_opts(baseline.ProgramFd("bench_send"), &run); failed != 0) {
    throw std::runtime_error(std::string("live BPF_PROG_TEST_RUN: ") + std::strerror(-failed));
  }
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  return static_cast<double>(baseline.Received() - before) / elapsed.count();
}

struct Wire {
  Wire() {
    if (unshare(CLONE_NEWNET) != 0) throw std::runtime_error("cannot make a network namespace");
    MakeVeth("source", "port1");
    MakeVeth("port2", "sink");
  }
};

}  // namespace

void Forward(const ForwardOptions& options) {
  PinToOneCpu();
  const Wire wire;
  const unsigned port2 = if_nametoindex("port2");
  const Baseline baseline(port2);
  baseline.SetTransmit(if_nametoindex("source"));
  Attach("sink", baseline.ProgramFd("bench_receive"));
  Datapath one({"plain", 1, 1}, port2);
  Datapath many({"plain", 1000, 16}, port2);

  const auto sample = [&](int program_fd, uint32_t flows) {
    Attach("port1", program_fd);
    baseline.SetFlows(flows);
    return Send(baseline, options.packets);
  };
  const int bare = baseline.ProgramFd("bench_forward");
  std::vector<Case> cases;
  cases.push_back({"bare redirect, 1 flow", [&] { return sample(bare, 1); }, {}});
  cases.push_back({"sluice, 1 flow", [&] { return sample(one.program_fd(), 1); }, {}});
  cases.push_back({"bare redirect, 1000 flows", [&] { return sample(bare, 1000); }, {}});
  cases.push_back({"sluice, 1000 flows, 16 masks", [&] { return sample(many.program_fd(), 1000); }, {}});
  RunInterleaved(cases, options.rounds);

  std::printf(
      "forward: veth to veth, native XDP, 60-byte frames, Mpps, %u rounds of %u packets; generator, forwarder and\n"
      "receiver share a CPU\n",
      options.rounds, options.packets);
  std::printf("%-30s %8s %8s %8s %12s %12s\n", "", "median", "least", "most", "of the bare", "by round");
  for (size_t i = 0; i < cases.size(); ++i) {
    const double median = Median(cases[i]);
    std::printf("%-30s %8.3f %8.3f %8.3f", cases[i].name.c_str(), median / 1e6, Quantile(cases[i].samples, 0) / 1e6,
                Quantile(cases[i].samples, 1) / 1e6);
    if (i % 2 == 1) {
      std::printf(" %12.3f %12.3f", median / Median(cases[i - 1]), MedianRatio(cases[i], cases[i - 1]));
    }
    std::printf("\n");
  }
  for (Datapath* datapath : {&one, &many}) {
    const auto counters = datapath->object().ReadCounters();
    if (counters[SLUICE_COUNT_output] != counters.rx_packets()) {
      std::printf("not all packets were forwarded: %lu of %lu\n",
                  static_cast<unsigned long>(counters[SLUICE_COUNT_output]),
                  static_cast<unsigned long>(counters.rx_packets()));
    }
  }
}

}  // namespace sluice::bench
