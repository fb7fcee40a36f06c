/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* A limit on what goes to user space. BPF programs only. */
#ifndef SLUICE_BPF_BUDGET_H
#define SLUICE_BPF_BUDGET_H

#include "kernel.h"
#include "table.h"

/* Whether one more may go in this window; see SLUICE_UPCALL_WINDOW_BITS. Racing CPUs may let a few more pass. */
static __always_inline int within_budget(__u32 limit, __u64* window, __u64* used) {
  if (!limit) return 1;
  __u64 now = bpf_ktime_get_coarse_ns() >> SLUICE_UPCALL_WINDOW_BITS;
  if (*window != now) {
    *window = now;
    *used = 0;
  }
  return __sync_fetch_and_add(used, 1) < limit;
}

#endif
