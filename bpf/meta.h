/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* What user space reads from the object's BTF before it loads it. Only the types count; the section's bytes do not. */
#ifndef SLUICE_BPF_META_H
#define SLUICE_BPF_META_H

#include "action.h"
#include "kernel.h"
#include "key.h"
#include "table.h"

/* What the programs can do, as enum sluice_action_type numbers it. */
enum sluice_actions {
  SLUICE_CAN_DROP = SLUICE_ACTION_DROP,
  SLUICE_CAN_OUTPUT = SLUICE_ACTION_OUTPUT,
  SLUICE_CAN_GROUP = SLUICE_ACTION_GROUP,
  SLUICE_CAN_FLOOD = SLUICE_ACTION_FLOOD,
  SLUICE_CAN_USERSPACE = SLUICE_ACTION_USERSPACE,
  SLUICE_CAN_SOFTWARE = SLUICE_ACTION_SOFTWARE,
  SLUICE_CAN_RECIRC = SLUICE_ACTION_RECIRC,
  SLUICE_CAN_CT = SLUICE_ACTION_CT,
  SLUICE_CAN_TNL_POP = SLUICE_ACTION_TNL_POP,
  SLUICE_CAN_TNL_PUSH = SLUICE_ACTION_TNL_PUSH,
  SLUICE_CAN_PUSH_VLAN = SLUICE_ACTION_PUSH_VLAN,
  SLUICE_CAN_POP_VLAN = SLUICE_ACTION_POP_VLAN,
  SLUICE_CAN_SET = SLUICE_ACTION_SET,
  SLUICE_CAN_DEC_TTL = SLUICE_ACTION_DEC_TTL,
};

struct sluice_meta {
  __uint(abi, SLUICE_CONTRACT_ABI);
  __uint(max_masks, SLUICE_MAX_MASKS);
  __uint(max_edits, SLUICE_MAX_EDITS);
  struct sluice_key key; /* by value: of what is only pointed to, clang leaves the members out */
  enum sluice_actions actions;
#ifdef SLUICE_LATER_PASSES
  struct {
    int sluice_lookup, sluice_ct, sluice_pop, sluice_push; /* as enum sluice_pass_program */
  } tail_calls;
#endif
};
struct sluice_meta sluice_meta SEC(".sluice_meta") __attribute__((used));

#endif
