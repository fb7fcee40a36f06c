/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Meets the contract, and reads beyond the packet: the verifier refuses it. */
#include "../../bpf/sluice_xdp.bpf.c"

SEC("xdp")
int careless(struct xdp_md* ctx) { return *(__u8*)(long)ctx->data; }
