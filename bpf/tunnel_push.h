/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Outer headers on: the step's header before the frame, and all in it that depends on the packet. BPF programs only. */
#ifndef SLUICE_BPF_TUNNEL_PUSH_H
#define SLUICE_BPF_TUNNEL_PUSH_H

#include "checksum.h"
#include "parse.h"
#include "pass_port.h"
#include "tunnel_mtu.h"
#include "tunnel_pop.h"

enum { AF_IPV4 = 2, AF_IPV6 = 10 };

enum { IPV4_DF = 0x4000 };

/* The outer UDP source port: one for each inner flow, from the range that the kernel takes its from. Mixed twice: after
   one multiplication numbers in a row are still at equal distances, and with some factors few ports are different. */
static __always_inline __u16 flow_port(const __u64* key) {
  /* Not what differs within a flow: TOS, TTL, and whether it is a fragment; TCP flags. */
  __u64 h = key[0] * config.hash[0] + key[1] * config.hash[1] + (key[3] & ~PLACE(0xffffff, 1, 3)) * config.hash[3];
#pragma unroll
  for (int i = 4; i < 8; i++) h += key[i] * config.hash[i];
  h ^= h >> 32;
  h *= config.hash[SLUICE_KEY_WORDS];
  h ^= h >> 32;
  h *= config.hash[2];
  return 32768 + (((h >> 32) * (60999 - 32768 + 1)) >> 32);
}

/* Where the packet is to go, by the kernel; the frame's outer IP header is at byte 14. 0, or the counter. */
static __noinline __u32 route(struct xdp_md* ctx, const struct sluice_step* step, __u32 ipv6) {
  struct bpf_fib_lookup fib = {};
  void* data = (void*)(long)ctx->data;
  void* end = data_end(ctx);
  if (!step || data + 34 > end) return SLUICE_COUNT_tnl_no_room;
  fib.ifindex = step->ifindex;
  fib.l4_protocol = LOAD8(data, 23);
  if (ipv6) {
    if (data + 54 > end) return SLUICE_COUNT_tnl_no_room;
    fib.family = AF_IPV6;
    fib.flowinfo = LOAD32(data, 14) & bpf_htonl(0x0fffffff);
    fib.l4_protocol = LOAD8(data, 20);
    fib.tot_len = 40 + bpf_ntohs(LOAD16(data, 18));
    __builtin_memcpy(fib.ipv6_src, data + 22, 16);
    __builtin_memcpy(fib.ipv6_dst, data + 38, 16);
  } else {
    fib.family = AF_IPV4;
    fib.tos = LOAD8(data, 15);
    fib.tot_len = bpf_ntohs(LOAD16(data, 16));
    fib.ipv4_src = LOAD32(data, 26);
    fib.ipv4_dst = LOAD32(data, 30);
  }
  long found = bpf_fib_lookup(ctx, &fib, sizeof fib, BPF_FIB_LOOKUP_OUTPUT);
  if (found == BPF_FIB_LKUP_RET_FRAG_NEEDED) return SLUICE_COUNT_tnl_mtu;
  if (found != BPF_FIB_LKUP_RET_SUCCESS || fib.ifindex != step->ifindex) return SLUICE_COUNT_tnl_no_neighbour;
  data = (void*)(long)ctx->data;
  if (data + 12 > data_end(ctx)) return SLUICE_COUNT_tnl_no_room;
  __builtin_memcpy(data, fib.dmac, 6);
  __builtin_memcpy(data + 6, fib.smac, 6);
  return 0;
}

/* UDP's checksum, or GRE's, of the `length` bytes from `l4` on, in which it is still 0. As it lies in memory. */
static __noinline int outer_sum(struct xdp_md* ctx, __u32 l4, __u32 length, __u32 ipv6, __u32 udp) {
  void* data = (void*)(long)ctx->data;
  __u64 sum = 0;
  if (data + 54 > data_end(ctx)) return -1;
  if (udp) {
    sum = bpf_htonl(length) + (__u64)bpf_htonl(PROTO_UDP);
    if (ipv6) {
#pragma unroll
      for (int i = 22; i < 54; i += 4) sum += LOAD32(data, i);
    } else {
      sum += (__u64)LOAD32(data, 26) + LOAD32(data, 30);
    }
  }
  int rest = sum_packet(ctx, l4, length);
  if (rest < 0) return -1;
  __u16 result = ~fold(sum + rest);
  return udp && !result ? 0xffff : result;
}

/* Lengths, identification, checksums and ports of the header that stands before the frame. `length`: of all of it. */
static __always_inline int complete(struct xdp_md* ctx, const struct sluice_step* step, __u64 length, __u16 port,
                                    int* ipv6) {
  void* data = (void*)(long)ctx->data;
  void* end = data_end(ctx);
  if (data + 42 > end) return -1; /* of IPv6 see `at` */
  *ipv6 = LOAD16(data, 12) == bpf_htons(0x86dd);
  __u32 l4 = *ipv6 ? 54 : 34;
  __u8 proto = LOAD8(data, *ipv6 ? 20 : 23);
  if (*ipv6) {
    LOAD16(data, 18) = bpf_htons(length - 54);
  } else {
    LOAD16(data, 16) = bpf_htons(length - 14);
    if (!(LOAD16(data, 20) & bpf_htons(IPV4_DF))) LOAD16(data, 18) = bpf_get_prandom_u32();
    /* Two bytes less than it seems: the checksum is 0 as yet. */
    __u64 sum = (__u64)LOAD16(data, 14) + LOAD16(data, 16) + LOAD32(data, 18) + LOAD32(data, 22) + LOAD32(data, 26) +
                LOAD32(data, 30);
    LOAD16(data, 24) = ~fold(sum);
  }
  void* at = data + l4;
  __u32 summed = 0;
  if (at + 8 > end) return -1;
  if (proto == PROTO_UDP) {
    if (!LOAD16(at, 0)) LOAD16(at, 0) = bpf_htons(port);
    LOAD16(at, 4) = bpf_htons(length - l4);
    if (*ipv6 || step->flags & SLUICE_STEP_CSUM) summed = l4 + 6;
  } else if (proto == PROTO_GRE && LOAD16(at, 0) & bpf_htons(GRE_CSUM)) {
    summed = l4 + 4;
  }
  if (!summed) return 0;
  int sum = outer_sum(ctx, l4, length - l4, *ipv6, proto == PROTO_UDP);
  at = (void*)(long)ctx->data + (summed & 0xff);
  if (sum < 0 || at + 2 > data_end(ctx)) return -1;
  LOAD16(at, 0) = sum;
  return 0;
}

/* 0, or the counter of why the packet is dropped; *verdict: where it has become an answer, back to its sender. */
static __always_inline __u32 push(struct xdp_md* ctx, struct sluice_cpu* cpu, const struct sluice_pass* pass,
                                  const struct sluice_step* step, int* verdict) {
  __u64 length = frame_length(ctx);
  __u32 header = step->header_length;
  asm volatile("" : "+r"(header));
  if (header < 38 || header > SLUICE_TUNNEL_HEADER) return SLUICE_COUNT_tnl_no_room;
  int parsed = parse(ctx, cpu) == SLUICE_PARSED; /* the key of a malformed one is of no use */
  __u16 port = parsed ? flow_port(cpu->key) : 32768;
  if ((step->mtu && length + header - 14 > step->mtu) || length + header - 14 > 0xffff) {
    if (step->flags & SLUICE_STEP_MTU_ICMP && step->mtu && parsed && !was_popped(pass)) {
      locate_headers(ctx, cpu);
      if (tell_mtu(ctx, cpu, step->mtu + 14 - header)) {
        count(cpu, SLUICE_COUNT_tnl_mtu_told);
        /* By XDP_TX a veth whose peer has no program would keep it until something else comes. */
        *verdict = bpf_redirect_map(&ports, bpf_ntohl(pass->in_port), XDP_TX);
      }
    }
    return SLUICE_COUNT_tnl_mtu;
  }
  if (bpf_xdp_adjust_head(ctx, -(int)header)) return SLUICE_COUNT_tnl_no_room;
  if (bpf_xdp_store_bytes(ctx, 0, (void*)step->header, header)) return SLUICE_COUNT_tnl_no_room;
  int ipv6;
  if (complete(ctx, step, length + header, port, &ipv6)) return SLUICE_COUNT_tnl_no_room;
  if (step->flags & SLUICE_STEP_FIB) {
    __u32 why = route(ctx, step, ipv6);
    if (why) return why;
  }
  count(cpu, SLUICE_COUNT_tnl_pushed);
  return 0;
}

#endif
