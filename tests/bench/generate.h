/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* The packets of the benchmarks: 60-byte UDP frames, each of a flow drawn at random from `bench.flows`. Drawn in the
 * BPF program, as a test run gives every repetition the packet that the last one left. BPF programs only. */
#ifndef SLUICE_BENCH_GENERATE_H
#define SLUICE_BENCH_GENERATE_H

#include "kernel.h"

struct {
  __u32 state; /* of the generator, not 0 */
  __u32 flows; /* 1 to 65536 */
} bench SEC(".data.bench") = {1, 1000};

/* Flow f is 10.0.0.0+f to 11.0.0.0+f, UDP port f. bench_flows.h makes the flows that match them. */
static __always_inline int generate(struct xdp_md* ctx) {
  void* data = (void*)(long)ctx->data;
  if (data + 60 > (void*)(long)ctx->data_end) return -1;
  __u32 x = bench.state;
  x ^= x << 13;
  x ^= x >> 17;
  x ^= x << 5;
  bench.state = x;
  __u32 flow = (__u64)x * bench.flows >> 32;
  *(__be32*)(data + 26) = bpf_htonl(0x0a000000 + flow);
  *(__be32*)(data + 30) = bpf_htonl(0x0b000000 + flow);
  *(__be16*)(data + 36) = bpf_htons(flow);
  return 0;
}

#endif
