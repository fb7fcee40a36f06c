// SPDX-License-Identifier: Apache-2.0
#include <bpf/bpf.h>
#include <net/if.h>

#include <cstdio>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <vector>

#include "bench/bench_flows.h"
#include "bench/benches.h"
#include "bench/datapath.h"
#include "bench/samples.h"

namespace sluice::bench {
namespace {

// ns a packet, as the kernel measures it: its own time, without what it gave to others.
double TestRun(int program_fd, uint32_t repeat) {
  reference::Bytes frame = BenchFrame();
  LIBBPF_OPTS(bpf_test_run_opts, run);
  run.data_in = frame.data();
  run.data_size_in = static_cast<uint32_t>(frame.size());
  run.repeat = static_cast<int>(repeat);
  if (int failed = bpf_prog_test_run_opts(program_fd, &run); failed != 0) {
    throw std::runtime_error(std::string("BPF_PROG_TEST_RUN: ") + std::strerror(-failed));
  }
  return run.duration;
}

}  // namespace

void Lookup(const LookupOptions& options) {
  PinToOneCpu();
  const unsigned ifindex = if_nametoindex("lo");  // nothing is sent in a test run
  const Baseline baseline(ifindex);
  baseline.SetFlows(options.flows);
  std::vector<Case> cases;
  cases.push_back(
      {"loop and generator", [&] { return TestRun(baseline.ProgramFd("bench_empty"), options.repeat); }, {}});
  cases.push_back({"parse + redirect", [&] { return TestRun(baseline.ProgramFd("bench_parse"), options.repeat); }, {}});
  std::vector<std::unique_ptr<Datapath>> datapaths;
  for (uint32_t masks = 1; masks <= kMaxMasks; masks *= 2) {
    Datapath::Options datapath;
    datapath.flows = options.flows;
    datapath.masks = masks;
    datapath.cache_entries = options.cache_entries;
    datapaths.push_back(std::make_unique<Datapath>(datapath, ifindex));
    const int fd = datapaths.back()->program_fd();
    cases.push_back({std::to_string(masks) + (masks == 1 ? " mask" : " masks"),
                     [fd, &options] { return TestRun(fd, options.repeat); },
                     {}});
  }
  RunInterleaved(cases, options.rounds);

  std::printf("lookup: hit by BPF_PROG_TEST_RUN, %u active flows, ns a packet, %u rounds of %u packets\n",
              options.flows, options.rounds, options.repeat);
  std::printf("%-20s %8s %8s %8s %16s\n", "", "median", "least", "most", "over the baseline");
  const double base = Median(cases[1]);
  for (size_t i = 0; i < cases.size(); ++i) {
    std::printf("%-20s %8.0f %8.0f %8.0f", cases[i].name.c_str(), Median(cases[i]), Quantile(cases[i].samples, 0),
                Quantile(cases[i].samples, 1));
    if (i > 1) {
      const auto counters = datapaths[i - 2]->object().ReadCounters();
      std::printf(" %+16.0f   (%.2f%% of the packets missed the cache)", Median(cases[i]) - base,
                  100.0 * static_cast<double>(counters[SLUICE_COUNT_hit_table] + counters[SLUICE_COUNT_miss]) /
                      static_cast<double>(counters.rx_packets()));
    }
    std::printf("\n");
  }
}

}  // namespace sluice::bench
