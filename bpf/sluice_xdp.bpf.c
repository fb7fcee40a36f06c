/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* The XDP object of a Sluice port. README.md tells the way of a packet through it. */
#include "execute.h"
#include "meta.h"
#include "parse.h"
#include "table_tuple_space.h"

/* Every packet that the port receives. */
SEC("xdp")
int sluice_xdp(struct xdp_md* ctx) {
  struct sluice_cpu* cpu = this_cpu();
  if (!cpu) return XDP_ABORTED;
  __u64 length = frame_length(ctx);
  cpu->counters[SLUICE_COUNT_rx_bytes] += length;

  __u32 malformed = parse(ctx, cpu);
  if (malformed) {
    cpu->counters[malformed & (SLUICE_COUNTER_SLOTS - 1)]++;
    return miss(ctx, cpu, SLUICE_UPCALL_MALFORMED, malformed);
  }
  __u32 index;
  struct sluice_record* record = lookup(cpu, &index);
  if (!record) return miss(ctx, cpu, SLUICE_UPCALL_MISS, 0);
  record_stats(index, length, bpf_ntohs(((struct sluice_key*)cpu->key)->tcp_flags));
  return execute(ctx, cpu, record, index);
}

char _license[] SEC("license") = "GPL";
