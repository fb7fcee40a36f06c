// SPDX-License-Identifier: Apache-2.0
#include "packet_pool.h"

#include <gtest/gtest.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_mbuf.h>
#include <rte_memzone.h>

#include <cstdint>
#include <cstring>
#include <set>
#include <vector>

namespace sluice::rteflow {
namespace {

constexpr uint32_t kCount = 255;
constexpr uint16_t kRoom = RTE_MBUF_DEFAULT_BUF_SIZE;
constexpr uintptr_t kPage = 4096;

std::vector<rte_mbuf*> TakeAll(rte_mempool* pool) {
  std::vector<rte_mbuf*> packets;
  while (rte_mbuf* packet = rte_pktmbuf_alloc(pool)) packets.push_back(packet);
  return packets;
}

TEST(PacketPool, GivesAsManyWholeBuffersAsAskedFor) {
  rte_mempool* pool = MakePacketPool("pool_test", kCount, 0, kRoom, SOCKET_ID_ANY);
  ASSERT_NE(pool, nullptr) << rte_strerror(rte_errno);
  EXPECT_EQ(rte_pktmbuf_data_room_size(pool), kRoom);
  const std::vector<rte_mbuf*> packets = TakeAll(pool);
  ASSERT_EQ(packets.size(), kCount);
  for (size_t i = 0; i < packets.size(); ++i) {
    ASSERT_EQ(packets[i]->buf_len, kRoom);
    std::memset(packets[i]->buf_addr, static_cast<int>(i), kRoom);
  }
  for (size_t i = 0; i < packets.size(); ++i) {
    const auto* bytes = static_cast<const uint8_t*>(packets[i]->buf_addr);
    ASSERT_EQ(packets[i]->pool, pool);
    ASSERT_EQ(packets[i]->buf_len, kRoom);
    ASSERT_EQ(bytes[0], i);
    ASSERT_EQ(bytes[kRoom - 1], i);
    if (rte_eal_iova_mode() == RTE_IOVA_VA) {
      ASSERT_EQ(rte_mbuf_data_iova(packets[i]), reinterpret_cast<uintptr_t>(bytes) + RTE_PKTMBUF_HEADROOM);
    }
    rte_pktmbuf_free(packets[i]);
  }
  EXPECT_EQ(rte_mempool_in_use_count(pool), 0U);
  rte_mempool_free(pool);
}

TEST(PacketPool, HeadersAreNotAllAtOnePlaceOfTheirPages) {
  if (rte_eal_has_hugepages() != 0) GTEST_SKIP() << "DPDK has huge pages here: it places buffers well by itself";
  rte_mempool* pool = MakePacketPool("pool_test", kCount, 0, kRoom, SOCKET_ID_ANY);
  ASSERT_NE(pool, nullptr) << rte_strerror(rte_errno);
  std::set<uintptr_t> places;
  for (rte_mbuf* packet : TakeAll(pool)) {
    places.insert(reinterpret_cast<uintptr_t>(packet) % kPage);
    rte_pktmbuf_free(packet);
  }
  EXPECT_GE(places.size(), 32U);  // of the 64 lines of a page
  rte_mempool_free(pool);
}

TEST(PacketPool, ItsMemoryGoesWithIt) {
  const auto zones = [] {
    unsigned count = 0;
    rte_memzone_walk([](const rte_memzone*, void* number) { ++*static_cast<unsigned*>(number); }, &count);
    return count;
  };
  const unsigned before = zones();
  for (int i = 0; i < 3; ++i) {
    rte_mempool* pool = MakePacketPool("pool_test", kCount, 0, kRoom, SOCKET_ID_ANY);
    ASSERT_NE(pool, nullptr) << rte_strerror(rte_errno);
    EXPECT_GT(zones(), before);
    rte_mempool_free(pool);
  }
  EXPECT_EQ(zones(), before);
}

TEST(PacketPool, WithoutMemoryThereIsNoneAndNothingIsLeft) {
  rte_errno = 0;
  EXPECT_EQ(MakePacketPool("pool_test", 1U << 24, 0, kRoom, SOCKET_ID_ANY), nullptr);
  EXPECT_NE(rte_errno, 0);
  EXPECT_EQ(rte_mempool_lookup("pool_test"), nullptr);
}

}  // namespace
}  // namespace sluice::rteflow
