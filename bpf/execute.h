/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* What becomes of a packet: a record's terminal, upcalls, and the miss policy. edit.h has the edits. BPF programs only.
 *
 * What it asks of the receiving port and of the pass at hand is in port.h, for programs that are a port's own, and in
 * pass_port.h, for those of later passes. */
#ifndef SLUICE_BPF_EXECUTE_H
#define SLUICE_BPF_EXECUTE_H

#include "edit.h"
#include "maps.h"
#ifdef SLUICE_LATER_PASSES
#include "pass_port.h"
#else
#include "port.h"
#endif
#include "table.h"
#include "table_tuple_space.h"
#include "upcall.h"

/* Sets of devices; SLUICE_GROUP_FLOOD has all. The inner maps differ in size. */
struct sluice_group_map {
  __uint(type, BPF_MAP_TYPE_DEVMAP);
  __uint(max_entries, 8);
  __type(key, __u32);
  __type(value, __u32);
};
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
  __uint(max_entries, 1024);
  __type(key, __u32);
  __array(values, struct sluice_group_map);
} groups SEC(".maps");

/* Into the AF_XDP socket of the packet's queue, with what user space is to know in front. */
static __always_inline int to_socket(struct xdp_md* ctx, __u32 reason, __u32 record, __u32 gen, __u32 arg) {
  __u32 socket;
  if (find_socket(ctx, &socket) || add_prefix(ctx)) return XDP_DROP;
  /* A packet may have come with metadata of its own. */
  int room = (int)(ctx->data - ctx->data_meta) - (int)sizeof(struct sluice_upcall_meta);
  if (bpf_xdp_adjust_meta(ctx, room)) return XDP_DROP;
  struct sluice_upcall_meta* meta = (void*)(long)ctx->data_meta;
  if ((void*)(meta + 1) > (void*)(long)ctx->data) return XDP_DROP;
  meta->magic_reason = SLUICE_UPCALL_MAGIC | SLUICE_UPCALL_FROM | reason;
  meta->record = record;
  meta->gen = gen;
  meta->arg = arg;
  return bpf_redirect_map(&xsks, socket, XDP_DROP);
}

/* A packet that no flow takes, or (record, gen, arg) one whose flow says so. */
static __noinline int upcall(struct xdp_md* ctx, __u32 reason, __u32 record, __u32 gen, __u32 arg) {
  struct sluice_cpu* cpu = this_cpu();
  if (!cpu) return XDP_ABORTED;
  if (!upcall_allowed()) {
    count(cpu, SLUICE_COUNT_upcall_limited);
    return XDP_DROP;
  }
  int verdict = to_socket(ctx, reason, record, gen, arg);
  count(cpu, verdict == XDP_REDIRECT ? SLUICE_COUNT_upcall : SLUICE_COUNT_upcall_failed);
  return verdict;
}

static __noinline int software(struct xdp_md* ctx, __u32 record, __u32 gen, __u32 arg) {
  struct sluice_cpu* cpu = this_cpu();
  if (!cpu) return XDP_ABORTED;
  int verdict = to_socket(ctx, SLUICE_UPCALL_SOFTWARE, record, gen, arg);
  count(cpu, verdict == XDP_REDIRECT ? SLUICE_COUNT_software : SLUICE_COUNT_software_failed);
  return verdict;
}

static __always_inline int miss(struct xdp_md* ctx, struct sluice_cpu* cpu, __u32 reason, __u32 detail) {
  switch (miss_policy()) {
    case SLUICE_MISS_UPCALL:
      return upcall(ctx, reason, detail, 0, 0);
    case SLUICE_MISS_DROP:
      count(cpu, SLUICE_COUNT_miss_drop);
      return XDP_DROP;
    default:
      count(cpu, SLUICE_COUNT_miss_pass);
      return XDP_PASS;
  }
}

static __noinline int output_many(struct sluice_cpu* cpu, __u32 group, __u64 flags) {
  void* devices = bpf_map_lookup_elem(&groups, &group);
  if (!cpu) return XDP_ABORTED;
  if (!devices) {
    count(cpu, SLUICE_COUNT_no_port);
    return XDP_DROP;
  }
  count(cpu, SLUICE_COUNT_output_many);
  return bpf_redirect_map(devices, 0, flags);
}

static __always_inline int output(struct sluice_cpu* cpu, __u32 port) {
  int verdict = bpf_redirect_map(&ports, port, XDP_DROP);
  count(cpu, verdict == XDP_REDIRECT ? SLUICE_COUNT_output : SLUICE_COUNT_no_port);
  return verdict;
}

/* To another program. Comes back only if there is none. */
static __always_inline int leave(struct xdp_md* ctx, struct sluice_cpu* cpu, __u32 terminal, __u32 arg, __u32 record,
                                 __u32 gen) {
  count(cpu, SLUICE_COUNT_recirculated);
  if (begin_pass(cpu, terminal, arg, record, gen)) return XDP_DROP;
  switch (terminal) { /* indexes that are constants make it a jump */
    case SLUICE_ACTION_RECIRC:
      bpf_tail_call_static(ctx, &next_programs, SLUICE_PASS_LOOKUP);
      break;
    case SLUICE_ACTION_CT:
      bpf_tail_call_static(ctx, &next_programs, SLUICE_PASS_CT);
      break;
    case SLUICE_ACTION_TNL_POP:
      bpf_tail_call_static(ctx, &next_programs, SLUICE_PASS_POP);
      break;
    default:
      bpf_tail_call_static(ctx, &next_programs, SLUICE_PASS_PUSH);
  }
  count(cpu, SLUICE_COUNT_missed_tail_call);
  return XDP_DROP;
}

/* `record` and `gen` are those of the flow whose terminal it is. */
static __always_inline int finish(struct xdp_md* ctx, struct sluice_cpu* cpu, __u32 terminal, __u32 arg, __u32 record,
                                  __u32 gen) {
  switch (terminal) {
    case SLUICE_ACTION_OUTPUT:
      return output(cpu, arg);
    case SLUICE_ACTION_GROUP:
      return output_many(cpu, arg, BPF_F_BROADCAST);
    case SLUICE_ACTION_FLOOD:
      return output_many(cpu, SLUICE_GROUP_FLOOD, BPF_F_BROADCAST | BPF_F_EXCLUDE_INGRESS);
    case SLUICE_ACTION_USERSPACE:
      return upcall(ctx, SLUICE_UPCALL_ACTION, record, gen, arg);
    case SLUICE_ACTION_SOFTWARE:
      return software(ctx, record, gen, arg);
    case SLUICE_ACTION_RECIRC:
    case SLUICE_ACTION_CT:
    case SLUICE_ACTION_TNL_POP:
    case SLUICE_ACTION_TNL_PUSH:
      return leave(ctx, cpu, terminal, arg, record, gen);
    default:
      count(cpu, SLUICE_COUNT_drop);
      return XDP_DROP;
  }
}

static __always_inline int execute(struct xdp_md* ctx, struct sluice_cpu* cpu, const struct sluice_record* record,
                                   __u32 index) {
  __u32 terminal = record->terminal;
  __u32 arg = record->terminal_arg;
  __u32 gen = record->gen;
  if (record->n_edits) {
    if (run_edits(ctx, cpu, index)) {
      count(cpu, SLUICE_COUNT_edit_failed);
      return XDP_DROP;
    }
    if (cpu->editing.terminal != SLUICE_ACTION_NONE) {
      terminal = cpu->editing.terminal;
      arg = cpu->editing.terminal_arg;
    }
  }
  return finish(ctx, cpu, terminal, arg, index, gen);
}

#endif
