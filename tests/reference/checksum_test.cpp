// SPDX-License-Identifier: Apache-2.0
#include "reference/checksum.h"

#include <gtest/gtest.h>

#include <string_view>
#include <vector>

#include "reference/rng.h"

namespace sluice::reference {
namespace {

using Bytes = std::vector<uint8_t>;

// The example of RFC 1071, section 3.
TEST(Checksum, Rfc1071) {
  EXPECT_EQ(Checksum(Bytes{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}), 0x220d);
  EXPECT_EQ(Checksum(Bytes{0x00, 0x01, 0xf2}), Checksum(Bytes{0x00, 0x01, 0xf2, 0x00}));
}

// The example of RFC 1624, section 4, where the older equation gives 0xffff.
TEST(UpdatedChecksum, Rfc1624) { EXPECT_EQ(UpdatedChecksum(0xdd2f, Bytes{0x55, 0x55}, Bytes{0x32, 0x85}), 0x0000); }

TEST(UpdatedChecksum, IsThatOfTheNewBytes) {
  const uint64_t seed = SeedFromEnvironment();
  Rng rng(seed);
  for (int i = 0; i < 20000; ++i) {
    Bytes before(1 + rng.Below(60));
    for (auto& byte : before) byte = static_cast<uint8_t>(rng.Bits() | 1);  // a sum is 0 of zeros only
    Bytes after = before;
    for (uint64_t n = rng.Below(5); n > 0; --n) after[rng.Below(after.size())] = static_cast<uint8_t>(rng.Bits() | 1);
    ASSERT_EQ(UpdatedChecksum(Checksum(before), before, after), Checksum(after)) << "SLUICE_SEED=" << seed;
  }
}

TEST(UpdatedChecksum, WithoutAChangeIsTheSame) {
  const Bytes bytes{1, 2, 3};
  for (uint32_t checksum = 0; checksum <= 0xffff; ++checksum) {
    EXPECT_EQ(UpdatedChecksum(static_cast<uint16_t>(checksum), bytes, bytes), checksum);
  }
}

// The check value of CRC-32C as catalogues give it, and the 32 zeros of RFC 3720, appendix B.4.
TEST(Crc32c, KnownAnswers) {
  constexpr std::string_view kDigits = "123456789";
  EXPECT_EQ(Crc32c(Bytes(kDigits.begin(), kDigits.end())), 0xe3069283U);
  EXPECT_EQ(Crc32c(Bytes(32, 0)), 0x8a9136aaU);
}

}  // namespace
}  // namespace sluice::reference
