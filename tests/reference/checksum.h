// SPDX-License-Identifier: Apache-2.0
// The checksums of the Internet protocols: made from nothing, and brought up to date after a change.
#pragma once

#include <cstdint>
#include <span>

namespace sluice::reference {

// RFC 1071, over the bytes as one sequence. Host order, like all checksums here.
uint16_t Checksum(std::span<const uint8_t> bytes);

// The checksum after the bytes under it have changed from `before` to `after`, as many (RFC 1624, equation 3, once for
// every 16 bits that differ). One that was wrong is wrong by the same difference afterwards.
uint16_t UpdatedChecksum(uint16_t checksum, std::span<const uint8_t> before, std::span<const uint8_t> after);

// CRC32c, which SCTP uses (RFC 9260, appendix A). On the wire it stands least significant byte first.
uint32_t Crc32c(std::span<const uint8_t> bytes);

}  // namespace sluice::reference
