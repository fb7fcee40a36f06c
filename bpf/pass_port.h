/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* The packet at hand in a later pass: its state, the port that received it, and the way to the next program. The
 * counterpart of port.h, for programs that are no port's own. BPF programs only. */
#ifndef SLUICE_BPF_PASS_PORT_H
#define SLUICE_BPF_PASS_PORT_H

#include "action.h"
#include "budget.h"
#include "maps.h"
#include "pass.h"
#include "upcall.h"

const volatile struct sluice_pass_config pass_config SEC(".rodata.passes");

/* Sockets of all ports: see struct sluice_pass_port. */
struct {
  __uint(type, BPF_MAP_TYPE_XSKMAP);
  __uint(max_entries, 1); /* shared: user space's */
  __type(key, __u32);
  __type(value, __u32);
} xsks SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1); /* possible CPUs */
  __type(key, __u32);
  __type(value, struct sluice_pass_state);
} pass_state SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, SLUICE_STEPS);
  __type(key, __u32);
  __type(value, struct sluice_step);
} steps SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, SLUICE_PASS_PORTS);
  __type(key, __u32);
  __type(value, struct sluice_pass_port);
} pass_ports SEC(".maps");

/* These programs, so that a packet ends its way in the generation that it has begun it in. */
struct {
  __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
  __uint(max_entries, SLUICE_PASS_PROGRAMS);
  __type(key, __u32);
  __type(value, __u32);
} tail_calls SEC(".maps");
#define next_programs tail_calls

#define SLUICE_UPCALL_FROM SLUICE_UPCALL_PASS

static __always_inline struct sluice_pass* this_pass(void) {
  __u32 at = bpf_get_smp_processor_id();
  struct sluice_pass_state* state = bpf_map_lookup_elem(&pass_state, &at);
  return state ? &state->pass : 0;
}

static __always_inline struct sluice_cpu* cpu_of(const struct sluice_pass* pass) {
  __u32 at = pass->slot * pass_config.cpus + bpf_get_smp_processor_id();
  return bpf_map_lookup_elem(&cpus, &at);
}

static __always_inline struct sluice_cpu* this_cpu(void) {
  struct sluice_pass* pass = this_pass();
  return pass ? cpu_of(pass) : 0;
}

/* The port that received the packet. */
static __always_inline struct sluice_pass_port* this_port(void) {
  struct sluice_pass* pass = this_pass();
  if (!pass) return 0;
  __u32 slot = pass->slot;
  return bpf_map_lookup_elem(&pass_ports, &slot);
}

static __always_inline __u32 miss_policy(void) {
  struct sluice_pass_port* port = this_port();
  return port ? port->miss_policy : SLUICE_MISS_DROP;
}

static __always_inline int upcall_allowed(void) {
  struct sluice_pass_port* port = this_port();
  if (!port) return 0;
  return within_budget(*(volatile __u32*)&port->upcalls_per_window, &port->upcall_window, &port->upcalls_used);
}

static __always_inline int find_socket(struct xdp_md* ctx, __u32* socket) {
  struct sluice_pass_port* port = this_port();
  if (!port || ctx->rx_queue_index >= port->n_xsks) return -1;
  *socket = port->xsk_base + ctx->rx_queue_index;
  return 0;
}

static __always_inline int add_prefix(struct xdp_md* ctx) {
  struct sluice_pass* pass = this_pass();
  if (!pass || bpf_xdp_adjust_head(ctx, -(int)sizeof(struct sluice_pass_prefix))) return -1;
  struct sluice_pass_prefix* prefix = (void*)(long)ctx->data;
  if ((void*)(prefix + 1) > (void*)(long)ctx->data_end) return -1;
  prefix->pass = *pass;
  return 0;
}

static __always_inline int begin_pass(struct sluice_cpu* cpu, __u32 terminal, __u32 arg, __u32 record, __u32 gen) {
  struct sluice_pass* pass = this_pass();
  if (!pass) return -1;
  if (pass->hops >= SLUICE_PASS_HOPS) {
    count(cpu, SLUICE_COUNT_depth_exceeded);
    return -1;
  }
  pass->hops++;
  pass->record = record;
  pass->gen = gen;
  if (terminal == SLUICE_ACTION_RECIRC) {
    pass->recirc_id = bpf_htonl(arg);
  } else {
    pass->step = arg;
  }
  return 0;
}

#endif
