/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Connection tracking of ICMP and ICMPv6 echo, which the kernel's functions for XDP do not know: in a map of ours, so
 * that the kernel's list of connections is without them. BPF programs only. */
#ifndef SLUICE_BPF_CT_ECHO_H
#define SLUICE_BPF_CT_ECHO_H

#include "edit.h"
#include "parse.h"
#include "pass_port.h"

/* From who asks to who answers. */
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, SLUICE_CT_ECHOES); /* shared by all generations */
  __type(key, struct sluice_ct_echo_key);
  __type(value, struct sluice_ct_echo);
} ct_echoes SEC(".maps");

static __always_inline int is_echo(const struct sluice_key* key, int ipv6, int* reply) {
  *reply = key->icmp_type == (ipv6 ? 129 : 0);
  return *reply || key->icmp_type == (ipv6 ? 128 : 8);
}

/* ct_state of an ICMP packet that is no error; its headers are known (locate_headers). */
static __noinline int track_echo(struct xdp_md* ctx, struct sluice_cpu* cpu, const struct sluice_step* step,
                                 struct sluice_pass* pass, __u32 ipv6) {
  if (!cpu || !step || !pass) return SLUICE_CT_TRK | SLUICE_CT_INV;
  const struct sluice_key* key = (void*)cpu->key;
  int reply;
  void* at = (void*)(long)ctx->data + (cpu->editing.l4 & SLUICE_OFFSET_BITS);
  if (!is_echo(key, ipv6, &reply) || at + 8 > (void*)(long)ctx->data_end) return SLUICE_CT_TRK | SLUICE_CT_INV;
  struct sluice_ct_echo_key echo = {.zone = step->zone, .id = LOAD16(at, 4), .ipv6 = ipv6 != 0};
  if (ipv6) {
    __builtin_memcpy(reply ? echo.dst : echo.src, key->ipv6_src, 16);
    __builtin_memcpy(reply ? echo.src : echo.dst, key->ipv6_dst, 16);
  } else {
    __builtin_memcpy(reply ? echo.dst : echo.src, &key->ipv4_src, 4);
    __builtin_memcpy(reply ? echo.src : echo.dst, &key->ipv4_dst, 4);
  }
  __u32 now = bpf_jiffies64();
  __u32 expires = now + pass_config.ct_timeouts[SLUICE_CT_ICMP] * pass_config.hz;
  struct sluice_ct_echo* known = bpf_map_lookup_elem(&ct_echoes, &echo);
  if (known && (__s32)(known->expires - now) <= 0) known = 0;
  if (!known && reply) return SLUICE_CT_TRK | SLUICE_CT_INV;
  int marks = step->flags & SLUICE_STEP_COMMIT && step->flags & SLUICE_STEP_MARK;
  if (known) {
    if (reply) known->replied = 1;
    known->expires = expires;
    if (marks) known->mark = (known->mark & ~step->mark_mask) | (step->mark & step->mark_mask);
    pass->ct_mark = bpf_htonl(known->mark);
    return SLUICE_CT_TRK | (known->replied ? SLUICE_CT_EST : SLUICE_CT_NEW) | (reply ? SLUICE_CT_RPL : 0);
  }
  if (step->flags & SLUICE_STEP_COMMIT) {
    struct sluice_ct_echo fresh = {.expires = expires, .mark = marks ? step->mark & step->mark_mask : 0};
    int failed = bpf_map_update_elem(&ct_echoes, &echo, &fresh, BPF_ANY) != 0;
    count(cpu, failed ? SLUICE_COUNT_ct_table_full : SLUICE_COUNT_ct_committed);
    pass->ct_mark = bpf_htonl(fresh.mark);
  }
  return SLUICE_CT_TRK | SLUICE_CT_NEW;
}

#endif
