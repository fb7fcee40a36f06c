// SPDX-License-Identifier: Apache-2.0
// The benchmarks. Each prints its table; none judges. They throw std::runtime_error where they cannot run.
#pragma once

#include <cstdint>
#include <string>

namespace sluice::bench {

// A hit in BPF_PROG_TEST_RUN, ns a packet, over the number of masks.
struct LookupOptions {
  unsigned rounds = 11;
  uint32_t repeat = 1000000;  // packets a sample
  uint32_t flows = 1000;
  uint32_t cache_entries = 65536;
};
void Lookup(const LookupOptions& options);

// Later passes by BPF_PROG_TEST_RUN, ns a packet. Leaves the calling process in a network namespace of its own.
struct PassesOptions {
  unsigned rounds = 11;
  uint32_t repeat = 1000000;  // packets a sample
};
void Passes(const PassesOptions& options);

// VXLAN off and out by another veth, beside the kernel's vxlan device in a bridge. Leaves the process in a namespace,
// too.
struct TunnelOptions {
  unsigned rounds = 11;
  uint32_t packets = 200000;  // a sample
};
void Tunnel(const TunnelOptions& options);

// Live forwarding, veth to veth.
struct ForwardOptions {
  unsigned rounds = 31;
  uint32_t packets = 200000;  // a sample
};
void Forward(const ForwardOptions& options);

// One flow a message: from the publisher's send until it is installed.
struct LatencyOptions {
  uint32_t flows = 2000;
};
void Latency(const LatencyOptions& options);

// Many flows: how many a second, from the publisher to the device.
struct RateOptions {
  uint32_t flows = 50000;
  uint32_t masks = 16;
};
void Rate(const RateOptions& options);

// The core over ipc: flows through it into XDP, its memory, snapshots while flows change, events to a monitor.
struct BusOptions {
  unsigned rounds = 3;
  uint32_t flows = 1000000;
  uint32_t changes = 50000;  // a second, during snapshots
  uint32_t events = 200000;  // a sample
};
void BusBench(const BusOptions& options);

// Packets without a flow, up to a controller and out by its answer.
struct UpcallOptions {
  unsigned rounds = 5;
  double seconds = 2;      // a sample
  uint32_t rate = 350000;  // packets a second, where not all is offered
  uint32_t flows = 1000;   // of the packets
  bool match = false;      // upcall_match
};
void Upcall(const UpcallOptions& options);

// Flows a second into the table inside the plugin, and the time to read their statistics.
struct TableOptions {
  unsigned rounds = 5;
  uint32_t flows = 1048576;  // of the large table; another has 65536
  uint32_t masks = 16;
};
void Table(const TableOptions& options);

#ifdef SLUICE_BENCH_LOOP
// Cycles a packet in the rte_flow plugin's poll-mode loop.
struct LoopOptions {
  unsigned rounds = 31;
  uint32_t packets = 200000;  // a sample
  uint32_t flows = 1000;
  uint32_t masks = 20;
  uint32_t in_flight = 2048;  // packets that go round
};
void Loop(const LoopOptions& options);
#endif

#ifdef SLUICE_NET_SLUICE
// The same on net_sluice, which marks by itself, in a thread of its own.
struct NicLoopOptions {
  unsigned rounds = 31;
  uint32_t packets = 4095;  // a sample
  uint32_t flows = 1000;
  uint32_t masks = 20;
};
void NicLoop(const NicLoopOptions& options);

// Flows a second into net_sluice, beside a bare loop of rte_flow_create.
struct RulesOptions {
  unsigned rounds = 5;
  uint32_t flows = 50000;
  uint32_t masks = 20;
};
void Rules(const RulesOptions& options);
#endif

}  // namespace sluice::bench
