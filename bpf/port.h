/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* The port whose own the programs are, and the way from them to later passes. BPF programs only. */
#ifndef SLUICE_BPF_PORT_H
#define SLUICE_BPF_PORT_H

#include "action.h"
#include "budget.h"
#include "maps.h"
#include "parse.h"
#include "pass.h"

/* Receive queue to AF_XDP socket. */
struct {
  __uint(type, BPF_MAP_TYPE_XSKMAP);
  __uint(max_entries, 256);
  __type(key, __u32);
  __type(value, __u32);
} xsks SEC(".maps");

/* Both are shared by all objects: pass.h. */
struct {
  __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
  __uint(max_entries, SLUICE_PASS_PROGRAMS);
  __type(key, __u32);
  __type(value, __u32);
} passes SEC(".maps");
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1); /* possible CPUs */
  __type(key, __u32);
  __type(value, struct sluice_pass_state);
} pass_state SEC(".maps");
#define next_programs passes

struct {
  __u64 window;
  __u64 used;
} upcall_budget SEC(".data.upcalls");

#define SLUICE_UPCALL_FROM 0

static __always_inline __u32 miss_policy(void) { return control.miss_policy; }

static __always_inline int upcall_allowed(void) {
  return within_budget(*(volatile __u32*)&control.upcalls_per_window, &upcall_budget.window, &upcall_budget.used);
}

static __always_inline int find_socket(struct xdp_md* ctx, __u32* socket) {
  *socket = ctx->rx_queue_index;
  return 0;
}

static __always_inline int add_prefix(struct xdp_md* ctx) {
  (void)ctx;
  return 0;
}

/* All of it, so that nothing of an earlier packet is left. */
static __always_inline int begin_pass(struct sluice_cpu* cpu, __u32 terminal, __u32 arg, __u32 record, __u32 gen) {
  (void)cpu;
  __u32 at = bpf_get_smp_processor_id();
  struct sluice_pass_state* state = bpf_map_lookup_elem(&pass_state, &at);
  if (!state) return -1;
  /* By whole words, as it is read: what was written in parts stalls who reads it. */
  __u64* words = (void*)&state->pass;
  int recirc = terminal == SLUICE_ACTION_RECIRC;
  words[0] = PLACE(control.pass_slot, 4, 4);
  words[1] = PLACE(recirc ? 0 : arg, 0, 4) | PLACE(record, 4, 4);
  words[2] = PLACE(recirc ? bpf_htonl(arg) : 0, 0, 4) | PLACE(bpf_htonl(control.port), 4, 4);
  words[3] = 0;
  words[4] = PLACE(1, 2, 2) | PLACE(gen, 4, 4); /* hops */
#pragma unroll
  for (unsigned i = 5; i < sizeof(struct sluice_pass) / 8; i++) words[i] = 0;
  return 0;
}

#endif
