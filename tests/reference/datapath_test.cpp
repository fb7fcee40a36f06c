// SPDX-License-Identifier: Apache-2.0
#include "reference/datapath.h"

#include <gtest/gtest.h>

#include "sluice/flow_text.h"

namespace sluice::reference {
namespace {

Flow MakeFlow(const std::string& match, const std::string& actions, uint32_t priority = 0) {
  Flow flow;
  auto parsed = ParseMatch(match);
  EXPECT_TRUE(parsed) << match << ": " << parsed.error().detail;
  flow.match = *parsed;
  flow.ufid = flow.match.DeriveUfid();
  auto list = ParseActions(actions);
  EXPECT_TRUE(list) << actions << ": " << list.error().detail;
  flow.actions = *list;
  flow.priority = priority;
  return flow;
}

const std::set<uint32_t> kPorts{1, 2, 3};

Bytes Frame() { return {0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 1, 0x88, 0xb5, 0xaa, 0xbb}; }

TEST(Datapath, HighestPriorityWinsAndCounts) {
  Datapath datapath(kPorts);
  const Flow wide = MakeFlow("in_port(1)", "2", 1);
  const Flow narrow = MakeFlow("in_port(1),eth_type(0x88b5)", "3", 2);
  const Flow elsewhere = MakeFlow("in_port(2)", "3", 9);
  for (const Flow& flow : {wide, narrow, elsewhere}) datapath.Put(flow);
  const Match key = Datapath::ParseOn(1, Frame()).key;
  auto hits = datapath.Candidates(key);
  ASSERT_EQ(hits.size(), 1U);
  EXPECT_EQ(hits.front()->ufid, narrow.ufid);
  EXPECT_EQ(datapath.Hit(*hits.front(), Frame(), 1).emissions.front().port, 3U);
  EXPECT_EQ(hits.front()->counters, (Counters{1, 16, 0}));

  datapath.Delete(narrow.ufid);
  hits = datapath.Candidates(key);
  ASSERT_EQ(hits.size(), 1U);
  EXPECT_EQ(hits.front()->ufid, wide.ufid);
  EXPECT_TRUE(datapath.Candidates(Datapath::ParseOn(3, Frame()).key).empty());
}

TEST(Datapath, EqualPrioritiesMayBothMatch) {
  Datapath datapath(kPorts);
  datapath.Put(MakeFlow("in_port(1)", "2"));
  datapath.Put(MakeFlow("eth_type(0x88b5)", "3"));
  EXPECT_EQ(datapath.Candidates(Datapath::ParseOn(1, Frame()).key).size(), 2U);
}

TEST(Datapath, ReplacingKeepsTheCounters) {
  Datapath datapath(kPorts);
  Flow flow = MakeFlow("in_port(1)", "2");
  datapath.Put(flow);
  const Match key = Datapath::ParseOn(1, Frame()).key;
  datapath.Hit(*datapath.Candidates(key).front(), Frame(), 1);
  flow.actions = {Output{3}};
  datapath.Put(flow);
  Flow* hit = datapath.Candidates(key).front();
  EXPECT_EQ(datapath.Hit(*hit, Frame(), 1).emissions.front().port, 3U);
  EXPECT_EQ(hit->counters.packets, 2U);
}

TEST(Datapath, CountsTcpFlags) {
  Datapath datapath(kPorts);
  datapath.Put(MakeFlow("eth_type(0x0800)", "2"));
  for (uint16_t flags : {0x002, 0x010}) {
    PacketSpec spec;
    spec.l3 = Ipv4Spec{};
    spec.l4 = TcpSpec{1, 2, flags, 0};
    const Bytes frame = Build(spec);
    datapath.Hit(*datapath.Candidates(Datapath::ParseOn(1, frame).key).front(), frame, 1);
  }
  EXPECT_EQ(datapath.flows().begin()->second.counters.tcp_flags, 0x012U);
}

}  // namespace
}  // namespace sluice::reference
