// SPDX-License-Identifier: Apache-2.0
// The smallest XDP programs: return one verdict.
#pragma once

#include <linux/bpf.h>

#include "sluice/unique_fd.h"

namespace sluice::test {

// Throws std::system_error.
UniqueFd LoadTrivialProgram(const char* name, xdp_action verdict);

// In the calling thread's network namespace, native mode, as `ip link set xdp` does it.
void AttachByNetlink(int ifindex, int program_fd);

}  // namespace sluice::test
