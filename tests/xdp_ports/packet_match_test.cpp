// SPDX-License-Identifier: Apache-2.0
#include "packet_match.h"

#include <gtest/gtest.h>

#include "reference/packet.h"
#include "reference/parser.h"
#include "sluice/flow_text.h"

namespace sluice::xdp {
namespace {

Match Expected(const reference::Bytes& frame) {
  Match match = reference::Parse(frame).key;
  match.SetExact(Field::in_port, 3);
  return match;
}

TEST(PacketMatch, SaysOfEveryKindOfPacketWhatTheReferenceSays) {
  for (const auto& [name, spec] : reference::NamedPackets()) {
    const auto frame = reference::Build(spec);
    EXPECT_EQ(FormatMatch(PacketMatch(frame, 3)), FormatMatch(Expected(frame))) << name;
  }
}

TEST(PacketMatch, SaysOfRandomPacketsWhatTheReferenceSays) {
  reference::Rng rng(20260101);
  for (int i = 0; i < 20000; ++i) {
    const auto frame = reference::Build(reference::RandomPacket(rng));
    ASSERT_EQ(FormatMatch(PacketMatch(frame, 3)), FormatMatch(Expected(frame))) << reference::Hex(frame);
  }
}

// Of a damaged packet the two may differ in how far they read; neither may read what is not there.
TEST(PacketMatch, ReadsDamagedPacketsAsFarAsTheyGo) {
  reference::Rng rng(7);
  for (int i = 0; i < 20000; ++i) {
    const auto frame = reference::Damage(reference::Build(reference::RandomPacket(rng)), rng);
    const auto parsed = reference::Parse(frame);
    const Match match = PacketMatch(frame, 3);
    if (parsed.malformed == reference::Malformed::kNo) {
      ASSERT_EQ(FormatMatch(match), FormatMatch(Expected(frame))) << reference::Hex(frame);
    }
  }
  EXPECT_EQ(FormatMatch(PacketMatch({}, 3)), "in_port(3)");
}

TEST(PacketMatch, IsAMatchThatCanBePasted) {
  for (const auto& [name, spec] : reference::NamedPackets()) {
    const Match match = PacketMatch(reference::Build(spec), 3);
    const auto again = ParseMatch(FormatMatch(match));
    ASSERT_TRUE(again) << name << ": " << FormatMatch(match) << ": " << again.error().detail;
    EXPECT_EQ(*again, match) << name << ": " << FormatMatch(match);
  }
}

}  // namespace
}  // namespace sluice::xdp
