/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* The kernel's and libbpf's headers, in the order that they need. BPF programs only. */
#ifndef SLUICE_BPF_KERNEL_H
#define SLUICE_BPF_KERNEL_H

/* clang-format off */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
/* clang-format on */

#endif
