// SPDX-License-Identifier: Apache-2.0
// Frames in several buffers, by test runs: what the program does to them and counts.
#include <gtest/gtest.h>
#include <linux/bpf.h>

#include "table_rig.h"

namespace sluice::xdp {
namespace {

constexpr size_t kJumbo = 9014;

ObjectOptions Frags() {
  ObjectOptions options;
  options.frags = true;
  options.miss_policy = SLUICE_MISS_DROP;
  return options;
}

// Its bytes differ from each other all the way to the end.
Bytes JumboFrame(size_t size = kJumbo) {
  Bytes frame = UdpFrame(0x0a000002);
  const size_t head = frame.size();
  frame.resize(size);
  for (size_t i = head; i < size; ++i) frame[i] = static_cast<uint8_t>(i * 31 + (i >> 8) * 17);
  return frame;
}

TEST(Frags, AreCountedWithAllTheirBytes) {
  TableRig rig(Frags());
  rig.Put("eth_type(0x0800),ipv4(dst=10.0.0.2)", "1", 0, 7);
  uint64_t bytes = 0;
  for (const size_t size : {64UL, 1514UL, 3500UL, 4096UL, 4097UL, 9014UL}) {
    const auto frame = JumboFrame(size);
    const auto ran = rig.Run(frame);
    EXPECT_EQ(ran.verdict, XDP_REDIRECT) << size;
    EXPECT_EQ(ran.frame, frame) << size;
    bytes += size;
  }
  EXPECT_EQ(rig.Stats()[7].bytes, bytes);
  EXPECT_EQ(rig.Grown(SLUICE_COUNT_rx_bytes), bytes);
  EXPECT_EQ(rig.Grown(SLUICE_COUNT_output), 6U);
}

TEST(Frags, AreEditedAtTheirHead) {
  TableRig rig(Frags());
  rig.Put("eth_type(0x0800)", "push_vlan(vid=5,pcp=0),1");
  rig.Put("eth_type(0x8100),vlan(vid=5),encap(eth_type(0x0800))", "pop_vlan,1");
  const auto frame = JumboFrame();
  const auto pushed = rig.Run(frame);
  EXPECT_EQ(pushed.vid(), 5);
  ASSERT_EQ(pushed.frame.size(), kJumbo + 4);
  EXPECT_EQ(rig.Run(pushed.frame).frame, frame);
  EXPECT_EQ(rig.Grown(SLUICE_COUNT_edit_failed), 0U);
}

// Headers are read in the first buffer alone.
TEST(Frags, AHeaderBehindTheFirstBufferIsMalformed) {
  TableRig rig(Frags());
  rig.Put("eth_type(0x86dd)", "1");
  constexpr size_t kExtension = 2048;  // destination options: the longest there are
  Bytes frame = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, 60, 64};
  const size_t first = 14 + 40;
  frame.resize(first + 2 * kExtension + 26);
  frame[first] = 60;
  frame[first + 1] = 255;
  frame[first + kExtension] = 17;
  frame[first + kExtension + 1] = 255;
  EXPECT_EQ(rig.Run(frame).verdict, XDP_DROP);
  EXPECT_EQ(rig.Grown(SLUICE_COUNT_malformed_ipv6), 1U);
  // One of them alone leaves the rest in sight.
  frame[first] = 17;
  EXPECT_EQ(rig.Run(frame).verdict, XDP_REDIRECT);
  EXPECT_EQ(rig.Grown(SLUICE_COUNT_malformed_ipv6), 0U);
}

}  // namespace
}  // namespace sluice::xdp
