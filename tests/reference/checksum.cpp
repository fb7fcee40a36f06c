// SPDX-License-Identifier: Apache-2.0
#include "reference/checksum.h"

#include <cstddef>

namespace sluice::reference {
namespace {

// The 16 bits at `at`; behind the last byte stands a 0.
uint16_t Word(std::span<const uint8_t> bytes, size_t at) {
  return static_cast<uint16_t>(bytes[at] << 8 | (at + 1 < bytes.size() ? bytes[at + 1] : 0));
}

uint16_t Not(uint16_t word) { return static_cast<uint16_t>(~word); }

// One's complement addition: what is carried out on the left comes in again on the right.
uint16_t Fold(uint64_t sum) {
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(sum);
}

}  // namespace

uint16_t Checksum(std::span<const uint8_t> bytes) {
  uint64_t sum = 0;
  for (size_t at = 0; at < bytes.size(); at += 2) sum += Word(bytes, at);
  return Not(Fold(sum));
}

uint16_t UpdatedChecksum(uint16_t checksum, std::span<const uint8_t> before, std::span<const uint8_t> after) {
  for (size_t at = 0; at < before.size(); at += 2) {
    const uint16_t was = Word(before, at);
    const uint16_t is = Word(after, at);
    if (was != is) checksum = Not(Fold(uint64_t{Not(checksum)} + Not(was) + is));
  }
  return checksum;
}

uint32_t Crc32c(std::span<const uint8_t> bytes) {
  uint32_t crc = 0xffffffff;
  for (uint8_t byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78 : 0);
  }
  return ~crc;
}

}  // namespace sluice::reference
