/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* The datapath with a pause where it hurts most: between finding a record and running its actions. */
#define sluice_xdp sluice_xdp_unused
#include "../../bpf/sluice_xdp.bpf.c"
#undef sluice_xdp

static long pause_step(__u32 i, void* unused) {
  (void)i;
  (void)unused;
  return 0;
}

SEC("xdp")
int sluice_xdp(struct xdp_md* ctx) {
  struct sluice_cpu* cpu = this_cpu();
  __u32 index;
  if (!cpu || parse(ctx, cpu)) return XDP_ABORTED;
  struct sluice_record* record = lookup(cpu, &index);
  if (!record) return miss(ctx, cpu, SLUICE_UPCALL_MISS, 0);
  bpf_loop(5000, pause_step, 0, 0); /* some 10 us */
  return execute(ctx, cpu, record, index);
}
