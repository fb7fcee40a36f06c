/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* What is done to a packet: a record's edits and its terminal, upcalls, and the miss policy. BPF programs only. */
#ifndef SLUICE_BPF_EXECUTE_H
#define SLUICE_BPF_EXECUTE_H

#include "maps.h"
#include "parse.h"
#include "table.h"
#include "table_tuple_space.h"
#include "upcall.h"

/* What went to user space in the current window; see SLUICE_UPCALL_WINDOW_BITS. Racing CPUs may let a few more pass. */
struct {
  __u64 window;
  __u64 used;
} upcall_budget SEC(".data.upcalls");

static __always_inline int upcall_allowed(void) {
  __u32 limit = *(volatile __u32*)&control.upcalls_per_window;
  if (!limit) return 1;
  __u64 window = bpf_ktime_get_coarse_ns() >> SLUICE_UPCALL_WINDOW_BITS;
  if (upcall_budget.window != window) {
    upcall_budget.window = window;
    upcall_budget.used = 0;
  }
  return __sync_fetch_and_add(&upcall_budget.used, 1) < limit;
}

static __noinline int upcall(struct xdp_md* ctx, struct sluice_cpu* cpu, __u32 reason, __u32 record) {
  if (!cpu) return XDP_ABORTED;
  if (!upcall_allowed()) {
    count(cpu, SLUICE_COUNT_upcall_limited);
    return XDP_DROP;
  }
  /* A packet out may have come with metadata of its own. */
  int room = (int)(ctx->data - ctx->data_meta) - (int)sizeof(struct sluice_upcall_meta);
  if (!bpf_xdp_adjust_meta(ctx, room)) {
    struct sluice_upcall_meta* meta = (void*)(long)ctx->data_meta;
    if ((void*)(meta + 1) <= (void*)(long)ctx->data) {
      meta->magic_reason = SLUICE_UPCALL_MAGIC | reason;
      meta->record = record;
      if (bpf_redirect_map(&xsks, ctx->rx_queue_index, XDP_DROP) == XDP_REDIRECT) {
        count(cpu, SLUICE_COUNT_upcall);
        return XDP_REDIRECT;
      }
    }
  }
  count(cpu, SLUICE_COUNT_upcall_failed);
  return XDP_DROP;
}

static __always_inline int miss(struct xdp_md* ctx, struct sluice_cpu* cpu, __u32 reason, __u32 detail) {
  switch (control.miss_policy) {
    case SLUICE_MISS_UPCALL:
      return upcall(ctx, cpu, reason, detail);
    case SLUICE_MISS_DROP:
      count(cpu, SLUICE_COUNT_miss_drop);
      return XDP_DROP;
    default:
      count(cpu, SLUICE_COUNT_miss_pass);
      return XDP_PASS;
  }
}

static __always_inline int push_vlan(struct xdp_md* ctx, __u16 tpid, __u16 tci) {
  if (bpf_xdp_adjust_head(ctx, -4)) return -1;
  void* data = (void*)(long)ctx->data;
  if (data + 18 > (void*)(long)ctx->data_end) return -1;
  LOAD64(data, 0) = LOAD64(data, 4);
  LOAD32(data, 8) = LOAD32(data, 12);
  LOAD16(data, 12) = bpf_htons(tpid);
  LOAD16(data, 14) = bpf_htons(tci);
  return 0;
}

static __always_inline int pop_vlan(struct xdp_md* ctx) {
  void* data = (void*)(long)ctx->data;
  if (data + 18 > (void*)(long)ctx->data_end || !is_vlan(LOAD16(data, 12))) return 0;
  __u64 high = LOAD64(data, 4);
  LOAD32(data, 4) = LOAD32(data, 0);
  LOAD64(data, 8) = high;
  return bpf_xdp_adjust_head(ctx, 4) ? -1 : 0;
}

struct editing {
  struct xdp_md* ctx;
  __u32 from; /* the record, or its list */
  __u32 failed;
};

static __always_inline long run_edit(struct editing* editing, const struct sluice_action* action) {
  int failed = 0;
  if (action->type == SLUICE_ACTION_PUSH_VLAN)
    failed = push_vlan(editing->ctx, action->a, action->b);
  else if (action->type == SLUICE_ACTION_POP_VLAN)
    failed = pop_vlan(editing->ctx);
  if (!failed) return 0;
  editing->failed = 1;
  return 1;
}

static long run_inline_edit(__u32 i, struct editing* editing) {
  struct sluice_record* record = bpf_map_lookup_elem(&records, &editing->from);
  if (!record || i >= SLUICE_INLINE_EDITS) return 1;
  return run_edit(editing, record->edits + i);
}

static long run_listed_edit(__u32 i, struct editing* editing) {
  struct sluice_action_list* list = bpf_map_lookup_elem(&action_lists, &editing->from);
  if (!list || i >= SLUICE_MAX_EDITS) return 1;
  return run_edit(editing, list->edits + i);
}

/* 0, or not where the packet has no room. */
static __noinline int run_edits(struct xdp_md* ctx, __u32 index) {
  struct sluice_record* record = bpf_map_lookup_elem(&records, &index);
  if (!record) return -1;
  __u32 n = record->n_edits;
  struct editing editing = {.ctx = ctx, .from = n > SLUICE_INLINE_EDITS ? record->list : index};
  if (n > SLUICE_INLINE_EDITS)
    bpf_loop(n, run_listed_edit, &editing, 0);
  else
    bpf_loop(n, run_inline_edit, &editing, 0);
  return editing.failed;
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

static __always_inline int execute(struct xdp_md* ctx, struct sluice_cpu* cpu, const struct sluice_record* record,
                                   __u32 index) {
  __u32 terminal = record->terminal;
  __u32 arg = record->terminal_arg;
  if (record->n_edits && run_edits(ctx, index)) {
    count(cpu, SLUICE_COUNT_edit_failed);
    return XDP_DROP;
  }
  switch (terminal) {
    case SLUICE_ACTION_OUTPUT:
      return output(cpu, arg);
    case SLUICE_ACTION_GROUP:
      return output_many(cpu, arg, BPF_F_BROADCAST);
    case SLUICE_ACTION_FLOOD:
      return output_many(cpu, SLUICE_GROUP_FLOOD, BPF_F_BROADCAST | BPF_F_EXCLUDE_INGRESS);
    case SLUICE_ACTION_USERSPACE:
      return upcall(ctx, cpu, SLUICE_UPCALL_ACTION, index);
    default:
      count(cpu, SLUICE_COUNT_drop);
      return XDP_DROP;
  }
}

#endif
