// SPDX-License-Identifier: Apache-2.0
// Which flow a packet gets: by its mark, or by the software classifier.
#include <string>
#include <vector>

#include "rig.h"

namespace sluice::rteflow {
namespace {

class FlowsTest : public DatapathTest {
 protected:
  FlowsTest() {
    for (uint32_t port = 1; port <= 4; ++port) AddPort(port);
  }
  const Bytes frame_ = NamedFrame("udp4");
};

TEST_F(FlowsTest, AMarkFindsItsFlowWhateverThePacketSays) {
  DatapathFlow& flow = Put("in_port(1),eth_type(0x0806)", "2", 0, 77);
  Put("in_port(1)", "3", 9);
  Inject(1, frame_, 77);
  Drain();
  EXPECT_EQ(Collect(2), Frames{frame_});
  EXPECT_EQ(Collect(3).size(), 0u);
  EXPECT_EQ(flow.packets, 1u);
  EXPECT_EQ(flow.bytes, frame_.size());
  EXPECT_NE(flow.last_used, 0u);
  const auto counters = datapath_->Counters(1);
  EXPECT_EQ(counters.marked, 1u);
  EXPECT_EQ(counters.hit_software, 0u);
  EXPECT_EQ(counters.rx_bytes, frame_.size());
  EXPECT_EQ(counters.forwarded, 1u);
  EXPECT_EQ(datapath_->Counters(2).tx_packets, 1u);
  EXPECT_EQ(datapath_->Counters(2).tx_bytes, frame_.size());
}

TEST_F(FlowsTest, AStaleMarkIsClassifiedInSoftware) {
  DatapathFlow& gone = Put("in_port(1)", "2", 9, 77);
  Delete(gone);
  Put("in_port(1)", "3");
  Inject(1, frame_, 77);
  Inject(1, frame_, 0xffffffff);
  Drain();
  EXPECT_EQ(Collect(3).size(), 2u);
  EXPECT_EQ(gone.packets, 0u);
  EXPECT_EQ(datapath_->Counters(1).stale_mark, 2u);
  EXPECT_EQ(datapath_->Counters(1).hit_software, 2u);
  ExpectAllAccountedFor(1, 2);
}

TEST_F(FlowsTest, AMarkIsTheLastFlowsThatGotIt) {
  DatapathFlow& one = Put("in_port(1)", "2", 0, 5);
  DatapathFlow& two = Put("in_port(1)", "3", 0, 5);
  Delete(one);
  Inject(1, frame_, 5);
  Drain();
  EXPECT_EQ(two.packets, 1u);
  Delete(two);
  Inject(1, frame_, 5);
  Drain();
  EXPECT_EQ(datapath_->Counters(1).stale_mark, 1u);
  EXPECT_EQ(datapath_->Counters(1).miss, 1u);
}

TEST_F(FlowsTest, UnmarkedPacketsGetTheFlowOfTheHighestPriority) {
  Put("in_port(1),eth_type(0x0800),ipv4(proto=17)", "2", 1);
  DatapathFlow& all = Put("in_port(1)", "3", 2);
  Put("in_port(2)", "4", 3);
  Inject(1, frame_);
  Drain();
  EXPECT_EQ(Collect(3).size(), 1u);
  Delete(all);
  Inject(1, frame_);
  Inject(2, frame_);
  Drain();
  EXPECT_EQ(Collect(2).size(), 1u);
  EXPECT_EQ(Collect(4).size(), 1u);
  ExpectAllAccountedFor(1, 2);
}

TEST_F(FlowsTest, TheNewestOfEqualFlowsTakesThePackets) {
  DatapathFlow& one = Put("in_port(1)", "2");
  DatapathFlow& two = Put("in_port(1)", "3");
  Inject(1, frame_);
  Drain();
  EXPECT_EQ(two.packets, 1u);
  Delete(two);
  Inject(1, frame_);
  Drain();
  EXPECT_EQ(one.packets, 1u);
}

TEST_F(FlowsTest, FlagsOfTcpAreCollected) {
  DatapathFlow& marked = Put("in_port(1)", "2", 0, 9);
  DatapathFlow& edited = Put("in_port(1)", "push_vlan(vid=5,pcp=0),2,3", 0, 10);
  DatapathFlow& unmarked = Put("in_port(2)", "2");
  reference::PacketSpec spec = Named("tcp4");
  for (const uint16_t flags : {0x002, 0x010, 0x800}) {
    std::get<reference::TcpSpec>(spec.l4).flags = flags;
    const Bytes frame = Build(spec);
    Inject(1, frame, 9);
    Inject(1, frame, 10);
    Inject(2, frame);
  }
  Inject(1, frame_, 9);
  Drain();
  for (const DatapathFlow* flow : {&marked, &edited, &unmarked}) EXPECT_EQ(flow->tcp_flags, 0x812u);
  EXPECT_EQ(marked.packets, 4u);
}

// 70,000 flows whose marks are beyond 16 bits, each found by its own.
TEST_F(FlowsTest, MarksGoBeyond65536) {
  constexpr uint32_t kFlows = 70000;
  constexpr uint32_t kFirst = 65000;
  for (uint32_t i = 0; i < kFlows; ++i) {
    Match match = MatchOf("in_port(1),eth_type(0x0800)");
    match.SetExact(Field::ipv4_dst, i);
    datapath_->Insert(MakeFlow(match, {Output{2 + i % 3}}, 0, kFirst + i));
  }
  DatapathFlow& far = Put("in_port(1),eth_type(0x0806)", "2", 0, 1U << 24);
  Settle();
  for (uint32_t i = 0; i < kFlows; i += 1000) {
    for (uint32_t j = i; j < i + 1000; ++j) Inject(1, frame_, kFirst + j);
    Drain();
    for (uint32_t port = 2; port <= 4; ++port) Collect(port);
  }
  Inject(1, frame_, 1U << 24);
  Drain();
  EXPECT_EQ(far.packets, 1u);
  for (const auto& flow : flows_) ASSERT_EQ(flow->packets, 1u) << flow->mark;
  EXPECT_EQ(datapath_->Counters(1).marked, kFlows + 1);
  EXPECT_EQ(datapath_->Counters(1).forwarded, kFlows + 1);
  for (const auto& flow : flows_) datapath_->Remove(*flow);
  Settle();
  Inject(1, frame_, kFirst + 5);
  Drain();
  EXPECT_EQ(datapath_->Counters(1).stale_mark, 1u);
  EXPECT_EQ(datapath_->Counters(1).miss, 1u);
}

}  // namespace
}  // namespace sluice::rteflow
