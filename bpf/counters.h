/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* What a port counts, per CPU: map `cpus`, an entry each, mapped by user space. Shared: C and C++20. */
#ifndef SLUICE_BPF_COUNTERS_H
#define SLUICE_BPF_COUNTERS_H

#include "table.h"

/* SLUICE_COUNTER(name, what it counts). Every packet counts in exactly one of hit_cache, hit_table, miss and
 * malformed_*. A packet that missed or was malformed then counts in one of the three of the miss policy (upcall: in
 * upcall, upcall_limited or upcall_failed). */
#define SLUICE_COUNTERS(SLUICE_COUNTER)                                                                \
  SLUICE_COUNTER(rx_bytes, "bytes received")                                                           \
  SLUICE_COUNTER(hit_cache, "packets whose flow the cache knew")                                       \
  SLUICE_COUNTER(hit_table, "packets whose flow was found by searching the subtables")                 \
  SLUICE_COUNTER(miss, "packets without a flow")                                                       \
  SLUICE_COUNTER(executed, "packets out with actions of their own; user space counts these")           \
  SLUICE_COUNTER(malformed_eth, "frames too short for Ethernet")                                       \
  SLUICE_COUNTER(malformed_vlan, "frames that end in a VLAN tag")                                      \
  SLUICE_COUNTER(malformed_arp, "truncated ARP")                                                       \
  SLUICE_COUNTER(malformed_ipv4, "truncated IPv4 header, or wrong version or header length")           \
  SLUICE_COUNTER(malformed_ipv6, "truncated IPv6 or extension header, or wrong version")               \
  SLUICE_COUNTER(malformed_l4, "truncated TCP, UDP, SCTP, ICMP or ICMPv6 header")                      \
  SLUICE_COUNTER(miss_pass, "packets passed to the kernel by the miss policy")                         \
  SLUICE_COUNTER(miss_drop, "packets dropped by the miss policy")                                      \
  SLUICE_COUNTER(output, "packets redirected to one port")                                             \
  SLUICE_COUNTER(output_many, "packets redirected to several ports")                                   \
  SLUICE_COUNTER(drop, "packets dropped by a flow")                                                    \
  SLUICE_COUNTER(upcall, "packets handed to the AF_XDP socket")                                        \
  SLUICE_COUNTER(upcall_limited, "upcalls dropped by the rate limit")                                  \
  SLUICE_COUNTER(upcall_failed, "upcalls dropped because no socket serves the queue")                  \
  SLUICE_COUNTER(no_port, "packets dropped because their output port is gone")                         \
  SLUICE_COUNTER(edit_failed, "packets dropped because an edit failed")                                \
  SLUICE_COUNTER(ttl_expired, "packets whose TTL or hop limit ran out")                                \
  SLUICE_COUNTER(software, "packets handed to the software path")                                      \
  SLUICE_COUNTER(software_failed, "packets for the software path dropped: no socket serves the queue") \
  SLUICE_COUNTER(recirculated, "packets sent on to another pass, or to a step between two")            \
  SLUICE_COUNTER(missed_tail_call, "packets dropped because no program was in the slot they were sent to")

enum sluice_counter {
#define SLUICE_COUNTER(name, text) SLUICE_COUNT_##name,
  SLUICE_COUNTERS(SLUICE_COUNTER)
#undef SLUICE_COUNTER
      SLUICE_COUNTER_END
};

#define SLUICE_COUNTER_SLOTS 32

/* What programs of later passes (pass.h) count beside these, behind them. */
#define SLUICE_PASS_COUNTERS(SLUICE_COUNTER)                                                                      \
  SLUICE_COUNTER(depth_exceeded, "packets dropped because they took too many passes")                             \
  SLUICE_COUNTER(tnl_popped, "packets whose outer headers were taken off")                                        \
  SLUICE_COUNTER(tnl_pushed, "packets that got outer headers")                                                    \
  SLUICE_COUNTER(tnl_malformed, "packets dropped by tnl_pop: not what the tunnel sends, or cut short")            \
  SLUICE_COUNTER(tnl_checksum, "packets dropped by tnl_pop: a wrong outer checksum, or none")                     \
  SLUICE_COUNTER(tnl_mtu, "packets dropped because with outer headers they are above the MTU")                    \
  SLUICE_COUNTER(tnl_mtu_told, "of these, those whose sender was told by ICMP")                                   \
  SLUICE_COUNTER(tnl_no_room, "packets dropped because there was no room for outer headers")                      \
  SLUICE_COUNTER(tnl_no_neighbour, "packets dropped because no route or neighbour leads to the tunnel's far end") \
  SLUICE_COUNTER(ct_untracked, "packets that ct found to be nothing that can be tracked")                         \
  SLUICE_COUNTER(ct_invalid, "packets that ct found to be invalid")                                               \
  SLUICE_COUNTER(ct_committed, "connections entered by ct")                                                       \
  SLUICE_COUNTER(ct_table_full, "connections that ct could not enter")

enum sluice_pass_counter {
  SLUICE_PASS_COUNT_FIRST = SLUICE_COUNTER_SLOTS,
  SLUICE_PASS_COUNT_BEFORE = SLUICE_PASS_COUNT_FIRST - 1,
#define SLUICE_COUNTER(name, text) SLUICE_COUNT_##name,
  SLUICE_PASS_COUNTERS(SLUICE_COUNTER)
#undef SLUICE_COUNTER
      SLUICE_PASS_COUNTER_END
};
#define SLUICE_PASS_COUNTER_SLOTS 64

#ifdef SLUICE_LATER_PASSES
#define SLUICE_CPU_COUNTERS SLUICE_PASS_COUNTER_SLOTS
#else
#define SLUICE_CPU_COUNTERS SLUICE_COUNTER_SLOTS
#endif

/* What edits know of the packet at hand. In map memory like the key, and for the same reason. */
struct sluice_editing {
  __u32 l3, l4;               /* offsets in the frame as it is by now */
  __u32 l3_header, l4_header; /* enum sluice_header; SLUICE_HEADER_ETH: none */
  __u32 routed;               /* a routing header has segments left */
  __u32 failed;
  __u32 terminal, terminal_arg;
};

struct sluice_cpu {
  __u64 counters[SLUICE_CPU_COUNTERS];
  /* The rest is the programs' own. */
#ifndef __cplusplus
  __u64 key[SLUICE_KEY_WORDS];    /* of the packet at hand */
  __u64 masked[SLUICE_KEY_WORDS]; /* the same under the mask that is tried */
  __u32 best;                     /* of the search: 0, or 1 + index of the best record so far */
  __u32 best_priority;
  struct sluice_editing editing;
} __attribute__((aligned(64)));
#else
};
#endif

#ifdef __cplusplus
static_assert(SLUICE_COUNTER_END <= SLUICE_COUNTER_SLOTS && SLUICE_PASS_COUNTER_END <= SLUICE_PASS_COUNTER_SLOTS);
#endif
#endif
