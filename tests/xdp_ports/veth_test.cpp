// SPDX-License-Identifier: Apache-2.0
#include "veth.h"

#include <gtest/gtest.h>

#include "ethtool.h"
#include "one_veth.h"
#include "support/process.h"
#include "trivial_program.h"

namespace sluice::xdp {
namespace {

std::string AllFeatures(const test::Netns& netns, const std::string& device) {
  return test::RunOrThrow({"ethtool", "-k", device}, {.netns = &netns});
}

bool Active(const test::Netns& netns, const std::string& device, const std::string& feature) {
  bool active = false;
  netns.Do([&] { active = ReadFeatures(device)->at(feature).active; });
  return active;
}

class VethPrepareTest : public test::OneVeth {
 protected:
  Preparation Prepare() {
    Preparation result;
    here_->Do([&] { result = PrepareDevice(*QueryDevice("p0")); });
    return result;
  }
  void Undo(const Preparation& preparation) {
    here_->Do([&] {
      const auto undone = UndoChanges("p0", preparation.changes);
      EXPECT_TRUE(undone) << undone.error().detail;
    });
  }
};

TEST_F(VethPrepareTest, MakesAPlainPairWorkAndTurnsEverythingBack) {
  const auto here_before = AllFeatures(*here_, "p0");
  const auto there_before = AllFeatures(*there_, "eth0");
  const auto preparation = Prepare();
  EXPECT_EQ(preparation.peer, "eth0 in netns " + there_->name());
  EXPECT_TRUE(preparation.warnings.empty()) << preparation.warnings.front();
  EXPECT_TRUE(Active(*there_, "eth0", "rx-gro"));
  for (const std::string off : {"tx-checksum-ip-generic", "tx-checksum-sctp", "tx-tcp-segmentation",
                                "tx-vlan-hw-insert", "tx-vlan-stag-hw-insert"}) {
    EXPECT_FALSE(Active(*there_, "eth0", off)) << off;
  }
  EXPECT_FALSE(Active(*here_, "p0", "rx-vlan-hw-parse"));
  EXPECT_TRUE(Active(*here_, "p0", "tx-checksum-ip-generic"));  // what we send ourselves is not concerned
  EXPECT_NE(preparation.Changed().find("peer tx-checksum-ip-generic off"), std::string::npos);
  EXPECT_NE(preparation.Changed().find("peer rx-gro on"), std::string::npos);

  Undo(preparation);
  EXPECT_EQ(AllFeatures(*here_, "p0"), here_before);
  EXPECT_EQ(AllFeatures(*there_, "eth0"), there_before);
}

TEST_F(VethPrepareTest, ChangesNothingThatIsRight) {
  const auto first = Prepare();
  EXPECT_TRUE(Prepare().changes.empty());
  Undo(first);
}

TEST_F(VethPrepareTest, LeavesWhatTheUserChangedMeanwhile) {
  const auto preparation = Prepare();
  test::SetFeature(veth_->b(), "gro", false);
  Undo(preparation);
  EXPECT_FALSE(Active(*there_, "eth0", "rx-gro"));
  EXPECT_TRUE(Active(*there_, "eth0", "tx-checksum-ip-generic"));

  const auto again = Prepare();
  test::SetFeature(veth_->b(), "gro", false);
  test::SetFeature(veth_->b(), "gro", true);  // as we had it, so it cannot be told from ours
  Undo(again);
  EXPECT_FALSE(Active(*there_, "eth0", "rx-gro"));
}

TEST_F(VethPrepareTest, LeavesGroToAPeerThatRunsXdp) {
  there_->Do([&] {
    const auto program = test::LoadTrivialProgram("peers_own", XDP_PASS);
    test::AttachByNetlink(static_cast<int>(veth_->IfIndexB()), program.get());
  });
  const auto preparation = Prepare();
  EXPECT_EQ(preparation.Changed().find("rx-gro"), std::string::npos) << preparation.Changed();
}

TEST_F(VethPrepareTest, MakesFramesArriveThatAreRedirectedToIt) {
  const auto takes_frames = [&] {
    std::optional<uint64_t> features;
    here_->Do([&] { features = QueryDevice("p0")->xdp_features; });
    return !features || (*features & kXdpNdoXmit) != 0;
  };
  const auto preparation = Prepare();
  EXPECT_TRUE(takes_frames());
  Undo(preparation);
}

TEST_F(VethPrepareTest, PreparesAPeerInTheSameNamespace) {
  here_->Ip({"link", "add", "q0", "type", "veth", "peer", "name", "q1"});
  Preparation preparation;
  here_->Do([&] { preparation = PrepareDevice(*QueryDevice("q0")); });
  EXPECT_EQ(preparation.peer, "q1");
  EXPECT_TRUE(Active(*here_, "q1", "rx-gro"));
  here_->Do([&] { EXPECT_TRUE(UndoChanges("q0", preparation.changes)); });
  EXPECT_FALSE(Active(*here_, "q1", "rx-gro"));
}

TEST_F(VethPrepareTest, WarnsOfWhatIsNotItsToChange) {
  there_->Ip({"link", "set", "eth0", "down"});
  there_->Ip({"link", "set", "eth0", "mtu", "1300"});
  here_->Ip({"link", "set", "p0", "down"});
  const auto preparation = Prepare();
  std::string all;
  for (const auto& warning : preparation.warnings) all += warning + "\n";
  EXPECT_NE(all.find("p0 is down"), std::string::npos) << all;
  EXPECT_NE(all.find("peer eth0 is down"), std::string::npos) << all;
  EXPECT_NE(all.find("peer eth0 has MTU 1300"), std::string::npos) << all;
}

TEST_F(VethPrepareTest, FindsThePeerAgainWhereItMovedMeanwhile) {
  const auto preparation = Prepare();
  const test::Netns elsewhere("slp");
  there_->Ip({"link", "set", "eth0", "netns", elsewhere.name()});
  ASSERT_TRUE(Active(elsewhere, "eth0", "rx-gro"));
  Undo(preparation);
  EXPECT_FALSE(Active(elsewhere, "eth0", "rx-gro"));
}

TEST_F(VethPrepareTest, UndoesNothingWhereTheDeviceIsGone) {
  const auto preparation = Prepare();
  here_->Ip({"link", "del", "p0"});
  Undo(preparation);
}

TEST_F(VethPrepareTest, KnowsTheLargerMtuOfThePair) {
  there_->Ip({"link", "set", "eth0", "mtu", "9000"});
  here_->Do([&] { EXPECT_EQ(LargestMtu(*QueryDevice("p0")), 9000U); });
}

}  // namespace
}  // namespace sluice::xdp
