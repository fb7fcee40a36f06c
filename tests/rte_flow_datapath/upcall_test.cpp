// SPDX-License-Identifier: Apache-2.0
// What goes up to the controller, and what comes down from it.
#include <poll.h>

#include <string>
#include <vector>

#include "rig.h"

namespace sluice::rteflow {
namespace {

bool Readable(int fd) {
  pollfd event{fd, POLLIN, 0};
  return poll(&event, 1, 0) > 0;
}

class UpcallTest : public DatapathTest {
 protected:
  UpcallTest() : DatapathTest(SmallQueue()) {}

  static Datapath::Settings SmallQueue() {
    Datapath::Settings settings;
    settings.upcall_queue = 16;
    return settings;
  }
  const Bytes frame_ = NamedFrame("udp4");
};

TEST_F(UpcallTest, TellsWhereAPacketCameInAndWhy) {
  AddPort(7);
  DatapathFlow& flow = Put("in_port(7),eth_type(0x0806)", "upcall(max_len=20)");
  const Bytes arp = NamedFrame("arp");
  const Bytes cut(frame_.begin(), frame_.begin() + 20);
  for (const Bytes* frame : {&frame_, &arp, &cut}) Inject(7, *frame);
  Drain();
  const auto upcalls = TakeUpcalls();
  ASSERT_EQ(upcalls.size(), 3u);
  EXPECT_STREQ(upcalls[0].reason, "miss");
  EXPECT_EQ(upcalls[0].port, 7u);
  EXPECT_EQ(upcalls[0].data, frame_);
  EXPECT_EQ(upcalls[0].length, frame_.size());
  EXPECT_FALSE(upcalls[0].ufid);
  EXPECT_STREQ(upcalls[1].reason, "action");
  EXPECT_EQ(upcalls[1].ufid, flow.ufid);
  EXPECT_EQ(upcalls[1].data, Bytes(arp.begin(), arp.begin() + 20));
  EXPECT_EQ(upcalls[1].length, arp.size());
  EXPECT_STREQ(upcalls[2].reason, "malformed");
  const auto counters = datapath_->Counters(7);
  EXPECT_EQ(counters.miss, 1u);
  EXPECT_EQ(counters.malformed, 1u);
  EXPECT_EQ(counters.hit_software, 1u);
  EXPECT_EQ(counters.upcall, 3u);
}

TEST_F(UpcallTest, AMissIsDroppedWhereThePolicySaysSo) {
  AddPort(1, {.miss = MissPolicy::kDrop});
  Inject(1, frame_);
  Inject(1, Bytes(5));
  Drain();
  EXPECT_TRUE(TakeUpcalls().empty());
  EXPECT_EQ(datapath_->Counters(1).miss, 1u);
  EXPECT_EQ(datapath_->Counters(1).malformed, 1u);
  EXPECT_EQ(datapath_->Counters(1).upcall, 0u);
}

TEST_F(UpcallTest, OnlySoManyBytesGoUp) {
  AddPort(1, {.upcall_bytes = 30});
  Put("in_port(1),eth_type(0x0806)", "upcall(max_len=20)");
  Put("in_port(1),eth_type(0x0800)", "upcall(max_len=40)");
  Inject(1, frame_);
  Inject(1, NamedFrame("arp"));
  Inject(1, NamedFrame("udp6"));
  Drain();
  std::vector<size_t> sizes;
  for (const auto& upcall : TakeUpcalls()) sizes.push_back(upcall.data.size());
  EXPECT_EQ(sizes, (std::vector<size_t>{30, 20, 30}));
}

TEST_F(UpcallTest, AFullQueueCountsWhatItLoses) {
  AddPort(1);
  for (int i = 0; i < 40; ++i) Inject(1, frame_);
  Drain();
  EXPECT_EQ(TakeUpcalls().size(), 16u);
  EXPECT_EQ(datapath_->Counters(1).upcall, 16u);
  EXPECT_EQ(datapath_->Counters(1).upcall_full, 24u);
  Inject(1, frame_);
  Drain();
  EXPECT_EQ(TakeUpcalls().size(), 1u);
}

TEST_F(UpcallTest, TheRateIsLimited) {
  AddPort(1, {.upcall_rate = 3});
  for (int i = 0; i < 10; ++i) Inject(1, frame_);
  Drain();
  const auto counters = datapath_->Counters(1);
  EXPECT_GE(counters.upcall, 3u);
  EXPECT_GT(counters.upcall_rate, 0u) << "all ten within a second's worth";
  EXPECT_EQ(counters.upcall + counters.upcall_rate, 10u);
  EXPECT_EQ(TakeUpcalls().size(), counters.upcall);
}

TEST_F(UpcallTest, TheDescriptorIsReadableWhileThereIsSomething) {
  AddPort(1);
  const int fd = datapath_->upcall_fd();
  EXPECT_FALSE(Readable(fd));
  EXPECT_TRUE(datapath_->TakeUpcalls(5).empty());
  for (int i = 0; i < 3; ++i) Inject(1, frame_);
  Drain();
  EXPECT_TRUE(Readable(fd));
  EXPECT_EQ(datapath_->TakeUpcalls(2).size(), 2u);
  EXPECT_TRUE(Readable(fd));
  EXPECT_EQ(datapath_->TakeUpcalls(2).size(), 1u);
  EXPECT_TRUE(Readable(fd)) << "nobody has found it empty";
  EXPECT_TRUE(datapath_->TakeUpcalls(2).empty());
  EXPECT_FALSE(Readable(fd));
  Inject(1, frame_);
  Drain();
  EXPECT_TRUE(Readable(fd));
}

// Each wake-up is waited for without a time limit: one that got lost would be the end of it.
TEST_F(UpcallTest, NoWakeUpIsLost) {
  AddPort(1);
  for (int i = 0; i < 2000; ++i) {
    Inject(1, frame_);
    size_t taken = 0;
    while (taken == 0) {
      pollfd event{datapath_->upcall_fd(), POLLIN, 0};
      ASSERT_EQ(poll(&event, 1, -1), 1);
      taken = datapath_->TakeUpcalls(10).size();
    }
    ASSERT_EQ(taken, 1u);
  }
}

TEST_F(UpcallTest, APacketOutTakesItsFlow) {
  for (const uint32_t port : {1, 2, 3}) AddPort(port);
  DatapathFlow& flow = MakeFlow(MatchOf("in_port(1)"), ActionsOf("2"), 0, 0);
  datapath_->Insert(flow);
  datapath_->PacketOut(1, frame_, std::nullopt);
  datapath_->PacketOut(3, frame_, std::nullopt);
  Settle();
  EXPECT_EQ(Collect(2), Frames{frame_});
  EXPECT_EQ(flow.packets, 1u);
  const auto counters = datapath_->Counters(1);
  EXPECT_EQ(counters.packet_out, 1u);
  EXPECT_EQ(counters.hit_software, 1u);
  EXPECT_EQ(counters.rx_packets, 0u);
  EXPECT_EQ(counters.forwarded, 1u);
  const auto upcalls = TakeUpcalls();
  ASSERT_EQ(upcalls.size(), 1u);
  EXPECT_STREQ(upcalls[0].reason, "miss");
  EXPECT_EQ(datapath_->Counters(3).miss, 1u);
}

TEST_F(UpcallTest, APacketOutWithActionsTakesThese) {
  for (const uint32_t port : {1, 2, 3}) AddPort(port);
  DatapathFlow& flow = Put("in_port(1)", "2");
  datapath_->PacketOut(1, frame_, ActionsOf("flood,push_vlan(vid=5,pcp=0),1,upcall"));
  datapath_->PacketOut(1, frame_, Actions{});
  Settle();
  reference::PacketSpec spec = Named("udp4");
  spec.tags = {{0x8100, 5}};
  EXPECT_EQ(Collect(1), Frames{Build(spec)});
  EXPECT_EQ(Collect(2), Frames{frame_});
  EXPECT_EQ(Collect(3), Frames{frame_});
  EXPECT_EQ(flow.packets, 0u);
  EXPECT_EQ(datapath_->Counters(1).packet_out, 2u);
  EXPECT_EQ(datapath_->Counters(1).dropped, 1u);
  const auto upcalls = TakeUpcalls();
  ASSERT_EQ(upcalls.size(), 1u);
  EXPECT_STREQ(upcalls[0].reason, "action");
  EXPECT_FALSE(upcalls[0].ufid);
}

TEST_F(UpcallTest, APacketOutThatIsNoneIsCounted) {
  AddPort(1);
  datapath_->PacketOut(1, Bytes(13), ActionsOf("1"));
  datapath_->PacketOut(1, {}, std::nullopt);
  datapath_->PacketOut(1, Bytes(20000), ActionsOf("1"));
  datapath_->PacketOut(2, frame_, ActionsOf("1"));
  Settle();
  EXPECT_TRUE(Collect(1).empty());
  EXPECT_EQ(datapath_->Counters(1).packet_out_failed, 3u);
  EXPECT_EQ(datapath_->Counters(1).packet_out, 0u);
}

}  // namespace
}  // namespace sluice::rteflow
