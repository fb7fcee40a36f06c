/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Compiled actions, as user space writes them and the BPF programs run them. Shared: C and C++20. */
#ifndef SLUICE_BPF_ACTION_H
#define SLUICE_BPF_ACTION_H

#include <linux/types.h>

/* XDP owns one packet and cannot copy it, so a flow's actions are edits, in order, and then one terminal. An object
 * says in its metadata which of these it can do (CONTRACT.md). */
enum sluice_action_type {
  SLUICE_ACTION_NONE = 0,

  /* Terminals. */
  SLUICE_ACTION_DROP = 1,
  SLUICE_ACTION_OUTPUT = 2, /* argument: port number, index into `ports` */
  SLUICE_ACTION_GROUP = 3,  /* argument: index into `groups`: all of its devices */
  SLUICE_ACTION_FLOOD = 4,  /* all of group SLUICE_GROUP_FLOOD but the device the packet came in by */
  /* To the port's AF_XDP socket, within the port's rate. Argument: bytes of it that user space is to report, 0: all. */
  SLUICE_ACTION_USERSPACE = 5,
  /* To the port's AF_XDP socket: user space does what XDP cannot. Not limited by the rate of upcalls.
   * Argument: 1 where the record takes more packets than its flow; the record then does not count for it. */
  SLUICE_ACTION_SOFTWARE = 6,
  /* By a tail call into another pass, or into a step between two: pass.h. */
  SLUICE_ACTION_RECIRC = 7, /* argument: recirc_id */
  SLUICE_ACTION_CT = 8,     /* this and the following: index into `steps` */
  SLUICE_ACTION_TNL_POP = 9,
  SLUICE_ACTION_TNL_PUSH = 10,

  /* Edits. */
  SLUICE_ACTION_PUSH_VLAN = 16,
  SLUICE_ACTION_POP_VLAN = 17, /* nothing where there is no tag */
  SLUICE_ACTION_SET = 18,
  SLUICE_ACTION_DEC_TTL = 19, /* IPv4 and IPv6; of others nothing */
};

/* The header that a SET is about. A packet that does not have it stays as it is. */
enum sluice_header {
  SLUICE_HEADER_ETH = 0,
  SLUICE_HEADER_VLAN = 1, /* from its TPID on, at byte 12; the outermost tag that the packet has by then */
  SLUICE_HEADER_ARP = 2,  /* ARP and RARP, of Ethernet and IPv4 */
  SLUICE_HEADER_IPV4 = 3,
  SLUICE_HEADER_IPV6 = 4,
  SLUICE_HEADER_TCP = 5, /* this and the following: not in later fragments */
  SLUICE_HEADER_UDP = 6,
  SLUICE_HEADER_ICMP = 7,
  SLUICE_HEADER_ICMPV6 = 8,
};

/* Which checksums follow a SET (RFC 1624; a UDP checksum of 0 stays 0, one that becomes 0 is written 0xffff). */
enum sluice_sums {
  SLUICE_SUM_NONE = 0,
  SLUICE_SUM_IPV4 = 1,         /* the header's */
  SLUICE_SUM_IPV4_ADDRESS = 2, /* the header's, and TCP's or UDP's */
  SLUICE_SUM_IPV6_SRC = 3,     /* TCP's, UDP's or ICMPv6's */
  SLUICE_SUM_IPV6_DST = 4,     /* the same, but where a routing header names the final destination */
  SLUICE_SUM_L4 = 5,           /* the one of the header itself */
};

/* One entry of `edits`; a flow's are neighbours. */
struct sluice_edit {
  __u8 type; /* enum sluice_action_type */
  __u8 header;
  __u8 offset; /* SET: of the four bytes in `header` */
  __u8 sums;
  union {
    __u32 value;   /* SET: as the bytes lie in memory, bits outside the mask are 0 */
    __u32 tpid;    /* PUSH_VLAN, host order */
    __u32 expired; /* DEC_TTL: the terminal for packets whose time is over, which takes the place of all that follows */
  };
  union {
    __u32 mask;
    __u32 tci; /* host order */
    __u32 expired_arg;
  };
  __u32 reserved;
};

/* Index into `groups` of the devmap with every port. */
#define SLUICE_GROUP_FLOOD 0

#ifdef __cplusplus
static_assert(sizeof(sluice_edit) == 16);
#endif
#endif
