/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* The packet key. BPF programs only: user space takes names, offsets and sizes of the members from the object's BTF, so
 * that the layout may change without it. Member names are the field names of the flow model; what excludes each other
 * shares storage. Network byte order. Bytes that a packet has no use for are 0.
 *
 * What the values are where the wire leaves room (as in OVS's flow extraction, unless said):
 * - eth_type [vlan_tci vlan_eth_type [cvlan_tci cvlan_eth_type]] in the order in which they stand in the frame. A tag
 * is one with TPID 0x8100 or 0x88a8; a third tag is payload. Tags have 0x1000 set in *_tci; none: 0.
 * - A type below 0x0600 is an 802.3 length; the key says 0x05ff.
 * - ipv4: version 4, header length at least 20 and inside the frame, else malformed_ipv4. Total length is not looked
 * at.
 * - ipv6_proto is what follows the extension headers (hop-by-hop 0, routing 43, destination 60, AH 51, fragment 44: up
 *   to SLUICE_IPV6_EXTENSIONS of them; what is after that is the protocol). Later fragments: 44.
 * - frag: 0 none, 1 first, 2 later (offset not 0). An IPv6 fragment header with offset 0 and no more fragments: 0.
 * - Ports, ICMP type and code and tcp_flags of later fragments are 0. Headers must be whole (TCP 20 bytes, UDP 8, SCTP
 *   12, ICMP and ICMPv6 8), else malformed_l4; of other protocols nothing is read.
 * - ARP and RARP (0x8035): 28 bytes must be there, else malformed_arp. Not Ethernet and IPv4: its fields are 0.
 * - tcp_flags: 12 bits, from the reserved ones and NS down to FIN.
 *
 * The key of later passes (SLUICE_LATER_PASSES) has behind these what the passes before have found out: pass.h. */
#ifndef SLUICE_BPF_KEY_H
#define SLUICE_BPF_KEY_H

#include <linux/types.h>

#define SLUICE_IPV6_EXTENSIONS 6

struct sluice_key {
  /* Words 0 and 1. */
  __u8 eth_dst[6];
  __u8 eth_src[6];
  __be16 eth_type;
  __be16 vlan_tci;
  /* Word 2. */
  __be16 vlan_eth_type;
  __be16 cvlan_tci;
  __be16 cvlan_eth_type;
  __be16 tcp_flags;
  /* Word 3. */
  union {
    struct {
      __u8 ipv4_proto;
      __u8 ipv4_frag;
      __u8 ipv4_tos;
      __u8 ipv4_ttl;
    };
    struct {
      __u8 ipv6_proto;
      __u8 ipv6_frag;
      __u8 ipv6_tclass;
      __u8 ipv6_hlimit;
    };
  };
  union {
    struct {
      __be16 tcp_src;
      __be16 tcp_dst;
    };
    struct {
      __be16 udp_src;
      __be16 udp_dst;
    };
    struct {
      __be16 sctp_src;
      __be16 sctp_dst;
    };
    struct {
      __u8 icmp_type;
      __u8 icmp_code;
    };
    struct {
      __u8 icmpv6_type;
      __u8 icmpv6_code;
    };
  };
  /* Words 4 to 7. */
  union {
    struct {
      __be32 ipv4_src;
      __be32 ipv4_dst;
    };
    struct {
      __u8 ipv6_src[16];
      __u8 ipv6_dst[16];
    };
    struct {
      __be32 arp_sip;
      __be32 arp_tip;
      __u8 arp_sha[6];
      __be16 arp_op;
      __u8 arp_tha[6];
    };
  };
  /* Word 8. */
  __be32 ipv6_label;
#ifndef SLUICE_LATER_PASSES
  __u32 reserved;
};

_Static_assert(sizeof(struct sluice_key) == 72, "nine words");
#else
  __be32 recirc_id;
  /* Word 9, and from word 11 on: as they lie in struct sluice_pass. */
  __be32 ct_state;
  __be32 ct_mark;
  /* Word 10. */
  __be32 in_port; /* the receiving port, or the tunnel port that it came out of */
  __be16 ct_zone;
  __u16 reserved;
  /* Words 11 to 17: struct sluice_tunnel. */
  __be64 tun_id;
  __be32 tun_src;
  __be32 tun_dst;
  __u8 tun_ipv6_src[16];
  __u8 tun_ipv6_dst[16];
  __be16 tun_tp_src;
  __be16 tun_tp_dst;
  __be16 tun_flags;
  __u8 tun_tos;
  __u8 tun_ttl;
};

_Static_assert(sizeof(struct sluice_key) == 144, "eighteen words");
#endif

#endif
