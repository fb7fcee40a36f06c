// SPDX-License-Identifier: Apache-2.0
#include "soft/checksum.h"

#include <gtest/gtest.h>

#include <vector>

#include "reference/rng.h"

namespace sluice::soft {
namespace {

// RFC 1071, over 16 bit words.
uint16_t Whole(const std::vector<uint16_t>& words) {
  uint64_t sum = 0;
  for (uint16_t word : words) sum += word;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

TEST(ChecksumChange, IsWhatComesOutOverAll) {
  reference::Rng rng(1);
  for (int i = 0; i < 50000; ++i) {
    std::vector<uint16_t> words(1 + rng.Below(12));
    for (auto& word : words) word = static_cast<uint16_t>(rng.OneIn(4) ? 0 : rng.OneIn(4) ? 0xffff : rng.Bits());
    words.push_back(1);  // data that are all 0 have two right checksums
    const uint16_t before = Whole(words);
    ChecksumChange change;
    for (size_t at = 0; at + 1 < words.size(); ++at) {
      if (!rng.OneIn(2)) continue;
      const auto value = static_cast<uint16_t>(rng.OneIn(4) ? 0 : rng.OneIn(4) ? 0xffff : rng.Bits());
      change.Word(words[at], value);
      words[at] = value;
    }
    ASSERT_EQ(change.Apply(before), Whole(words));
  }
}

// RFC 1624, section 4: the example that equation 2 gets wrong.
TEST(ChecksumChange, ComesToTheZeroThatTheWholeComesTo) {
  ChecksumChange change;
  change.Word(0x5555, 0x3285);
  EXPECT_EQ(change.Apply(0xdd2f), 0x0000);
}

TEST(ChecksumChange, OfNothingChangesNothing) {
  ChecksumChange change;
  EXPECT_EQ(change.Apply(0xffff), 0xffff);
  change.Word(0x1234, 0x1234);
  EXPECT_EQ(change.Apply(0xffff), 0xffff);
  EXPECT_EQ(change.Apply(0x0000), 0x0000);
}

TEST(Crc32c, IsThatOfTheStandard) {
  // The check value of the catalogue of CRCs, and RFC 3720, appendix B.4.
  constexpr uint8_t kDigits[] = {'1', '2', '3', '4', '5', '6', '7', '8', '9'};
  EXPECT_EQ(Crc32c(kDigits), 0xe3069283U);
  EXPECT_EQ(Crc32c(std::vector<uint8_t>(32, 0x00)), 0x8a9136aaU);
  EXPECT_EQ(Crc32c(std::vector<uint8_t>(32, 0xff)), 0x62a8ab43U);
  EXPECT_EQ(Crc32c({}), 0u);
}

}  // namespace
}  // namespace sluice::soft
