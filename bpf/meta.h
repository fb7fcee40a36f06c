/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* What user space reads from the object's BTF before it loads it. Only the types count; the section's bytes do not. */
#ifndef SLUICE_BPF_META_H
#define SLUICE_BPF_META_H

#include "action.h"
#include "kernel.h"
#include "key.h"
#include "table.h"

struct sluice_meta {
  __uint(abi, 1);
  __uint(max_masks, SLUICE_MAX_MASKS);
  struct sluice_key key; /* by value: of what is only pointed to, clang leaves the members out */
  enum sluice_action_type actions;
  struct sluice_record record;
};
struct sluice_meta sluice_meta SEC(".sluice_meta") __attribute__((used));

#endif
