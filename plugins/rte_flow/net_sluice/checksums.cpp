// SPDX-License-Identifier: Apache-2.0
#include "checksums.h"

#include <cstddef>

#include "soft/packet.h"

namespace sluice::netsluice {
namespace {

uint16_t Word(const uint8_t* at) { return static_cast<uint16_t>(at[0] << 8 | at[1]); }

// RFC 1071, in network byte order.
uint64_t Sum(const uint8_t* at, size_t size) {
  uint64_t sum = 0;
  for (; size >= 2; size -= 2, at += 2) sum += Word(at);
  return size == 0 ? sum : sum + static_cast<uint64_t>(at[0] << 8);
}

uint16_t Folded(uint64_t sum) {
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

}  // namespace

uint16_t InternetChecksum(std::span<const uint8_t> bytes) { return Folded(Sum(bytes.data(), bytes.size())); }

void FinishChecksum(std::span<uint8_t> frame) {
  const soft::Parsed packet = soft::Parse(frame, 0);
  const soft::Headers& headers = packet.headers;
  const bool udp = headers.l4 == soft::Layer4::kUdp;
  if (packet.malformed != soft::Malformed::kNo || headers.fragment || (!udp && headers.l4 != soft::Layer4::kTcp))
    return;
  const uint8_t* ip = frame.data() + headers.l3_offset;
  const size_t before = headers.l4_offset - headers.l3_offset;
  const bool ipv4 = headers.l3 == soft::Layer3::kIpv4;
  const size_t told = ipv4 ? Word(ip + 2) : size_t{40} + Word(ip + 4);
  if (told < before || headers.l3_offset + told > frame.size()) return;
  const size_t size = told - before;
  uint8_t* checksum = frame.data() + headers.l4_offset + (udp ? 6 : 16);
  checksum[0] = checksum[1] = 0;
  uint64_t sum = Sum(ipv4 ? ip + 12 : ip + 8, ipv4 ? 8 : 32) + size + (udp ? 17 : 6);
  sum += Sum(frame.data() + headers.l4_offset, size);
  uint16_t value = Folded(sum);
  if (udp && value == 0) value = 0xffff;
  checksum[0] = static_cast<uint8_t>(value >> 8);
  checksum[1] = static_cast<uint8_t>(value);
}

}  // namespace sluice::netsluice
