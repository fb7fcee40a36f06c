/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* The packet metadata before a frame on the AF_XDP socket and before a packet out. Shared: C and C++20. */
#ifndef SLUICE_BPF_UPCALL_H
#define SLUICE_BPF_UPCALL_H

#include <linux/types.h>

#define SLUICE_UPCALL_MAGIC 0x51ce0000U /* upper half; the lower is enum sluice_upcall_reason */

enum sluice_upcall_reason {
  SLUICE_UPCALL_MISS = 1,
  SLUICE_UPCALL_ACTION = 2,    /* record: which flow's */
  SLUICE_UPCALL_MALFORMED = 3, /* record: enum sluice_counter of what is wrong */
};

/* Directly before the first byte of the frame, in host byte order. */
struct sluice_upcall_meta {
  __u32 magic_reason;
  __u32 record;
};

/* Before the frame given to program sluice_execute: run this record's actions, without a lookup. */
struct sluice_execute_meta {
  __u32 record;
};

#ifdef __cplusplus
static_assert(sizeof(sluice_upcall_meta) == 8 && sizeof(sluice_execute_meta) == 4);
#endif
#endif
