// SPDX-License-Identifier: Apache-2.0
// The programs of later passes come, go and change, under traffic.
#include <atomic>
#include <string>
#include <thread>

#include "passes_rig.h"
#include "support/process.h"

namespace sluice::test {
namespace {

constexpr auto kNothing = std::chrono::milliseconds(200);

bool Contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

class PluginPassesLifeTest : public Passes {
 protected:
  void PutThree() {
    MustPut("in_port(p0)", "recirc(0x1)");
    MustPut("recirc_id(0x1),in_port(p0)", "recirc(0x2)");
    MustPut("recirc_id(0x2)", "p1");
  }
  void ExpectThrough(uint16_t source) {
    at_a_->Send(Udp(source));
    EXPECT_TRUE(at_b_->Expect(Udp(source))) << source;
  }

  // Packets from a to b, numbered, until told to end; then each must have come.
  class Traffic {
   public:
    explicit Traffic(const PluginPassesLifeTest& test)
        : test_(test), thread_([this] {
            while (!over_ && sent_ != UINT16_MAX) {
              test_.at_a_->Send(Udp(sent_++));
              std::this_thread::sleep_for(std::chrono::microseconds(300));
            }
          }) {}
    ~Traffic() {
      over_ = true;
      thread_.join();
    }
    Traffic(const Traffic&) = delete;
    Traffic& operator=(const Traffic&) = delete;

    uint16_t ExpectNoneLost() {
      over_ = true;
      thread_.join();
      thread_ = std::thread([] {});
      for (uint16_t i = 0; i < sent_; ++i) {
        const auto frame = test_.at_b_->Receive(std::chrono::seconds(1));
        EXPECT_TRUE(frame && *frame == Udp(i)) << "packet " << i << " of " << sent_ << " was lost";
        if (!frame || *frame != Udp(i)) break;
      }
      return sent_;
    }

   private:
    const PluginPassesLifeTest& test_;
    std::atomic<bool> over_ = false;
    std::atomic<uint16_t> sent_ = 0;
    std::thread thread_;
  };
};

TEST_F(PluginPassesLifeTest, NothingNeedsThemBeforeTheyComeAndAfterTheyWent) {
  rig_->Extend(0);
  AddPorts({{"miss", "drop"}});
  const std::string needs = "in_port(p0)";
  for (const auto& [match, actions] : {std::pair{needs, "recirc(0x1)"},
                                       {needs, "ct(commit),p1"},
                                       {needs, "ct_clear,p1"},
                                       {std::string("recirc_id(0x1)"), "p1"}}) {
    const auto verdict = rig_->Put(match, actions);
    EXPECT_EQ(verdict.state(), v1::REFUSED) << actions;
    EXPECT_EQ(verdict.reason(), "needs_recirc") << verdict.detail();
    EXPECT_EQ(verdict.detail(), "recirc, tnl_* and ct need the recirc plugin: sluicectl plugin load recirc");
  }
  rig_->Synced();
  EXPECT_FALSE(rig_->AsksForResync(kNothing));

  // It comes: the plugin wants to judge all flows again.
  rig_->Extend(serial_);
  EXPECT_TRUE(rig_->AsksForResync());
  rig_->Resync("e1");
  rig_->Extend(serial_);
  EXPECT_FALSE(rig_->AsksForResync(kNothing)) << "it is the same that is there already";
  AddPorts({{"miss", "drop"}});
  PutThree();
  MustPut("in_port(p1)", "p0");
  rig_->Synced();
  ExpectThrough(1);

  // It goes: flows that do not need it stay.
  serial_ = 0;
  rig_->Extend(0);
  EXPECT_TRUE(rig_->AsksForResync());
  ExpectThrough(2);  // until they are told anew
  EXPECT_EQ(rig_->Put("recirc_id(0x9)", "p1").reason(), "needs_recirc");
  rig_->Resync("e1");
  AddPorts({{"miss", "drop"}});
  for (const auto& [match, told] : told_) {
    const auto verdict = rig_->Put(told.match, told.actions);
    EXPECT_EQ(verdict.reason(), match == "in_port(p1)" ? "" : "needs_recirc") << match;
  }
  rig_->Synced();
  at_a_->Send(Udp(3));
  EXPECT_EQ(Counters("p0", "miss_drop", 1)["miss_drop"], 1U);
  at_b_->Send(Udp(4));
  EXPECT_TRUE(at_a_->Expect(Udp(4)));
  EXPECT_EQ(rig_->WaitForStats("recirc_id(0x2)", 2).packets(), 2U);

  // And again.
  serial_ = 5;
  rig_->Extend(serial_);
  EXPECT_TRUE(rig_->AsksForResync());
  Again(v1::INSTALLED, {{"miss", "drop"}});
  ExpectThrough(5);
  EXPECT_EQ(Counters("p0", "output", 3)["missed_tail_call"], 0U);
}

TEST_F(PluginPassesLifeTest, ReloadedUnderTrafficTheyLoseNothing) {
  AddPorts();
  PutThree();
  rig_->Synced();
  Traffic traffic(*this);
  for (int round = 0; round < 10; ++round) {
    rig_->Extend(++serial_);
    ASSERT_TRUE(rig_->AsksForResync());
    Again();
  }
  const uint16_t sent = traffic.ExpectNoneLost();
  EXPECT_GT(sent, 300);
  EXPECT_EQ(rig_->WaitForStats("in_port(p0)", sent).packets(), sent);
  EXPECT_EQ(rig_->WaitForStats("recirc_id(0x1),in_port(p0)", sent).packets(), sent);
  EXPECT_EQ(rig_->WaitForStats("recirc_id(0x2)", sent).packets(), sent);
  auto counters = Counters("p0", "output", sent);
  EXPECT_EQ(counters["output"], sent);
  EXPECT_EQ(counters["recirculated"], 2U * sent);
  EXPECT_EQ(counters["missed_tail_call"], 0U);
}

TEST_F(PluginPassesLifeTest, ComingAndGoingUnderTrafficNoPacketMeetsAnEmptySlot) {
  AddPorts({{"miss", "drop"}});
  PutThree();
  rig_->Synced();
  {
    const Traffic traffic(*this);
    for (uint64_t round = 0; round < 5; ++round) {
      serial_ = 0;
      rig_->Extend(serial_);
      ASSERT_TRUE(rig_->AsksForResync());
      Again(v1::REFUSED, {{"miss", "drop"}});
      serial_ = 10 + round;
      rig_->Extend(serial_);
      ASSERT_TRUE(rig_->AsksForResync());
      Again(v1::INSTALLED, {{"miss", "drop"}});
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  }
  EXPECT_GT(rig_->WaitForStats("in_port(p0)", 101).packets(), 100U);
  // One that is told from all others: with its counters those of the others have come.
  ASSERT_EQ(rig_->Put("in_port(p0)", "upcall", 9).state(), v1::INSTALLED);
  at_a_->Send(Udp(1));
  auto counters = Counters("p0", "upcall", 1);
  EXPECT_GT(counters["miss"], 0U);
  EXPECT_EQ(counters["missed_tail_call"], 0U);
  // Each went through, or found no flow in some pass.
  EXPECT_EQ(counters["rx_packets"], counters["output"] + counters["miss_drop"] + 1);
}

TEST_F(PluginPassesLifeTest, AnotherGenerationHasThePacketsWhenAllFlowsAreIn) {
  AddPorts({{"miss", "drop"}});
  PutThree();
  rig_->Synced();
  rig_->Extend(++serial_);
  ASSERT_TRUE(rig_->AsksForResync());
  ExpectThrough(1);
  // What changes meanwhile changes for packets at once.
  MustPut("recirc_id(0x2)", "p0");
  at_a_->Send(Udp(2));
  EXPECT_TRUE(at_a_->Expect(Udp(2)));
  rig_->Resync("e1");
  rig_->Extend(serial_);
  AddPorts({{"miss", "drop"}});
  ASSERT_EQ(rig_->Put("in_port(p0)", "recirc(0x1)").state(), v1::INSTALLED);
  ASSERT_EQ(rig_->Put("recirc_id(0x2)", "p1").state(), v1::INSTALLED);
  ExpectThrough(3);
  // One is not told again, and goes with the rest of the old.
  rig_->Synced();
  at_a_->Send(Udp(4));
  EXPECT_EQ(Counters("p0", "miss_drop", 1)["pass_miss"], 1U);
  EXPECT_EQ(rig_->WaitForStats("recirc_id(0x2)", 3).packets(), 3U);
}

TEST_F(PluginPassesLifeTest, DeletedWhileTwoGenerationsAreThereItIsInNeither) {
  AddPorts({{"miss", "drop"}});
  PutThree();
  rig_->Synced();
  rig_->Extend(++serial_);
  ASSERT_TRUE(rig_->AsksForResync());
  rig_->Resync("e1");
  rig_->Extend(serial_);
  AddPorts({{"miss", "drop"}});
  for (const auto& [match, told] : told_) ASSERT_EQ(rig_->Put(match, told.actions).state(), v1::INSTALLED);
  rig_->Delete("recirc_id(0x1),in_port(p0)");
  at_a_->Send(Udp(1));
  EXPECT_EQ(Counters("p0", "miss_drop", 1)["pass_miss"], 1U);
  rig_->Synced();
  at_a_->Send(Udp(2));
  EXPECT_EQ(Counters("p0", "miss_drop", 2)["pass_miss"], 2U);
}

TEST_F(PluginPassesLifeTest, ABrokenSuccessorLeavesTheOldOnesInPlace) {
  AddPorts();
  PutThree();
  rig_->Synced();
  rig_->Extend(++serial_, "/nowhere/passes.bpf.o");
  ExpectThrough(1);
  MustPut("recirc_id(0x7)", "p1");
  EXPECT_TRUE(Contains(rig_->log(), "those that it brought before go on")) << rig_->log();
}

TEST_F(PluginPassesLifeTest, ANewCoreThatDoesNotKnowThemHasThemGo) {
  AddPorts({{"miss", "drop"}});
  PutThree();
  rig_->Synced();
  rig_->Resync("e2");
  AddPorts({{"miss", "drop"}});
  for (const auto& [match, told] : told_) EXPECT_EQ(rig_->Put(match, told.actions).reason(), "needs_recirc");
  rig_->Synced();
  EXPECT_FALSE(rig_->AsksForResync(kNothing));
  at_a_->Send(Udp(1));
  EXPECT_EQ(Counters("p0", "miss_drop", 1)["missed_tail_call"], 0U);
}

TEST_F(PluginPassesLifeTest, KeptProgramsGoOnThroughAllPasses) {
  AddPorts();
  PutThree();
  rig_->Synced();
  Traffic traffic(*this);
  for (int round = 0; round < 5; ++round) {
    rig_->Stop(/*keep=*/true);
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    ASSERT_EQ(rig_->Start(), "");
    rig_->Extend(serial_);
    AddPorts();
    for (const auto& [match, told] : told_) ASSERT_EQ(rig_->Put(match, told.actions).state(), v1::INSTALLED);
    rig_->Synced();
  }
  const uint16_t sent = traffic.ExpectNoneLost();
  EXPECT_GT(sent, 300);
  for (const auto& [match, told] : told_) EXPECT_EQ(rig_->WaitForStats(match, sent).packets(), sent) << match;
  rig_->Stop();
  EXPECT_EQ(RunOrThrow({"ls", run_dir_.path()}), "");
}

TEST_F(PluginPassesLifeTest, AStopBeforeAllIsInKeepsWhatWasKept) {
  AddPorts();
  PutThree();
  rig_->Synced();
  rig_->Stop(/*keep=*/true);
  ASSERT_EQ(rig_->Start(), "");
  rig_->Extend(serial_);
  AddPorts();
  rig_->Stop(/*keep=*/true);
  ExpectThrough(1);
  ASSERT_EQ(rig_->Start(), "");
  rig_->Stop();
  EXPECT_EQ(RunOrThrow({"ls", run_dir_.path()}), "");
}

}  // namespace
}  // namespace sluice::test
