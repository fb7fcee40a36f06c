/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Of the kernel's connection tracking, what ct.h uses: the types as far as needed, wherever their members stand in the
 * running kernel, and its functions. Weak: an object without them is loaded without sluice_ct. BPF programs only. */
#ifndef SLUICE_BPF_CT_KERNEL_H
#define SLUICE_BPF_CT_KERNEL_H

#include "kernel.h"

struct nf_conn {
  __u32 timeout; /* jiffies when it is over, the lower half */
  unsigned long status;
  __u32 mark;
} __attribute__((preserve_access_index));

/* One that is not entered yet. */
struct nf_conn___init {
  struct nf_conn ct;
};

/* Laid out here, as its size is an argument: 12 bytes before Linux 6.11, without a zone. */
struct bpf_ct_opts {
  __s32 netns_id;
  __s32 error;
  __u8 l4proto;
  __u8 dir;
  __u16 ct_zone_id;
  __u8 ct_zone_dir;
  __u8 reserved[3];
};

enum { CT_SEEN_REPLY = 1 << 1, CT_ASSURED = 1 << 2 }; /* IPS_* */

extern struct nf_conn* bpf_xdp_ct_lookup(struct xdp_md* ctx, struct bpf_sock_tuple* tuple, __u32 tuple_size,
                                         struct bpf_ct_opts* opts, __u32 opts_size) __ksym __weak;
extern struct nf_conn___init* bpf_xdp_ct_alloc(struct xdp_md* ctx, struct bpf_sock_tuple* tuple, __u32 tuple_size,
                                               struct bpf_ct_opts* opts, __u32 opts_size) __ksym __weak;
extern struct nf_conn* bpf_ct_insert_entry(struct nf_conn___init* connection) __ksym __weak;
extern void bpf_ct_release(struct nf_conn* connection) __ksym __weak;
extern void bpf_ct_set_timeout(struct nf_conn___init* connection, __u32 ms) __ksym __weak;
extern int bpf_ct_change_timeout(struct nf_conn* connection, __u32 ms) __ksym __weak;
extern int bpf_ct_change_status(struct nf_conn* connection, __u32 status) __ksym __weak;

#endif
