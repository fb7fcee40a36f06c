// SPDX-License-Identifier: Apache-2.0
// DPDK's environment abstraction layer: started once in the life of a process, on a thread of its own, because
// rte_eal_init pins its caller to a core, and never ended, because it cannot be started again.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "sluice/error.h"

namespace sluice::rteflow {

using Log = std::function<void(int level, const std::string& line)>;  // any thread; levels of plugin.h

// The arguments behind the program's name: those of `given`, split at white space, or where it is empty ones that run
// everywhere: huge pages where some are free, no device that nobody named. In any case ones that keep this process
// apart from other DPDK processes of the machine, unless `given` has them.
std::vector<std::string> EalArguments(const std::string& given);

// DPDK's own log lines go to `log` from here on. Errors: "eal_failed", with the last lines that DPDK logged;
// "eal_started" at the second call, whatever became of the first.
Result<void> StartEal(const std::vector<std::string>& arguments, Log log);

// From here on nothing is logged: who logs is going.
void SilenceEal();

// Loads a driver's shared object for good. Errors: "no_driver".
Result<void> LoadDriver(const std::string& path);

}  // namespace sluice::rteflow
