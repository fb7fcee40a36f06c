/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* From a frame to its key. What each member says is told in key.h.
 *
 * The key is written word by word into map memory (struct sluice_cpu): there the verifier takes every word for an
 * unknown number, so that the many ways through the parser meet again in one state. On the stack they would not. */
#ifndef SLUICE_BPF_PARSE_H
#define SLUICE_BPF_PARSE_H

#include "counters.h"
#include "kernel.h"
#include "key.h"

#define SLUICE_PARSED 0 /* else the counter of what is malformed: none of those is 0 */

/* `value` of `size` bytes as it was loaded, at byte `offset` of a word. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define PLACE(value, offset, size) ((__u64)(value) << (8 * (offset)))
#else
#define PLACE(value, offset, size) ((__u64)(value) << (64 - 8 * (offset)-8 * (size)))
#endif

#define LOAD8(p, offset) (*(__u8*)((p) + (offset)))
#define LOAD16(p, offset) (*(__u16*)((p) + (offset)))
#define LOAD32(p, offset) (*(__u32*)((p) + (offset)))
#define LOAD64(p, offset) (*(__u64*)((p) + (offset)))

enum {
  PROTO_HOPOPTS = 0,
  PROTO_ICMP = 1,
  PROTO_TCP = 6,
  PROTO_UDP = 17,
  PROTO_ROUTING = 43,
  PROTO_FRAGMENT = 44,
  PROTO_AH = 51,
  PROTO_ICMPV6 = 58,
  PROTO_DSTOPTS = 60,
  PROTO_SCTP = 132,
};

enum { FRAG_NONE = 0, FRAG_FIRST = 1, FRAG_LATER = 2 };

static __always_inline int is_vlan(__u16 type) { return type == bpf_htons(0x8100) || type == bpf_htons(0x88a8); }

static __always_inline __u16 ether_type(__u16 wire) { return bpf_ntohs(wire) < 0x0600 ? bpf_htons(0x05ff) : wire; }

static __always_inline int is_extension(__u8 proto) {
  const __u64 extensions =
      1ULL << PROTO_HOPOPTS | 1ULL << PROTO_ROUTING | 1ULL << PROTO_FRAGMENT | 1ULL << PROTO_AH | 1ULL << PROTO_DSTOPTS;
  return proto < 64 && (extensions >> proto & 1);
}

/* Adds ports, or type and code, to word 3 and TCP flags to word 2. */
static __always_inline __u32 parse_l4(void* l4, void* end, __u8 proto, __u64* w2, __u64* w3) {
  switch (proto) {
    case PROTO_TCP:
      if (l4 + 20 > end) return SLUICE_COUNT_malformed_l4;
      *w3 |= PLACE(LOAD32(l4, 0), 4, 4);
      *w2 |= PLACE(LOAD16(l4, 12) & bpf_htons(0x0fff), 6, 2);
      return SLUICE_PARSED;
    case PROTO_UDP:
      if (l4 + 8 > end) return SLUICE_COUNT_malformed_l4;
      *w3 |= PLACE(LOAD32(l4, 0), 4, 4);
      return SLUICE_PARSED;
    case PROTO_SCTP:
      if (l4 + 12 > end) return SLUICE_COUNT_malformed_l4;
      *w3 |= PLACE(LOAD32(l4, 0), 4, 4);
      return SLUICE_PARSED;
    default:
      return SLUICE_PARSED;
  }
}

static __always_inline __u32 parse_icmp(void* l4, void* end, __u64* w3) {
  if (l4 + 8 > end) return SLUICE_COUNT_malformed_l4;
  *w3 |= PLACE(LOAD16(l4, 0), 4, 2);
  return SLUICE_PARSED;
}

static __always_inline __u32 parse_ipv4(void* nh, void* end, __u64* key, __u64 w2) {
  if (nh + 20 > end) return SLUICE_COUNT_malformed_ipv4;
  __u32 header = (LOAD8(nh, 0) & 0xf) * 4;
  void* l4 = nh + header;
  if (LOAD8(nh, 0) >> 4 != 4 || header < 20 || l4 > end) return SLUICE_COUNT_malformed_ipv4;

  __u16 fragment = LOAD16(nh, 6);
  __u8 proto = LOAD8(nh, 9);
  __u64 w3 = PLACE(proto, 0, 1) | PLACE(LOAD8(nh, 1), 2, 1) | PLACE(LOAD8(nh, 8), 3, 1);
  __u32 status = SLUICE_PARSED;
  key[4] = LOAD64(nh, 12);
  if (fragment & bpf_htons(0x1fff)) {
    w3 |= PLACE(FRAG_LATER, 1, 1);
  } else {
    if (fragment & bpf_htons(0x2000)) w3 |= PLACE(FRAG_FIRST, 1, 1);
    status = proto == PROTO_ICMP ? parse_icmp(l4, end, &w3) : parse_l4(l4, end, proto, &w2, &w3);
  }
  key[2] = w2;
  key[3] = w3;
  return status;
}

/* What skip_extensions tells: offset | proto << 16 | frag << 24 | routed. */
#define SLUICE_EXTENSIONS_OFFSET 0x7fff
#define SLUICE_EXTENSIONS_PROTO(found) ((__u8)((found) >> 16))
#define SLUICE_EXTENSIONS_FRAG(found) ((__u8)((found) >> 24 & 3))
#define SLUICE_EXTENSIONS_ROUTED (1U << 31) /* a routing header has segments left: dst is not the final destination */

/* Walks the extension headers at `offset` of the frame, the first of them being `proto`. Returns what comes then, or 0
 * if the frame ends before. Global: it is rare, and the verifier does it once, for any arguments, instead of once for
 * each way that leads here. */
__noinline __u32 skip_extensions(struct xdp_md* ctx, __u32 offset, __u32 proto) {
  void* end = (void*)(long)ctx->data_end;
  void* at = (void*)(long)ctx->data + (offset & 0xff);
  __u32 flags = FRAG_NONE << 24;
  offset &= 0xff;
  for (int i = 0; i < SLUICE_IPV6_EXTENSIONS && is_extension(proto); i++) {
    if (at + 8 > end) return 0;
    __u32 length = (LOAD8(at, 1) + 1) * 8;
    if (proto == PROTO_AH) length = (LOAD8(at, 1) + 2) * 4;
    if (proto == PROTO_ROUTING && LOAD8(at, 3)) flags |= SLUICE_EXTENSIONS_ROUTED;
    if (proto == PROTO_FRAGMENT) {
      __u16 fragment = LOAD16(at, 2);
      if (fragment & bpf_htons(0xfff8)) {
        flags = (flags & SLUICE_EXTENSIONS_ROUTED) | FRAG_LATER << 24;
        return offset | PROTO_FRAGMENT << 16 | flags;
      }
      if (fragment & bpf_htons(0x0001)) flags |= FRAG_FIRST << 24;
      length = 8;
    }
    proto = LOAD8(at, 0);
    at += length;
    offset += length;
  }
  if (at > end) return 0;
  return (offset & SLUICE_EXTENSIONS_OFFSET) | (proto & 0xff) << 16 | flags;
}

static __always_inline __u32 parse_ipv6(struct xdp_md* ctx, void* nh, void* end, __u64* key, __u64 w2) {
  if (nh + 40 > end) return SLUICE_COUNT_malformed_ipv6;
  __u32 first = bpf_ntohl(LOAD32(nh, 0));
  if (first >> 28 != 6) return SLUICE_COUNT_malformed_ipv6;

  key[4] = LOAD64(nh, 8);
  key[5] = LOAD64(nh, 16);
  key[6] = LOAD64(nh, 24);
  key[7] = LOAD64(nh, 32);
  key[8] = PLACE(bpf_htonl(first & 0xfffff), 0, 4);
  __u8 proto = LOAD8(nh, 6);
  __u8 frag = FRAG_NONE;
  __u64 w3 = PLACE((first >> 20) & 0xff, 2, 1) | PLACE(LOAD8(nh, 7), 3, 1);
  void* l4 = nh + 40;
  if (is_extension(proto)) {
    void* data = (void*)(long)ctx->data;
    __u32 found = skip_extensions(ctx, l4 - data, proto);
    if (!found) return SLUICE_COUNT_malformed_ipv6;
    proto = SLUICE_EXTENSIONS_PROTO(found);
    frag = SLUICE_EXTENSIONS_FRAG(found);
    end = (void*)(long)ctx->data_end;
    l4 = (void*)(long)ctx->data + (found & SLUICE_EXTENSIONS_OFFSET);
  }
  w3 |= PLACE(proto, 0, 1) | PLACE(frag, 1, 1);
  __u32 status = SLUICE_PARSED;
  if (frag != FRAG_LATER)
    status = proto == PROTO_ICMPV6 ? parse_icmp(l4, end, &w3) : parse_l4(l4, end, proto, &w2, &w3);
  key[2] = w2;
  key[3] = w3;
  return status;
}

static __always_inline __u32 parse_arp(void* nh, void* end, __u64* key) {
  if (nh + 28 > end) return SLUICE_COUNT_malformed_arp;
  /* Hardware Ethernet, protocol IPv4, their address lengths. */
  if (LOAD32(nh, 0) != bpf_htonl(0x00010800) || LOAD16(nh, 4) != bpf_htons(0x0604)) return SLUICE_PARSED;
  key[4] = PLACE(LOAD32(nh, 14), 0, 4) | PLACE(LOAD32(nh, 24), 4, 4);
  key[5] = PLACE(LOAD32(nh, 8), 0, 4) | PLACE(LOAD16(nh, 12), 4, 2) | PLACE(LOAD16(nh, 6), 6, 2);
  key[6] = PLACE(LOAD32(nh, 18), 0, 4) | PLACE(LOAD16(nh, 22), 4, 2);
  return SLUICE_PARSED;
}

/* Writes cpu->key. Returns SLUICE_PARSED or the counter of what is malformed (the key is of no use then). */
static __always_inline __u32 parse(struct xdp_md* ctx, struct sluice_cpu* cpu) {
  void* data = (void*)(long)ctx->data;
  void* end = (void*)(long)ctx->data_end;
  __u64* key = cpu->key;
  if (data + 14 > end) return SLUICE_COUNT_malformed_eth;

  __u16 type = ether_type(LOAD16(data, 12));
  __u64 w1 = PLACE(LOAD32(data, 8), 0, 4) | PLACE(type, 4, 2);
  __u64 w2 = 0;
  void* nh = data + 14;
  if (is_vlan(type)) {
    if (nh + 4 > end) return SLUICE_COUNT_malformed_vlan;
    w1 |= PLACE(LOAD16(nh, 0) | bpf_htons(0x1000), 6, 2);
    type = ether_type(LOAD16(nh, 2));
    w2 = PLACE(type, 0, 2);
    nh += 4;
    if (is_vlan(type)) {
      if (nh + 4 > end) return SLUICE_COUNT_malformed_vlan;
      w2 |= PLACE(LOAD16(nh, 0) | bpf_htons(0x1000), 2, 2);
      type = ether_type(LOAD16(nh, 2));
      w2 |= PLACE(type, 4, 2);
      nh += 4;
    }
  }
  key[0] = LOAD64(data, 0);
  key[1] = w1;
  key[5] = key[6] = key[7] = key[8] = 0;
  if (type == bpf_htons(0x0800)) return parse_ipv4(nh, end, key, w2);
  if (type == bpf_htons(0x86dd)) return parse_ipv6(ctx, nh, end, key, w2);
  key[2] = w2;
  key[3] = key[4] = 0;
  if (type == bpf_htons(0x0806) || type == bpf_htons(0x8035)) return parse_arp(nh, end, key);
  return SLUICE_PARSED;
}

#endif
