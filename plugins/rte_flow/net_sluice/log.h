// SPDX-License-Identifier: Apache-2.0
// The driver's log, "pmd.net.sluice" for --log-level.
#pragma once

#include <rte_log.h>

namespace sluice::netsluice {

extern int g_log_type;

}  // namespace sluice::netsluice

// printf's format and arguments, without a newline. LEVEL: ERR, WARNING, NOTICE, INFO, DEBUG.
#define NET_SLUICE_LOG(LEVEL, format, ...) \
  rte_log(RTE_LOG_##LEVEL, ::sluice::netsluice::g_log_type, "net_sluice: " format "\n" __VA_OPT__(, ) __VA_ARGS__)
