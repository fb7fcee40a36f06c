// SPDX-License-Identifier: Apache-2.0
// The loop's pieces by themselves.
#include <string>
#include <vector>

#include "loop/action_plan.h"
#include "loop/mark_table.h"
#include "loop/tcp_flags.h"
#include "loop/token_bucket.h"
#include "reference/rng.h"
#include "rig.h"
#include "soft/packet.h"

namespace sluice::rteflow {
namespace {

using Kind = DatapathFlow::Plan::Kind;

// Who has the mark; nullptr: nobody.
DatapathFlow* FlowOf(MarkTable& table, uint32_t mark) {
  const MarkedFlow& found = table.Find(mark);
  EXPECT_EQ(found.way.kind == MarkedFlow::Kind::kNone, found.flow == nullptr);
  return found.flow;
}

TEST(MarkTable, HoldsWhatItHasToAndNoMore) {
  MarkTable table;
  std::vector<DatapathFlow> flows(3);
  flows[0].mark = 1;
  flows[1].mark = 4096;
  flows[2].mark = (1U << 24) + 5;
  for (DatapathFlow& flow : flows) table.Insert(flow, 1);
  EXPECT_EQ(table.pieces(), 3u);
  for (DatapathFlow& flow : flows) EXPECT_EQ(FlowOf(table, flow.mark), &flow);
  for (const uint32_t mark : {0U, 2U, 4095U, 4097U, 1U << 23, UINT32_MAX}) EXPECT_EQ(FlowOf(table, mark), nullptr);
  for (const DatapathFlow& flow : flows) table.Remove(flow, 2);
  for (const DatapathFlow& flow : flows) EXPECT_EQ(FlowOf(table, flow.mark), nullptr);
  EXPECT_EQ(table.pieces(), 0u);
}

TEST(MarkTable, AFlowWithoutAMarkIsNotInIt) {
  MarkTable table;
  DatapathFlow flow;
  table.Insert(flow, 1);
  EXPECT_EQ(FlowOf(table, 0), nullptr);
  table.Remove(flow, 1);
  EXPECT_EQ(table.unmarked().flow, nullptr);
}

TEST(MarkTable, ALaterFlowTakesTheMark) {
  MarkTable table;
  std::vector<DatapathFlow> flows(2);
  for (DatapathFlow& flow : flows) flow.mark = 9;
  table.Insert(flows[0], 1);
  table.Count(table.Find(9), 60);
  table.Insert(flows[1], 2);
  EXPECT_EQ(flows[0].packets, 1u) << "counted for the one that had it";
  table.Count(table.Find(9), 70);
  table.Remove(flows[0], 3);
  EXPECT_EQ(FlowOf(table, 9), &flows[1]);
  table.Remove(flows[1], 4);
  EXPECT_EQ(flows[1].bytes, 70u);
  EXPECT_EQ(table.pieces(), 0u);
  table.Tell(5);
  EXPECT_EQ(flows[1].last_used, 4u);
}

TEST(MarkTable, TellsFlowsWhatWasCounted) {
  MarkTable table;
  std::vector<DatapathFlow> flows(5000);
  for (uint32_t i = 0; i < flows.size(); ++i) {
    flows[i].mark = i + 1;
    table.Insert(flows[i], 1);
  }
  for (uint32_t i = 0; i < flows.size(); ++i) {
    EXPECT_EQ(table.ManyUntold(), i >= 4096) << i;
    table.Count(table.Find(i + 1), i);
    table.Count(table.Find(i + 1), 1);
    table.Find(i + 1).tcp_flags = static_cast<uint16_t>(i & 0xfff);
  }
  EXPECT_EQ(flows[7].packets, 0u);
  table.Tell(33);
  EXPECT_FALSE(table.ManyUntold());
  table.Tell(34);
  for (uint32_t i = 0; i < flows.size(); ++i) {
    ASSERT_EQ(flows[i].packets, 2u);
    ASSERT_EQ(flows[i].bytes, i + 1);
    ASSERT_EQ(flows[i].tcp_flags, i & 0xfff);
    ASSERT_EQ(flows[i].last_used, 33u);
  }
}

TEST(TokenBucket, GivesASecondsWorthAtOnceAndThenAsTimeGoes) {
  constexpr uint64_t kStart = 5'000'000'000;
  TokenBucket bucket(10);
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(bucket.Take(kStart));
  EXPECT_FALSE(bucket.Take(kStart));
  EXPECT_FALSE(bucket.Take(kStart + 99'999'999));
  EXPECT_TRUE(bucket.Take(kStart + 100'000'000));
  EXPECT_FALSE(bucket.Take(kStart + 199'999'999));
  // A long while does not save up more.
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(bucket.Take(kStart + 1'000'000'000'000'000));
  EXPECT_FALSE(bucket.Take(kStart + 1'000'000'000'000'000));
}

TEST(TokenBucket, TheHighestRateDoesNotOverflow) {
  TokenBucket bucket(UINT32_MAX);
  for (uint64_t now = 1; now < 100; ++now) EXPECT_TRUE(bucket.Take(now * 1'000'000'000'000));
}

TEST(TokenBucket, ZeroIsNoLimit) {
  TokenBucket bucket(0);
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(bucket.Take(7));
}

uint32_t ParsedFlags(const soft::Parsed& packet) {
  const uint8_t* at = packet.key.data() + Info(Field::tcp_flags).offset;
  return uint32_t{at[0]} << 8 | at[1];
}

TEST(TcpFlags, AreThoseThatTheParserFinds) {
  const uint64_t seed = reference::SeedFromEnvironment();
  SCOPED_TRACE("SLUICE_SEED=" + std::to_string(seed));
  reference::Rng rng(seed);
  uint32_t seen = 0;
  for (const auto& [name, spec] : reference::NamedPackets()) {
    const Bytes frame = Build(spec);
    EXPECT_EQ(TcpFlags(frame), ParsedFlags(soft::Parse(frame, 1))) << name;
  }
  for (int i = 0; i < 20000; ++i) {
    Bytes frame = Build(RandomPacket(rng));
    if (rng.OneIn(4)) frame = Damage(frame, rng);
    frame.shrink_to_fit();
    const soft::Parsed parsed = soft::Parse(frame, 1);
    const uint32_t flags = TcpFlags(frame);
    if (parsed.malformed != soft::Malformed::kNo) continue;
    ASSERT_EQ(flags, ParsedFlags(parsed)) << reference::Hex(frame);
    if (flags != 0) ++seen;
  }
  EXPECT_GT(seen, 1000u);
}

TEST(TcpFlags, AreLookedForWhereThereMayBeSome) {
  for (const char* match :
       {"", "in_port(1)", "eth_type(0x0800)", "eth_type(0x0800),ipv4(proto=6)", "eth_type(0x86dd),ipv6(proto=6)",
        "eth_type(0x8100)", "eth_type(0x0800),ipv4(proto=6/0x4)"}) {
    EXPECT_TRUE(MayBeTcp(MatchOf(match))) << match;
  }
  for (const char* match : {"eth_type(0x0800),ipv4(proto=17)", "eth_type(0x86dd),ipv6(proto=58)", "eth_type(0x0806)"}) {
    EXPECT_FALSE(MayBeTcp(MatchOf(match))) << match;
  }
}

DatapathFlow::Plan PlanFor(const std::string& actions) { return PlanOf({}, ActionsOf(actions)); }

TEST(PlanOf, TellsTheUsualCases) {
  EXPECT_EQ(PlanFor("drop").kind, Kind::kDrop);
  EXPECT_EQ(PlanOf({}, {Drop{}, Output{1}}).kind, Kind::kDrop);
  EXPECT_EQ(PlanFor("7").kind, Kind::kForward);
  EXPECT_EQ(PlanFor("7").output, 7u);
  for (const char* actions : {"7,8", "flood", "upcall", "trunc(20),7", "push_vlan(vid=5,pcp=0)"}) {
    EXPECT_EQ(PlanFor(actions).kind, Kind::kExecute) << actions;
  }
}

TEST(PlanOf, TellsWhatIsSentOnce) {
  for (const char* actions :
       {"push_vlan(vid=5,pcp=0),1", "1,pop_vlan", "dec_ttl,1", "dec_ttl(le_1(2)),1", "1,dec_ttl"}) {
    EXPECT_TRUE(PlanFor(actions).once) << actions;
  }
  for (const char* actions : {"1,2", "flood", "upcall", "upcall,1", "dec_ttl(le_1(1,2)),1", "1,dec_ttl(le_1(2))",
                              "dec_ttl(le_1(upcall)),1"}) {
    EXPECT_FALSE(PlanFor(actions).once) << actions;
  }
}

}  // namespace
}  // namespace sluice::rteflow
