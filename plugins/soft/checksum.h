// SPDX-License-Identifier: Apache-2.0
// The checksums that an edit of a header changes. Pure functions, any thread.
#pragma once

#include <cstdint>
#include <span>

namespace sluice::soft {

// An Internet checksum (RFC 1071) after a change of some of the words it covers, without reading the others: RFC 1624,
// equation 3, HC' = ~(~HC + ~m + m'). One that was wrong stays wrong, by as much. Words that stay what they are take no
// part: with none changed the checksum stays, also one of 0xffff, the other zero.
class ChecksumChange {
 public:
  // A 16 bit word of the data, `before` and `after`; both in the same byte order, whichever it is.
  void Word(uint16_t before, uint16_t after) {
    if (before == after) return;
    sum_ += static_cast<uint16_t>(~before) + uint32_t{after};
    any_ = true;
  }
  // In the byte order of the words.
  [[nodiscard]] uint16_t Apply(uint16_t checksum) const {
    if (!any_) return checksum;
    uint64_t sum = sum_ + static_cast<uint16_t>(~checksum);
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<uint16_t>(~sum);
  }
  [[nodiscard]] bool any() const { return any_; }

 private:
  uint64_t sum_ = 0;
  bool any_ = false;
};

// CRC32c (Castagnoli; SCTP's, RFC 9260 appendix A) of up to 2 GiB, with the processor's instruction where it has one.
uint32_t Crc32c(std::span<const uint8_t> bytes);

}  // namespace sluice::soft
