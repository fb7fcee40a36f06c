/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* The table as a tuple space: a hash map per mask (subtable), searched in the order of their highest priorities, and a
 * cache in front. BPF programs only. All that knows this layout is here, in table.h, and in user space's TupleSpace.
 * Why what is found is always right: README.md, "Exactness".
 *
 * Interface: lookup() and record_stats(). Whose key has not nine words defines SLUICE_KEY_WORDS before. */
#ifndef SLUICE_BPF_TABLE_TUPLE_SPACE_H
#define SLUICE_BPF_TABLE_TUPLE_SPACE_H

#include "maps.h"
#include "table.h"

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1); /* config.records */
  __type(key, __u32);
  __type(value, struct sluice_record);
} records SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, SLUICE_MASK_SLOTS);
  __type(key, __u32);
  __type(value, struct sluice_mask);
} masks SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, SLUICE_MASK_LISTS);
  __type(key, __u32);
  __type(value, struct sluice_mask_list);
} mask_lists SEC(".maps");

/* Mask slot to its flows: masked key to record index. The inner maps differ in size. */
struct sluice_subtable_map {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, 1);
  __uint(key_size, SLUICE_KEY_WORDS * 8);
  __uint(value_size, 4);
};
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
  __uint(max_entries, SLUICE_MASK_SLOTS);
  __type(key, __u32);
  __array(values, struct sluice_subtable_map);
} subtables SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1); /* a power of two */
  __type(key, __u32);
  __type(value, __u64);
} cache SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1); /* a power of two, at most that of `cache` */
  __type(key, __u32);
  __type(value, struct sluice_cache_key);
} cache_keys SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1); /* possible CPUs x config.records */
  __type(key, __u32);
  __type(value, struct sluice_stats);
} stats SEC(".maps");

struct lookup {
  __u32 index; /* of the record found */
  __u32 slot;  /* of the cache */
};

static __always_inline void record_stats(__u32 index, __u64 length, __u32 tcp_flags) {
  __u32 at = bpf_get_smp_processor_id() * config.records + index;
  struct sluice_stats* s = bpf_map_lookup_elem(&stats, &at);
  if (!s) return;
  s->packets++;
  s->bytes += length;
  s->used_and_flags = bpf_jiffies64() << SLUICE_STATS_FLAG_BITS | (s->used_and_flags & SLUICE_STATS_FLAGS) | tcp_flags;
}

/* Any function would be right, see "Exactness". Odd random factors, so that nobody can choose packets that collide.
 * What is behind these words of a long key (later passes: the tunnel's IPv6 addresses and ports) tells few packets
 * apart. */
#define SLUICE_HASHED_WORDS (SLUICE_KEY_WORDS < 13 ? SLUICE_KEY_WORDS : 13)
static __always_inline __u32 cache_slot(const struct sluice_cpu* cpu) {
  __u64 h = 0;
#pragma unroll
  for (int i = 0; i < SLUICE_HASHED_WORDS; i++) h += (cpu->key[i] & control.union_mask[i]) * config.hash[i];
  h ^= h >> 32;
  return (h * config.hash[SLUICE_KEY_WORDS]) >> config.cache_shift;
}

/* 0 where the packet is one of the record's flow. */
static __always_inline __u64 differs(const struct sluice_cpu* cpu, const struct sluice_record* record,
                                     const struct sluice_mask* mask) {
  __u64 d = 0;
#pragma unroll
  for (int i = 0; i < SLUICE_KEY_WORDS; i++) d |= (cpu->key[i] & mask->words[i]) ^ record->key[i];
  return d;
}

/* Is the entry about a packet that is like this one in every bit that any mask has? */
static __noinline int same_as_cached(struct sluice_cpu* cpu, __u32 slot, __u64 entry) {
  __u32 at = slot & config.cache_keys_mask;
  struct sluice_cache_key* cached = bpf_map_lookup_elem(&cache_keys, &at);
  if (!cpu || !cached) return 0;
  __u64 seq = *(volatile __u64*)&cached->seq;
  __u64 d = (*(volatile __u64*)&cached->entry ^ entry) | (seq & 1);
#pragma unroll
  for (int i = 0; i < SLUICE_KEY_WORDS; i++)
    d |= (cpu->key[i] ^ *(volatile __u64*)&cached->key[i]) & control.union_mask[i];
  return d == 0 && *(volatile __u64*)&cached->seq == seq;
}

static __always_inline int remember_key(struct sluice_cpu* cpu, __u32 slot, __u64 entry) {
  __u32 at = slot & config.cache_keys_mask;
  struct sluice_cache_key* cached = bpf_map_lookup_elem(&cache_keys, &at);
  if (!cached) return 0;
  __u64 seq = *(volatile __u64*)&cached->seq;
  if (seq & 1 || __sync_val_compare_and_swap(&cached->seq, seq, seq + 1) != seq) return 0;
  *(volatile __u64*)&cached->entry = entry;
#pragma unroll
  for (int i = 0; i < SLUICE_KEY_WORDS; i++) *(volatile __u64*)&cached->key[i] = cpu->key[i];
  __sync_fetch_and_add(&cached->seq, 1);
  return 1;
}

/* The record of the cache's entry, if it serves this packet. */
static __always_inline struct sluice_record* cached_record(struct sluice_cpu* cpu, __u64 gen, __u32 slot,
                                                           __u32* index) {
  __u64* entry = bpf_map_lookup_elem(&cache, &slot);
  if (!entry) return 0;
  __u64 e = *(volatile __u64*)entry;
  if (SLUICE_CACHE_GEN(e) != gen) return 0;
  *index = SLUICE_CACHE_INDEX(e);
  struct sluice_record* record = bpf_map_lookup_elem(&records, index);
  if (!record) return 0;
  if ((*(volatile __u32*)&record->gen & 0xffff) != SLUICE_CACHE_RECORD_GEN(e)) return 0;
  __u32 mask_slot = record->mask_slot;
  struct sluice_mask* mask = bpf_map_lookup_elem(&masks, &mask_slot);
  if (!mask || differs(cpu, record, mask)) return 0;
  if (e & SLUICE_CACHE_EXACT && !same_as_cached(cpu, slot, e)) return 0;
  return record;
}

/* The same for a packet's second place; 1 + the record's index, or 0. A function of its own: it is rare. */
static __noinline __u32 cached_elsewhere(struct sluice_cpu* cpu, __u32 gen, __u32 slot) {
  __u32 index;
  if (!cpu || !cached_record(cpu, gen, slot, &index)) return 0;
  return index + 1;
}

static __always_inline int entry_is_void(__u32 gen, __u32 slot) {
  __u64* entry = bpf_map_lookup_elem(&cache, &slot);
  if (!entry) return 1;
  __u64 e = *(volatile __u64*)entry;
  __u32 index = SLUICE_CACHE_INDEX(e);
  struct sluice_record* record = bpf_map_lookup_elem(&records, &index);
  return SLUICE_CACHE_GEN(e) != gen || !record ||
         (*(volatile __u32*)&record->gen & 0xffff) != SLUICE_CACHE_RECORD_GEN(e);
}

/* Which of a packet's two places to fill: one that is void, else either in turn. */
static __always_inline __u32 place(const struct sluice_cpu* cpu, __u32 gen, __u32 slot) {
  if (entry_is_void(gen, slot)) return slot;
  if (entry_is_void(gen, slot ^ 1)) return slot ^ 1;
  return slot ^ (cpu->counters[SLUICE_COUNT_hit_table] & 1);
}

struct search {
  struct sluice_cpu* cpu;
  __u32 list;
};

/* One step of the search: the i-th mask of the list. Returns 1 to stop. */
static long search_subtable(__u32 i, struct search* search) {
  struct sluice_cpu* cpu = search->cpu;
  struct sluice_mask_list* list = bpf_map_lookup_elem(&mask_lists, &search->list);
  if (!list) return 1;
  __u64 entry = *(volatile __u64*)&list->entry[i & (SLUICE_MASK_SLOTS - 1)];
  if (cpu->best && cpu->best_priority >= entry >> 32) return 1;

  __u32 slot = (__u32)entry;
  struct sluice_mask* mask = bpf_map_lookup_elem(&masks, &slot);
  void* subtable = bpf_map_lookup_elem(&subtables, &slot);
  if (!mask || !subtable) return 0;
#pragma unroll
  for (int w = 0; w < SLUICE_KEY_WORDS; w++) cpu->masked[w] = cpu->key[w] & mask->words[w];
  __u32* index = bpf_map_lookup_elem(subtable, cpu->masked);
  if (!index) return 0;
  __u32 found = *index;
  struct sluice_record* record = bpf_map_lookup_elem(&records, &found);
  if (!record) return 0;
  if (cpu->best && cpu->best_priority >= record->priority) return 0;
  cpu->best = found + 1;
  cpu->best_priority = record->priority;
  return 0;
}

/* The best record among all subtables, entered into the cache. A function of its own, so that the way through the cache
 * keeps its registers. Returns 1 + its index, or 0. */
static __noinline __u32 search_table(struct sluice_cpu* cpu, __u32 gen, __u32 slot) {
  struct search search = {.cpu = cpu, .list = *(volatile __u32*)&control.mask_list};
  if (!cpu) return 0;
  cpu->best = 0;
  struct sluice_mask_list* list = bpf_map_lookup_elem(&mask_lists, &search.list);
  if (!list) return 0;
  __u32 n = list->n;
  bpf_loop(n, search_subtable, &search, 0);
  if (!cpu->best) return 0;

  __u32 index = cpu->best - 1;
  struct sluice_record* record = bpf_map_lookup_elem(&records, &index);
  slot = place(cpu, gen, slot);
  __u64* entry = bpf_map_lookup_elem(&cache, &slot);
  if (!record || !entry) return 0;
  __u32 record_gen = *(volatile __u32*)&record->gen;
  if (record_gen & 1) return index + 1; /* deleted meanwhile: still whole, but not to be remembered */
  __u64 e = SLUICE_CACHE_ENTRY(gen, record_gen, index);
  if (record->priority < control.top_priority) {
    e |= SLUICE_CACHE_EXACT;
    if (!remember_key(cpu, slot, e)) return index + 1;
  }
  *(volatile __u64*)entry = e;
  return index + 1;
}

/* The flow of the packet whose key is in cpu->key, or NULL. Counts hits and misses. */
static __always_inline struct sluice_record* lookup(struct sluice_cpu* cpu, __u32* index) {
  /* Before anything else is read: who bumps it has changed all the rest before. */
  __u32 gen = *(volatile __u32*)&control.cache_gen;
  __u32 slot = cache_slot(cpu);
  struct sluice_record* record = cached_record(cpu, gen, slot, index);
  if (record) {
    count(cpu, SLUICE_COUNT_hit_cache);
    return record;
  }
  __u32 found = cached_elsewhere(cpu, gen, slot ^ 1);
  if (found) {
    count(cpu, SLUICE_COUNT_hit_cache);
  } else {
    found = search_table(cpu, gen, slot);
    count(cpu, found ? SLUICE_COUNT_hit_table : SLUICE_COUNT_miss);
    if (!found) return 0;
  }
  *index = found - 1;
  return bpf_map_lookup_elem(&records, index);
}

#endif
