/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* The example of the contract in two programs: every packet is counted in the first, as executed, and all the rest is
 * done in the second. */
#define sluice_xdp second_program
#define actions         \
  actions;              \
  struct {              \
    int second_program; \
  } tail_calls
#include "../../bpf/examples/ipv4_hosts.bpf.c"
#undef sluice_xdp

struct {
  __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
  __uint(max_entries, 4);
  __type(key, __u32);
  __type(value, __u32);
} tail_calls SEC(".maps");

SEC("xdp")
int sluice_xdp(struct xdp_md* ctx) {
  struct sluice_cpu* cpu = this_cpu();
  __u32 any = 0;
  /* What a port that is kept counts is looked for among the maps of the attached program. */
  if (!cpu || !bpf_map_lookup_elem(&stats, &any)) return XDP_ABORTED;
  count(cpu, SLUICE_COUNT_executed);
  bpf_tail_call_static(ctx, &tail_calls, 0);
  return XDP_ABORTED;
}
