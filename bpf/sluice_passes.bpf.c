/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* The object of later passes: what packets of all ports come to after their first pass. README.md, "Passes". */
#define SLUICE_LATER_PASSES

#include "ct.h"
#include "execute.h"
#include "meta.h"
#include "parse.h"
#include "table_tuple_space.h"
#include "tunnel_pop.h"
#include "tunnel_push.h"

/* Adds to the packet's key what the passes before have found out. */
static __always_inline void add_pass(struct sluice_cpu* cpu, const struct sluice_pass* pass) {
  const __u64* tunnel = (const void*)&pass->tunnel;
  cpu->key[8] |= PLACE(pass->recirc_id, 4, 4);
  cpu->key[9] = PLACE(pass->ct_state, 0, 4) | PLACE(pass->ct_mark, 4, 4);
  cpu->key[10] = PLACE(pass->in_port, 0, 4) | PLACE(pass->ct_zone, 4, 2);
#pragma unroll
  for (int i = 0; i < 7; i++) cpu->key[11 + i] = tunnel[i];
}

/* A pass: a packet and what is known of it to its flow. `parsed`: cpu->key has the packet's key already. */
static __always_inline int begin(struct xdp_md* ctx, struct sluice_cpu* cpu, struct sluice_pass* pass, int parsed) {
  if (pass->depth >= pass_config.depth) {
    count(cpu, SLUICE_COUNT_depth_exceeded);
    return XDP_DROP;
  }
  pass->depth++;
  __u64 length = frame_length(ctx);
  cpu->counters[SLUICE_COUNT_rx_bytes] += length;

  __u32 malformed = parsed ? SLUICE_PARSED : parse(ctx, cpu);
  if (malformed) {
    cpu->counters[malformed & (SLUICE_COUNTER_SLOTS - 1)]++;
    return miss(ctx, cpu, SLUICE_UPCALL_MALFORMED, malformed);
  }
  add_pass(cpu, pass);
  __u32 index;
  struct sluice_record* record = lookup(cpu, &index);
  if (!record) return miss(ctx, cpu, SLUICE_UPCALL_MISS, 0);
  record_stats(index, length, bpf_ntohs(((struct sluice_key*)cpu->key)->tcp_flags));
  return execute(ctx, cpu, record, index);
}

SEC("xdp")
int sluice_lookup(struct xdp_md* ctx) {
  struct sluice_pass* pass = this_pass();
  if (!pass) return XDP_ABORTED;
  struct sluice_cpu* cpu = cpu_of(pass);
  if (!cpu) return XDP_ABORTED;
  return begin(ctx, cpu, pass, 0);
}

/* The packet's step, or NULL. */
static __always_inline struct sluice_step* this_step(const struct sluice_pass* pass) {
  __u32 at = pass->step;
  return bpf_map_lookup_elem(&steps, &at);
}

/* Connection tracking. Left out of the load where the kernel lacks what it takes. */
SEC("xdp")
int sluice_ct(struct xdp_md* ctx) {
  struct sluice_pass* pass = this_pass();
  if (!pass) return XDP_ABORTED;
  struct sluice_cpu* cpu = cpu_of(pass);
  struct sluice_step* step = this_step(pass);
  if (!cpu || !step) return XDP_ABORTED;
  pass->ct_mark = 0;
  pass->ct_zone = 0;
  __u32 state = 0;
  __u32 malformed = parse(ctx, cpu);
  if (!(step->flags & SLUICE_STEP_CT_CLEAR)) {
    pass->ct_zone = bpf_htons(step->zone);
    state = track(ctx, cpu, step, pass, malformed);
    if (!state) count(cpu, SLUICE_COUNT_ct_untracked);
    if (state & SLUICE_CT_INV) count(cpu, SLUICE_COUNT_ct_invalid);
  }
  pass->ct_state = bpf_htonl(state);
  if (!malformed && step->terminal == SLUICE_ACTION_RECIRC) {
    /* What follows most often, without a jump and with the key that is there. */
    count(cpu, SLUICE_COUNT_recirculated);
    pass->recirc_id = bpf_htonl(step->terminal_arg);
    return begin(ctx, cpu, pass, 1);
  }
  return finish(ctx, cpu, step->terminal, step->terminal_arg, pass->record, pass->gen);
}

/* A tunnel's headers off; another pass looks up what was in it. */
SEC("xdp")
int sluice_pop(struct xdp_md* ctx) {
  struct sluice_pass* pass = this_pass();
  if (!pass) return XDP_ABORTED;
  struct sluice_cpu* cpu = cpu_of(pass);
  struct sluice_step* step = this_step(pass);
  if (!cpu || !step) return XDP_ABORTED;
  __u32 why = parse(ctx, cpu) ? SLUICE_COUNT_tnl_malformed : pop(ctx, cpu, pass, step);
  if (why) {
    cpu->counters[why & (SLUICE_PASS_COUNTER_SLOTS - 1)]++;
    return XDP_DROP;
  }
  count(cpu, SLUICE_COUNT_recirculated);
  pass->recirc_id = 0;
  return begin(ctx, cpu, pass, 0);
}

/* A tunnel's headers on. */
SEC("xdp")
int sluice_push(struct xdp_md* ctx) {
  struct sluice_pass* pass = this_pass();
  if (!pass) return XDP_ABORTED;
  struct sluice_cpu* cpu = cpu_of(pass);
  struct sluice_step* step = this_step(pass);
  if (!cpu || !step) return XDP_ABORTED;
  int verdict = XDP_DROP;
  __u32 why = push(ctx, cpu, pass, step, &verdict);
  if (why) {
    cpu->counters[why & (SLUICE_PASS_COUNTER_SLOTS - 1)]++;
    return verdict;
  }
  return finish(ctx, cpu, step->terminal, step->terminal_arg, pass->record, pass->gen);
}

char _license[] SEC("license") = "GPL";
