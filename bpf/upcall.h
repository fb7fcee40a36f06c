/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* The packet metadata before a frame on the AF_XDP socket. Shared: C and C++20. */
#ifndef SLUICE_BPF_UPCALL_H
#define SLUICE_BPF_UPCALL_H

#include <linux/types.h>

#define SLUICE_UPCALL_MAGIC 0x51ce0000U /* upper half; the lower is enum sluice_upcall_reason */

enum sluice_upcall_reason {
  SLUICE_UPCALL_MISS = 1,
  SLUICE_UPCALL_ACTION = 2,    /* record: which flow's */
  SLUICE_UPCALL_MALFORMED = 3, /* record: enum sluice_counter of what is wrong */
  SLUICE_UPCALL_SOFTWARE = 4,  /* record: the flow whose actions user space is to execute */
};

/* Beside a reason: a later pass sent the packet, `record` is of that pass's table, and the packet begins with a struct
 * sluice_pass_prefix (pass.h). */
#define SLUICE_UPCALL_PASS 0x100U

/* Directly before the first byte of the frame, in host byte order. */
struct sluice_upcall_meta {
  __u32 magic_reason;
  __u32 record;
  __u32 gen; /* the record's: it may be another flow's when user space gets to see the packet */
  __u32 arg; /* ACTION and SOFTWARE: as compiled */
};

#ifdef __cplusplus
static_assert(sizeof(sluice_upcall_meta) == 16);
#endif
#endif
