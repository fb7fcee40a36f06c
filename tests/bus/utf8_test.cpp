// SPDX-License-Identifier: Apache-2.0
#include "sluice/utf8.h"

#include <google/protobuf/stubs/logging.h>
#include <gtest/gtest.h>

#include "sluice/sluice.pb.h"

namespace sluice {
namespace {

TEST(Utf8, LeavesTextAsItIs) {
  const std::string text = "p0 ß € 𝄞\n";
  EXPECT_EQ(Utf8(text), text);
  EXPECT_EQ(Utf8(""), "");
}

TEST(Utf8, CutsBetweenCharacters) {
  EXPECT_EQ(Utf8("aß", 2), "a");
  EXPECT_EQ(Utf8("aß", 3), "aß");
  EXPECT_EQ(Utf8("a€b", 3), "a");
  EXPECT_EQ(Utf8("abc", 0), "");
}

TEST(Utf8, ReplacesWhatIsNoCharacter) {
  EXPECT_EQ(Utf8("a\xff"
                 "b"),
            "a?b");
  EXPECT_EQ(Utf8("\xc3"), "?");
  EXPECT_EQ(Utf8("\xc0\xaf"), "\?\?");              // overlong
  EXPECT_EQ(Utf8("\xed\xa0\x80"), "\?\?\?");        // a surrogate
  EXPECT_EQ(Utf8("\xf4\x90\x80\x80"), "\?\?\?\?");  // beyond U+10FFFF
  EXPECT_EQ(Utf8("\xe2\x82"
                 "a"),
            "\?\?a");
}

// Protobuf is who has to agree.
TEST(Utf8, ProtobufTakesWhatIsLeft) {
  const google::protobuf::LogSilencer silence;
  uint32_t random = 1;
  for (int i = 0; i < 200'000; ++i) {
    std::string bytes;
    for (int j = 0; j < 5; ++j) {
      random = random * 1'664'525 + 1'013'904'223;
      // Mostly bytes that could belong together.
      const auto byte = static_cast<uint8_t>(random >> 24);
      bytes += static_cast<char>(j % 2 == 0 ? byte | 0xc0 : byte);
    }
    v1::FlowGet get;
    get.set_ufid(Utf8(bytes));
    v1::FlowGet read;
    ASSERT_TRUE(read.ParseFromString(get.SerializeAsString()));
    get.set_ufid(bytes);
    ASSERT_EQ(read.ParseFromString(get.SerializeAsString()), Utf8(bytes) == bytes);
  }
}

}  // namespace
}  // namespace sluice
