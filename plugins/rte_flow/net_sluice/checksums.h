// SPDX-License-Identifier: Apache-2.0
// Checksums computed from nothing: those that a sender left to its network device, and of headers put on.
#pragma once

#include <cstdint>
#include <span>

namespace sluice::netsluice {

// Computes the TCP or UDP checksum of a frame whose sender has put only the pseudo header's into it, as Linux does for
// devices that offer to finish it. Other frames, and malformed ones, stay as they are.
void FinishChecksum(std::span<uint8_t> frame);

// RFC 1071, in host order, over bytes in which the checksum's own are 0.
uint16_t InternetChecksum(std::span<const uint8_t> bytes);

}  // namespace sluice::netsluice
