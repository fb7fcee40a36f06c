// SPDX-License-Identifier: Apache-2.0
// A packet that a program sent to user space, with what the passes before had found out about it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "pass.h"
#include "soft/packet.h"

namespace sluice::xdp {

struct SeenPacket {
  std::span<const uint8_t> bytes;   // from the Ethernet destination on, as the pass had it
  std::optional<sluice_pass> pass;  // nullopt: the first
};

// Takes the prefix off that later passes put in front (SLUICE_UPCALL_PASS); nullopt where it is not whole.
std::optional<SeenPacket> TakePass(std::span<const uint8_t> bytes);

// As soft::Parse, with the fields that the passes gave it: in_port, recirc_id, and what is not 0 of tunnel() and ct_*.
// `in_port`: of a packet in its first pass.
soft::Parsed Parse(const SeenPacket& packet, uint32_t in_port);

}  // namespace sluice::xdp
