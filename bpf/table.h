/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* What the tuple-space table keeps in its maps. Shared: C and C++20. The lookup itself: table_tuple_space.h.
 *
 * All of these are array maps that user space maps into its memory and writes without a system call. Who may write
 * what, when: README.md, "Exactness". Host byte order except in keys. */
#ifndef SLUICE_BPF_TABLE_H
#define SLUICE_BPF_TABLE_H

#include "action.h"

/* Key words of an object: sizeof(struct sluice_key) / 8. An object with another key says so before it includes this.
 * User space takes it from the object's metadata: to it, what ends in [SLUICE_WORDS] ends in as many as the object has.
 */
#ifdef __cplusplus
#define SLUICE_WORDS
#else
#ifndef SLUICE_KEY_WORDS
#ifdef SLUICE_LATER_PASSES
#define SLUICE_KEY_WORDS 18
#else
#define SLUICE_KEY_WORDS 9
#endif
#endif
#define SLUICE_WORDS SLUICE_KEY_WORDS
#endif
#define SLUICE_CONTRACT_ABI 1 /* of CONTRACT.md: the structures here, in action.h and in counters.h */
#define SLUICE_MAX_KEY_WORDS 20
#define SLUICE_MAX_MASKS 255
#define SLUICE_MASK_SLOTS 256
#define SLUICE_MASK_LISTS 16
#define SLUICE_MAX_FLOWS (1 << 24) /* a cache entry has 24 bits for the record's index */
#define SLUICE_MAX_EDITS 512       /* of one flow */

/* One flow. */
struct sluice_record {
  __u32 gen; /* even: live, odd: dead. Grows by one at each change of that, so it tells uses of a slot apart */
  __u32 priority;
  __u16 mask_slot; /* into `masks` and `subtables` */
  __u16 n_edits;
  __u32 first_edit; /* of those, in `edits` */
  __u32 terminal;   /* enum sluice_action_type */
  __u32 terminal_arg;
  __u64 key[SLUICE_WORDS]; /* struct sluice_key, bits outside the mask are 0 */
};

#ifndef __cplusplus
struct sluice_mask {
  __u64 words[SLUICE_KEY_WORDS];
};
#endif

/* Masks in the order of search: descending by the highest priority of any flow under them. Entries are single words so
 * that one may be replaced under readers. */
#define SLUICE_MASK_ENTRY(slot, max_priority) ((__u64)(max_priority) << 32 | (slot))
struct sluice_mask_list {
  __u64 n;
  __u64 entry[SLUICE_MASK_SLOTS];
};

/* A packet has two places in the cache, the one that its hash names and that one's neighbour (number ^ 1): with one,
 * flows whose hashes collide would drive each other out at every packet.
 *
 * Cache entry: cache_gen 24 bits | record gen 15 bits | exact 1 bit | record index 24 bits.
 * exact: the record is outranked by some flow of the table, so another packet that matches it too may have a better
 * one; the entry then stands for the packet key in `cache_keys` only. */
#define SLUICE_CACHE_GEN(entry) ((entry) >> 40)
#define SLUICE_CACHE_RECORD_GEN(entry) ((__u32)((entry) >> 24) & 0xfffe)
#define SLUICE_CACHE_EXACT (1ULL << 24)
#define SLUICE_CACHE_INDEX(entry) ((__u32)(entry)&0xffffff)
#define SLUICE_CACHE_ENTRY(cache_gen, record_gen, index) \
  ((__u64)(cache_gen) << 40 | (__u64)((record_gen)&0xfffe) << 24 | (index))
#define SLUICE_CACHE_GEN_MAX 0xffffff

struct sluice_cache_key {
  __u64 seq;   /* odd while it is written */
  __u64 entry; /* the cache entry that it belongs to */
  __u64 key[SLUICE_WORDS];
};

/* Statistics of one record on one CPU: entry cpu * records + index of `stats`. Written by that CPU only; zeroed by
 * user space when no packet can have the record any more. */
struct sluice_stats {
  __u64 packets;
  __u64 bytes; /* of whole frames without FCS */
  /* jiffies of the last packet << SLUICE_STATS_FLAG_BITS | the TCP flags seen, or-ed, as in tcp_flags in host order.
   * jiffies, because even the coarse clock costs 16 ns; user space finds out what they are now. */
  __u64 used_and_flags;
};
#define SLUICE_STATS_FLAG_BITS 12
#define SLUICE_STATS_FLAGS 0xfffULL

/* In section .data.control. */
struct sluice_control {
  __u32 cache_gen;    /* 1..SLUICE_CACHE_GEN_MAX; cache entries of another one are void */
  __u32 mask_list;    /* the one of `mask_lists` to search */
  __u32 top_priority; /* at least that of any live flow */
  __u32 miss_policy;  /* enum sluice_miss_policy; also for malformed packets */
  /* Packets that go to user space in one window of 2^SLUICE_UPCALL_WINDOW_BITS ns; 0: no limit. */
  __u32 upcalls_per_window;
  __u32 port;      /* this one's number; told to later passes */
  __u32 pass_slot; /* its entry of `pass_ports` (pass.h) */
  __u32 reserved;
  __u64 union_mask[SLUICE_WORDS]; /* of all masks: what the cache's hash looks at */
};
#define SLUICE_UPCALL_WINDOW_BITS 24

enum sluice_miss_policy { SLUICE_MISS_PASS = 0, SLUICE_MISS_DROP = 1, SLUICE_MISS_UPCALL = 2 };

/* In section .rodata.config: set before the load. */
struct sluice_config {
  __u32 records;         /* entries of `records` */
  __u32 cache_shift;     /* 64 - log2(entries of `cache`) */
  __u32 cache_keys_mask; /* entries of `cache_keys` - 1 */
  __u32 frags;           /* not 0: the program takes packets of several buffers */
#ifdef __cplusplus
  __u64 hash[];
#else
  __u64 hash[SLUICE_KEY_WORDS + 1]; /* random and odd: a factor for each word of the key, and one for their sum */
#endif
};

#ifdef __cplusplus
static_assert(sizeof(sluice_record) == 24 && sizeof(sluice_mask_list) == 2056 && sizeof(sluice_stats) == 24);
static_assert(sizeof(sluice_cache_key) == 16 && sizeof(sluice_control) == 32 && sizeof(sluice_config) == 16);
#endif
#endif
