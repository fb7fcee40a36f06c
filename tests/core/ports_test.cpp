// SPDX-License-Identifier: Apache-2.0
#include "ports.h"

#include <gtest/gtest.h>

#include "feed.h"
#include "table_rig.h"

namespace sluice::core::test {
namespace {

class PortsTest : public ::testing::Test, protected TableRig {
 protected:
  PortEntry& Add(const std::string& name, const std::string& plugin = "p") {
    auto added = ports.Add(name, plugin, {});
    EXPECT_TRUE(added);
    return **added;
  }
  Flow Referring(uint32_t number) {
    FlowSpec spec = SpecOf(1, "m");
    spec.ports = {number};
    Flow flow;
    flow.SetContent(spec);
    return flow;
  }
};

TEST_F(PortsTest, NumbersFromOneAndTheLowestFree) {
  EXPECT_EQ(Add("a").port.number(), 1U);
  PortEntry& b = Add("b");
  EXPECT_EQ(b.port.number(), 2U);
  EXPECT_EQ(Add("c").port.number(), 3U);
  EXPECT_TRUE(ports.Remove(b));
  EXPECT_EQ(Add("d").port.number(), 2U);
}

TEST_F(PortsTest, ANumberIsKeptWhileFlowsReferToIt) {
  const Flow flow = Referring(1);
  PortEntry& a = Add("a");
  ports.Hold(flow);
  ports.Remove(a);
  EXPECT_FALSE(ports.Live().Number("a").has_value());
  EXPECT_EQ(ports.Known().Number("a"), 1U);
  EXPECT_EQ(ports.Known().Name(1), "a");
  EXPECT_EQ(Add("b").port.number(), 2U);
  EXPECT_EQ(Add("a").port.number(), 1U);
  ports.Remove(*ports.Find("a"));
  ports.Release(flow);
  EXPECT_EQ(Add("c").port.number(), 1U);
}

TEST_F(PortsTest, NamesThatFlowTextWouldMisreadAreRefused) {
  for (const char* name : {"", "7", "drop", "flood", "a,b", "a b", "in(p)", "userspace", "a/b"}) {
    auto refused = ports.Add(name, "p", {});
    ASSERT_FALSE(refused) << name;
    EXPECT_EQ(refused.error().reason, "bad_port_name");
  }
  EXPECT_TRUE(ports.Add("veth-1.100@if2", "p", {}));
  auto twice = ports.Add("veth-1.100@if2", "p", {});
  ASSERT_FALSE(twice);
  EXPECT_EQ(twice.error().reason, "port_exists");
}

TEST_F(PortsTest, AnEndIsToldBeforeTheNextBeginning) {
  Feed feed(journal, table, ports, "p", 0, {});
  feed.Start(false);
  v1::ToPlugin batch;
  ASSERT_TRUE(feed.Fill(batch));
  EXPECT_TRUE(batch.synced());
  PortEntry& first = Add("a");
  Add("elsewhere", "q");
  ASSERT_TRUE(feed.Fill(batch));
  ASSERT_EQ(batch.changes_size(), 1);
  EXPECT_EQ(batch.changes(0).port_put().name(), "a");
  EXPECT_FALSE(ports.Remove(first));
  Add("a");
  ASSERT_TRUE(feed.Fill(batch));
  ASSERT_EQ(batch.changes_size(), 2);
  EXPECT_EQ(batch.changes(0).port_del().name(), "a");
  EXPECT_EQ(batch.changes(1).port_put().name(), "a");
  EXPECT_TRUE(ports.Confirm("p", batch.batch() - 1).empty());
  EXPECT_EQ(ports.Confirm("p", batch.batch()), std::vector<std::string>{"a"});
}

TEST_F(PortsTest, PortsFirstThenFlows) {
  ASSERT_TRUE(table.Put(SpecOf(1, "m"), 1));
  PortEntry& port = Add("a");
  Feed feed(journal, table, ports, "p", 0, {});
  feed.Start(false);
  v1::ToPlugin batch;
  ASSERT_TRUE(feed.Fill(batch));
  ASSERT_EQ(batch.changes_size(), 1);
  EXPECT_TRUE(batch.changes(0).has_port_put());
  EXPECT_FALSE(batch.synced());
  EXPECT_FALSE(feed.Fill(batch));
  EXPECT_TRUE(feed.holding());
  port.reported = true;
  ASSERT_TRUE(feed.Fill(batch));
  ASSERT_EQ(batch.changes_size(), 1);
  EXPECT_TRUE(batch.changes(0).has_put());
  EXPECT_TRUE(batch.synced());
}

TEST_F(PortsTest, PacketsGoOutInTheirPlace) {
  Feed feed(journal, table, ports, "p", 0, {.window = 8, .batch = 256, .packets = 2});
  feed.Start(false);
  v1::ToPlugin batch;
  ASSERT_TRUE(feed.Fill(batch));
  ASSERT_TRUE(table.Put(SpecOf(1, "m"), 1));
  EXPECT_TRUE(feed.Queue({}, sequence.Next()));
  ASSERT_TRUE(table.Put(SpecOf(2, "n"), 1));
  EXPECT_TRUE(feed.Queue({}, sequence.Next()));
  EXPECT_FALSE(feed.Queue({}, sequence.Next()));
  ASSERT_TRUE(feed.Fill(batch));
  ASSERT_EQ(batch.changes_size(), 4);
  EXPECT_TRUE(batch.changes(0).has_put());
  EXPECT_TRUE(batch.changes(1).has_packet_out());
  EXPECT_TRUE(batch.changes(2).has_put());
  EXPECT_TRUE(batch.changes(3).has_packet_out());
}

TEST_F(PortsTest, PacketsThatWaitAreBoundedInBytes) {
  Feed feed(journal, table, ports, "p", 0, {.packets = 100, .packet_bytes = 1000});
  feed.Start(false);
  v1::ToPlugin batch;
  ASSERT_TRUE(feed.Fill(batch));
  v1::PacketOut packet;
  packet.set_data(std::string(600, 'x'));
  EXPECT_TRUE(feed.Queue(packet, sequence.Next()));
  EXPECT_TRUE(feed.Queue(packet, sequence.Next()));
  EXPECT_FALSE(feed.Queue(packet, sequence.Next()));
  ASSERT_TRUE(feed.Fill(batch));
  EXPECT_EQ(batch.changes_size(), 2);
  EXPECT_TRUE(feed.Queue(packet, sequence.Next()));
}

TEST_F(PortsTest, CreditBoundsWhatIsUnderWay) {
  Feed feed(journal, table, ports, "p", 0, {.window = 2, .batch = 1, .packets = 2});
  for (uint32_t i = 0; i < 5; ++i) ASSERT_TRUE(table.Put(SpecOf(i, std::to_string(i)), 1));
  feed.Start(false);
  v1::ToPlugin batch;
  ASSERT_TRUE(feed.Fill(batch));
  ASSERT_TRUE(feed.Fill(batch));
  EXPECT_FALSE(feed.Fill(batch));
  EXPECT_EQ(feed.lag(), 3U);
  EXPECT_EQ(feed.Ack(1), Feed::Acked::done);
  EXPECT_TRUE(feed.Fill(batch));
  EXPECT_FALSE(feed.Fill(batch));
  EXPECT_EQ(feed.Ack(1), Feed::Acked::again);
  EXPECT_EQ(feed.Ack(1'000'000), Feed::Acked::unknown);  // a batch that never was
  EXPECT_FALSE(feed.Fill(batch));
  EXPECT_EQ(feed.Ack(3), Feed::Acked::done);
  EXPECT_TRUE(feed.Fill(batch));
}

}  // namespace
}  // namespace sluice::core::test
