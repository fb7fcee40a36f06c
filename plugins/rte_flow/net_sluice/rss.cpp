// SPDX-License-Identifier: Apache-2.0
#include <rte_thash.h>

#include <array>

#include "pipeline.h"

namespace sluice::netsluice {
namespace {

constexpr std::array<uint8_t, 40> kKey = {0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67,
                                          0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
                                          0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
                                          0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};

uint32_t Long(const uint8_t* at) {
  return static_cast<uint32_t>(at[0]) << 24 | static_cast<uint32_t>(at[1]) << 16 | static_cast<uint32_t>(at[2]) << 8 |
         at[3];
}

}  // namespace

uint32_t RssHash(const uint8_t* frame, const soft::Headers& headers) {
  std::array<uint32_t, 9> input{};
  uint32_t words = 0;
  const uint8_t* ip = frame + headers.l3_offset;
  if (headers.l3 == soft::Layer3::kIpv4) {
    for (size_t at = 12; at < 20; at += 4) input[words++] = Long(ip + at);
  } else if (headers.l3 == soft::Layer3::kIpv6) {
    for (size_t at = 8; at < 40; at += 4) input[words++] = Long(ip + at);
  } else {
    return 0;
  }
  const bool ports =
      headers.l4 == soft::Layer4::kTcp || headers.l4 == soft::Layer4::kUdp || headers.l4 == soft::Layer4::kSctp;
  // All packets of a connection to one queue, the fragmented ones too.
  if (ports && !headers.fragment) input[words++] = Long(frame + headers.l4_offset);
  return rte_softrss(input.data(), words, kKey.data());
}

}  // namespace sluice::netsluice
