/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Connection tracking in the kernel's own table, through its functions for XDP. BPF programs only.
 *
 * These find and enter connections, and no more: states and timeouts are kept here, by the kernel's timeouts. They know
 * TCP and UDP; ICMP echo is kept in a map of ours (ct_echo.h), everything else is invalid, as are later fragments
 * (there is no reassembly). Checksums and TCP's windows are not looked at.
 *
 * The kernel keeps a TCP connection's state where nobody else can write it, so that it must be told from what can be
 * written: SEEN_REPLY and ASSURED, and how much time is left: an assured connection with no more than a closing one's
 * time has seen a FIN or RST. */
#ifndef SLUICE_BPF_CT_H
#define SLUICE_BPF_CT_H

#include "ct_echo.h"
#include "ct_kernel.h"
#include "edit.h"
#include "parse.h"
#include "pass_port.h"

enum { TCP_FIN = 1, TCP_SYN = 2, TCP_RST = 4, TCP_ACK = 16, TCP_URG = 32 };

#define CT_INVALID (SLUICE_CT_TRK | SLUICE_CT_INV)

/* A packet, to ct. */
struct ct_packet {
  struct bpf_sock_tuple tuple;
  __u8 ipv6;
  __u8 proto;
  __u8 tcp_flags; /* FIN to URG, without PSH */
  __u8 related;   /* an ICMP error; the tuple is of the packet that it quotes, turned round */
};

static __always_inline __u32 tuple_size(const struct ct_packet* packet) {
  return packet->ipv6 ? sizeof packet->tuple.ipv6 : sizeof packet->tuple.ipv4;
}

/* As the kernel's tcp_valid_flags. */
static __always_inline int valid_flags(__u8 flags) {
  const __u64 valid = 1ULL << TCP_SYN | 1ULL << (TCP_SYN | TCP_URG) | 1ULL << (TCP_SYN | TCP_ACK) | 1ULL << TCP_RST |
                      1ULL << (TCP_RST | TCP_ACK) | 1ULL << (TCP_FIN | TCP_ACK) |
                      1ULL << (TCP_FIN | TCP_ACK | TCP_URG) | 1ULL << TCP_ACK | 1ULL << (TCP_ACK | TCP_URG);
  return valid >> (flags & 0x3f) & 1;
}

/* Whether it may begin a connection: of TCP a SYN, or an ACK in its midst. */
static __always_inline int may_begin(const struct ct_packet* packet) {
  if (packet->proto != PROTO_TCP) return 1;
  __u8 flags = packet->tcp_flags & ~TCP_URG;
  return flags == TCP_SYN || flags == TCP_ACK;
}

static __always_inline void set_tuple(struct ct_packet* packet, const void* src, const void* dst, __be16 sport,
                                      __be16 dport, int ipv6) {
  if (ipv6) {
    packet->ipv6 = 1;
    __builtin_memcpy(packet->tuple.ipv6.saddr, src, 16);
    __builtin_memcpy(packet->tuple.ipv6.daddr, dst, 16);
    packet->tuple.ipv6.sport = sport;
    packet->tuple.ipv6.dport = dport;
  } else {
    packet->ipv6 = 0;
    packet->tuple.ipv4.saddr = LOAD32(src, 0);
    packet->tuple.ipv4.daddr = LOAD32(dst, 0);
    packet->tuple.ipv4.sport = sport;
    packet->tuple.ipv4.dport = dport;
  }
}

/* The time that is left, and what it is to be: jiffies. */
static __always_inline void refresh(struct nf_conn* connection, __u32 seconds) {
  __s32 left = (__s32)(connection->timeout - (__u32)bpf_jiffies64());
  __s32 want = seconds * pass_config.hz;
  /* The packets of one second do not all write into an entry that other CPUs read. */
  if (left <= want && want - left < (__s32)pass_config.hz) return;
  bpf_ct_change_timeout(connection, seconds * 1000);
}

static __always_inline void change_status(struct nf_conn* connection, __u32 status, __u32 bits) {
  if ((status & bits) != bits) bpf_ct_change_status(connection, status | bits);
}

/* Whether it has seen a FIN or RST. */
static __always_inline int is_closing(struct nf_conn* connection, __u32 status) {
  __s32 left = (__s32)(connection->timeout - (__u32)bpf_jiffies64());
  return status & CT_ASSURED && left <= (__s32)(pass_config.ct_timeouts[SLUICE_CT_TCP_FIN] * pass_config.hz) &&
         pass_config.ct_timeouts[SLUICE_CT_TCP_ESTABLISHED] > pass_config.ct_timeouts[SLUICE_CT_TCP_FIN];
}

static __always_inline void advance_tcp(struct nf_conn* connection, __u8 flags, __u32 status, int reply) {
  const volatile __u32* timeouts = pass_config.ct_timeouts;
  __u32 bits = reply ? CT_SEEN_REPLY : 0;
  if (flags & TCP_RST) {
    /* Of one that never was, nothing is left, as with the kernel. */
    refresh(connection, status & CT_ASSURED ? timeouts[SLUICE_CT_TCP_CLOSE] : 0);
    return;
  }
  if (is_closing(connection, status)) {
    __s32 left = (__s32)(connection->timeout - (__u32)bpf_jiffies64());
    if (left > (__s32)(timeouts[SLUICE_CT_TCP_CLOSE] * pass_config.hz))
      refresh(connection, timeouts[SLUICE_CT_TCP_FIN]);
    return;
  }
  if (flags & TCP_FIN) {
    if (status & CT_SEEN_REPLY) bits |= CT_ASSURED; /* so that it is known for a closing one */
    refresh(connection, timeouts[SLUICE_CT_TCP_FIN]);
  } else if (flags & TCP_SYN) {
    if (!(status & CT_ASSURED))
      refresh(connection, timeouts[flags & TCP_ACK ? SLUICE_CT_TCP_SYN_RECV : SLUICE_CT_TCP_SYN_SENT]);
  } else if (status & CT_SEEN_REPLY) {
    bits |= CT_ASSURED;
    refresh(connection, timeouts[SLUICE_CT_TCP_ESTABLISHED]);
  } else {
    refresh(connection, timeouts[SLUICE_CT_TCP_UNACKNOWLEDGED]);
  }
  change_status(connection, status, bits);
}

static __always_inline void advance_udp(struct nf_conn* connection, __u32 status, int reply) {
  int stream = status & CT_SEEN_REPLY;
  refresh(connection, pass_config.ct_timeouts[stream ? SLUICE_CT_UDP_STREAM : SLUICE_CT_UDP]);
  change_status(connection, status, (reply ? CT_SEEN_REPLY : 0) | (stream ? CT_ASSURED : 0));
}

static __always_inline struct bpf_ct_opts ct_opts(const struct ct_packet* packet, const struct sluice_step* step) {
  struct bpf_ct_opts opts = {.netns_id = BPF_F_CURRENT_NETNS, .l4proto = packet->proto, .ct_zone_id = step->zone};
  return opts;
}

/* What the entry says of the packet, and what the packet does to it. -1: the entry is gone, as the packet begins a new
 * connection. */
static __always_inline int found(struct nf_conn* connection, const struct ct_packet* packet,
                                 const struct sluice_step* step, struct sluice_pass* pass, int reply) {
  __u32 status = connection->status;
  if (packet->related) {
    pass->ct_mark = bpf_htonl(connection->mark);
    return SLUICE_CT_TRK | SLUICE_CT_REL | (reply ? SLUICE_CT_RPL : 0);
  }
  int afresh =
      packet->proto == PROTO_TCP && (packet->tcp_flags & ~TCP_URG) == TCP_SYN && is_closing(connection, status);
  if (afresh || (reply && step->flags & SLUICE_STEP_FORCE)) {
    bpf_ct_change_timeout(connection, 0);
    return -1;
  }
  if (packet->proto == PROTO_TCP) {
    advance_tcp(connection, packet->tcp_flags, status, reply);
  } else {
    advance_udp(connection, status, reply);
  }
  __u32 mark = connection->mark;
  if (step->flags & SLUICE_STEP_COMMIT && step->flags & SLUICE_STEP_MARK) {
    mark = (mark & ~step->mark_mask) | (step->mark & step->mark_mask);
    if (mark != connection->mark) connection->mark = mark;
  }
  pass->ct_mark = bpf_htonl(mark);
  return SLUICE_CT_TRK | (reply || status & CT_SEEN_REPLY ? SLUICE_CT_EST : SLUICE_CT_NEW) |
         (reply ? SLUICE_CT_RPL : 0);
}

enum { CT_COMMITTED, CT_KNOWN, CT_FULL };

static __always_inline int commit(struct xdp_md* ctx, struct ct_packet* packet, const struct sluice_step* step,
                                  struct sluice_pass* pass) {
  struct bpf_ct_opts opts = ct_opts(packet, step);
  struct nf_conn___init* fresh =
      bpf_xdp_ct_alloc(ctx, &packet->tuple, tuple_size(packet), &opts, pass_config.ct_opts_size);
  if (!fresh) return CT_FULL;
  __u32 timeout = pass_config.ct_timeouts[SLUICE_CT_UDP];
  if (packet->proto == PROTO_TCP)
    timeout =
        pass_config.ct_timeouts[packet->tcp_flags & TCP_SYN ? SLUICE_CT_TCP_SYN_SENT : SLUICE_CT_TCP_UNACKNOWLEDGED];
  bpf_ct_set_timeout(fresh, timeout * 1000);
  __u32 mark = step->flags & SLUICE_STEP_MARK ? step->mark & step->mark_mask : 0;
  if (mark) ((struct nf_conn*)fresh)->mark = mark;
  struct nf_conn* connection = bpf_ct_insert_entry(fresh);
  if (connection) {
    bpf_ct_release(connection);
    pass->ct_mark = bpf_htonl(mark);
    return CT_COMMITTED;
  }
  /* Another packet of it was there before this one, on another CPU? */
  connection = bpf_xdp_ct_lookup(ctx, &packet->tuple, tuple_size(packet), &opts, pass_config.ct_opts_size);
  if (!connection) return CT_FULL;
  bpf_ct_release(connection);
  return CT_KNOWN;
}

/* ct_state of a packet with a tuple. */
static __noinline int track_tuple(struct xdp_md* ctx, struct ct_packet* packet, const struct sluice_step* step,
                                  struct sluice_pass* pass) {
  if (!packet || !step || !pass) return CT_INVALID;
  struct bpf_ct_opts opts = ct_opts(packet, step);
  struct nf_conn* connection =
      bpf_xdp_ct_lookup(ctx, &packet->tuple, tuple_size(packet), &opts, pass_config.ct_opts_size);
  if (connection) {
    int state = found(connection, packet, step, pass, opts.dir);
    bpf_ct_release(connection);
    if (state >= 0) return state;
    /* Its time is over, but it stands in the way of another until somebody looks for it. */
    connection = bpf_xdp_ct_lookup(ctx, &packet->tuple, tuple_size(packet), &opts, pass_config.ct_opts_size);
    if (connection) bpf_ct_release(connection);
  }
  if (packet->related || !may_begin(packet)) return CT_INVALID;
  if (step->flags & SLUICE_STEP_COMMIT) {
    struct sluice_cpu* cpu = cpu_of(pass);
    int done = commit(ctx, packet, step, pass);
    if (cpu && done != CT_KNOWN) count(cpu, done == CT_FULL ? SLUICE_COUNT_ct_table_full : SLUICE_COUNT_ct_committed);
  }
  return SLUICE_CT_TRK | SLUICE_CT_NEW;
}

/* The tuple of the packet that an ICMP error quotes, turned round. 0, or not where it is no quote of a packet of TCP or
 * UDP to the one whom the error is for. */
static __always_inline int quoted(struct xdp_md* ctx, const struct sluice_cpu* cpu, struct ct_packet* packet,
                                  int ipv6) {
  const struct sluice_key* key = (void*)cpu->key;
  void* at = (void*)(long)ctx->data + ((cpu->editing.l4 + 8) & SLUICE_OFFSET_BITS);
  void* end = (void*)(long)ctx->data_end;
  packet->related = 1;
  if (ipv6) {
    if (at + 48 > end || LOAD8(at, 0) >> 4 != 6) return -1;
    if (LOAD64(at, 8) != LOAD64((void*)key->ipv6_dst, 0) || LOAD64(at, 16) != LOAD64((void*)key->ipv6_dst, 8))
      return -1;
    packet->proto = LOAD8(at, 6);
    set_tuple(packet, at + 24, at + 8, LOAD16(at, 42), LOAD16(at, 40), 1);
  } else {
    if (at + 20 > end || LOAD8(at, 0) >> 4 != 4 || LOAD16(at, 6) & bpf_htons(0x1fff)) return -1;
    if (LOAD32(at, 12) != key->ipv4_dst) return -1;
    __u32 header = (LOAD8(at, 0) & 0xf) * 4;
    void* ports = at + header;
    if (header < 20 || ports + 8 > end) return -1;
    packet->proto = LOAD8(at, 9);
    set_tuple(packet, at + 16, at + 12, LOAD16(ports, 2), LOAD16(ports, 0), 0);
  }
  return packet->proto != PROTO_TCP && packet->proto != PROTO_UDP;
}

static __always_inline int is_error(const struct sluice_key* key, int ipv6) {
  if (ipv6) return key->ipv6_proto == PROTO_ICMPV6 && !(key->icmpv6_type & 0x80);
  /* Unreachable, quench, redirect, time exceeded, parameter problem. */
  const __u32 errors = 1U << 3 | 1U << 4 | 1U << 5 | 1U << 11 | 1U << 12;
  return key->ipv4_proto == PROTO_ICMP && key->icmp_type < 32 && errors >> key->icmp_type & 1;
}

static __always_inline int track_icmp(struct xdp_md* ctx, struct sluice_cpu* cpu, const struct sluice_step* step,
                                      struct sluice_pass* pass, int ipv6) {
  const struct sluice_key* key = (void*)cpu->key;
  locate_headers(ctx, cpu);
  if (!is_error(key, ipv6)) return track_echo(ctx, cpu, step, pass, ipv6);
  struct ct_packet packet = {};
  if (quoted(ctx, cpu, &packet, ipv6)) return CT_INVALID;
  return track_tuple(ctx, &packet, step, pass);
}

/* ct_state of the packet that parse() has said `malformed` of. */
static __always_inline int track(struct xdp_md* ctx, struct sluice_cpu* cpu, const struct sluice_step* step,
                                 struct sluice_pass* pass, __u32 malformed) {
  const struct sluice_key* key = (void*)cpu->key;
  if (malformed == SLUICE_COUNT_malformed_ipv4 || malformed == SLUICE_COUNT_malformed_ipv6 ||
      malformed == SLUICE_COUNT_malformed_l4)
    return CT_INVALID;
  if (malformed) return 0;
  __be16 type = network_type(key);
  int ipv6 = type == bpf_htons(0x86dd);
  if (!ipv6 && type != bpf_htons(0x0800)) return 0;
  if (key->ipv4_frag == FRAG_LATER) return CT_INVALID;
  __u8 proto = key->ipv4_proto;
  if (proto == (ipv6 ? PROTO_ICMPV6 : PROTO_ICMP)) return track_icmp(ctx, cpu, step, pass, ipv6);
  if (proto != PROTO_TCP && proto != PROTO_UDP) return CT_INVALID;
  struct ct_packet packet = {.proto = proto};
  if (proto == PROTO_TCP) {
    packet.tcp_flags = bpf_ntohs(key->tcp_flags) & (TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK | TCP_URG);
    if (!valid_flags(packet.tcp_flags)) return CT_INVALID;
  }
  set_tuple(&packet, key->ipv6_src, ipv6 ? (const void*)key->ipv6_dst : (const void*)&key->ipv4_dst, key->tcp_src,
            key->tcp_dst, ipv6);
  return track_tuple(ctx, &packet, step, pass);
}

#endif
