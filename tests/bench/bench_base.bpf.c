/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* What the datapath is compared with, and what stands around it. */
#include "generate.h"
#include "maps.h"
#include "parse.h"

/* The loop and the generator. */
SEC("xdp")
int bench_empty(struct xdp_md* ctx) { return generate(ctx) ? XDP_ABORTED : XDP_DROP; }

/* Parse and redirect: the least that a classifier can cost. */
SEC("xdp")
int bench_parse(struct xdp_md* ctx) {
  struct sluice_cpu* cpu = this_cpu();
  if (!cpu || generate(ctx)) return XDP_ABORTED;
  if (parse(ctx, cpu)) return XDP_ABORTED;
  return bpf_redirect_map(&ports, 2, XDP_DROP);
}

/* A program that only forwards. */
SEC("xdp")
int bench_forward(struct xdp_md* ctx) {
  (void)ctx;
  return bpf_redirect_map(&ports, 2, XDP_DROP);
}

/* The wire's far ends: `tx` is where the generator sends. */
struct {
  __uint(type, BPF_MAP_TYPE_DEVMAP);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u32);
} tx SEC(".maps");

SEC("xdp")
int bench_send(struct xdp_md* ctx) {
  if (generate(ctx)) return XDP_ABORTED;
  return bpf_redirect_map(&tx, 0, XDP_ABORTED);
}

__u64 received SEC(".data.received");

SEC("xdp")
int bench_receive(struct xdp_md* ctx) {
  (void)ctx;
  received++; /* one CPU sends, and receives in its own softirq */
  return XDP_DROP;
}

char _license[] SEC("license") = "GPL";
