/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* A valid XDP object that knows nothing of Sluice. */
#include "kernel.h"

SEC("xdp")
int pass(struct xdp_md* ctx) {
  (void)ctx;
  return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
