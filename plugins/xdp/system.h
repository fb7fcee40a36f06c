// SPDX-License-Identifier: Apache-2.0
// What the kernel says, as a sentence: errors of system calls, and the capabilities that this process lacks.
#pragma once

#include <initializer_list>
#include <string>

#include "sluice/error.h"

namespace sluice::xdp {

// `what` failed with errno `error` (positive): "WHAT: No such device". The reason is "no_permission", "no_such_device",
// "busy", "not_supported" or "system".
Error SystemError(const std::string& what, int error);

// A capability (CAP_*) with its name.
struct Capability {
  int number;
  const char* name;
};
extern const Capability kCapBpf;
extern const Capability kCapPerfmon;
extern const Capability kCapNetAdmin;
extern const Capability kCapNetRaw;
extern const Capability kCapSysAdmin;

// Names of those that the calling thread has not in effect, "CAP_BPF and CAP_NET_ADMIN"; empty: it has all.
// CAP_SYS_ADMIN stands in for CAP_BPF and CAP_PERFMON, as in the kernel.
std::string MissingCapabilities(std::initializer_list<Capability> needed);

// SystemError, which after EPERM or EACCES also names the missing ones among `needed`.
Error SystemErrorNeeding(const std::string& what, int error, std::initializer_list<Capability> needed);

}  // namespace sluice::xdp
