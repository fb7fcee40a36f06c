/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* What a port counts, per CPU: map `cpus`, an entry each, mapped by user space. Shared: C and C++20. */
#ifndef SLUICE_BPF_COUNTERS_H
#define SLUICE_BPF_COUNTERS_H

#include "table.h"

/* SLUICE_COUNTER(name, what it counts). Every packet counts in exactly one of hit_cache, hit_table, miss, executed and
 * malformed_*. A packet that missed or was malformed then counts in one of the three of the miss policy (upcall:
 * in upcall, upcall_limited or upcall_failed). */
#define SLUICE_COUNTERS(SLUICE_COUNTER)                                                      \
  SLUICE_COUNTER(rx_bytes, "bytes received")                                                 \
  SLUICE_COUNTER(hit_cache, "packets whose flow the cache knew")                             \
  SLUICE_COUNTER(hit_table, "packets whose flow was found by searching the subtables")       \
  SLUICE_COUNTER(miss, "packets without a flow")                                             \
  SLUICE_COUNTER(executed, "packets out with actions of their own")                          \
  SLUICE_COUNTER(malformed_eth, "frames too short for Ethernet")                             \
  SLUICE_COUNTER(malformed_vlan, "frames that end in a VLAN tag")                            \
  SLUICE_COUNTER(malformed_arp, "truncated ARP")                                             \
  SLUICE_COUNTER(malformed_ipv4, "truncated IPv4 header, or wrong version or header length") \
  SLUICE_COUNTER(malformed_ipv6, "truncated IPv6 or extension header, or wrong version")     \
  SLUICE_COUNTER(malformed_l4, "truncated TCP, UDP, SCTP, ICMP or ICMPv6 header")            \
  SLUICE_COUNTER(miss_pass, "packets passed to the kernel by the miss policy")               \
  SLUICE_COUNTER(miss_drop, "packets dropped by the miss policy")                            \
  SLUICE_COUNTER(output, "packets redirected to one port")                                   \
  SLUICE_COUNTER(output_many, "packets redirected to several ports")                         \
  SLUICE_COUNTER(drop, "packets dropped by a flow")                                          \
  SLUICE_COUNTER(upcall, "packets handed to the AF_XDP socket")                              \
  SLUICE_COUNTER(upcall_limited, "upcalls dropped by the rate limit")                        \
  SLUICE_COUNTER(upcall_failed, "upcalls dropped because no socket serves the queue")        \
  SLUICE_COUNTER(no_port, "packets dropped because their output port is gone")               \
  SLUICE_COUNTER(edit_failed, "packets dropped because an edit failed")

enum sluice_counter {
#define SLUICE_COUNTER(name, text) SLUICE_COUNT_##name,
  SLUICE_COUNTERS(SLUICE_COUNTER)
#undef SLUICE_COUNTER
      SLUICE_COUNTER_END
};

#define SLUICE_COUNTER_SLOTS 32

struct sluice_cpu {
  __u64 key[SLUICE_KEY_WORDS];    /* of the packet at hand */
  __u64 masked[SLUICE_KEY_WORDS]; /* the same under the mask that is tried */
  __u32 best;                     /* of the search: 0, or 1 + index of the best record so far */
  __u32 best_priority;
  __u64 reserved[13];
  __u64 counters[SLUICE_COUNTER_SLOTS];
};

#ifdef __cplusplus
static_assert(SLUICE_COUNTER_END <= SLUICE_COUNTER_SLOTS && sizeof(sluice_cpu) == 512);
#endif
#endif
