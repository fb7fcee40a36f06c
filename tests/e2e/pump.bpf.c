/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Numbered frames, made and noted in the kernel: pump.cpp has the rest. At `offset` they have a number, in network byte
 * order, and a word by which they are known. */
#include "kernel.h"

#define PUMP_WORD 0x50554d50
#define PUMP_NUMBERS (1U << 28)
#define PUMP_OFFSETS 256

struct pump_tail {
  __be32 number;
  __be32 word;
} __attribute__((packed));

#define PUMP_LATE_NS 10000000ULL
#define PUMP_LOOKS 4096

/* Set before the load. */
const volatile struct pump_config {
  __u32 offset;
  __u32 gap_ns; /* from one frame to the next */
} config SEC(".rodata.config");

struct {
  __uint(type, BPF_MAP_TYPE_DEVMAP);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u32);
} tx SEC(".maps");

/* A bit for each number that came. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, PUMP_NUMBERS / 64);
  __type(key, __u32);
  __type(value, __u64);
} seen SEC(".maps");

struct pump_counts {
  __u64 next; /* number to send, and when it is due */
  __u64 due_ns;
  __u64 received;
  __u64 different;
} counts SEC(".data.counts");

static __always_inline struct pump_tail* tail_of(struct xdp_md* ctx) {
  __u32 at = config.offset;
  if (at >= PUMP_OFFSETS) return NULL;
  struct pump_tail* tail = (void*)(long)ctx->data + at;
  return (void*)(tail + 1) > (void*)(long)ctx->data_end ? NULL : tail;
}

static long not_due_yet(__u64 look, void* due_ns) {
  (void)look;
  return bpf_ktime_get_ns() >= *(__u64*)due_ns;
}

/* A steady pace, kept here: each start of a test run takes the kernel some milliseconds. What is long overdue is not
 * made up for. Run by one CPU. */
static __always_inline void wait_until_due(void) {
  __u64 due_ns = counts.due_ns;
  __u64 now = bpf_ktime_get_ns();
  if (now > due_ns + PUMP_LATE_NS) due_ns = now;
  if (now < due_ns) bpf_loop(PUMP_LOOKS, not_due_yet, &due_ns, 0);
  counts.due_ns = due_ns + config.gap_ns;
}

SEC("xdp")
int pump_send(struct xdp_md* ctx) {
  struct pump_tail* tail = tail_of(ctx);
  if (!tail) return XDP_ABORTED;
  wait_until_due();
  tail->number = bpf_htonl((__u32)counts.next++);
  tail->word = bpf_htonl(PUMP_WORD);
  return bpf_redirect_map(&tx, 0, XDP_ABORTED);
}

SEC("xdp")
int pump_receive(struct xdp_md* ctx) {
  struct pump_tail* tail = tail_of(ctx);
  if (!tail || tail->word != bpf_htonl(PUMP_WORD)) return XDP_PASS;
  __u32 number = bpf_ntohl(tail->number);
  __u32 slot = number / 64;
  __u64 bit = 1ULL << (number % 64);
  __sync_fetch_and_add(&counts.received, 1);
  __u64* word = bpf_map_lookup_elem(&seen, &slot);
  if (word && !(__sync_fetch_and_or(word, bit) & bit)) __sync_fetch_and_add(&counts.different, 1);
  return XDP_DROP;
}

char _license[] SEC("license") = "GPL";
