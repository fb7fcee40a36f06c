// SPDX-License-Identifier: Apache-2.0
// A process by a descriptor, which names no other once its number is given out again.
#pragma once

#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include "sluice/unique_fd.h"

namespace sluice::core {

// Empty, and errno set, where there is no such process.
inline UniqueFd OpenPidfd(pid_t pid) { return UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0))); }

}  // namespace sluice::core
