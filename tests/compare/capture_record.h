/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Shared by capture.bpf.c and capture.cpp. */
#ifndef SLUICE_TESTS_CAPTURE_RECORD_H
#define SLUICE_TESTS_CAPTURE_RECORD_H

#include <linux/types.h>

#define CAPTURE_BYTES 2048 /* a power of two */

struct capture_record {
  __u32 ifindex;
  __u32 length;
  __u8 bytes[CAPTURE_BYTES];
};

#endif
