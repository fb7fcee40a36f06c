/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* The port whose own the programs are, and the way from them to later passes. BPF programs only. */
#ifndef SLUICE_BPF_PORT_H
#define SLUICE_BPF_PORT_H

#include "action.h"
#include "budget.h"
#include "maps.h"
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
  /* Word by word into the map: a struct on the stack would be written twice. */
  struct sluice_pass* pass = &state->pass;
  __u64* words = (void*)pass;
  int recirc = terminal == SLUICE_ACTION_RECIRC;
  pass->depth = 0;
  pass->slot = control.pass_slot;
  pass->step = recirc ? 0 : arg;
  pass->record = record;
  pass->recirc_id = recirc ? bpf_htonl(arg) : 0;
  pass->in_port = bpf_htonl(control.port);
  pass->ct_state = pass->ct_mark = 0;
  pass->ct_zone = 0;
  pass->hops = 1;
  pass->gen = gen;
#pragma unroll
  for (__u32 i = 0; i < sizeof(pass->tunnel) / 8; i++) words[(sizeof(*pass) - sizeof(pass->tunnel)) / 8 + i] = 0;
  return 0;
}

#endif
