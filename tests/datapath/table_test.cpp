// SPDX-License-Identifier: Apache-2.0
// What packets find in the table, and through its cache.
#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>

#include <cstring>
#include <random>

#include "table_rig.h"

namespace sluice::xdp {
namespace {

constexpr uint32_t kHost = 0x0a000002;  // 10.0.0.2
const char* const kToHost = "eth_type(0x0800),ipv4(dst=10.0.0.2)";
const char* const kToNet = "eth_type(0x0800),ipv4(dst=10.0.0.0/8)";

class Table : public testing::Test {
 protected:
  // The VLAN that the serving flow pushes says which it was.
  std::optional<uint16_t> Served(const Bytes& frame = UdpFrame(kHost)) { return rig_.Run(frame).vid(); }

  static ObjectOptions Options() {
    ObjectOptions options;
    options.miss_policy = SLUICE_MISS_PASS;
    return options;
  }

  TableRig rig_{Options()};
};

TEST_F(Table, MissTakesThePolicy) {
  EXPECT_EQ(rig_.Run(UdpFrame(kHost)).verdict, XDP_PASS);
  rig_.object->SetMissPolicy(SLUICE_MISS_DROP);
  EXPECT_EQ(rig_.Run(UdpFrame(kHost)).verdict, XDP_DROP);
  rig_.object->SetMissPolicy(SLUICE_MISS_UPCALL);
  EXPECT_EQ(rig_.Run(UdpFrame(kHost)).verdict, XDP_DROP);  // no socket
  EXPECT_EQ(rig_.Grown(SLUICE_COUNT_miss), 3);
  EXPECT_EQ(rig_.Grown(SLUICE_COUNT_miss_pass), 1);
  EXPECT_EQ(rig_.Grown(SLUICE_COUNT_miss_drop), 1);
  EXPECT_EQ(rig_.Grown(SLUICE_COUNT_upcall_failed), 1);
}

TEST_F(Table, HitIsRedirectedAndCached) {
  rig_.Put(kToHost, "1");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(rig_.Run(UdpFrame(kHost)).verdict, XDP_REDIRECT);
  EXPECT_EQ(rig_.Run(UdpFrame(kHost + 1)).verdict, XDP_PASS);
  EXPECT_EQ(rig_.Grown(SLUICE_COUNT_hit_table), 1);
  EXPECT_EQ(rig_.Grown(SLUICE_COUNT_hit_cache), 2);
  EXPECT_EQ(rig_.Grown(SLUICE_COUNT_output), 3);
  EXPECT_EQ(rig_.Grown(SLUICE_COUNT_miss), 1);
  EXPECT_EQ(rig_.Grown(SLUICE_COUNT_rx_bytes), 4 * 64);
}

TEST_F(Table, ActionsAreExecuted) {
  rig_.Put("eth_type(0x0800),ipv4(dst=10.0.0.1)", "drop");
  rig_.Put("eth_type(0x0800),ipv4(dst=10.0.0.2)", "1,2");
  rig_.Put("eth_type(0x0800),ipv4(dst=10.0.0.3)", "flood");
  rig_.Put("eth_type(0x0800),ipv4(dst=10.0.0.4)", "push_vlan(vid=7,pcp=0),push_vlan(vid=8,pcp=0),1");
  rig_.Put("eth_type(0x8100),vlan(vid=9),encap(eth_type(0x0800))", "pop_vlan,1");
  EXPECT_EQ(rig_.Run(UdpFrame(0x0a000001)).verdict, XDP_DROP);
  EXPECT_EQ(rig_.Run(UdpFrame(0x0a000002)).verdict, XDP_REDIRECT);
  EXPECT_EQ(rig_.Run(UdpFrame(0x0a000003)).verdict, XDP_REDIRECT);
  EXPECT_EQ(rig_.Grown(SLUICE_COUNT_drop), 1);
  EXPECT_EQ(rig_.Grown(SLUICE_COUNT_output_many), 2);

  const Bytes plain = UdpFrame(0x0a000004);
  Bytes twice = plain;
  twice.insert(twice.begin() + 12, {0x81, 0x00, 0x00, 0x08, 0x81, 0x00, 0x00, 0x07});
  Bytes pushed = rig_.Run(plain).frame;
  pushed[14] &= 0x0f;  // pcp and cfi
  pushed[18] &= 0x0f;
  EXPECT_EQ(pushed, twice);

  Bytes tagged = plain;
  tagged.insert(tagged.begin() + 12, {0x81, 0x00, 0x00, 0x09});
  EXPECT_EQ(rig_.Run(tagged).frame, plain);
}

TEST_F(Table, ManyEditsComeFromAList) {
  std::string actions;
  for (int vid = 1; vid <= 6; ++vid) actions += "push_vlan(vid=" + std::to_string(vid) + ",pcp=0),";
  const FlowId id = rig_.Put(kToHost, actions + "1");
  const Ran ran = rig_.Run(UdpFrame(kHost));
  EXPECT_EQ(ran.verdict, XDP_REDIRECT);
  EXPECT_EQ(ran.vid(), 6);
  EXPECT_EQ(ran.frame.size(), 64 + 6 * 4);
  rig_.table->Delete(id);
  rig_.reclaimer->Drain();
}

TEST_F(Table, HigherPriorityWinsThroughTheCache) {
  const FlowId low = rig_.Put(kToNet, "push_vlan(vid=1,pcp=0),1", 10);
  EXPECT_EQ(Served(), 1);
  EXPECT_EQ(Served(), 1);
  const FlowId high = rig_.Put(kToHost, "push_vlan(vid=2,pcp=0),1", 20);
  EXPECT_EQ(Served(), 2);
  EXPECT_EQ(Served(UdpFrame(kHost + 1)), 1);
  EXPECT_EQ(Served(), 2);
  const FlowId higher = rig_.Put("eth_type(0x0800)", "push_vlan(vid=3,pcp=0),1", 30);
  EXPECT_EQ(Served(), 3);
  EXPECT_EQ(Served(UdpFrame(kHost + 1)), 3);
  rig_.table->Delete(higher);
  EXPECT_EQ(Served(), 2);
  rig_.table->Delete(high);
  EXPECT_EQ(Served(), 1);
  rig_.table->Delete(low);
  EXPECT_EQ(Served(), std::nullopt);
}

// The cache has 64 places, and all hosts of the net share them, those with flows of their own among them: entries for
// the wide flow are where their packets look, which must not take them.
TEST(TableCache, SharedPlaceNeverHidesAHigherPriority) {
  ObjectOptions options;
  options.cache_entries = 64;
  options.miss_policy = SLUICE_MISS_PASS;
  TableRig rig(options);
  rig.Put(kToNet, "push_vlan(vid=1,pcp=0),1", 10);
  for (uint32_t host = 0; host < 256; host += 8) {
    rig.Put("eth_type(0x0800),ipv4(dst=10.0.0." + std::to_string(host) + ")", "push_vlan(vid=2,pcp=0),1", 20);
  }
  std::minstd_rand random(1);
  for (int i = 0; i < 20000; ++i) {
    const uint32_t host = random() % 256;
    ASSERT_EQ(rig.Run(UdpFrame(0x0a000000 + host)).vid(), host % 8 == 0 ? 2 : 1) << host;
  }
  EXPECT_GT(rig.Grown(SLUICE_COUNT_hit_cache), 1000);
}

TEST_F(Table, ModifyReplacesActionsAndPriority) {
  const FlowId a = rig_.Put(kToNet, "push_vlan(vid=1,pcp=0),1", 10);
  rig_.Put(kToHost, "push_vlan(vid=2,pcp=0),1", 20);
  EXPECT_EQ(Served(), 2);
  ASSERT_TRUE(rig_.table->Modify(a, rig_.Spec(kToNet, "push_vlan(vid=3,pcp=0),1", 10)));
  EXPECT_EQ(Served(), 2);
  EXPECT_EQ(Served(UdpFrame(kHost + 1)), 3);
  ASSERT_TRUE(rig_.table->Modify(a, rig_.Spec(kToNet, "push_vlan(vid=4,pcp=0),1", 30)));
  EXPECT_EQ(Served(), 4);
  ASSERT_TRUE(rig_.table->Modify(a, rig_.Spec(kToNet, "push_vlan(vid=5,pcp=0),1", 5)));
  EXPECT_EQ(Served(), 2);
  EXPECT_EQ(Served(UdpFrame(kHost + 1)), 5);
}

TEST_F(Table, SameMatchTwiceTheHigherServesThenTheOther) {
  const FlowId first = rig_.Put(kToHost, "push_vlan(vid=1,pcp=0),1", 10);
  const FlowId same = rig_.Put(kToHost, "push_vlan(vid=2,pcp=0),1", 10);
  EXPECT_EQ(Served(), 1);
  const FlowId high = rig_.Put(kToHost, "push_vlan(vid=3,pcp=0),1", 20);
  EXPECT_EQ(Served(), 3);
  rig_.table->Delete(first);
  EXPECT_EQ(Served(), 3);
  ASSERT_TRUE(rig_.table->Modify(high, rig_.Spec(kToHost, "push_vlan(vid=4,pcp=0),1", 1)));
  EXPECT_EQ(Served(), 2);
  rig_.table->Delete(same);
  EXPECT_EQ(Served(), 4);
  rig_.table->Delete(high);
  EXPECT_EQ(Served(), std::nullopt);
  EXPECT_EQ(rig_.table->usage().flows, 0);
}

TEST_F(Table, PutManyTakesSameMatchesToo) {
  std::vector<FlowSpec> specs;
  for (uint32_t host = 0; host < 100; ++host) {
    specs.push_back(rig_.Spec("eth_type(0x0800),ipv4(dst=10.0.0." + std::to_string(host) + ")",
                              "push_vlan(vid=" + std::to_string(host + 1) + ",pcp=0),1", 1));
  }
  specs.push_back(rig_.Spec("eth_type(0x0800),ipv4(dst=10.0.0.7)", "push_vlan(vid=500,pcp=0),1", 2));
  const auto results = rig_.table->PutMany(specs);
  ASSERT_EQ(results.size(), 101);
  for (const auto& result : results) ASSERT_TRUE(result) << result.error().detail;
  for (uint32_t host = 0; host < 100; ++host) {
    EXPECT_EQ(Served(UdpFrame(0x0a000000 + host)), host == 7 ? 500 : host + 1);
  }
  rig_.table->Delete(*results[100]);
  EXPECT_EQ(Served(UdpFrame(0x0a000007)), 8);
}

TEST_F(Table, RecordsAreFoundByIndexWhileTheyLive) {
  const FlowId id = rig_.Put(kToHost, "1", 0, 42);
  uint32_t record = UINT32_MAX;
  rig_.table->ForEachRecord([&](uint64_t, uint32_t at, uint64_t, uint64_t) { record = at; });
  ASSERT_LT(record, rig_.object->record_count());
  const uint32_t gen = rig_.object->records()[record].gen;
  uint64_t cookie = 0;
  EXPECT_TRUE(rig_.table->FindRecord(record, gen, cookie));
  EXPECT_EQ(cookie, 42);
  EXPECT_FALSE(rig_.table->FindRecord(record, gen + 2, cookie));
  rig_.table->Delete(id);
  EXPECT_FALSE(rig_.table->FindRecord(record, gen, cookie));
  EXPECT_FALSE(rig_.table->FindRecord(UINT32_MAX, 0, cookie));
}

TEST_F(Table, MalformedFramesAreCountedByReason) {
  const Bytes good = UdpFrame(kHost);
  const auto run = [&](Bytes frame) { EXPECT_EQ(rig_.Run(frame).verdict, XDP_PASS); };
  run(Bytes(good.begin(), good.begin() + 30));
  Bytes version = good;
  version[14] = 0x65;
  run(version);
  Bytes header_length = good;
  header_length[14] = 0x44;
  run(header_length);
  EXPECT_EQ(rig_.Grown(SLUICE_COUNT_malformed_ipv4), 3);
  run(Bytes(good.begin(), good.begin() + 40));
  EXPECT_EQ(rig_.Grown(SLUICE_COUNT_malformed_l4), 1);
  Bytes tag(good.begin(), good.begin() + 16);
  tag[12] = 0x81;
  tag[13] = 0x00;
  run(tag);
  EXPECT_EQ(rig_.Grown(SLUICE_COUNT_malformed_vlan), 1);
  EXPECT_EQ(rig_.Grown(SLUICE_COUNT_miss_pass), 5);
  EXPECT_EQ(rig_.Grown(SLUICE_COUNT_miss), 0);
}

}  // namespace
}  // namespace sluice::xdp
