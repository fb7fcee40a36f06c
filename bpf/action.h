/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Compiled actions, as user space writes them and the BPF programs run them. Shared: C and C++20. */
#ifndef SLUICE_BPF_ACTION_H
#define SLUICE_BPF_ACTION_H

#include <linux/types.h>

/* XDP owns one packet and cannot copy it, so a flow's actions are edits, in order, and then one terminal. */
enum sluice_action_type {
  SLUICE_ACTION_NONE = 0,

  /* Terminals. */
  SLUICE_ACTION_DROP = 1,
  SLUICE_ACTION_OUTPUT = 2, /* b: port number, index into `ports` */
  SLUICE_ACTION_GROUP = 3,  /* b: index into `groups`: all of its devices */
  SLUICE_ACTION_FLOOD = 4,  /* all of group SLUICE_GROUP_FLOOD but the device the packet came in by */
  /* To the port's AF_XDP socket. b: bytes of it that user space is to report, 0: all. */
  SLUICE_ACTION_USERSPACE = 5,

  /* Edits. */
  SLUICE_ACTION_PUSH_VLAN = 16, /* a: tpid, b: tci, both in host order */
  SLUICE_ACTION_POP_VLAN = 17,  /* nothing where there is no tag */
};

struct sluice_action {
  __u8 type; /* enum sluice_action_type */
  __u8 reserved;
  __u16 a;
  __u32 b;
};

/* Edits in the record itself, and in an entry of `action_lists`. */
#define SLUICE_INLINE_EDITS 3
#define SLUICE_MAX_EDITS 32

struct sluice_action_list {
  struct sluice_action edits[SLUICE_MAX_EDITS];
};

/* Index into `groups` of the devmap with every port. */
#define SLUICE_GROUP_FLOOD 0

#ifdef __cplusplus
static_assert(sizeof(sluice_action) == 8 && sizeof(sluice_action_list) == 256);
#endif
#endif
