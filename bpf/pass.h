/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Passes after the first: what travels from one to the next, and what stands between them. Shared: C and C++20.
 *
 * A pass is a lookup and the actions of the flow found. It ends with a terminal; four of those lead, by a tail call
 * through `passes`, to another program: RECIRC looks the packet up again, CT, TNL_POP and TNL_PUSH are steps, each of
 * which does one thing to the packet and then goes on as its own terminal says.
 *
 * `passes`, `pass_state`, `steps` and `pass_ports` are one map each for all ports and objects (`passes`: one for
 * objects that take packets of several buffers and one for the others, as the kernel keeps these apart). So a new set
 * of programs, with tables of its own, takes the place of another by the slots of `passes`, while packets that are in
 * the old one leave it by its own `tail_calls`. */
#ifndef SLUICE_BPF_PASS_H
#define SLUICE_BPF_PASS_H

#include <linux/types.h>

/* Slots of `passes`, and of the map `tail_calls` of the object that brings the programs. */
enum sluice_pass_program {
  SLUICE_PASS_LOOKUP = 0, /* program sluice_lookup */
  SLUICE_PASS_CT = 1,     /* program sluice_ct */
  SLUICE_PASS_POP = 2,    /* program sluice_pop */
  SLUICE_PASS_PUSH = 3,   /* program sluice_push */
  SLUICE_PASS_PROGRAMS = 4,
};

#define SLUICE_PASS_DEPTH 8    /* passes that a packet may begin after its first; the default of config.depth */
#define SLUICE_PASS_PORTS 1024 /* ports whose packets may take more than one pass: entries of `pass_ports` */
#define SLUICE_STEPS 16384     /* entries of `steps` */
#define SLUICE_TUNNEL_HEADER 128
#define SLUICE_PASS_HOPS 32 /* tail calls that the kernel lets a packet make are 33 */

/* As in OVS (FLOW_TNL_F_*), and as OVS, tnl_pop does not say DF. */
enum sluice_tunnel_flags { SLUICE_TUNNEL_OAM = 1, SLUICE_TUNNEL_DF = 2, SLUICE_TUNNEL_CSUM = 4, SLUICE_TUNNEL_KEY = 8 };

/* Outer headers gone by tnl_pop, or what set(tunnel()) said: as the match fields tun_*. Network byte order; 0 where
 * there was none. IPv4 and IPv6 addresses each have their place. */
struct sluice_tunnel {
  __be64 id;
  __be32 src, dst;
  __u8 ipv6_src[16], ipv6_dst[16];
  __be16 tp_src, tp_dst;
  __be16 flags; /* enum sluice_tunnel_flags */
  __u8 tos, ttl;
};

/* Of the packet at hand, an entry for each CPU in `pass_state`, map ARRAY indexed by CPU. Whoever leaves the first pass
 * writes all of it, so that nothing of an earlier packet is left. */
struct sluice_pass {
  __u32 depth; /* passes begun after the first */
  __u32 slot;  /* of the receiving port, in `pass_ports` */
  __u32 step;  /* CT, TNL_POP, TNL_PUSH: entry of `steps` */
  /* Of the flow whose actions sent the packet here, for an upcall that a step makes. depth 0: of the port's own table,
   * else of the one of later passes. */
  __u32 record;
  /* What the next lookup is for. As in the key: network byte order. */
  __be32 recirc_id;
  __be32 in_port;  /* the receiving port's number, or that of the tunnel port */
  __be32 ct_state; /* SLUICE_CT_*; 0: not tracked */
  __be32 ct_mark;
  __be16 ct_zone;
  __u16 hops; /* tail calls made: the kernel has a limit for them */
  __u32 gen;  /* the record's */
  struct sluice_tunnel tunnel;
};

/* A value of `pass_state`: CPUs write theirs all the time, so that each has cache lines of its own. */
struct sluice_pass_state {
  struct sluice_pass pass;
  __u64 unused[4];
};

/* ct_state, host order: OVS_CS_F_* of openvswitch.h. */
enum {
  SLUICE_CT_NEW = 0x01,
  SLUICE_CT_EST = 0x02,
  SLUICE_CT_REL = 0x04,
  SLUICE_CT_RPL = 0x08,
  SLUICE_CT_INV = 0x10,
  SLUICE_CT_TRK = 0x20,
};

/* A receiving port, for programs that are no port's own: map ARRAY, mapped, written by user space. */
struct sluice_pass_port {
  __u32 miss_policy; /* enum sluice_miss_policy */
  __u32 upcalls_per_window;
  __u32 xsk_base; /* its receive queue q has entry xsk_base + q in the object's `xsks` */
  __u32 n_xsks;
  __u64 upcall_window; /* the programs': see upcall_allowed() */
  __u64 upcalls_used;
};

enum sluice_step_flags {
  /* CT */
  SLUICE_STEP_COMMIT = 1,
  SLUICE_STEP_FORCE = 2,
  SLUICE_STEP_MARK = 4,     /* write mark under mark_mask; only with COMMIT */
  SLUICE_STEP_CT_CLEAR = 8, /* nothing but: not tracked any more */
  /* TNL_POP: what becomes of outer UDP checksums that are not 0 */
  SLUICE_STEP_CSUM_VERIFY = 16,  /* wrong: dropped */
  SLUICE_STEP_CSUM_REQUIRE = 32, /* 0: dropped, too */
  /* TNL_PUSH */
  /* Ethernet addresses by the kernel's routes and neighbours, through ifindex, whose sysctl `forwarding` the kernel
   * wants on for that. Who makes the step has the neighbour resolved and kept so: packets do not do it, they are
   * dropped and counted in tnl_no_neighbour meanwhile. */
  SLUICE_STEP_FIB = 64,
  SLUICE_STEP_CSUM = 128,     /* an outer UDP checksum; always over IPv6 */
  SLUICE_STEP_MTU_ICMP = 256, /* inner packet too long: tell its sender by ICMP, beside the counter */
};

enum sluice_tunnel_type { SLUICE_TUNNEL_GRE = 3, SLUICE_TUNNEL_VXLAN = 4, SLUICE_TUNNEL_GENEVE = 5 };

/* One entry of `steps`: map ARRAY, mapped. Never changes while a record refers to it. Host order unless said. */
struct sluice_step {
  __u32 flags; /* enum sluice_step_flags */
  /* What follows CT and TNL_PUSH (after TNL_POP there always is a pass with recirc_id 0); enum sluice_action_type and
   * its argument. DROP, OUTPUT, GROUP, FLOOD, USERSPACE, RECIRC (argument: recirc_id), or another step. */
  __u32 terminal;
  __u32 terminal_arg;
  /* CT */
  __u32 mark, mark_mask;
  __u16 zone;
  /* TNL_POP: the outer UDP destination that is expected. */
  __u16 tp_dst;
  __u32 tunnel_type; /* enum sluice_tunnel_type */
  __u32 tunnel_port; /* TNL_POP: becomes in_port */
  /* TNL_PUSH: what is prepended, Ethernet to tunnel, as struct TnlPush has it: lengths, the IPv4 id and checksum 0, and
   * UDP's source port where the program is to choose it by the inner packet's hash. */
  __u32 header_length;
  __u32 mtu;     /* of the device it leaves by, without Ethernet header; 0: no limit */
  __u32 ifindex; /* FIB: of that device */
  __u32 reserved;
  __u8 header[SLUICE_TUNNEL_HEADER];
};

/* ICMP echo that is tracked: map `ct_echoes`, LRU_HASH. Network byte order but for the zone. */
#define SLUICE_CT_ECHOES 65536
struct sluice_ct_echo_key {
  __u16 zone;
  __be16 id;
  __u32 ipv6; /* 1, or 0: then addresses have 4 bytes */
  __u8 src[16], dst[16];
};
struct sluice_ct_echo {
  __u32 expires; /* jiffies, the lower half */
  __u32 mark;
  __u32 replied;
};

/* Seconds after which ct takes a connection for gone when nothing comes: the kernel's nf_conntrack_*_timeout_*. */
enum sluice_ct_timeout {
  SLUICE_CT_TCP_SYN_SENT,
  SLUICE_CT_TCP_SYN_RECV,
  SLUICE_CT_TCP_ESTABLISHED,
  SLUICE_CT_TCP_FIN, /* fin_wait, for all that follows the first FIN */
  SLUICE_CT_TCP_CLOSE,
  SLUICE_CT_TCP_UNACKNOWLEDGED, /* for connections found in their midst */
  SLUICE_CT_UDP,
  SLUICE_CT_UDP_STREAM,
  SLUICE_CT_ICMP,
  SLUICE_CT_TIMEOUTS
};

/* In section .rodata.passes of the object of later passes: set before the load. */
struct sluice_pass_config {
  __u32 depth;        /* passes that a packet may begin after its first */
  __u32 cpus;         /* possible ones */
  __u32 hz;           /* jiffies a second */
  __u32 ct_opts_size; /* of the kernel's struct bpf_ct_opts, as far as the programs know it: 12 or, with zones, 16 */
  __u32 ct_timeouts[SLUICE_CT_TIMEOUTS];
  __u32 reserved;
};

/* What goes before the frame of a packet that a later pass sends to user space, as bytes of the packet: user space
 * takes it off. Says so by SLUICE_UPCALL_PASS in the metadata's reason (upcall.h). */
struct sluice_pass_prefix {
  struct sluice_pass pass;
};

#ifdef __cplusplus
static_assert(sizeof(sluice_tunnel) == 56 && sizeof(sluice_pass) == 96 && sizeof(sluice_step) == 176 &&
              sizeof(sluice_pass_state) == 128 && sizeof(sluice_pass_config) == 56);
#endif
#endif
