/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* An object of one's own: flows by IPv4 destination and protocol, and one output each. CONTRACT.md walks through it.
 *
 *   clang -g -O2 -target bpf -mcpu=v3 -I /usr/local/include/sluice/bpf -c ipv4_hosts.bpf.c -o ipv4_hosts.bpf.o
 *   sluicectl port add p0 --option object=$PWD/ipv4_hosts.bpf.o --option miss=pass
 */
#define SLUICE_KEY_WORDS 1
#include "maps.h"
#include "table_tuple_space.h"

/* What packets are told apart by. Members named as match fields are such fields, in network byte order. */
struct host_key {
  __be32 ipv4_dst;
  __u8 ipv4_proto;
  __u8 unused[3];
};

enum host_actions {
  SLUICE_CAN_DROP = SLUICE_ACTION_DROP,
  SLUICE_CAN_OUTPUT = SLUICE_ACTION_OUTPUT,
};

struct {
  __uint(abi, SLUICE_CONTRACT_ABI);
  __uint(max_masks, 32);
  __uint(max_edits, 0);
  __uint(only_eth_type, 0x0800); /* other packets have no key here, and no flow */
  struct host_key key;
  enum host_actions actions;
} sluice_meta SEC(".sluice_meta") __attribute__((used));

/* 0, or the counter of why there is no key; SLUICE_COUNT_miss: it is whole, but none of ours. */
static __always_inline __u32 read_key(struct xdp_md* ctx, __u64* key) {
  void* data = (void*)(long)ctx->data;
  void* end = (void*)(long)ctx->data_end;
  if (data + 14 > end) return SLUICE_COUNT_malformed_eth;
  if (*(__be16*)(data + 12) != bpf_htons(0x0800)) return SLUICE_COUNT_miss;
  if (data + 34 > end || *(__u8*)(data + 14) >> 4 != 4) return SLUICE_COUNT_malformed_ipv4;
  struct host_key host = {.ipv4_dst = *(__be32*)(data + 30), .ipv4_proto = *(__u8*)(data + 23)};
  __builtin_memcpy(key, &host, sizeof(host));
  return 0;
}

static __always_inline int no_flow(struct sluice_cpu* cpu) {
  if (control.miss_policy == SLUICE_MISS_PASS) {
    count(cpu, SLUICE_COUNT_miss_pass);
    return XDP_PASS;
  }
  count(cpu, SLUICE_COUNT_miss_drop);
  return XDP_DROP;
}

SEC("xdp")
int sluice_xdp(struct xdp_md* ctx) {
  struct sluice_cpu* cpu = this_cpu();
  if (!cpu) return XDP_ABORTED;
  __u64 length = frame_length(ctx);
  cpu->counters[SLUICE_COUNT_rx_bytes] += length;

  __u32 without = read_key(ctx, cpu->key);
  if (without) {
    cpu->counters[without & (SLUICE_COUNTER_SLOTS - 1)]++;
    return no_flow(cpu);
  }
  __u32 index;
  struct sluice_record* record = lookup(cpu, &index);
  if (!record) return no_flow(cpu);
  record_stats(index, length, 0);
  if (record->terminal != SLUICE_ACTION_OUTPUT) {
    count(cpu, SLUICE_COUNT_drop);
    return XDP_DROP;
  }
  int verdict = bpf_redirect_map(&ports, record->terminal_arg, XDP_DROP);
  count(cpu, verdict == XDP_REDIRECT ? SLUICE_COUNT_output : SLUICE_COUNT_no_port);
  return verdict;
}

char _license[] SEC("license") = "GPL";
