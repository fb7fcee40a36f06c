// SPDX-License-Identifier: Apache-2.0
// Masks and the sizes of things: the reserve of subtables, their growth, and every limit.
#include <gtest/gtest.h>
#include <linux/bpf.h>

#include "table_rig.h"

namespace sluice::xdp {
namespace {

// The i-th of many masks, as flows of the default packet's host: combinations of its bits of the source address.
std::string MaskedMatch(uint32_t i) {
  const uint32_t mask = 0xff000000 | i;
  char text[128];
  const uint32_t value = 0x0a000001 & mask;
  snprintf(text, sizeof text, "eth_type(0x0800),ipv4(src=%u.%u.%u.%u/%u.%u.%u.%u)", value >> 24, value >> 16 & 0xff,
           value >> 8 & 0xff, value & 0xff, mask >> 24, mask >> 16 & 0xff, mask >> 8 & 0xff, mask & 0xff);
  return text;
}

std::string PushVid(uint32_t vid) { return "push_vlan(vid=" + std::to_string(vid) + ",pcp=0),1"; }

ObjectOptions PassOptions() {
  ObjectOptions options;
  options.miss_policy = SLUICE_MISS_PASS;
  return options;
}

TEST(Masks, AsManyAsTheLimitAndNotOneMore) {
  TableRig rig(PassOptions());
  std::vector<FlowId> ids;
  for (uint32_t i = 0; i < SLUICE_MAX_MASKS; ++i) {
    auto put = rig.table->Put(rig.Spec(MaskedMatch(i), PushVid(i + 1), i));
    ASSERT_TRUE(put) << i << ": " << put.error().detail;
    ids.push_back(*put);
    ASSERT_EQ(rig.Run(UdpFrame(1)).vid(), i + 1) << "the newest has the highest priority";
  }
  EXPECT_EQ(rig.table->usage().masks, SLUICE_MAX_MASKS);
  const auto refused = rig.table->Put(rig.Spec(MaskedMatch(SLUICE_MAX_MASKS), PushVid(1), 0));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, "too_many_masks");
  EXPECT_NE(refused.error().detail.find("255"), std::string::npos) << refused.error().detail;
  EXPECT_EQ(rig.table->usage().flows, SLUICE_MAX_MASKS);

  // A mask that goes makes room for another, at once.
  rig.table->Delete(ids[254]);
  EXPECT_EQ(rig.Run(UdpFrame(1)).vid(), 254);
  ASSERT_TRUE(rig.table->Put(rig.Spec(MaskedMatch(SLUICE_MAX_MASKS), PushVid(1000), 1000)));
  EXPECT_EQ(rig.Run(UdpFrame(1)).vid(), 1000);
  for (uint32_t i = 254; i-- > 200;) rig.table->Delete(ids[i]);
  rig.Stats();  // tidies
  rig.reclaimer->Drain();
  EXPECT_EQ(rig.Run(UdpFrame(1)).vid(), 1000);
  EXPECT_EQ(rig.table->usage().masks, 201);
}

TEST(Masks, PutWaitsWhereTheReserveIsUsedUp) {
  FlowTableOptions options;
  options.spare_subtables = 2;
  TableRig rig(PassOptions(), options);
  for (uint32_t i = 0; i < 40; ++i) {
    rig.Put(MaskedMatch(i), PushVid(i + 1), 40 - i);
    ASSERT_EQ(rig.Run(UdpFrame(1)).vid(), 1);
  }
}

TEST(Masks, ComeAndGoWithTheirFlows) {
  TableRig rig(PassOptions());
  for (int round = 0; round < 40; ++round) {
    std::vector<FlowId> ids;
    for (uint32_t i = 0; i < 20; ++i) ids.push_back(rig.Put(MaskedMatch(round * 20 + i), PushVid(i + 1), i));
    ASSERT_EQ(rig.Run(UdpFrame(1)).vid(), 20);
    for (const FlowId id : ids) rig.table->Delete(id);
    ASSERT_EQ(rig.Run(UdpFrame(1)).verdict, XDP_PASS);
    rig.Stats();
  }
  rig.reclaimer->Drain();
  EXPECT_EQ(rig.table->usage().masks, 0);
  EXPECT_EQ(rig.table->usage().retiring, 0);
  EXPECT_EQ(rig.reclaimed.size(), 800);
}

// Priorities that rise mask by mask change the order of search with each put: more often than there are lists.
TEST(Masks, OrderChangesFasterThanGracePeriods) {
  TableRig rig(PassOptions());
  std::vector<FlowId> ids;
  for (uint32_t i = 0; i < 10; ++i) ids.push_back(rig.Put(MaskedMatch(i), PushVid(i + 1), i));
  for (uint32_t round = 1; round < 10; ++round) {
    for (uint32_t i = 0; i < 10; ++i) {
      ASSERT_TRUE(rig.table->Modify(ids[i], rig.Spec(MaskedMatch(i), PushVid(i + 1), round * 10 + i)));
      ASSERT_EQ(rig.Run(UdpFrame(1)).vid(), i + 1);
    }
  }
}

std::string HostMatch(uint32_t host) {
  return "eth_type(0x0800),ipv4(dst=10." + std::to_string(host >> 16) + "." + std::to_string(host >> 8 & 0xff) + "." +
         std::to_string(host & 0xff) + ")";
}

TEST(Subtables, GrowWhileFlowsComeAndGo) {
  ObjectOptions options = PassOptions();
  options.subtable_entries = 64;
  options.max_flows = 8192;
  TableRig rig(options);
  std::map<uint32_t, FlowId> ids;
  for (uint32_t host = 0; host < 6000; ++host) {
    ids[host] = rig.Put(HostMatch(host), PushVid(host % 4000 + 1));
    // Holes among those that may be copied just now, and changes.
    if (host % 5 == 4) {
      rig.table->Delete(ids[host - 3]);
      ids.erase(host - 3);
    }
    if (host % 7 == 6) {
      ASSERT_TRUE(rig.table->Modify(ids[host], rig.Spec("", PushVid(host % 4000 + 1))));
    }
    if (host % 64 == 0) rig.reclaimer->Poll();
  }
  rig.reclaimer->Drain();
  for (uint32_t host = 0; host < 6000; ++host) {
    const auto vid = rig.Run(UdpFrame(0x0a000000 + host)).vid();
    if (ids.contains(host)) {
      ASSERT_EQ(vid, host % 4000 + 1) << host;
    } else {
      ASSERT_EQ(vid, std::nullopt) << host;
    }
  }
  for (const auto& [host, id] : ids) rig.table->Delete(id);
  for (uint32_t host = 0; host < 6000; host += 11) ASSERT_EQ(rig.Run(UdpFrame(0x0a000000 + host)).verdict, XDP_PASS);
}

TEST(Subtables, GrowUnderManyPuts) {
  ObjectOptions options = PassOptions();
  options.subtable_entries = 16;
  options.max_flows = 20000;
  TableRig rig(options);
  std::vector<FlowSpec> specs;
  for (uint32_t host = 0; host < 20000; ++host) specs.push_back(rig.Spec(HostMatch(host), PushVid(host % 4000 + 1)));
  std::span<const FlowSpec> all(specs);
  for (size_t from = 0; from < all.size(); from += 5000) {
    for (const auto& put : rig.table->PutMany(all.subspan(from, 5000))) ASSERT_TRUE(put) << put.error().detail;
  }
  for (uint32_t host = 0; host < 20000; host += 3) {
    ASSERT_EQ(rig.Run(UdpFrame(0x0a000000 + host)).vid(), host % 4000 + 1);
  }
}

TEST(Limits, FullTableRefusesByNameAndRecovers) {
  ObjectOptions options = PassOptions();
  options.max_flows = 100;
  TableRig rig(options);
  std::vector<FlowId> ids;
  for (uint32_t host = 0; host < 100; ++host) ids.push_back(rig.Put(HostMatch(host), "1"));
  const auto refused = rig.table->Put(rig.Spec(HostMatch(100), "1"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, "table_full");
  EXPECT_NE(refused.error().detail.find("max_flows"), std::string::npos) << refused.error().detail;
  EXPECT_EQ(rig.Run(UdpFrame(0x0a000064)).verdict, XDP_PASS);
  // A refused flow with a mask of its own leaves nothing behind.
  EXPECT_FALSE(rig.table->Put(rig.Spec("eth_type(0x0806)", "1")));
  EXPECT_EQ(rig.table->usage().masks, 1);
  // Full, it can still change its flows, more often than there are records in reserve.
  for (int round = 0; round < 5; ++round) {
    for (const FlowId id : ids) ASSERT_TRUE(rig.table->Modify(id, rig.Spec("", "2")));
  }
  for (int round = 0; round < 5; ++round) {
    for (uint32_t host = 0; host < 100; ++host) {
      rig.table->Delete(ids[host]);
      ids[host] = rig.Put(HostMatch(host), "1");
    }
  }
  EXPECT_EQ(rig.table->usage().flows, 100);
}

TEST(Limits, PutManyRefusesOnlyWhatIsTooMuch) {
  ObjectOptions options = PassOptions();
  options.max_flows = 50;
  TableRig rig(options);
  std::vector<FlowSpec> specs;
  for (uint32_t host = 0; host < 60; ++host) specs.push_back(rig.Spec(HostMatch(host), PushVid(host + 1)));
  const auto results = rig.table->PutMany(specs);
  for (uint32_t host = 0; host < 60; ++host) {
    EXPECT_EQ(static_cast<bool>(results[host]), host < 50);
    EXPECT_EQ(rig.Run(UdpFrame(0x0a000000 + host)).verdict, host < 50 ? XDP_REDIRECT : XDP_PASS);
  }
}

TEST(Limits, EditsRunOut) {
  ObjectOptions options = PassOptions();
  options.max_edits = 5000;
  TableRig rig(options);
  std::string edits;
  for (int i = 0; i < 5; ++i) edits += "push_vlan(vid=1,pcp=0),";
  const FlowSpec spec = rig.Spec(HostMatch(1), edits + "1");
  std::vector<FlowId> ids;
  Error error;
  for (uint32_t host = 0; host < 2000 && error.reason.empty(); ++host) {
    auto put = rig.table->Put(rig.Spec(HostMatch(host), edits + "1"));
    if (put) {
      ids.push_back(*put);
    } else {
      error = put.error();
    }
  }
  EXPECT_EQ(ids.size(), 1000);
  EXPECT_EQ(error.reason, "table_full");
  EXPECT_NE(error.detail.find("max_edits"), std::string::npos) << error.detail;
  for (const FlowId id : ids) rig.table->Delete(id);
  rig.reclaimer->Drain();
  EXPECT_TRUE(rig.table->Put(spec));
}

}  // namespace
}  // namespace sluice::xdp
