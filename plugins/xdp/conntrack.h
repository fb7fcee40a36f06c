// SPDX-License-Identifier: Apache-2.0
// What this kernel lets BPF programs do with its connection tracking.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "pass.h"

namespace sluice::xdp {

struct Conntrack {
  std::string why_not;                                  // for users, naming what is missing; empty: ct can be done
  bool zones = false;                                   // other zones than 0
  uint32_t opts_size = 0;                               // for sluice_pass_config
  std::array<uint32_t, SLUICE_CT_TIMEOUTS> timeouts{};  // seconds: as the namespace of the calling thread has them set
};

// From the kernel's BTF, that of module nf_conntrack included. Some ten milliseconds.
Conntrack ProbeConntrack();

}  // namespace sluice::xdp
