/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* At the far end of each port: what has come out, and where. */
#include "capture_record.h"
#include "kernel.h"

struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, 1 << 20);
} frames SEC(".maps");

SEC("xdp")
int capture(struct xdp_md* ctx) {
  struct capture_record* record = bpf_ringbuf_reserve(&frames, sizeof *record, 0);
  if (!record) return XDP_DROP;
  __u64 length = (__u64)ctx->data_end - ctx->data;
  record->ifindex = ctx->ingress_ifindex;
  record->length = length;
  /* In terms that the verifier follows: 1 to the size of the buffer. */
  length = ((length - 1) & (CAPTURE_BYTES - 1)) + 1;
  bpf_xdp_load_bytes(ctx, 0, record->bytes, length);
  bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
  return XDP_DROP;
}

char _license[] SEC("license") = "GPL";
