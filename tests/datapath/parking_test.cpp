// SPDX-License-Identifier: Apache-2.0
// What has to wait for the kernel holds up nothing else, and comes out as if it had not waited.
#include <gtest/gtest.h>
#include <linux/bpf.h>

#include <random>
#include <set>

#include "handler_rig.h"
#include "support/netns.h"
#include "table_rig.h"

namespace sluice::xdp {
namespace {

constexpr uint32_t kSource = 0x0a000001;  // of UdpFrame

std::string Address(uint32_t address) {
  return std::to_string(address >> 24) + "." + std::to_string(address >> 16 & 0xff) + "." +
         std::to_string(address >> 8 & 0xff) + "." + std::to_string(address & 0xff);
}

// Packets of kSource to the host, under the i-th of many masks.
std::string Match(uint32_t host, uint32_t mask) {
  const uint32_t bits = 0xff000000 | mask;
  return "in_port(1),eth_type(0x0800),ipv4(src=" + Address(kSource & bits) + "/" + Address(bits) +
         ",dst=" + Address(0x0a010000 + host) + ")";
}

std::string PushVid(uint32_t vid) { return "push_vlan(vid=" + std::to_string(vid) + ",pcp=0),p1"; }

class Parking : public testing::Test {
 protected:
  void SetUp() override {
    if (const auto why = test::WhyNoKernelTests(); !why.empty()) GTEST_SKIP() << why;
  }
  static void With(unsigned ports, const std::function<void(HandlerRig&)>& body,
                   const std::map<std::string, std::string>& options = {}) {
    const test::Netns netns;
    netns.Do([&] {
      HandlerRig rig(netns, ports, options);
      body(rig);
    });
  }
  static std::optional<uint16_t> Served(const HandlerRig& rig, uint32_t host) {
    return RunProgram(rig.program_fd(1), UdpFrame(0x0a010000 + host)).vid();
  }
  // Uses up the reserve: these and the next new masks, a while, have to wait. Flow numbers and masks from 100 on.
  static void UseUpMasks(HandlerRig& rig) {
    for (uint32_t i = 0; i < 40; ++i) rig.Put(100 + i, Match(100 + i, 100 + i), "drop");
  }
};

void ExpectInstalled(const HandlerRig& rig, uint64_t seq) {
  const auto found = rig.verdicts.find(seq);
  ASSERT_NE(found, rig.verdicts.end()) << seq;
  EXPECT_EQ(found->second.state(), v1::INSTALLED) << found->second.detail();
}

void ExpectRefused(const HandlerRig& rig, uint64_t seq, const std::string& reason) {
  const auto found = rig.verdicts.find(seq);
  ASSERT_NE(found, rig.verdicts.end()) << seq;
  EXPECT_EQ(found->second.state(), v1::REFUSED);
  EXPECT_EQ(found->second.reason(), reason) << found->second.detail();
}

TEST_F(Parking, NewMasksHoldUpNoOtherFlow) {
  With(1, [](HandlerRig& rig) {
    rig.Put(0, Match(0, 0), "drop");
    rig.Send();
    std::vector<uint64_t> ordinary;
    std::vector<uint64_t> with_new_mask;
    for (uint32_t i = 1; i <= 2000; ++i) {
      ordinary.push_back(rig.Put(i, Match(i, 0), PushVid(i)));
      if (i % 10 == 0) with_new_mask.push_back(rig.Put(2000 + i, Match(2000 + i, i / 10), PushVid(2000 + i), i));
    }
    rig.Send();
    for (const uint64_t seq : ordinary) ExpectInstalled(rig, seq);
    // Else it would not show anything.
    EXPECT_LT(rig.verdicts.size(), 1 + 2000 + 100);
    EXPECT_EQ(Served(rig, 77), 77);
    rig.WaitUntil([&] { return rig.verdicts.size() == 1 + 2000 + 200; });
    for (const uint64_t seq : with_new_mask) ExpectInstalled(rig, seq);
    for (uint32_t i = 10; i <= 2000; i += 10) ASSERT_EQ(Served(rig, 2000 + i), 2000 + i);
  });
}

TEST_F(Parking, NewSetsOfOutputsHoldUpNoOtherFlow) {
  With(11, [](HandlerRig& rig) {
    rig.Put(0, Match(0, 0), "drop");
    rig.Send();
    std::vector<uint64_t> ordinary;
    std::vector<uint64_t> with_new_set;
    uint32_t flow = 1;
    for (uint32_t a = 1; a <= 10; ++a) {
      for (uint32_t b = a + 1; b <= 11; ++b) {
        for (int i = 0; i < 36; ++i, ++flow) ordinary.push_back(rig.Put(flow, Match(flow, 0), PushVid(flow)));
        with_new_set.push_back(rig.Put(flow, Match(flow, 0), "p" + std::to_string(a) + ",p" + std::to_string(b)));
        ++flow;
      }
    }
    rig.Send();
    for (const uint64_t seq : ordinary) ExpectInstalled(rig, seq);
    EXPECT_LT(rig.verdicts.size(), 1 + ordinary.size() + 20);
    rig.WaitUntil([&] { return rig.verdicts.size() == flow; });
    for (const uint64_t seq : with_new_set) ExpectInstalled(rig, seq);
    rig.Tick();
    EXPECT_EQ(rig.Counter(1, "flows"), flow);
  });
}

TEST_F(Parking, MoreMasksThanTheLimitAreRefusedByName) {
  With(1, [](HandlerRig& rig) {
    std::vector<uint64_t> seqs;
    for (uint32_t i = 0; i < 256; ++i) seqs.push_back(rig.Put(i, Match(i, i), "drop"));
    rig.Send();
    rig.WaitUntil([&] { return rig.verdicts.size() == 256; });
    for (uint32_t i = 0; i < 255; ++i) ExpectInstalled(rig, seqs[i]);
    ExpectRefused(rig, seqs[255], "too_many_masks");
    EXPECT_NE(rig.verdicts[seqs[255]].detail().find("255"), std::string::npos);
    // One that goes makes room.
    rig.Delete(7);
    const uint64_t again = rig.Put(255, Match(255, 255), PushVid(9));
    rig.Send();
    rig.WaitUntil([&] { return rig.verdicts.contains(again); });
    ExpectInstalled(rig, again);
    EXPECT_EQ(Served(rig, 255), 9);
  });
}

// With few records in reserve, most have to wait for those of the flows that they replace.
TEST_F(Parking, FullTableTakesChangesAndRefusesMore) {
  With(1,
       [](HandlerRig& rig) {
         for (uint32_t i = 0; i < 1000; ++i) rig.Put(i, Match(i, 0), PushVid(1 + i));
         rig.Send();
         const uint64_t first = rig.Put(0, Match(0, 0), PushVid(2000), 0, 2);
         for (uint32_t i = 1; i < 1000; ++i) rig.Put(i, Match(i, 0), PushVid(2000 + i), 0, 2);
         const uint64_t more = rig.Put(1000, Match(1000, 0), PushVid(1));
         rig.Send();
         rig.WaitUntil([&] { return rig.verdicts.size() == 2001; });
         for (uint32_t i = 0; i < 1000; ++i) ExpectInstalled(rig, first + i);
         ExpectRefused(rig, more, "table_full");
         EXPECT_NE(rig.verdicts[more].detail().find("max_flows"), std::string::npos);
         for (uint32_t i = 0; i < 1000; ++i) ASSERT_EQ(Served(rig, i), 2000 + i);
         rig.Delete(7, 2);
         const uint64_t again = rig.Put(1000, Match(1000, 0), PushVid(1));
         rig.Send();
         rig.WaitUntil([&] { return rig.verdicts.contains(again); });
         ExpectInstalled(rig, again);
       },
       {{"max_flows", "1000"}});
}

TEST_F(Parking, OldFlowStaysUntilTheNewOneIsIn) {
  With(1, [](HandlerRig& rig) {
    rig.Put(1, Match(1, 0), PushVid(1));
    rig.Send();
    UseUpMasks(rig);
    const uint64_t change = rig.Put(1, Match(1, 50), PushVid(2));
    const uint64_t replacement = rig.Put(1, Match(1, 51), PushVid(3), 0, 2);  // another instance
    rig.Send();
    ExpectRefused(rig, change, "superseded");
    EXPECT_FALSE(rig.verdicts.contains(replacement));
    EXPECT_EQ(Served(rig, 1), 1);
    rig.WaitUntil([&] { return rig.verdicts.contains(replacement); });
    ExpectInstalled(rig, replacement);
    EXPECT_EQ(Served(rig, 1), 3);
  });
}

TEST_F(Parking, DeletionTakesTheParkedAndTheOld) {
  With(1, [](HandlerRig& rig) {
    rig.Put(1, Match(1, 0), PushVid(1));
    rig.Send();
    UseUpMasks(rig);
    const uint64_t replacement = rig.Put(1, Match(1, 50), PushVid(2), 0, 2);
    const uint64_t fresh = rig.Put(2, Match(2, 51), PushVid(3));
    rig.Send();
    const uint64_t deletion = rig.Delete(1, 2);
    const uint64_t other_deletion = rig.Delete(2);
    rig.Send();
    ExpectRefused(rig, replacement, "superseded");
    ExpectRefused(rig, fresh, "superseded");
    EXPECT_EQ(Served(rig, 1), std::nullopt);
    rig.WaitUntil([&] { return rig.deleted.contains(deletion) && rig.deleted.contains(other_deletion); });
    rig.WaitUntil([&] { return rig.verdicts.size() == 43; });
    EXPECT_EQ(Served(rig, 1), std::nullopt);
    EXPECT_EQ(Served(rig, 2), std::nullopt);
    rig.Tick();
    EXPECT_EQ(rig.Counter(1, "flows"), 40);
  });
}

TEST_F(Parking, ResyncForgetsThemAndKeepsWhatIsIn) {
  With(1, [](HandlerRig& rig) {
    rig.Put(1, Match(1, 0), PushVid(1));
    rig.Put(2, Match(2, 0), PushVid(2));
    rig.Send();
    UseUpMasks(rig);
    const uint64_t parked = rig.Put(1, Match(1, 50), PushVid(3));
    rig.Send();
    rig.Resync();
    EXPECT_EQ(Served(rig, 1), 1);
    v1::Port& port = *rig.batch().add_changes()->mutable_port_put();
    port.set_name("p1");
    port.set_number(1);
    const uint64_t again = rig.Put(1, Match(1, 60), PushVid(4));
    for (uint32_t i = 0; i < 40; ++i) rig.Put(200 + i, Match(200 + i, 200 + i), "drop");
    rig.batch().set_synced(true);
    rig.Send();
    EXPECT_EQ(Served(rig, 2), std::nullopt) << "not told again";
    EXPECT_NE(Served(rig, 1), std::nullopt) << "what is parked replaces it";
    rig.WaitUntil([&] { return rig.verdicts.contains(again + 40); });
    ExpectInstalled(rig, again);
    EXPECT_EQ(Served(rig, 1), 4);
    EXPECT_FALSE(rig.verdicts.contains(parked));
  });
}

TEST_F(Parking, PortThatGoesRefusesWhatIsParkedForIt) {
  With(2, [](HandlerRig& rig) {
    UseUpMasks(rig);
    rig.Send();
    const uint64_t parked = rig.Put(1, Match(1, 50), PushVid(1));
    rig.Send();
    ASSERT_FALSE(rig.verdicts.contains(parked));
    rig.DeletePort(1);
    rig.Send();
    rig.WaitUntil([&] { return rig.verdicts.contains(parked); });
    ExpectRefused(rig, parked, "no_such_port");
    EXPECT_EQ(rig.verdicts.size(), 41);
  });
}

TEST_F(Parking, FlowOfEveryPortComesIntoAllOrNone) {
  With(3, [](HandlerRig& rig) {
    // Port 2 has no spare masks, the others have.
    for (uint32_t i = 0; i < 40; ++i) {
      std::string match = Match(100 + i, 100 + i);
      match.replace(0, 10, "in_port(2)");
      rig.Put(100 + i, match, "drop");
    }
    const uint64_t everywhere = rig.Put(1, Match(1, 50).substr(11), PushVid(5));
    rig.Send();
    EXPECT_FALSE(rig.verdicts.contains(everywhere));
    EXPECT_EQ(Served(rig, 1), std::nullopt);
    rig.WaitUntil([&] { return rig.verdicts.contains(everywhere); });
    ExpectInstalled(rig, everywhere);
    for (unsigned port = 1; port <= 3; ++port) {
      EXPECT_EQ(RunProgram(rig.program_fd(port), UdpFrame(0x0a010001)).vid(), 5);
    }
  });
}

TEST_F(Parking, PacketOutComesAfterTheFlowsBeforeIt) {
  With(2, [](HandlerRig& rig) {
    UseUpMasks(rig);
    rig.Send();
    const uint64_t flow = rig.Put(1, Match(1, 50), "drop");
    const auto frame = UdpFrame(0x0a010001);
    rig.PacketOut(1, {frame.begin(), frame.end()});
    rig.Send();
    ASSERT_FALSE(rig.verdicts.contains(flow));
    rig.WaitUntil([&] { return rig.verdicts.contains(flow); });
    rig.Tick();
    EXPECT_EQ(rig.Counter(1, "packet_out"), 1);
    EXPECT_EQ(rig.Counter(1, "drop"), 1);
    EXPECT_EQ(rig.Counter(1, "miss"), 0);
    EXPECT_EQ(rig.stats[1], 1);
  });
}

TEST_F(Parking, PluginStopsWhileSomeAreParked) {
  for (const bool keep : {false, true}) {
    const test::Netns netns;
    netns.Do([&] {
      HandlerRig rig(netns, 1);
      UseUpMasks(rig);
      rig.Send();
      EXPECT_LT(rig.verdicts.size(), 40);
      const size_t said = rig.verdicts.size();
      rig.Stop(keep);
      EXPECT_EQ(rig.verdicts.size(), said);
      EXPECT_EQ(netns.Ip({"link", "show", "p1"}).find("xdp") != std::string::npos, keep);
    });
  }
}

// Random puts, changes, replacements and deletions of few flows under many masks, against what they must come to.
TEST_F(Parking, OrderPerFlowIsKept) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  With(1, [&](HandlerRig& rig) {
    struct Known {
      uint64_t instance = 0;
      uint32_t vid = 0;  // 0: deleted
      uint64_t seq = 0;  // of the newest put
    };
    constexpr uint32_t kFlows = 40;
    std::minstd_rand random(seed);
    std::vector<Known> flows(kFlows);
    std::map<uint32_t, uint32_t> flow_of_vid;
    std::set<uint64_t> puts;
    std::set<uint64_t> deletions;
    uint32_t next_vid = 0;
    for (int round = 0; round < 60; ++round) {
      for (uint32_t change = random() % 60; change-- > 0;) {
        const uint32_t number = random() % kFlows;
        Known& flow = flows[number];
        if (flow.vid != 0 && random() % 4 == 0) {
          deletions.insert(rig.Delete(number, flow.instance));
          flow.vid = 0;
          continue;
        }
        if (flow.vid == 0 || random() % 4 == 0) ++flow.instance;
        flow.vid = 1 + next_vid++ % 4000;
        flow_of_vid[flow.vid] = number;
        flow.seq = rig.Put(number, Match(number, random() % 200), PushVid(flow.vid), random() % 3, flow.instance);
        puts.insert(flow.seq);
      }
      rig.Send();
      for (uint32_t number = 0; number < kFlows; ++number) {
        const auto vid = Served(rig, number);
        if (vid) {
          EXPECT_EQ(flow_of_vid[*vid], number);
          EXPECT_NE(flows[number].vid, 0) << "deleted, and " << *vid << " is still there";
        }
        const auto verdict = rig.verdicts.find(flows[number].seq);
        if (flows[number].vid != 0 && verdict != rig.verdicts.end()) {
          EXPECT_EQ(vid, flows[number].vid) << verdict->second.detail();
        }
      }
      if (round % 5 == 4) rig.Tick();
      if (round % 3 == 2) rig.Wait();
      if (testing::Test::HasFailure()) return;
    }
    EXPECT_GT(puts.size(), 500);
    rig.WaitUntil([&] { return rig.verdicts.size() == puts.size() && rig.deleted.size() == deletions.size(); });
    size_t superseded = 0;
    for (const auto& [seq, verdict] : rig.verdicts) superseded += verdict.reason() == "superseded" ? 1 : 0;
    EXPECT_GT(superseded, 10) << "few had to wait";
    for (uint32_t number = 0; number < kFlows; ++number) {
      const Known& flow = flows[number];
      EXPECT_EQ(Served(rig, number), flow.vid == 0 ? std::nullopt : std::optional<uint16_t>(flow.vid));
      if (flow.vid != 0) ExpectInstalled(rig, flow.seq);
    }
  });
}

}  // namespace
}  // namespace sluice::xdp
