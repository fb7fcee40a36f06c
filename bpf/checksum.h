/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Internet checksums over parts of packets. BPF programs only. */
#ifndef SLUICE_BPF_CHECKSUM_H
#define SLUICE_BPF_CHECKSUM_H

#include "kernel.h"
#include "key.h"

/* ctx->data_end, read here: where it is wanted often, compilers keep its address instead of ctx, which the verifier
 * does not have. */
static __always_inline void* data_end(struct xdp_md* ctx) {
  asm volatile("" : "+r"(ctx));
  return (void*)(long)ctx->data_end;
}

#define SUM_CHUNK 512 /* what bpf_csum_diff takes at once */

/* A piece of the packet, which need not be in one buffer, and zeros behind it. */
struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u8[SUM_CHUNK + 4]);
} sum_scratch SEC(".maps");

static __always_inline __u16 fold(__u64 sum) {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return (sum & 0xffff) + (sum >> 16);
}

struct sum_loop {
  struct xdp_md* ctx;
  __u32 offset;
  __u32 left;
  __u32 sum;
  __u32 failed;
};

static long sum_chunk(__u32 i, struct sum_loop* loop) {
  __u32 zero = 0;
  __u8* scratch = bpf_map_lookup_elem(&sum_scratch, &zero);
  __u32 n = loop->left;
  (void)i;
  if (n > SUM_CHUNK) n = SUM_CHUNK;
  asm volatile("" : "+r"(n)); /* or the compiler leaves out what shows the verifier that it is 1 to SUM_CHUNK */
  n = ((n - 1) & (SUM_CHUNK - 1)) + 1;
  if (!scratch || !loop->left || bpf_xdp_load_bytes(loop->ctx, loop->offset, scratch, n)) {
    loop->failed = 1;
    return 1;
  }
  scratch[n] = scratch[n + 1] = scratch[n + 2] = 0;
  loop->sum = bpf_csum_diff(0, 0, (void*)scratch, (n + 3) & ~3U, loop->sum);
  loop->offset += n;
  loop->left -= n;
  return 0;
}

/* The sum of `length` bytes from `offset` of the frame on, folded, as its two bytes lie in memory; -1 where it ends
 * before. Global: the verifier does it once. */
__noinline int sum_packet(struct xdp_md* ctx, __u32 offset, __u32 length) {
  struct sum_loop loop = {.ctx = ctx, .offset = offset, .left = length};
  bpf_loop((length + SUM_CHUNK - 1) / SUM_CHUNK, sum_chunk, &loop, 0);
  return loop.failed ? -1 : fold(loop.sum);
}

/* Of the pseudo header of a packet with this key. */
static __always_inline __u64 pseudo_sum(const struct sluice_key* key, int ipv6, __u32 length, __u8 proto) {
  const __u32* words = (const void*)key->ipv6_src;
  __u64 sum = (__u64)words[0] + words[1] + bpf_htonl(length) + bpf_htonl(proto);
  if (!ipv6) return sum;
#pragma unroll
  for (int i = 2; i < 8; i++) sum += words[i];
  return sum;
}

#endif
