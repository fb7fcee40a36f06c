// SPDX-License-Identifier: Apache-2.0
// Connection tracking in traces, which knows no connections.
#pragma once

#include <cstdint>
#include <span>

namespace sluice::ctl {

// Bits of ct_state.
inline constexpr uint32_t kCtNew = 0x01, kCtEst = 0x02, kCtRel = 0x04, kCtInvalid = 0x10, kCtTracked = 0x20;

// ct_state of a packet where there is no connection. The rules are those of bpf/ct.h.
struct FirstOfItsKind {
  uint32_t state = 0;
  bool fixed = false;         // whatever connections there are
  const char* why = nullptr;  // it is not new
};
FirstOfItsKind WithoutConnection(std::span<const uint8_t> frame);

}  // namespace sluice::ctl
