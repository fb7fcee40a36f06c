// SPDX-License-Identifier: Apache-2.0
// The plugin on net_sluice through what happens to it: every way of having a flow, faults, ports that go and come.
#include <gtest/gtest.h>

#include <chrono>
#include <deque>

#include "nic_rig.h"
#include "sluice/flow_text.h"

namespace sluice::rteflow {
namespace {

// A frame that in_port(p),eth(dst=02:00:00:00:00:NN),eth_type(0x88b5) takes.
reference::Bytes Frame(uint8_t number) {
  reference::Bytes frame(60, 0);
  frame[0] = 2;
  frame[5] = number;
  frame[6] = 6;
  frame[12] = 0x88;
  frame[13] = 0xb5;
  return frame;
}

std::string To(uint32_t port, unsigned number) {
  char text[128];
  std::snprintf(text, sizeof(text), "in_port(%u),eth(dst=02:00:00:00:00:%02x),eth_type(0x88b5)", port, number);
  return text;
}

std::string Where(const v1::FromPlugin& answer) {
  const v1::Verdict& verdict = VerdictOf(answer);
  std::string text = verdict.state() == v1::INSTALLED  ? "installed"
                     : verdict.state() == v1::SOFTWARE ? "software"
                                                       : "refused";
  if (!verdict.reason().empty()) text += " " + verdict.reason();
  return text;
}

class NicLife : public testing::Test {
 protected:
  void SetUp() override {
    if (!WhyNoNic().empty()) GTEST_SKIP() << WhyNoNic();
  }
  NicRig& Open(const std::string& devargs, const std::map<std::string, std::string>& options = {}) {
    return rigs_.emplace_back(devargs, options);
  }
  // The ports that a frame into port 1 comes out of.
  static std::vector<uint32_t> Out(NicRig& rig, uint8_t number) {
    std::vector<uint32_t> ports;
    for (const auto& emission : rig.Send(1, Frame(number)).emissions) ports.push_back(emission.port);
    return ports;
  }
  static uint64_t Rules(NicRig& rig) {
    uint64_t all = 0;
    for (uint32_t port = 1; port <= NicRig::kPorts; ++port) all += rig.DeviceCounter(port, "flow_rules");
    return all;
  }
  std::deque<NicRig> rigs_;
};

using Ports = std::vector<uint32_t>;

TEST_F(NicLife, AFlowIsPutChangedAndDeleted) {
  NicRig& rig = Open("profile=full");
  EXPECT_EQ(Where(rig.Put(1, To(1, 1), "2")), "installed");
  EXPECT_EQ(Out(rig, 1), Ports{2});
  EXPECT_EQ(Where(rig.Put(1, To(1, 1), "3")), "installed");
  EXPECT_EQ(Out(rig, 1), Ports{3});
  EXPECT_EQ(Where(rig.Put(1, To(1, 1), "drop")), "installed");
  EXPECT_EQ(Out(rig, 1), Ports{});
  EXPECT_EQ(rig.DeviceCounter(1, "rx_dropped"), 1U);
  EXPECT_EQ(Rules(rig), 1U);
  EXPECT_TRUE(VerdictOf(rig.Delete(1)).deleted());
  EXPECT_EQ(Rules(rig), 0U);
  EXPECT_EQ(rig.Send(1, Frame(1)).upcalls.size(), 1U);
  EXPECT_TRUE(VerdictOf(rig.Delete(1)).deleted());  // gone already: confirmed all the same
}

TEST_F(NicLife, EachProfileHasItsWay) {
  const std::map<std::string, std::pair<std::string, std::string>> kWays = {
      {"full", {"installed", ""}},
      {"mark-count", {"installed partial", "the device marks and counts, software forwards"}},
      {"mark-needs-queue", {"installed partial", "the device marks, counts and chooses the queue, software forwards"}},
      {"no-count", {"installed partial", "the device marks and chooses the queue, software forwards and counts"}},
      {"drop-only", {"software device_refused", ""}},
      {"net_tap", {"software device_refused", ""}},
  };
  for (const auto& [profile, way] : kWays) {
    NicRig& rig = Open("profile=" + profile);
    const auto answer = rig.Put(1, To(1, 1), "2");
    EXPECT_EQ(Where(answer), way.first) << profile << ": " << answer.ShortDebugString();
    if (!way.second.empty()) {
      EXPECT_EQ(VerdictOf(answer).detail(), way.second) << profile;
    }
    const Seen seen = rig.Send(1, Frame(1));
    ASSERT_EQ(seen.emissions.size(), 1U) << profile;
    EXPECT_EQ(seen.emissions[0].port, 2U);
    EXPECT_EQ(seen.counted.at(1).packets(), 1U) << profile;
    EXPECT_EQ(rig.handler().Fds().size(), 1U);
    rigs_.clear();
  }
}

TEST_F(NicLife, OptionsLimitWhatTheDeviceIsAskedFor) {
  EXPECT_EQ(Where(Open("profile=full", {{"offload", "partial"}}).Put(1, To(1, 1), "2")), "installed partial");
  rigs_.clear();
  NicRig& none = Open("profile=full", {{"offload", "none"}});
  EXPECT_EQ(Where(none.Put(1, To(1, 1), "2")), "software offload_off");
  EXPECT_EQ(Out(none, 1), Ports{2});
}

TEST_F(NicLife, ADropThatTheDeviceDoesNotCountIsToBeAskedFor) {
  NicRig& counted = Open("profile=net_tap");
  EXPECT_EQ(Where(counted.Put(1, To(1, 1), "drop")), "software device_refused");
  EXPECT_EQ(counted.Send(1, Frame(1)).counted.at(1).packets(), 1U);
  rigs_.clear();
  NicRig& dropped = Open("profile=net_tap", {{"uncounted", "yes"}});
  const auto answer = dropped.Put(1, To(1, 1), "drop");
  EXPECT_EQ(Where(answer), "installed");
  EXPECT_EQ(VerdictOf(answer).detail(), "the device does not count it");
  EXPECT_TRUE(dropped.Send(1, Frame(1)).counted.empty());
  EXPECT_EQ(dropped.DeviceCounter(1, "rx_dropped"), 1U);
}

TEST_F(NicLife, WhatCannotBeDoneIsRefusedByName) {
  NicRig& rig = Open("profile=full");
  const auto refused = [&](const std::string& match, const std::string& actions) {
    const auto answer = rig.Put(1, match, actions);
    return Where(answer) + ": " + VerdictOf(answer).detail();
  };
  EXPECT_TRUE(refused(To(1, 1), "recirc(0x1)").starts_with("refused unsupported_action"))
      << refused(To(1, 1), "recirc(0x1)");
  EXPECT_EQ(refused(To(9, 1), "2"), "refused no_such_port: in_port 9 is not a port of rte_flow's");
  EXPECT_TRUE(refused(To(1, 1), "9").starts_with("refused ")) << refused(To(1, 1), "9");
  EXPECT_EQ(Rules(rig), 0U);
  EXPECT_EQ(Out(rig, 1), Ports{});
}

// The device is met before software: what is only in software must not be overtaken by a rule that it outranks.
TEST_F(NicLife, AFlowInSoftwareKeepsLowerOnesOutOfTheDevice) {
  NicRig& rig = Open("profile=full", {{"offload", "full"}});
  EXPECT_EQ(Where(rig.Put(1, "in_port(1)", "2", 1)), "installed");
  // The device truncates nothing, but marks: by a rule of the port, behind which the lower flow's has to go.
  const auto answer = rig.Put(2, To(1, 7), "trunc(20),3", 5);
  ASSERT_EQ(answer.verdicts_size(), 2) << answer.ShortDebugString();
  for (const auto& verdict : answer.verdicts()) {
    EXPECT_EQ(verdict.state(), v1::INSTALLED);
    EXPECT_EQ(verdict.reason(), NumberOf(verdict.ufid()) == 2 ? "partial" : "");
  }
  EXPECT_EQ(Out(rig, 7), Ports{3});
  rig.WriteFaults("create=fail\n");
  const auto high = rig.Put(3, To(1, 8), "4", 9);
  rig.WriteFaults("");
  ASSERT_EQ(high.verdicts_size(), 2) << high.ShortDebugString();
  for (const auto& verdict : high.verdicts()) EXPECT_EQ(verdict.state(), v1::SOFTWARE);
  EXPECT_EQ(Out(rig, 8), Ports{4});
  EXPECT_EQ(Out(rig, 9), Ports{2});
  const auto gone = rig.Delete(3);  // nobody is in the way any more
  ASSERT_EQ(gone.verdicts_size(), 2) << gone.ShortDebugString();
  EXPECT_EQ(Out(rig, 8), Ports{2});
  EXPECT_EQ(rig.DeviceCounter(1, "flow_rules"), 2U);
}

TEST_F(NicLife, AFullDeviceLeavesTheRestToSoftwareAndTakesItBack) {
  NicRig& rig = Open("profile=full");
  rig.WriteFaults("max_rules=50\n");
  v1::ToPlugin batch;
  for (unsigned n = 0; n < 100; ++n) {
    rig.AddPut(batch, n + 1, *ParseMatch(To(1, n)), *ParseActions("2"), 0);
  }
  unsigned installed = 0;
  const auto told = rig.Tell(batch);
  for (const auto& verdict : told.verdicts()) {
    installed += verdict.state() == v1::INSTALLED ? 1 : 0;
    if (verdict.state() != v1::INSTALLED) {
      EXPECT_EQ(verdict.reason(), "table_full") << verdict.detail();
    }
  }
  EXPECT_EQ(installed, 50U);
  for (const uint8_t n : {0, 49, 50, 99}) EXPECT_EQ(Out(rig, n), Ports{2});
  v1::ToPlugin deletes;
  for (unsigned n = 0; n < 100; n += 2) rig.AddDelete(deletes, n + 1);
  EXPECT_EQ(rig.Tell(deletes).verdicts_size(), 50);
  EXPECT_EQ(Rules(rig), 25U);
  EXPECT_EQ(Where(rig.Put(100, To(1, 99), "3")), "installed");
  EXPECT_EQ(Out(rig, 99), Ports{3});
  EXPECT_EQ(Out(rig, 98), Ports{});
}

TEST_F(NicLife, ARuleThatTheDeviceDoesNotLetGoIsNotLeftToTakePackets) {
  NicRig& rig = Open("profile=full");
  rig.Put(1, To(1, 1), "2");
  rig.Put(2, To(1, 2), "3");
  rig.WriteFaults("destroy=fail\n");
  const auto answer = rig.Delete(1);  // nor does it flush them: it is closed
  rig.WriteFaults("");
  bool deleted = false;
  for (const auto& verdict : answer.verdicts()) deleted |= verdict.deleted();
  EXPECT_TRUE(deleted);
  ASSERT_EQ(answer.ports_size(), 1) << answer.ShortDebugString();
  EXPECT_EQ(answer.ports(0).state(), "failed");
  EXPECT_TRUE(answer.ports(0).detail().starts_with("the device does not let rules go: ")) << answer.ports(0).detail();
  EXPECT_EQ(Where(rig.Put(2, To(1, 2), "3")), "refused no_such_port");
  EXPECT_EQ(rig.AddPort(1).ports(0).state(), "up");
  EXPECT_EQ(Where(rig.Put(2, To(1, 2), "3")), "installed");
  EXPECT_EQ(Out(rig, 1), Ports{});
  EXPECT_EQ(Out(rig, 2), Ports{3});
}

TEST_F(NicLife, AnOverlapThatTheDeviceRefusesIsSoftwares) {
  NicRig& rig = Open("profile=full");
  rig.WriteFaults("eexist=1\n");
  EXPECT_EQ(Where(rig.Put(1, To(1, 1), "2")), "installed");
  const auto answer = rig.Put(2, "in_port(1),eth(dst=02:00:00:00:00:00/ff:ff:ff:ff:ff:00),eth_type(0x88b5)", "3");
  EXPECT_EQ(VerdictOf(answer).state(), v1::SOFTWARE) << answer.ShortDebugString();
  EXPECT_NE(VerdictOf(answer).detail().find("xist"), std::string::npos) << VerdictOf(answer).detail();
  EXPECT_EQ(Out(rig, 1), Ports{2});
  EXPECT_EQ(Out(rig, 9), Ports{3});
  EXPECT_EQ(Where(rig.Put(1, To(1, 1), "4")), "installed");  // its own predecessor is not in its way
  EXPECT_EQ(Out(rig, 1), Ports{4});
}

TEST_F(NicLife, PortsGoAndComeWithTheirRules) {
  NicRig& rig = Open("profile=full");
  rig.Put(1, To(1, 1), "2");
  rig.Put(2, To(2, 1), "1");
  rig.Put(3, To(3, 1), "1");
  rig.Put(4, "eth_type(0x88b6)", "drop");
  EXPECT_EQ(Rules(rig), 3U + 4U);
  rig.DeletePort(2);
  EXPECT_EQ(rig.DeviceCounter(1, "flow_rules"), 1U);  // what sent to it has left the device, too
  EXPECT_EQ(rig.DeviceCounter(3, "flow_rules"), 2U);  // the flows of other ports stay
  EXPECT_EQ(Where(rig.Put(1, To(1, 1), "2")), "refused unknown_port");
  EXPECT_EQ(Out(rig, 1), Ports{});
  for (int round = 0; round < 20; ++round) {
    const auto added = rig.AddPort(2);
    ASSERT_EQ(added.ports(0).state(), "up") << added.ShortDebugString();
    EXPECT_EQ(Where(rig.Put(1, To(1, 1), "2")), "installed");
    EXPECT_EQ(Where(rig.Put(4, "eth_type(0x88b6)", "drop")), "installed");
    EXPECT_EQ(Out(rig, 1), Ports{2});
    EXPECT_EQ(Rules(rig), 2U + 4U);
    rig.DeletePort(2);
  }
}

// The core takes a plugin that says nothing for long for one that hangs.
TEST_F(NicLife, ASlowDeviceIsNoReasonToBeTakenForOneThatHangs) {
  NicRig& rig = Open("profile=full");
  rig.WriteFaults("create_us=3000\n");
  v1::ToPlugin batch;
  for (unsigned n = 0; n < 250; ++n) rig.AddPut(batch, n + 1, *ParseMatch(To(1, n)), *ParseActions("2"), 0);
  const unsigned before = rig.busy();
  EXPECT_EQ(rig.Tell(batch).verdicts_size(), 250);
  EXPECT_GE(rig.busy(), before + 3);
}

TEST_F(NicLife, ALinkThatGoesAndComesIsTold) {
  NicRig& rig = Open("profile=full");
  const auto link_of = [&](const std::string& state) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (std::chrono::steady_clock::now() < end) {
      const v1::FromPlugin told = rig.Tick();
      for (const auto& port : told.ports()) {
        if (port.name() == "p1" && port.info().contains("link") && port.info().at("link").starts_with(state))
          return true;
      }
    }
    return false;
  };
  rig.WriteFaults("link=down\n");
  EXPECT_TRUE(link_of("down"));
  rig.WriteFaults("");
  EXPECT_TRUE(link_of("up"));
}

TEST_F(NicLife, WhatIsBeyondTheDeviceIsCountedAllTheSame) {
  NicRig& rig = Open("profile=full");
  rig.WriteFaults("query=fail\n");
  EXPECT_EQ(Where(rig.Put(1, To(1, 1), "2")), "installed");
  EXPECT_EQ(Where(rig.Put(2, To(1, 2), "trunc(20),2")), "installed partial");
  EXPECT_FALSE(rig.Send(1, Frame(1)).counted.contains(1));
  EXPECT_EQ(rig.Send(1, Frame(2)).counted.at(2).packets(), 1U);
  rig.WriteFaults("");
  EXPECT_EQ(rig.Send(1, Frame(1)).counted.at(1).packets(), 2U);  // none was lost
}

TEST_F(NicLife, SeventyThousandFlowsHaveMarksOfTheirOwn) {
  NicRig& rig = Open("profile=mark-count");
  constexpr unsigned kFlows = 70'000;
  const auto match = [](unsigned n) {
    Match wanted;
    wanted.SetExact(Field::in_port, 1);
    wanted.SetExact(Field::eth_type, 0x88b5);
    wanted.SetExact(Field::eth_dst, 0x020000000000 + n);
    return wanted;
  };
  const Actions second = *ParseActions("2");
  const Actions third = *ParseActions("3");
  for (unsigned first = 0; first < kFlows; first += 1000) {
    v1::ToPlugin batch;
    for (unsigned n = first; n < first + 1000; ++n) rig.AddPut(batch, n + 1, match(n), n % 2 == 0 ? second : third, 0);
    const auto told = rig.Tell(batch);
    for (const auto& verdict : told.verdicts()) ASSERT_EQ(verdict.state(), v1::INSTALLED);
  }
  EXPECT_EQ(Rules(rig), kFlows);
  for (const unsigned n : {0U, 1U, 65'534U, 65'535U, 65'536U, 65'537U, kFlows - 1}) {
    reference::Bytes frame = Frame(0);
    frame[3] = static_cast<uint8_t>(n >> 16);
    frame[4] = static_cast<uint8_t>(n >> 8);
    frame[5] = static_cast<uint8_t>(n);
    const Seen seen = rig.Send(1, frame);
    ASSERT_EQ(seen.emissions.size(), 1U) << n;
    EXPECT_EQ(seen.emissions[0].port, n % 2 == 0 ? 2U : 3U) << n;
    EXPECT_TRUE(seen.counted.contains(n + 1)) << n;
  }
  EXPECT_EQ(rig.datapath().Counters(1).marked, 7U);
  for (unsigned first = 0; first < kFlows; first += 1000) {
    v1::ToPlugin batch;
    for (unsigned n = first; n < first + 1000; ++n) rig.AddDelete(batch, n + 1);
    EXPECT_EQ(rig.Tell(batch).verdicts_size(), 1000);
  }
  EXPECT_EQ(Rules(rig), 0U);
}

// A hundred thousand changes with the device running full in the middle: what it has is what the table says.
TEST_F(NicLife, ChurnLeavesNothingBehind) {
  NicRig& rig = Open("profile=full");
  rig.WriteFaults("max_rules=300\n");
  reference::Rng rng(reference::SeedFromEnvironment());
  std::map<uint64_t, bool> installed;
  for (int round = 0; round < 1000; ++round) {
    v1::ToPlugin batch;
    for (int i = 0; i < 100; ++i) {
      const uint64_t flow = 1 + rng.Below(600);
      if (rng.OneIn(3)) {
        rig.AddDelete(batch, flow);
        continue;
      }
      Match match;
      match.SetExact(Field::in_port, 1 + flow % 2);
      match.SetExact(Field::eth_dst, 0x020000000000 + flow);
      rig.AddPut(batch, flow, match, {Output{static_cast<uint32_t>(1 + rng.Below(4))}}, 0);
    }
    const auto told = rig.Tell(batch);
    for (const auto& verdict : told.verdicts()) {
      if (verdict.deleted()) {
        installed.erase(NumberOf(verdict.ufid()));
      } else {
        installed[NumberOf(verdict.ufid())] = verdict.state() == v1::INSTALLED;
      }
    }
    if (round % 100 != 99) continue;
    const auto count = std::count_if(installed.begin(), installed.end(), [](const auto& each) { return each.second; });
    EXPECT_EQ(Rules(rig), static_cast<uint64_t>(count)) << "round " << round;
  }
  v1::ToPlugin all;
  for (uint64_t flow = 1; flow <= 600; ++flow) rig.AddDelete(all, flow);
  EXPECT_EQ(rig.Tell(all).verdicts_size(), 600);
  EXPECT_EQ(Rules(rig), 0U);
}

}  // namespace
}  // namespace sluice::rteflow
