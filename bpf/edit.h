/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* The edits of a flow: VLAN tags, fields, TTL, and the checksums that follow. BPF programs only.
 *
 * What is known of the packet meanwhile lives in cpu->editing: as unknown numbers in map memory, so that the verifier
 * need not follow an edit once for each way here. Needs a key with eth_type, the tags' types and ipv4_proto or
 * ipv6_proto with frag: where a header stands is told by the key, and by two lengths in the packet. */
#ifndef SLUICE_BPF_EDIT_H
#define SLUICE_BPF_EDIT_H

#include "action.h"
#include "key.h"
#include "maps.h"
#include "parse.h"
#include "table.h"
#include "table_tuple_space.h"

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1); /* set by user space */
  __type(key, __u32);
  __type(value, struct sluice_edit);
} edits SEC(".maps");

#define SLUICE_OFFSET_BITS 0x7fff /* keeps an offset in what the verifier lets be added to a packet's pointer */

enum { IPV4_CHECKSUM = 10, TCP_CHECKSUM = 16, UDP_CHECKSUM = 6, ICMP_CHECKSUM = 2 };

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

/* How many bytes were taken away: 4, 0 where there is no tag, -1. */
static __always_inline int pop_vlan(struct xdp_md* ctx) {
  void* data = (void*)(long)ctx->data;
  if (data + 18 > (void*)(long)ctx->data_end || !is_vlan(LOAD16(data, 12))) return 0;
  __u64 high = LOAD64(data, 4);
  LOAD32(data, 4) = LOAD32(data, 0);
  LOAD64(data, 8) = high;
  return bpf_xdp_adjust_head(ctx, 4) ? -1 : 4;
}

static __always_inline __u32 l4_header(__u8 proto, int ipv6) {
  if (proto == PROTO_TCP) return SLUICE_HEADER_TCP;
  if (proto == PROTO_UDP) return SLUICE_HEADER_UDP;
  if (proto == PROTO_ICMP && !ipv6) return SLUICE_HEADER_ICMP;
  if (proto == PROTO_ICMPV6 && ipv6) return SLUICE_HEADER_ICMPV6;
  return SLUICE_HEADER_ETH;
}

/* What is behind the tags. */
static __always_inline __be16 network_type(const struct sluice_key* key) {
  return key->cvlan_tci ? key->cvlan_eth_type : key->vlan_tci ? key->vlan_eth_type : key->eth_type;
}

/* Finds the headers of the packet whose key is in cpu->key, once, before the first edit. */
static __noinline int locate_headers(struct xdp_md* ctx, struct sluice_cpu* cpu) {
  if (!cpu) return 0;
  const struct sluice_key* key = (void*)cpu->key;
  struct sluice_editing* e = &cpu->editing;
  void* data = (void*)(long)ctx->data;
  void* end = (void*)(long)ctx->data_end;
  __u32 l3 = 14 + (key->vlan_tci ? 4 : 0) + (key->cvlan_tci ? 4 : 0);
  __be16 type = network_type(key);
  e->failed = 0;
  e->terminal = SLUICE_ACTION_NONE;
  e->l3 = l3;
  e->l4 = 0;
  e->l3_header = e->l4_header = SLUICE_HEADER_ETH;
  e->routed = 0;
  void* nh = data + l3;
  if (type == bpf_htons(0x0800)) {
    if (nh + 20 > end) return 0;
    e->l3_header = SLUICE_HEADER_IPV4;
    e->l4 = l3 + (LOAD8(nh, 0) & 0xf) * 4;
    if (key->ipv4_frag != FRAG_LATER) e->l4_header = l4_header(key->ipv4_proto, 0);
  } else if (type == bpf_htons(0x86dd)) {
    if (nh + 40 > end) return 0;
    __u8 proto = LOAD8(nh, 6);
    e->l3_header = SLUICE_HEADER_IPV6;
    e->l4 = l3 + 40;
    if (is_extension(proto)) {
      __u32 found = skip_extensions(ctx, l3 + 40, proto);
      e->l4 = found & SLUICE_EXTENSIONS_OFFSET;
      e->routed = found & SLUICE_EXTENSIONS_ROUTED;
    }
    if (key->ipv6_frag != FRAG_LATER) e->l4_header = l4_header(key->ipv6_proto, 1);
  } else if (type == bpf_htons(0x0806) || type == bpf_htons(0x8035)) {
    if (nh + 8 > end) return 0;
    if (LOAD32(nh, 0) == bpf_htonl(0x00010800) && LOAD16(nh, 4) == bpf_htons(0x0604)) e->l3_header = SLUICE_HEADER_ARP;
  }
  return 0;
}

/* RFC 1624, equation 3, over the halves of a word that differ. */
static __always_inline __u16 adjust_checksum(__u16 sum, __u32 old, __u32 new) {
  __u32 changed = old ^ new;
  __u32 halves = (changed & 0xffff ? 0xffff : 0) | (changed >> 16 ? 0xffff0000 : 0);
  __u64 s = (__u64)(~old & halves) + (new& halves) + (__u16)~sum;
  s = (s & 0xffff) + (s >> 16);
  s = (s & 0xffff) + (s >> 16);
  s = (s & 0xffff) + (s >> 16);
  return ~s;
}

static __always_inline int adjust_at(struct xdp_md* ctx, __u32 offset, __u32 old, __u32 new, int udp) {
  void* at = (void*)(long)ctx->data + (offset & SLUICE_OFFSET_BITS);
  if (at + 2 > (void*)(long)ctx->data_end) return -1;
  __u16 sum = LOAD16(at, 0);
  if (udp && !sum) return 0;
  sum = adjust_checksum(sum, old, new);
  LOAD16(at, 0) = udp && !sum ? 0xffff : sum;
  return 0;
}

/* The checksum of layer 4, for a change inside of it, or (`address`) of its pseudo header. */
static __always_inline int adjust_l4(struct xdp_md* ctx, const struct sluice_editing* e, __u32 old, __u32 new,
                                     int address) {
  switch (e->l4_header) {
    case SLUICE_HEADER_TCP:
      return adjust_at(ctx, e->l4 + TCP_CHECKSUM, old, new, 0);
    case SLUICE_HEADER_UDP:
      return adjust_at(ctx, e->l4 + UDP_CHECKSUM, old, new, 1);
    case SLUICE_HEADER_ICMP:
      if (address) return 0;
      return adjust_at(ctx, e->l4 + ICMP_CHECKSUM, old, new, 0);
    case SLUICE_HEADER_ICMPV6:
      return adjust_at(ctx, e->l4 + ICMP_CHECKSUM, old, new, 0);
    default:
      return 0;
  }
}

static __always_inline int adjust_sums(struct xdp_md* ctx, const struct sluice_editing* e, __u8 sums, __u32 old,
                                       __u32 new) {
  if (sums == SLUICE_SUM_NONE || old == new) return 0;
  if (sums == SLUICE_SUM_IPV6_DST && e->routed) return 0;
  if (sums == SLUICE_SUM_IPV4 || sums == SLUICE_SUM_IPV4_ADDRESS) {
    if (adjust_at(ctx, e->l3 + IPV4_CHECKSUM, old, new, 0)) return -1;
    if (sums == SLUICE_SUM_IPV4) return 0;
  }
  return adjust_l4(ctx, e, old, new, sums != SLUICE_SUM_L4);
}

/* The offset of `header` in the frame; -1 where the packet does not have it. */
static __always_inline int offset_of(struct xdp_md* ctx, const struct sluice_editing* e, __u8 header) {
  if (header == SLUICE_HEADER_ETH) return 0;
  if (header == SLUICE_HEADER_VLAN) {
    void* data = (void*)(long)ctx->data;
    if (data + 18 > (void*)(long)ctx->data_end || !is_vlan(LOAD16(data, 12))) return -1;
    return 12;
  }
  if (header <= SLUICE_HEADER_IPV6) return header == e->l3_header ? (int)(e->l3 & SLUICE_OFFSET_BITS) : -1;
  return header == e->l4_header ? (int)(e->l4 & SLUICE_OFFSET_BITS) : -1;
}

static __noinline int set_word(struct xdp_md* ctx, struct sluice_cpu* cpu, const struct sluice_edit* edit) {
  if (!cpu || !edit) return -1;
  int offset = offset_of(ctx, &cpu->editing, edit->header);
  if (offset < 0) return 0;
  void* at = (void*)(long)ctx->data + ((offset + edit->offset) & SLUICE_OFFSET_BITS);
  if (at + 4 > (void*)(long)ctx->data_end) return -1;
  __u32 old = LOAD32(at, 0);
  __u32 new = (old & ~edit->mask) | edit->value;
  LOAD32(at, 0) = new;
  return adjust_sums(ctx, &cpu->editing, edit->sums, old, new);
}

/* 1: it is over. */
static __noinline int decrement_ttl(struct xdp_md* ctx, struct sluice_cpu* cpu) {
  if (!cpu) return -1;
  struct sluice_editing* e = &cpu->editing;
  int ipv4 = e->l3_header == SLUICE_HEADER_IPV4;
  if (!ipv4 && e->l3_header != SLUICE_HEADER_IPV6) return 0;
  /* TTL and protocol of IPv4; next header and hop limit of IPv6. */
  void* at = (void*)(long)ctx->data + ((e->l3 + (ipv4 ? 8 : 6)) & SLUICE_OFFSET_BITS);
  if (at + 2 > (void*)(long)ctx->data_end) return -1;
  if (!ipv4) {
    if (LOAD8(at, 1) <= 1) return 1;
    LOAD8(at, 1)--;
    return 0;
  }
  if (LOAD8(at, 0) <= 1) return 1;
  __u16 old = LOAD16(at, 0);
  LOAD8(at, 0)--;
  return adjust_at(ctx, e->l3 + IPV4_CHECKSUM, old, LOAD16(at, 0), 0);
}

struct edit_loop {
  struct xdp_md* ctx;
  struct sluice_cpu* cpu;
  __u32 first;
};

static __always_inline int run_edit(struct edit_loop* loop, const struct sluice_edit* edit) {
  struct sluice_editing* e = &loop->cpu->editing;
  int result = 0;
  switch (edit->type) {
    case SLUICE_ACTION_PUSH_VLAN:
      result = push_vlan(loop->ctx, edit->tpid, edit->tci);
      e->l3 += 4;
      e->l4 += 4;
      return result;
    case SLUICE_ACTION_POP_VLAN:
      result = pop_vlan(loop->ctx);
      if (result <= 0) return result;
      e->l3 -= 4;
      e->l4 -= 4;
      return 0;
    case SLUICE_ACTION_SET:
      return set_word(loop->ctx, loop->cpu, edit);
    case SLUICE_ACTION_DEC_TTL:
      result = decrement_ttl(loop->ctx, loop->cpu);
      if (result <= 0) return result;
      e->terminal = edit->expired;
      e->terminal_arg = edit->expired_arg;
      count(loop->cpu, SLUICE_COUNT_ttl_expired);
      return 1;
    default:
      return -1;
  }
}

static long run_one_edit(__u32 i, struct edit_loop* loop) {
  __u32 at = loop->first + i;
  struct sluice_edit* edit = bpf_map_lookup_elem(&edits, &at);
  int result = edit ? run_edit(loop, edit) : -1;
  if (result < 0) loop->cpu->editing.failed = 1;
  return result != 0;
}

/* 0, or not where the packet has no room. cpu->editing.terminal then says whether the packet takes another way than its
 * flow's. */
static __noinline int run_edits(struct xdp_md* ctx, struct sluice_cpu* cpu, __u32 index) {
  struct sluice_record* record = bpf_map_lookup_elem(&records, &index);
  if (!record || !cpu) return -1;
  struct edit_loop loop = {.ctx = ctx, .cpu = cpu, .first = record->first_edit};
  locate_headers(ctx, cpu);
  bpf_loop(record->n_edits, run_one_edit, &loop, 0);
  return cpu->editing.failed;
}

#endif
