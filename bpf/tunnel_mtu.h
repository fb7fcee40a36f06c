/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* ICMP to the sender of a packet that does not fit into its tunnel, as the kernel's tunnel devices make it for bridges:
 * from the packet's own destination, as there is no router. BPF programs only. */
#ifndef SLUICE_BPF_TUNNEL_MTU_H
#define SLUICE_BPF_TUNNEL_MTU_H

#include "checksum.h"
#include "edit.h"
#include "parse.h"

#define LINK_HEADER 22 /* Ethernet and two tags */

enum { IPV4_ANSWER = 576, IPV6_ANSWER = 1280 }; /* lengths that fit everywhere */

/* May this packet be answered? Not where it is an error itself, or for many. */
static __always_inline int may_tell(const struct sluice_key* key, void* nh, void* end, int ipv6) {
  asm volatile("" : "+r"(nh)); /* one pointer, and not one for each use: the verifier knows the limit of one */
  if (nh + 20 > end) return 0;
  if (ipv6)
    return key->ipv6_dst[0] != 0xff && (key->ipv6_src[0] | key->ipv6_src[15]) &&
           (key->ipv6_proto != PROTO_ICMPV6 || key->icmpv6_type & 0x80);
  return LOAD16(nh, 6) == bpf_htons(0x4000) && bpf_ntohl(key->ipv4_dst) >> 28 < 0xe && key->ipv4_src &&
         (key->ipv4_proto != PROTO_ICMP || key->icmp_type == 0 || key->icmp_type == 8);
}

/* The headers of the answer, from byte `l3` on; `length`: of the answer, IP header included. */
static __always_inline int write_answer(struct xdp_md* ctx, const struct sluice_key* key, __u32 l3, __u32 length,
                                        __u32 mtu, int ipv6) {
  void* nh = (void*)(long)ctx->data + (l3 & 0xff);
  if (nh + 48 > data_end(ctx)) return -1;
  if (ipv6) {
    LOAD32(nh, 0) = bpf_htonl(0x60000000);
    LOAD32(nh, 4) = bpf_htonl((length - 40) << 16 | PROTO_ICMPV6 << 8 | 64);
    __builtin_memcpy(nh + 8, key->ipv6_dst, 16);
    __builtin_memcpy(nh + 24, key->ipv6_src, 16);
    LOAD32(nh, 40) = bpf_htonl(2 << 24); /* packet too big */
    LOAD32(nh, 44) = bpf_htonl(mtu);
    return 0;
  }
  LOAD32(nh, 0) = bpf_htonl(0x45000000 | length);
  LOAD32(nh, 4) = bpf_htonl(0x4000);
  LOAD32(nh, 8) = bpf_htonl(64 << 24 | PROTO_ICMP << 16);
  LOAD32(nh, 12) = key->ipv4_dst;
  LOAD32(nh, 16) = key->ipv4_src;
  __u64 sum = (__u64)LOAD32(nh, 0) + LOAD32(nh, 4) + LOAD32(nh, 8) + LOAD32(nh, 12) + LOAD32(nh, 16);
  LOAD16(nh, 10) = ~fold(sum);
  LOAD32(nh, 20) = bpf_htonl(3 << 24 | 4 << 16); /* destination unreachable: fragmentation needed */
  LOAD32(nh, 24) = bpf_htonl(mtu & 0xffff);
  return 0;
}

static __always_inline int sum_answer(struct xdp_md* ctx, const struct sluice_key* key, __u32 l3, __u32 length,
                                      int ipv6) {
  __u32 l4 = l3 + (ipv6 ? 40 : 20);
  __u64 sum = ipv6 ? pseudo_sum(key, 1, length - 40, PROTO_ICMPV6) : 0;
  int rest = sum_packet(ctx, l4, length - (ipv6 ? 40 : 20));
  void* at = (void*)(long)ctx->data + (l4 & 0xff);
  if (rest < 0 || at + 4 > data_end(ctx)) return -1;
  LOAD16(at, 2) = ~fold(sum + rest);
  return 0;
}

/* Makes the packet into the answer that says that frames of `mtu` bytes at most fit; 1: it has become that. Its headers
 * are known (locate_headers). */
static __noinline int tell_mtu(struct xdp_md* ctx, struct sluice_cpu* cpu, __u32 mtu) {
  if (!cpu) return 0;
  const struct sluice_key* key = (void*)cpu->key;
  __u32 l3 = cpu->editing.l3;
  int ipv6 = cpu->editing.l3_header == SLUICE_HEADER_IPV6;
  if ((!ipv6 && cpu->editing.l3_header != SLUICE_HEADER_IPV4) || mtu < l3) return 0;
  asm volatile("" : "+r"(l3));
  l3 = 14 + ((l3 - 14) & 12); /* it is that: with none, one or two tags */
  void* data = (void*)(long)ctx->data;
  void* end = data_end(ctx);
  if (!may_tell(key, data + l3, end, ipv6) || data + LINK_HEADER > end) return 0;
  __u8 link[LINK_HEADER + 4] = {}; /* as the verifier cannot know that it is not 26 */
  __builtin_memcpy(link, data + 6, 6);
  __builtin_memcpy(link + 6, data, 6);
  __builtin_memcpy(link + 12, data + 12, LINK_HEADER - 12);

  __u32 added = ipv6 ? 48 : 28;
  __u32 length = frame_length(ctx) - l3 + added;
  __u32 most = ipv6 ? IPV6_ANSWER : IPV4_ANSWER;
  if (length > most) {
    if (bpf_xdp_adjust_tail(ctx, (int)(most - length))) return 0;
    length = most;
  }
  if (bpf_xdp_adjust_head(ctx, -(int)added) || bpf_xdp_store_bytes(ctx, 0, link, l3)) return 0;
  return !write_answer(ctx, key, l3, length, mtu - l3, ipv6) && !sum_answer(ctx, key, l3, length, ipv6);
}

static __always_inline int was_popped(const struct sluice_pass* pass) {
  const __u64* tunnel = (const void*)&pass->tunnel;
  __u64 any = 0;
#pragma unroll
  for (int i = 0; i < 7; i++) any |= tunnel[i];
  return any != 0;
}

#endif
