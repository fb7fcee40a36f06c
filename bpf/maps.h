/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Maps that do not depend on how the table is laid out, and what is set before the load. BPF programs only.
 * Sizes given as 1 are set by user space. */
#ifndef SLUICE_BPF_MAPS_H
#define SLUICE_BPF_MAPS_H

#include "counters.h"
#include "kernel.h"

const volatile struct sluice_config config SEC(".rodata.config");

struct sluice_control control SEC(".data.control") = {.cache_gen = 1};

/* One per possible CPU, indexed by CPU: an array and not a per-CPU array so that user space can map it. Of later
 * passes: indexed by pass slot of the receiving port x CPUs + CPU. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct sluice_cpu);
} cpus SEC(".maps");

/* Port number to device. */
struct {
  __uint(type, BPF_MAP_TYPE_DEVMAP);
  __uint(max_entries, 65536);
  __type(key, __u32);
  __type(value, __u32);
} ports SEC(".maps");

#ifndef SLUICE_LATER_PASSES
static __always_inline struct sluice_cpu* this_cpu(void) {
  __u32 cpu = bpf_get_smp_processor_id();
  return bpf_map_lookup_elem(&cpus, &cpu);
}
#endif

static __always_inline void count(struct sluice_cpu* cpu, __u32 counter) { cpu->counters[counter]++; }

/* `length` of the frame at hand: of all its buffers where the program takes several. */
static __always_inline __u64 frame_length(struct xdp_md* ctx) {
  return config.frags ? bpf_xdp_get_buff_len(ctx) : ctx->data_end - ctx->data;
}

#endif
