/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* The whole datapath, inlined behind the packet generator, in an object that the plugin's own loader takes. */
#define sluice_xdp __attribute__((always_inline)) sluice_plain
#include "sluice_xdp.bpf.c"
#undef sluice_xdp

#include "generate.h"

SEC("xdp")
int sluice_xdp(struct xdp_md* ctx) {
  if (generate(ctx)) return XDP_ABORTED;
  return sluice_plain(ctx);
}
