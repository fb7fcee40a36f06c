// SPDX-License-Identifier: Apache-2.0
// Packets that no flow has: up to a controller on the bus, and out again by its answer, through a real daemon.
#include <cinttypes>
#include <cstdio>
#include <stdexcept>

#include "bench/bench_flows.h"
#include "bench/benches.h"
#include "bench/samples.h"
#include "bench/upcall_rig.h"
#include "sluice/flow_text.h"

namespace sluice::bench {
namespace {

// What a round lost, place by place, and the counter that says so.
struct Hop {
  const char* what;
  const char* counter;
  uint64_t UpcallCounts::*count;
};
constexpr Hop kHops[] = {
    {"met the XDP program", "rx_packets", &UpcallCounts::met},
    {"  dropped by it: rate limit", "upcall_limited", &UpcallCounts::limited},
    {"  dropped by it: no socket", "upcall_failed", &UpcallCounts::failed},
    {"handed to the AF_XDP socket", "upcall", &UpcallCounts::handed},
    {"  dropped: its ring was full", "upcall_dropped", &UpcallCounts::ring_full},
    {"taken out by the plugin", "upcall_received", &UpcallCounts::taken},
    {"came to the core", "upcalls (status)", &UpcallCounts::core},
    {"  dropped: events to nobody", "events_dropped (status)", &UpcallCounts::events_dropped},
    {"  missed by the controller", "gap in topic_seq", &UpcallCounts::missed},
    {"received by the controller", "Monitor", &UpcallCounts::heard},
    {"packets out by it", "Publisher", &UpcallCounts::answered},
    {"  refused: the queue was full", "packet_out_dropped (status)", &UpcallCounts::refused},
    {"packets out in the plugin", "packet_out", &UpcallCounts::out},
    {"  failed there", "packet_out_failed", &UpcallCounts::out_failed},
    {"arrived at the far end", "its XDP program", &UpcallCounts::arrived},
};

void PrintHops(const UpcallCounts& counts) {
  std::printf("%-34s %12s %10s   %s\n", "", "packets", "of sent", "counted by");
  std::printf("%-34s %12" PRIu64 " %9.3f%%   %s\n", "sent by the generator", counts.sent, 100.0, "the generator");
  for (const Hop& hop : kHops) {
    const uint64_t count = counts.*hop.count;
    std::printf("%-34s %12" PRIu64 " %9.3f%%   %s\n", hop.what, count,
                100.0 * static_cast<double>(count) / static_cast<double>(counts.sent), hop.counter);
  }
}

UpcallCounts operator+(UpcallCounts a, const UpcallCounts& b) {
  a.sent += b.sent;
  for (const Hop& hop : kHops) a.*hop.count += b.*hop.count;
  return a;
}

}  // namespace

void Upcall(const UpcallOptions& options) {
  UpcallRig rig(options);
  UpcallCounts paced;
  UpcallCounts stormed;
  std::vector<double> latencies;
  std::vector<Case> cases;
  cases.push_back({"AF_XDP receive alone, offered all", [&] { return rig.ReceiveAlone(); }, {}});
  cases.push_back({"up and out, offered --rate",
                   [&] {
                     const UpcallCounts counts = rig.Run();
                     paced = paced + counts;
                     return counts.ArrivedPerSecond();
                   },
                   {}});
  cases.push_back({"up and out, offered all",
                   [&] {
                     const UpcallCounts counts = rig.Run(&latencies);
                     stormed = stormed + counts;
                     return counts.ArrivedPerSecond();
                   },
                   {}});
  RunInterleaved(cases, options.rounds);

  std::printf(
      "upcall: veth -> XDP -> AF_XDP -> plugin -> core -> controller (C++, packet out with actions) -> core -> plugin "
      "->\n"
      "veth; 60-byte frames of %u flows, kpps, %u rounds of %.1f s, upcall_match=%s; generator, daemon and controller "
      "share\n"
      "the machine; --rate is %u/s\n",
      options.flows, options.rounds, options.seconds, options.match ? "yes" : "no", options.rate);
  std::printf("%-38s %8s %8s %8s %12s\n", "", "median", "least", "most", "of alone");
  for (const Case& one : cases) {
    std::printf("%-38s %8.0f %8.0f %8.0f %12.3f\n", one.name.c_str(), Median(one) / 1e3, Quantile(one.samples, 0) / 1e3,
                Quantile(one.samples, 1) / 1e3, MedianRatio(one, cases[0]));
  }
  std::printf("\nwhere they went, offered --rate:\n");
  PrintHops(paced);
  std::printf("\nwhere they went, offered all:\n");
  PrintHops(stormed);
  std::printf("\nflow put to installed while all is offered, us: p50 %.0f, p99 %.0f, most %.0f (%zu puts)\n",
              Quantile(latencies, 0.5), Quantile(latencies, 0.99), Quantile(latencies, 1), latencies.size());
}

}  // namespace sluice::bench
