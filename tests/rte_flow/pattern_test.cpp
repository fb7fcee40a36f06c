// SPDX-License-Identifier: Apache-2.0
// Random flows over random frames: what the pattern takes against what the flow matches.
#include "offload/pattern.h"

#include <gtest/gtest.h>

#include <bit>

#include "flow/random_flow.h"
#include "frame_items.h"
#include "reference/datapath.h"
#include "reference/packet.h"
#include "sluice/flow_text.h"

namespace sluice::rteflow {
namespace {

struct Frame {
  reference::Bytes bytes;
  Match key;
};

std::vector<Frame> RandomFrames(uint64_t seed, size_t count) {
  reference::Rng rng(seed);
  std::vector<Frame> frames;
  for (const auto& [name, spec] : reference::NamedPackets()) {
    frames.push_back({reference::Build(spec), {}});
  }
  while (frames.size() < count) frames.push_back({reference::Build(reference::RandomPacket(rng)), {}});
  std::erase_if(frames, [](Frame& frame) {
    const auto parsed = reference::Parse(frame.bytes);
    frame.key = parsed.key;
    return parsed.malformed != reference::Malformed::kNo;
  });
  return frames;
}

// Some fields of a frame's key under random masks, with what they need: a flow that the frame belongs to, mostly.
Match FlowOf(const Match& key, FlowRng& rng) {
  using namespace random_flow;
  for (;;) {
    Match match;
    const unsigned percent = Pick<unsigned, 4>(rng, {10, 30, 60, 100});
    for (uint64_t left = key.FieldBits(); left != 0; left &= left - 1) {
      const FieldInfo& field = kFields[static_cast<size_t>(std::countr_zero(left))];
      const bool needed = field.id == Field::eth_type || field.id == Field::vlan_eth_type ||
                          field.id == Field::cvlan_eth_type || field.id == Field::ipv4_proto ||
                          field.id == Field::ipv6_proto;
      if (!Chance(rng, needed ? 80 : percent)) continue;
      std::vector<uint8_t> value(key.Value(field.id).begin(), key.Value(field.id).end());
      if (Chance(rng, 3)) value.back() ^= 1;
      match.Set(field.id, value, RandomMask(rng, field, needed ? 90 : 60));
    }
    if (match.Validate()) return match;
  }
}

struct Seen {
  size_t built = 0, exact = 0, taken = 0, left = 0;
};

void Compare(const Match& match, const std::vector<Frame>& frames, Pattern& pattern, Seen& seen) {
  const auto built = pattern.Build(match, PortItem::kNone, 0);
  if (!built) {
    ASSERT_EQ(built.error().reason, "unsupported_field");
    return;
  }
  ++seen.built;
  seen.exact += pattern.exact() ? 1 : 0;
  for (const Frame& frame : frames) {
    const bool belongs = reference::Matches(match, frame.key);
    const bool taken = Takes(pattern.Items(false), frame.bytes);
    seen.taken += taken ? 1 : 0;
    seen.left += belongs && !taken ? 1 : 0;
    ASSERT_TRUE(belongs || !taken) << "takes more: " << FormatMatch(match) << "\n"
                                   << PatternText(pattern.Items(false)) << "\n"
                                   << reference::Hex(frame.bytes);
    ASSERT_TRUE(taken || !belongs || !pattern.exact()) << "takes fewer: " << FormatMatch(match) << "\n"
                                                       << PatternText(pattern.Items(false)) << "\n"
                                                       << reference::Hex(frame.bytes);
  }
}

TEST(Pattern, TakesTheFramesThatFlowsOfThemMatch) {
  const uint64_t seed = FlowSeed();
  FlowRng rng(seed);
  const std::vector<Frame> frames = RandomFrames(seed, 400);
  Pattern pattern;
  Seen seen;
  for (int i = 0; i < 5000; ++i) {
    Compare(FlowOf(frames[random_flow::Below(rng, frames.size())].key, rng), frames, pattern, seen);
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(seen.built, 3000u);
  EXPECT_GT(seen.exact, seen.built / 3);
  EXPECT_GT(seen.taken, seen.built);
  EXPECT_GT(seen.left, 0u);
}

TEST(Pattern, TakesNoFrameThatAnyFlowDoesNotMatch) {
  const uint64_t seed = FlowSeed();
  FlowRng rng(seed);
  const std::vector<Frame> frames = RandomFrames(seed, 200);
  RandomFlowOptions options;
  options.fields = 0;
  for (const FieldInfo& field : kFields) {
    if (field.id >= Field::eth_src && field.id <= Field::arp_tha) options.fields |= random_flow::Bit(field.id);
  }
  Pattern pattern;
  Seen seen;
  for (int i = 0; i < 10000; ++i) {
    options.percent = static_cast<unsigned>(random_flow::Below(rng, 40));
    Compare(RandomMatch(rng, options), frames, pattern, seen);
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(seen.built, 4000u);
}

// Of the ETH item.
uint16_t TypeMask(const Pattern& pattern) {
  return static_cast<const rte_flow_item_eth*>(pattern.Items(false)[0].mask)->hdr.ether_type;
}

TEST(Pattern, LeavesATagsTypeToTheVlanItemWhereTheDriverWantsThat) {
  const auto tagged = ParseMatch("in_port(1),eth(dst=02:00:00:00:00:01),eth_type(0x8100),vlan(vid=5)");
  const auto provider = ParseMatch("in_port(1),eth(dst=02:00:00:00:00:01),eth_type(0x88a8),vlan(vid=5)");
  const auto alone = ParseMatch("in_port(1),eth(dst=02:00:00:00:00:01),eth_type(0x8100)");
  Pattern says(true);
  Pattern leaves(false);
  for (Pattern* pattern : {&says, &leaves}) {
    const bool left = pattern == &leaves;
    ASSERT_TRUE(pattern->Build(*tagged, PortItem::kNone, 0));
    EXPECT_EQ(TypeMask(*pattern), left ? 0 : 0xffff);
    // Another tag's type is not what the item means, and without the item nothing else says it.
    ASSERT_TRUE(pattern->Build(*provider, PortItem::kNone, 0));
    EXPECT_EQ(TypeMask(*pattern), 0xffff);
    ASSERT_TRUE(pattern->Build(*alone, PortItem::kNone, 0));
    EXPECT_EQ(TypeMask(*pattern), 0xffff);
  }
}

}  // namespace
}  // namespace sluice::rteflow
