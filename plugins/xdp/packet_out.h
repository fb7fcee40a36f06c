// SPDX-License-Identifier: Apache-2.0
// Bringing a packet into the datapath: one run of an XDP program in the kernel with a live frame (BPF_PROG_TEST_RUN,
// BPF_F_TEST_XDP_LIVE_FRAMES, kernel 5.18), so that its redirect really sends.
#pragma once

#include <string_view>

#include "sluice/error.h"

namespace sluice::xdp {

// Runs the program on `packet` (from the Ethernet destination on) as received on queue 0 of ifindex, a device of this
// network namespace. Errors: "bad_packet"
// (shorter than an Ethernet header, or more than a page holds), or the system call's.
Result<void> RunLive(int program_fd, int ifindex, std::string_view packet);

}  // namespace sluice::xdp
