// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "table_rig.h"

namespace sluice::core::test {
namespace {

using Told = std::vector<std::string>;
using Changes = google::protobuf::RepeatedPtrField<v1::Change>;

class TableTest : public ::testing::Test, protected TableRig {
 protected:
  Flow& Put(uint32_t number, const std::string& match, const std::string& actions = "drop") {
    EXPECT_TRUE(table.Put(SpecOf(number, match, actions), 1));
    return *table.Find(UfidOf(number));
  }
  Changes Offer(Flow& flow, uint8_t plugin = 0) {
    Changes changes;
    table.Offer(flow, plugin, changes);
    return changes;
  }
  v1::Verdict VerdictOn(const Flow& flow, v1::OffloadState state) {
    v1::Verdict verdict;
    verdict.set_ufid(std::string(flow.ufid.AsBytes()));
    verdict.set_instance(flow.instance);
    verdict.set_seq(flow.seq);
    verdict.set_state(state);
    return verdict;
  }
  bool Judge(const Flow& flow, v1::OffloadState state, uint8_t plugin = 0) {
    v1::Verdict verdict = VerdictOn(flow, state);
    return table.Judge(plugin, verdict);
  }
  bool ConfirmDelete(const Ufid& ufid, uint64_t instance, uint8_t plugin = 0) {
    v1::Verdict verdict;
    verdict.set_ufid(std::string(ufid.AsBytes()));
    verdict.set_instance(instance);
    verdict.set_deleted(true);
    return table.Judge(plugin, verdict);
  }
};

TEST_F(TableTest, PutIsIdempotent) {
  Put(1, "m");
  const uint64_t seq = table.Find(UfidOf(1))->seq;
  auto again = table.Put(SpecOf(1, "m"), 2);
  ASSERT_TRUE(again);
  EXPECT_EQ(*again, PutOutcome::unchanged);
  EXPECT_EQ(table.Find(UfidOf(1))->seq, seq);
  EXPECT_EQ(record.Take(), Told{"add 1"});
}

TEST_F(TableTest, NewActionsModifyAndKeepCounters) {
  Flow& flow = Put(1, "m");
  flow.packets = 7;
  const uint64_t instance = flow.instance;
  Put(1, "m", "p1");
  EXPECT_EQ(flow.packets, 7U);
  EXPECT_EQ(flow.instance, instance);
  EXPECT_EQ(flow.actions(), "p1");
  EXPECT_EQ(record.Take(), (Told{"add 1", "mod 1"}));
}

TEST_F(TableTest, AnotherMatchUnderTheSameUfidIsAnotherFlow) {
  Flow& flow = Put(1, "m");
  flow.packets = 7;
  const uint64_t instance = flow.instance;
  Put(1, "n");
  EXPECT_EQ(flow.packets, 0U);
  EXPECT_NE(flow.instance, instance);
  EXPECT_EQ(record.Take(), (Told{"add 1", "del 1", "add 1"}));
  EXPECT_EQ(table.FindByMatch("m"), nullptr);
  EXPECT_EQ(table.FindByMatch("n"), &flow);
}

TEST_F(TableTest, EqualMatchAndPriorityUnderAnotherUfidIsRefusedByName) {
  Put(1, "m");
  auto refused = table.Put(SpecOf(2, "m"), 1);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, "duplicate_match");
  EXPECT_NE(refused.error().detail.find(UfidOf(1).ToString()), std::string::npos);
  EXPECT_EQ(table.size(), 1U);
  FlowSpec other = SpecOf(2, "m");
  other.priority = 5;
  EXPECT_TRUE(table.Put(other, 1));
  EXPECT_EQ(table.FindByMatch("m")->priority, 5U);
  // Neither may one flow become a duplicate of another by a change.
  other.priority = 0;
  EXPECT_FALSE(table.Put(other, 1));
}

TEST_F(TableTest, FullTableRefusesNewFlowsOnly) {
  FlowTable small(journal, record, {.max_flows = 1, .max_tombstones = 10});
  EXPECT_TRUE(small.Put(SpecOf(1, "m"), 1));
  auto refused = small.Put(SpecOf(2, "n"), 1);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, "table_full");
  EXPECT_TRUE(small.Put(SpecOf(1, "m", "p1"), 1));
}

TEST_F(TableTest, ModifyOfWhatIsNotThereIsRefused) {
  auto refused = table.Put(SpecOf(1, "m"), 1, true);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, "no_such_flow");
}

TEST_F(TableTest, DeleteWithoutPluginsIsTold) {
  table.Delete(Put(1, "m"), Cause::request);
  EXPECT_EQ(record.Take(), (Told{"add 1", "del 1"}));
  EXPECT_EQ(table.tombstones(), 0U);
  EXPECT_EQ(journal.size(), 0U);
}

TEST_F(TableTest, DeleteWaitsForThePluginsThatHadTheFlow) {
  Flow& flow = Put(1, "m");
  const uint64_t instance = flow.instance;
  Offer(flow, 0);
  Offer(flow, 1);
  table.Delete(flow, Cause::request);
  EXPECT_EQ(table.Find(UfidOf(1)), nullptr);
  EXPECT_EQ(record.Take(), Told{"add 1"});
  const Changes changes = Offer(flow, 0);
  ASSERT_EQ(changes.size(), 1);
  EXPECT_EQ(changes[0].del().instance(), instance);
  v1::FlowStats last;
  last.set_ufid(std::string(UfidOf(1).AsBytes()));
  last.set_instance(instance);
  last.set_packets(3);
  EXPECT_TRUE(table.Count(last, 10));
  EXPECT_TRUE(ConfirmDelete(UfidOf(1), instance, 0));
  EXPECT_TRUE(record.Take().empty());
  EXPECT_TRUE(ConfirmDelete(UfidOf(1), instance, 1));
  EXPECT_EQ(record.Take(), Told{"del 1"});
  EXPECT_EQ(record.deleted_packets, 3U);
  EXPECT_EQ(table.tombstones(), 0U);
}

TEST_F(TableTest, AGonePluginConfirmsNothingAndHoldsNothing) {
  Flow& flow = Put(1, "m");
  Offer(flow, 0);
  table.Delete(flow, Cause::request);
  record.Take();
  table.Forget(0);
  EXPECT_EQ(record.Take(), Told{"del 1"});
  EXPECT_EQ(table.tombstones(), 0U);
}

TEST_F(TableTest, ASilentPluginDelaysNoEvent) {
  Flow& flow = Put(1, "m");
  const uint64_t instance = flow.instance;
  Offer(flow, 0);
  table.Delete(flow, Cause::request);
  record.Take();
  table.AnnounceWaiting(0);
  EXPECT_EQ(record.Take(), Told{"del 1"});
  EXPECT_EQ(table.tombstones(), 1U);
  EXPECT_TRUE(ConfirmDelete(UfidOf(1), instance));
  EXPECT_TRUE(record.Take().empty());
  EXPECT_EQ(table.tombstones(), 0U);
}

TEST_F(TableTest, PutAgainBeforeConfirmationIsAnotherInstance) {
  Flow& flow = Put(1, "m");
  const uint64_t old = flow.instance;
  Offer(flow);
  table.Delete(flow, Cause::request);
  Put(1, "m");
  EXPECT_EQ(record.Take(), (Told{"add 1", "del 1", "add 1"}));
  const Changes changes = Offer(flow);
  ASSERT_EQ(changes.size(), 2);
  EXPECT_EQ(changes[0].del().instance(), old);
  EXPECT_EQ(changes[1].put().instance(), flow.instance);
  EXPECT_NE(flow.instance, old);
  // What the plugin says of the old one is over.
  v1::FlowStats late;
  late.set_ufid(std::string(UfidOf(1).AsBytes()));
  late.set_instance(old);
  late.set_packets(3);
  EXPECT_FALSE(table.Count(late, 10));
  EXPECT_FALSE(ConfirmDelete(UfidOf(1), old));
  EXPECT_EQ(flow.packets, 0U);
}

TEST_F(TableTest, VerdictsAreMergedAndCounted) {
  Flow& flow = Put(1, "m");
  Offer(flow, 0);
  Offer(flow, 3);
  EXPECT_TRUE(Judge(flow, v1::INSTALLED, 0));
  EXPECT_TRUE(Judge(flow, v1::REFUSED, 3));
  EXPECT_EQ(table.CountOf(0, v1::INSTALLED), 1U);
  EXPECT_EQ(table.CountOf(3, v1::REFUSED), 1U);
  EXPECT_EQ(record.Take(), (Told{"add 1", "offload 1", "offload 1"}));
  EXPECT_TRUE(Judge(flow, v1::INSTALLED, 0));
  EXPECT_TRUE(record.Take().empty());
  EXPECT_FALSE(Judge(flow, v1::INSTALLED, 7));
  table.Delete(flow, Cause::request);
  EXPECT_EQ(table.CountOf(0, v1::INSTALLED), 0U);
}

TEST_F(TableTest, AVerdictOnOldContentDoesNotCount) {
  Flow& flow = Put(1, "m");
  Offer(flow);
  v1::Verdict old = VerdictOn(flow, v1::INSTALLED);
  Put(1, "m", "p1");
  EXPECT_FALSE(table.Judge(0, old));
  Offer(flow);
  v1::Verdict again = VerdictOn(flow, v1::INSTALLED);
  again.set_seq(old.seq());
  EXPECT_FALSE(table.Judge(0, again));
  EXPECT_TRUE(Judge(flow, v1::INSTALLED));
}

TEST_F(TableTest, StatisticsAddUp) {
  Flow& flow = Put(1, "m");
  v1::FlowStats stats;
  stats.set_ufid(std::string(UfidOf(1).AsBytes()));
  stats.set_instance(flow.instance);
  stats.set_packets(2);
  stats.set_bytes(100);
  stats.set_used_ns(500);
  stats.set_tcp_flags(2);
  EXPECT_TRUE(table.Count(stats, 1'000));
  stats.set_used_ns(5'000);  // from a clock that is ahead
  stats.set_tcp_flags(16);
  EXPECT_TRUE(table.Count(stats, 1'000));
  EXPECT_EQ(flow.packets, 4U);
  EXPECT_EQ(flow.bytes, 200U);
  EXPECT_EQ(flow.used_ns, 1'000U);
  EXPECT_EQ(flow.tcp_flags, 18U);
}

TEST_F(TableTest, ReoffersWhatDependsOnAPort) {
  FlowSpec in = SpecOf(1, "a");
  in.in_port = 1;
  in.ports = {1};
  FlowSpec out = SpecOf(2, "b");
  out.in_port = 2;
  out.ports = {1, 2};
  FlowSpec flood = SpecOf(3, "c");
  flood.in_port = 2;
  flood.ports = {2};
  flood.floods = true;
  FlowSpec anywhere = SpecOf(4, "d");
  FlowSpec other = SpecOf(5, "e");
  other.in_port = 2;
  other.ports = {2};
  for (const FlowSpec& spec : {in, out, flood, anywhere, other}) ASSERT_TRUE(table.Put(spec, 1));
  Cursor cursor(journal);
  while (cursor.Peek() != nullptr) cursor.Advance();
  table.Reoffer(1);
  EXPECT_EQ(cursor.lag(), 4U);
  EXPECT_EQ(journal.First(), table.Find(UfidOf(5)));
}

TEST_F(TableTest, FlushOfAPort) {
  FlowSpec one = SpecOf(1, "a");
  one.in_port = 1;
  FlowSpec two = SpecOf(2, "b");
  two.in_port = 2;
  ASSERT_TRUE(table.Put(one, 1));
  ASSERT_TRUE(table.Put(two, 1));
  EXPECT_EQ(table.Flush(1), 1U);
  EXPECT_EQ(record.cause, Cause::flush);
  EXPECT_NE(table.Find(UfidOf(2)), nullptr);
  EXPECT_EQ(table.Flush(0), 1U);
  EXPECT_EQ(table.size(), 0U);
}

TEST_F(TableTest, ASnapshotHoldsTombstones) {
  Put(1, "a");
  Flow& flow = Put(2, "b");
  Cursor walk(journal, 0, true);
  walk.Advance();
  table.Delete(flow, Cause::request);
  EXPECT_EQ(table.tombstones(), 1U);
  ASSERT_NE(walk.Peek(), nullptr);
  EXPECT_EQ(walk.Peek()->kind, EntryKind::tombstone);
  table.Sweep();
  EXPECT_EQ(table.tombstones(), 1U);
  walk.Advance();
  table.Sweep();
  EXPECT_EQ(table.tombstones(), 0U);
}

}  // namespace
}  // namespace sluice::core::test
