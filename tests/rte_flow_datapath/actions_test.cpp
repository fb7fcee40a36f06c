// SPDX-License-Identifier: Apache-2.0
// What becomes of a packet that has a flow.
#include "reference/actions.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "flow/random_flow.h"
#include "reference/parser.h"
#include "rig.h"
#include "soft/execute.h"

namespace sluice::rteflow {
namespace {

using reference::Rng;

class ActionsTest : public DatapathTest {
 protected:
  ActionsTest() {
    for (uint32_t port = 1; port <= 4; ++port) AddPort(port);
  }
  ~ActionsTest() override {
    datapath_.reset();
    devices_.clear();
    EXPECT_EQ(pool_.in_use(), 0u) << "packets were lost";
  }

  // Runs `frame`, with and without a mark, through `actions`.
  void Run(const std::string& actions, const Bytes& frame) {
    DatapathFlow& flow = Put("in_port(1)", actions, 0, ++mark_);
    Inject(1, frame, mark_);
    Inject(1, frame);
    Drain();
    EXPECT_EQ(flow.packets, 2u);
    EXPECT_EQ(flow.bytes, 2 * frame.size());
    Delete(flow);
  }

  uint32_t mark_ = 0;
  const Bytes frame_ = NamedFrame("udp4");
};

TEST_F(ActionsTest, Drops) {
  Run("drop", frame_);
  EXPECT_EQ(datapath_->Counters(1).dropped, 2u);
  Run("push_vlan(vid=5,pcp=0)", frame_);
  EXPECT_EQ(datapath_->Counters(1).dropped, 4u);
  EXPECT_EQ(datapath_->Counters(1).forwarded, 0u);
  EXPECT_TRUE(TakeUpcalls().empty());
}

TEST_F(ActionsTest, SendsToSeveralPortsAndBackWhereThatIsSaid) {
  Run("2,3,1", frame_);
  for (const uint32_t port : {1, 2, 3}) EXPECT_EQ(Collect(port), (Frames{frame_, frame_}));
  EXPECT_EQ(datapath_->Counters(1).forwarded, 6u);
  Run("1", frame_);
  EXPECT_EQ(Collect(1), (Frames{frame_, frame_}));
}

TEST_F(ActionsTest, FloodsAllPortsButTheOneItCameInBy) {
  Run("flood", frame_);
  for (const uint32_t port : {2, 3, 4}) EXPECT_EQ(Collect(port), (Frames{frame_, frame_}));
  EXPECT_TRUE(Collect(1).empty());
}

TEST_F(ActionsTest, CountsPortsThatAreNotThere) {
  Run("99", frame_);
  Run("5000,2", frame_);
  EXPECT_EQ(datapath_->Counters(1).no_port, 4u);
  EXPECT_EQ(datapath_->Counters(1).forwarded, 2u);
}

TEST_F(ActionsTest, ExpiredPacketsTakeTheirOwnWay) {
  reference::PacketSpec spec = Named("udp4");
  std::get<reference::Ipv4Spec>(spec.l3).ttl = 1;
  const Bytes old = Build(spec);
  Run("dec_ttl,2", old);
  EXPECT_TRUE(Collect(2).empty());
  EXPECT_EQ(datapath_->Counters(1).ttl_expired, 2u);
  EXPECT_EQ(datapath_->Counters(1).dropped, 2u);
  Run("dec_ttl(le_1(3)),2", old);
  EXPECT_EQ(Collect(3), (Frames{old, old}));
  spec = Named("udp4");
  std::get<reference::Ipv4Spec>(spec.l3).ttl = 9;
  const Bytes young = Build(spec);
  std::get<reference::Ipv4Spec>(spec.l3).ttl = 8;
  Run("dec_ttl(le_1(3)),2", young);
  EXPECT_EQ(Collect(2), (Frames(2, Build(spec))));
}

TEST_F(ActionsTest, CutsOneCopy) {
  Run("trunc(20),2,3", frame_);
  EXPECT_EQ(Collect(2), (Frames(2, Bytes(frame_.begin(), frame_.begin() + 20))));
  EXPECT_EQ(Collect(3), (Frames{frame_, frame_}));
  Run("trunc(20),2", frame_);
  EXPECT_EQ(Collect(2), (Frames(2, Bytes(frame_.begin(), frame_.begin() + 20))));
}

// Longer than a buffer of the device: in pieces, and in one again.
TEST_F(ActionsTest, TakesPacketsInPieces) {
  reference::PacketSpec spec = Named("udp4");
  spec.payload = 5000;
  const Bytes longer = Build(spec);
  spec.payload = 500;
  const Bytes shorter = Build(spec);
  DatapathFlow& forward = Put("in_port(1)", "2", 0, 1);
  for (const Bytes* frame : {&longer, &shorter}) {
    ASSERT_TRUE(Device(1).Inject(pool_.MakeChain(*frame, 60, 1400)));
  }
  Drain();
  EXPECT_EQ(Collect(2), (Frames{longer, shorter}));
  Delete(forward);
  Put("in_port(1)", "push_vlan(vid=5,pcp=0),2", 0, 1);
  ASSERT_TRUE(Device(1).Inject(pool_.MakeChain(longer, 1400, 1400)));
  spec.payload = 9300;
  ASSERT_TRUE(Device(1).Inject(pool_.MakeChain(Build(spec), 1400, 1400)));
  Drain();
  spec.payload = 5000;
  spec.tags = {{0x8100, 5}};
  EXPECT_EQ(Collect(2), Frames{Build(spec)});
  EXPECT_EQ(datapath_->Counters(1).no_buffer, 1u) << "longer than the loop's own buffers";
}

TEST_F(ActionsTest, PutsATagBackThatTheDeviceTookOff) {
  Put("in_port(1),eth_type(0x8100),vlan(vid=5,pcp=3)", "2", 0, 1);
  reference::PacketSpec spec = Named("udp4");
  spec.tags = {{0x8100, 0x6005}};
  for (const uint32_t mark : {0, 1}) {
    rte_mbuf* packet = pool_.Make(frame_, mark);
    packet->ol_flags |= RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
    packet->vlan_tci = 0x6005;
    // Without room for it in front, once.
    if (mark == 0) {
      ASSERT_NE(rte_pktmbuf_prepend(packet, RTE_PKTMBUF_HEADROOM), nullptr);
      std::memmove(rte_pktmbuf_mtod(packet, uint8_t*), frame_.data(), frame_.size());
      ASSERT_EQ(rte_pktmbuf_trim(packet, RTE_PKTMBUF_HEADROOM), 0);
    }
    ASSERT_TRUE(Device(1).Inject(packet));
  }
  Drain();
  EXPECT_EQ(Collect(2), (Frames(2, Build(spec))));
}

// A packet that another has a reference to is not written to.
TEST_F(ActionsTest, LeavesSharedPacketsAlone) {
  Put("in_port(1)", "set(eth(src=02:00:00:00:00:99)),2", 0, 1);
  rte_mbuf* packet = pool_.Make(frame_, 1);
  rte_mbuf_refcnt_update(packet, 1);
  ASSERT_TRUE(Device(1).Inject(packet));
  Drain();
  Bytes changed = frame_;
  const Bytes address{2, 0, 0, 0, 0, 0x99};
  std::ranges::copy(address, changed.begin() + 6);
  EXPECT_EQ(Collect(2), Frames{changed});
  EXPECT_TRUE(std::equal(frame_.begin(), frame_.end(), rte_pktmbuf_mtod(packet, const uint8_t*)));
  EXPECT_EQ(rte_mbuf_refcnt_read(packet), 1);
  rte_pktmbuf_free(packet);
}

// The lists that the software path can do.
Actions RandomActionsToDo(FlowRng& rng) {
  RandomFlowOptions options;
  options.actions = {"output", "output", "flood", "push_vlan", "pop_vlan", "set", "set", "dec_ttl", "upcall", "trunc"};
  while (true) {
    Actions actions = RandomActions(rng, options);
    if (soft::Check(actions)) return actions;
  }
}

TEST_F(ActionsTest, DoesWhatTheReferenceDoes) {
  const uint64_t seed = reference::SeedFromEnvironment();
  SCOPED_TRACE("SLUICE_SEED=" + std::to_string(seed));
  Rng rng(seed);
  FlowRng flow_rng(seed);
  uint64_t sent = 0;
  for (int i = 0; i < 1500; ++i) {
    const Actions actions = RandomActionsToDo(flow_rng);
    DatapathFlow& flow = Put(MatchOf("in_port(1)"), actions, 0, static_cast<uint32_t>(1 + i));
    std::map<uint32_t, std::vector<Bytes>> expected;
    std::vector<std::pair<std::string, Bytes>> expected_up;
    for (int packet = 0; packet < 4; ++packet) {
      Bytes frame = Build(RandomPacket(rng));
      if (rng.OneIn(6)) frame = Damage(frame, rng);
      if (frame.empty()) frame.resize(1);
      const bool malformed = reference::Parse(frame).malformed != reference::Malformed::kNo;
      ASSERT_NO_FATAL_FAILURE(Inject(1, frame, !malformed && rng.OneIn(2) ? flow.mark : 0));
      if (malformed) {
        expected_up.emplace_back("malformed", frame);
        continue;
      }
      const auto outcome = reference::Execute(actions, frame, 1, {1, 2, 3, 4});
      for (const auto& [port, bytes] : outcome.emissions) expected[port].push_back(bytes);
      for (const auto& bytes : outcome.upcalls) expected_up.emplace_back("action", bytes);
      sent += outcome.emissions.size();
    }
    Drain();
    for (uint32_t port = 1; port <= 4; ++port) ASSERT_EQ(Collect(port), expected[port]) << FormatActions(actions);
    std::vector<std::pair<std::string, Bytes>> up;
    for (const auto& upcall : TakeUpcalls()) up.emplace_back(upcall.reason, upcall.data);
    ASSERT_EQ(up, expected_up) << FormatActions(actions);
    Delete(flow);
  }
  EXPECT_EQ(datapath_->Counters(1).forwarded, sent);
  ExpectAllAccountedFor(1, 6000);
  EXPECT_EQ(datapath_->Counters(1).no_buffer, 0u);
}

}  // namespace
}  // namespace sluice::rteflow
