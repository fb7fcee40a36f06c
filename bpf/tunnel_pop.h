/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Outer headers off: what tnl_pop takes for a tunnel's packet, and what becomes of it. BPF programs only.
 *
 * IPv4 (with options; its checksum must be right) and IPv6 (with extension headers), tagged or not; no fragments.
 * Lengths must agree; what the frame has behind the outer packet is cut off. Then
 * - VXLAN: flags 0x08 and nothing else in the reserved bits.
 * - Geneve: version 0, Ethernet, without critical options; others are skipped.
 * - GRE: version 0, Ethernet; checksum, key and sequence number as its flags say.
 * The inner frame has at least an Ethernet header. */
#ifndef SLUICE_BPF_TUNNEL_POP_H
#define SLUICE_BPF_TUNNEL_POP_H

#include "checksum.h"
#include "edit.h"
#include "parse.h"
#include "pass_port.h"

enum { PROTO_GRE = 47 };

enum { GRE_CSUM = 0x8000, GRE_KEY = 0x2000, GRE_SEQ = 0x1000 };

/* Where the IP packet at `l3` of the frame ends; 0: its lengths, or IPv4's checksum, are wrong. Global as sum_packet.
 */
__noinline __u32 ip_packet_end(struct xdp_md* ctx, __u32 l3, __u32 ipv6) {
  void* at = (void*)(long)ctx->data + (l3 & 0xff);
  void* end = (void*)(long)ctx->data_end;
  __u32 length;
  if (ipv6) {
    if (at + 40 > end) return 0;
    length = 40 + bpf_ntohs(LOAD16(at, 4));
  } else {
    if (at + 20 > end) return 0;
    __u32 header = (LOAD8(at, 0) & 0xf) * 4;
    length = bpf_ntohs(LOAD16(at, 2));
    if (length < header) return 0;
    if (header == 20) {
      __u64 sum = (__u64)LOAD32(at, 0) + LOAD32(at, 4) + LOAD32(at, 8) + LOAD32(at, 12) + LOAD32(at, 16);
      if (fold(sum) != 0xffff) return 0;
    } else if (sum_packet(ctx, l3 & 0xff, header) != 0xffff) {
      return 0;
    }
  }
  length += l3 & 0xff;
  return length <= frame_length(ctx) ? length : 0;
}

/* What a tunnel's header says. */
struct popped {
  __u32 inner; /* where the inner frame begins; 0: malformed */
  __be64 id;
  __u16 flags;
};

static __always_inline void pop_vxlan(void* at, void* end, __u32 offset, struct popped* popped) {
  if (at + 8 > end || LOAD32(at, 0) != bpf_htonl(0x08000000) || LOAD8(at, 7)) return;
  popped->id = bpf_cpu_to_be64(bpf_ntohl(LOAD32(at, 4)) >> 8);
  popped->flags |= SLUICE_TUNNEL_KEY;
  popped->inner = offset + 8;
}

static __always_inline void pop_geneve(void* at, void* end, __u32 offset, struct popped* popped) {
  /* Version and length of options; control and critical; the protocol. */
  if (at + 8 > end || LOAD8(at, 0) >> 6 || LOAD8(at, 1) & 0x40 || LOAD16(at, 2) != bpf_htons(0x6558)) return;
  popped->id = bpf_cpu_to_be64(bpf_ntohl(LOAD32(at, 4)) >> 8);
  popped->flags |= SLUICE_TUNNEL_KEY | (LOAD8(at, 1) & 0x80 ? SLUICE_TUNNEL_OAM : 0);
  popped->inner = offset + 8 + (LOAD8(at, 0) & 0x3f) * 4;
}

static __always_inline void pop_gre(void* at, void* end, __u32 offset, struct popped* popped) {
  if (at + 8 > end) return;
  __u16 flags = bpf_ntohs(LOAD16(at, 0));
  if (flags & ~(GRE_CSUM | GRE_KEY | GRE_SEQ) || LOAD16(at, 2) != bpf_htons(0x6558)) return;
  offset += 4;
  at += 4;
  if (flags & GRE_CSUM) {
    popped->flags |= SLUICE_TUNNEL_CSUM;
    offset += 4;
    at += 4;
  }
  if (flags & GRE_KEY) {
    if (at + 4 > end) return;
    popped->flags |= SLUICE_TUNNEL_KEY;
    popped->id = bpf_cpu_to_be64(bpf_ntohl(LOAD32(at, 0)));
    offset += 4;
  }
  if (flags & GRE_SEQ) offset += 4;
  popped->inner = offset;
}

/* 0, or the counter of why it is dropped. The packet's outer key is in cpu->key. */
static __always_inline __u32 pop(struct xdp_md* ctx, struct sluice_cpu* cpu, struct sluice_pass* pass,
                                 const struct sluice_step* step) {
  const struct sluice_key* key = (void*)cpu->key;
  locate_headers(ctx, cpu);
  __u32 l3 = cpu->editing.l3, l4 = cpu->editing.l4;
  int ipv6 = cpu->editing.l3_header == SLUICE_HEADER_IPV6;
  if (!ipv6 && cpu->editing.l3_header != SLUICE_HEADER_IPV4) return SLUICE_COUNT_tnl_malformed;
  if (key->ipv4_frag != FRAG_NONE) return SLUICE_COUNT_tnl_malformed;
  int gre = step->tunnel_type == SLUICE_TUNNEL_GRE;
  if (key->ipv4_proto != (gre ? PROTO_GRE : PROTO_UDP)) return SLUICE_COUNT_tnl_malformed;
  __u32 packet_end = ip_packet_end(ctx, l3, ipv6);

  void* at = (void*)(long)ctx->data + (l4 & SLUICE_OFFSET_BITS);
  void* end = (void*)(long)ctx->data_end;
  if (at + 8 > end || packet_end < l4) return SLUICE_COUNT_tnl_malformed;
  struct popped popped = {};
  __be16 tp_src = 0, tp_dst = 0;
  int summed = 0;
  __u32 length = packet_end - l4; /* that the checksum is about */
  if (gre) {
    pop_gre(at, end, l4, &popped);
    summed = popped.flags & SLUICE_TUNNEL_CSUM;
  } else {
    length = bpf_ntohs(LOAD16(at, 4));
    if (length < 8 || l4 + length > packet_end || LOAD16(at, 2) != bpf_htons(step->tp_dst))
      return SLUICE_COUNT_tnl_malformed;
    tp_src = LOAD16(at, 0);
    tp_dst = LOAD16(at, 2);
    summed = LOAD16(at, 6) != 0;
    popped.flags = summed ? SLUICE_TUNNEL_CSUM : 0;
    if (step->tunnel_type == SLUICE_TUNNEL_VXLAN) {
      pop_vxlan(at + 8, end, l4 + 8, &popped);
    } else {
      pop_geneve(at + 8, end, l4 + 8, &popped);
    }
  }
  packet_end = l4 + length;
  if (!popped.inner || popped.inner + 14 > packet_end) return SLUICE_COUNT_tnl_malformed;
  if (!summed && step->flags & SLUICE_STEP_CSUM_REQUIRE) return SLUICE_COUNT_tnl_checksum;
  if (summed && step->flags & (SLUICE_STEP_CSUM_VERIFY | SLUICE_STEP_CSUM_REQUIRE)) {
    int sum = sum_packet(ctx, l4, length);
    if (sum < 0 || fold((gre ? 0 : pseudo_sum(key, ipv6, length, PROTO_UDP)) + sum) != 0xffff)
      return SLUICE_COUNT_tnl_checksum;
  }
  __u32 behind = frame_length(ctx) - packet_end;
  if (behind && bpf_xdp_adjust_tail(ctx, -(int)behind)) return SLUICE_COUNT_tnl_malformed;
  if (bpf_xdp_adjust_head(ctx, popped.inner & SLUICE_OFFSET_BITS)) return SLUICE_COUNT_tnl_malformed;

  struct sluice_tunnel tunnel = {
      .id = popped.id,
      .src = ipv6 ? 0 : key->ipv4_src,
      .dst = ipv6 ? 0 : key->ipv4_dst,
      .tp_src = tp_src,
      .tp_dst = tp_dst,
      .flags = bpf_htons(popped.flags),
      .tos = key->ipv4_tos,
      .ttl = key->ipv4_ttl,
  };
  pass->tunnel = tunnel;
  if (ipv6) {
    __builtin_memcpy(pass->tunnel.ipv6_src, key->ipv6_src, 32);
  }
  pass->in_port = bpf_htonl(step->tunnel_port);
  pass->ct_state = pass->ct_mark = 0;
  pass->ct_zone = 0;
  count(cpu, SLUICE_COUNT_tnl_popped);
  return 0;
}

#endif
