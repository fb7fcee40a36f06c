// SPDX-License-Identifier: Apache-2.0
// Recirculation: what the next pass sees, how deep it goes, and what becomes of packets that nothing takes.
#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>

#include "pass_rig.h"

namespace sluice::xdp {
namespace {

const Bytes kFrame = UdpFrame(0x0a000002);

class Passes : public testing::TestWithParam<bool> {
 protected:
  // No test misses a tail call but the one that is about that.
  void TearDown() override {
    if (!rig_) return;
    EXPECT_EQ(rig_->port->ReadCounters()[SLUICE_COUNT_missed_tail_call], missed_);
    EXPECT_EQ(rig_->passes->ReadCounters(kPassSlot)[SLUICE_COUNT_missed_tail_call], 0);
  }
  PassRig& Make(PassRig::Options options = {}) {
    options.frags = GetParam();
    rig_ = std::make_unique<PassRig>(options);
    return *rig_;
  }

  std::unique_ptr<PassRig> rig_;
  uint64_t missed_ = 0;
};

INSTANTIATE_TEST_SUITE_P(, Passes, testing::Bool(),
                         [](const auto& frags) { return frags.param ? "frags" : "one_buffer"; });

TEST_P(Passes, ASecondPassTakesTheFlowOfItsIdAndPort) {
  PassRig& rig = Make();
  rig.First("eth_type(0x0800)", {SLUICE_ACTION_RECIRC, 7});
  rig.Later("recirc_id(0x7),in_port(1)", {SLUICE_ACTION_OUTPUT, 2}, 70);
  rig.Later("recirc_id(0x8),in_port(1)", {SLUICE_ACTION_DROP, 0}, 80);
  rig.Later("recirc_id(0x7),in_port(2)", {SLUICE_ACTION_DROP, 0}, 72);
  for (int i = 0; i < 3; ++i) {
    const auto ran = rig.Run(kFrame);
    EXPECT_EQ(ran.verdict, XDP_REDIRECT);
    EXPECT_EQ(ran.frame, kFrame);
  }
  EXPECT_EQ(rig.Taken(), 70);
  EXPECT_EQ(rig.Grown(SLUICE_COUNT_recirculated), 3);
  EXPECT_EQ(rig.Grown(SLUICE_COUNT_output), 0);
  EXPECT_EQ(rig.PassGrown(SLUICE_COUNT_output), 3);
  EXPECT_EQ(rig.PassGrown(SLUICE_COUNT_hit_table), 1);
  EXPECT_EQ(rig.PassGrown(SLUICE_COUNT_hit_cache), 2);
  EXPECT_EQ(rig.passes->ReadCounters(kPassSlot + 1)[SLUICE_COUNT_output], 0);
}

TEST_P(Passes, TheNextSeesThePacketAsItIsByThen) {
  PassRig& rig = Make();
  rig.First("eth_type(0x0800)", {SLUICE_ACTION_RECIRC, 1, "set(ipv4(dst=10.9.9.9,ttl=7)),push_vlan(vid=5,pcp=0)"});
  rig.Later("recirc_id(0x1),eth_type(0x8100),vlan(vid=5),encap(eth_type(0x0800),ipv4(dst=10.9.9.9,ttl=7))",
            {SLUICE_ACTION_RECIRC, 2, "pop_vlan"}, 1);
  rig.Later("recirc_id(0x2),eth_type(0x0800),ipv4(dst=10.9.9.9)",
            {SLUICE_ACTION_OUTPUT, 2, "set(ipv4(dst=10.0.0.2,ttl=64))"}, 2);
  const auto ran = rig.Run(kFrame);
  EXPECT_EQ(ran.verdict, XDP_REDIRECT);
  EXPECT_EQ(ran.frame, kFrame);
  EXPECT_EQ(rig.PassGrown(SLUICE_COUNT_recirculated), 1);
}

TEST_P(Passes, AnIdThatNoFlowHasIsAMissOfTheReceivingPort) {
  PassRig& rig = Make();
  rig.First("eth_type(0x0800)", {SLUICE_ACTION_RECIRC, 7});
  EXPECT_EQ(rig.Run(kFrame).verdict, XDP_PASS);
  EXPECT_EQ(rig.PassGrown(SLUICE_COUNT_miss), 1);
  EXPECT_EQ(rig.PassGrown(SLUICE_COUNT_miss_pass), 1);
  rig.maps->ports()[kPassSlot].miss_policy = SLUICE_MISS_DROP;
  EXPECT_EQ(rig.Run(kFrame).verdict, XDP_DROP);
  EXPECT_EQ(rig.PassGrown(SLUICE_COUNT_miss_drop), 1);
  rig.maps->ports()[kPassSlot].miss_policy = SLUICE_MISS_UPCALL;
  EXPECT_EQ(rig.Run(kFrame).verdict, XDP_DROP) << "no socket";
  EXPECT_EQ(rig.PassGrown(SLUICE_COUNT_upcall_failed), 1);
  EXPECT_EQ(rig.Grown(SLUICE_COUNT_miss), 0);
}

TEST_P(Passes, UpcallsHaveTheirLimit) {
  PassRig& rig = Make();
  rig.maps->ports()[kPassSlot].miss_policy = SLUICE_MISS_UPCALL;
  rig.maps->ports()[kPassSlot].upcalls_per_window = 5;
  rig.First("eth_type(0x0800)", {SLUICE_ACTION_RECIRC, 7});
  RunProgram(rig.port->program_fd(), kFrame, 1000);
  const uint64_t limited = rig.PassGrown(SLUICE_COUNT_upcall_limited);
  EXPECT_GE(limited, 980) << "a window is 17 ms, and more than one may have passed";
  EXPECT_EQ(rig.PassGrown(SLUICE_COUNT_upcall_failed), 1000 - limited);
}

TEST_P(Passes, ALoopEndsAtTheDepth) {
  for (const uint32_t depth : {1U, SLUICE_PASS_DEPTH + 0U}) {
    PassRig& rig = Make({.depth = depth});
    rig.First("", {SLUICE_ACTION_RECIRC, 1});
    rig.Later("recirc_id(0x1)", {SLUICE_ACTION_RECIRC, 1}, 1);
    EXPECT_EQ(rig.Run(kFrame).verdict, XDP_DROP);
    EXPECT_EQ(rig.PassGrown(SLUICE_COUNT_depth_exceeded), 1);
    EXPECT_EQ(rig.PassGrown(SLUICE_COUNT_hit_table) + rig.PassGrown(SLUICE_COUNT_hit_cache), depth);
    rig.Run(kFrame);
    EXPECT_EQ(rig.PassGrown(SLUICE_COUNT_depth_exceeded), 1);
  }
}

// As many as are allowed, and each does something.
TEST_P(Passes, EightAfterTheFirst) {
  PassRig& rig = Make();
  rig.First("eth_type(0x0800)", {SLUICE_ACTION_RECIRC, 1, "dec_ttl"});
  for (uint32_t id = 1; id < SLUICE_PASS_DEPTH; ++id) {
    rig.Later("recirc_id(" + std::to_string(id) + "),eth_type(0x0800),ipv4(ttl=" + std::to_string(64 - id) + ")",
              {SLUICE_ACTION_RECIRC, id + 1, "dec_ttl"}, id);
  }
  rig.Later("recirc_id(8)", {SLUICE_ACTION_OUTPUT, 2}, 8);
  const auto ran = rig.Run(kFrame);
  EXPECT_EQ(ran.verdict, XDP_REDIRECT);
  EXPECT_EQ(ran.frame[22], 64 - 8);
}

// The kernel lets a packet make 33 tail calls; it is dropped by reason before it comes to that.
TEST_P(Passes, ManyStepsEndWithAReasonToo) {
  PassRig& rig = Make();
  if (!rig.passes->meta().Can(SLUICE_ACTION_CT)) GTEST_SKIP() << rig.passes->why_no_ct();
  for (uint32_t i = 0; i < 40; ++i) {
    rig.Step(MakeStep(SLUICE_STEP_CT_CLEAR, SLUICE_ACTION_CT, i + 1));
  }
  rig.First("", {SLUICE_ACTION_CT, 0});
  EXPECT_EQ(rig.Run(kFrame).verdict, XDP_DROP);
  EXPECT_EQ(rig.PassGrown(SLUICE_COUNT_depth_exceeded), 1);
}

// Without programs in the slots: counted, dropped.
TEST_P(Passes, AnEmptySlotIsCounted) {
  PassRig& rig = Make({.enter = false});
  rig.First("", {SLUICE_ACTION_RECIRC, 1});
  EXPECT_EQ(rig.Run(kFrame).verdict, XDP_DROP);
  EXPECT_EQ(rig.Grown(SLUICE_COUNT_missed_tail_call), 1);
  ASSERT_TRUE(rig.passes->Enter());
  rig.Later("recirc_id(0x1)", {SLUICE_ACTION_OUTPUT, 2}, 1);
  EXPECT_EQ(rig.Run(kFrame).verdict, XDP_REDIRECT);
  ASSERT_TRUE(rig.maps->Clear());
  EXPECT_EQ(rig.Run(kFrame).verdict, XDP_DROP);
  missed_ = 2;
}

// A generation that enters has the packets from then on, and the one before may go.
TEST_P(Passes, AGenerationTakesTheNext) {
  PassRig& rig = Make();
  rig.First("", {SLUICE_ACTION_RECIRC, 1});
  rig.Later("recirc_id(0x1)", {SLUICE_ACTION_OUTPUT, 2}, 1);
  EXPECT_EQ(rig.Run(kFrame).verdict, XDP_REDIRECT);
  PassOptions options = {.path = SLUICE_TEST_PASSES,
                         .ports_fd = rig.groups->ports_fd(),
                         .frags_ports_fd = rig.groups->ports_fd(true),
                         .groups_fd = rig.groups->groups_fd()};
  auto next = PassObject::Load(*rig.maps, options);
  ASSERT_TRUE(next) << next.error().detail;
  EXPECT_EQ(rig.Run(kFrame).verdict, XDP_REDIRECT) << "not entered yet";
  ASSERT_TRUE((*next)->Enter());
  EXPECT_EQ(rig.Run(kFrame).verdict, XDP_PASS) << "it has no flows";
  EXPECT_EQ((*next)->ReadCounters(kPassSlot)[SLUICE_COUNT_miss], 1);
  (*next)->ClearCounters(kPassSlot);
  EXPECT_EQ((*next)->ReadCounters(kPassSlot)[SLUICE_COUNT_miss], 0);
  ASSERT_TRUE(rig.passes->Enter());
  EXPECT_EQ(rig.Run(kFrame).verdict, XDP_REDIRECT);
}

TEST_P(Passes, SeveralOutputsAndFlood) {
  PassRig& rig = Make();
  rig.First("", {SLUICE_ACTION_RECIRC, 1});
  const auto group = rig.groups->Acquire({2, 3});
  ASSERT_TRUE(group);
  rig.Later("recirc_id(0x1),eth_type(0x0800)", {SLUICE_ACTION_GROUP, (*group)->index}, 1);
  rig.Later("recirc_id(0x1),eth_type(0x0806)", {SLUICE_ACTION_FLOOD, 0}, 2);
  EXPECT_EQ(rig.Run(kFrame).verdict, XDP_REDIRECT);
  Bytes arp = kFrame;
  arp[13] = 6;
  EXPECT_EQ(rig.Run(arp).verdict, XDP_REDIRECT);
  EXPECT_EQ(rig.PassGrown(SLUICE_COUNT_output_many), 2);
}

TEST(PassObject, SaysWhatItCanMatchAndDo) {
  PassRig rig;
  const ObjectMeta& meta = rig.passes->meta();
  EXPECT_EQ(meta.key.size, 144);
  for (const Field field : {Field::in_port, Field::recirc_id, Field::ct_state, Field::ct_zone, Field::ct_mark,
                            Field::tun_id, Field::tun_src, Field::tun_ipv6_dst, Field::tun_flags, Field::eth_src}) {
    EXPECT_TRUE(meta.key.Has(field)) << static_cast<int>(field);
  }
  for (const auto action :
       {SLUICE_ACTION_RECIRC, SLUICE_ACTION_TNL_POP, SLUICE_ACTION_TNL_PUSH, SLUICE_ACTION_OUTPUT}) {
    EXPECT_TRUE(meta.Can(action)) << action;
    EXPECT_TRUE(rig.port->meta().Can(action)) << action;
  }
  EXPECT_EQ(meta.Can(SLUICE_ACTION_CT), rig.passes->why_no_ct().empty());
  const auto& names = PassObject::CounterNames();
  EXPECT_EQ(names.at(SLUICE_COUNT_missed_tail_call), "missed_tail_call");
  EXPECT_EQ(names.at(SLUICE_COUNT_tnl_popped), "tnl_popped");
  EXPECT_EQ(names.size(), SLUICE_PASS_COUNTER_END);
}

TEST(PassObject, AnotherObjectIsRefused) {
  const auto maps = PassMaps::Create();
  ASSERT_TRUE(maps);
  PassOptions options;
  options.path = SLUICE_TEST_OBJECT;
  const auto object = PassObject::Load(**maps, options);
  ASSERT_FALSE(object);
  EXPECT_EQ(object.error().reason, "bad_object");
  EXPECT_NE(object.error().detail.find("sluice_lookup"), std::string::npos) << object.error().detail;
  options.path = "/nonexistent";
  EXPECT_EQ(PassObject::Load(**maps, options).error().reason, "no_such_object");
}

}  // namespace
}  // namespace sluice::xdp
