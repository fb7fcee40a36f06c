// SPDX-License-Identifier: Apache-2.0
#include "packet_pool.h"

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_mbuf.h>
#include <rte_mbuf_pool_ops.h>
#include <rte_memzone.h>

#include <memory>

namespace sluice::rteflow {
namespace {

struct PoolFree {
  void operator()(rte_mempool* pool) const { rte_mempool_free(pool); }
};

void FreeZone(rte_mempool_memhdr* /*chunk*/, void* zone) { rte_memzone_free(static_cast<const rte_memzone*>(zone)); }

// Whether addresses are the same to devices and to us: what is in one piece for us is so for them.
bool DevicesSeeOurAddresses() { return rte_eal_iova_mode() == RTE_IOVA_VA; }

// Says why not by rte_errno.
bool FillInOnePiece(rte_mempool& pool) {
  size_t least = 0;
  size_t alignment = 0;
  const ssize_t bytes = rte_mempool_op_calc_mem_size_default(&pool, pool.size, 0, &least, &alignment);
  if (bytes < 0) {
    rte_errno = static_cast<int>(-bytes);
    return false;
  }
  const std::string name = std::string(pool.name) + "_memory";
  const rte_memzone* zone =
      rte_memzone_reserve_aligned(name.c_str(), static_cast<size_t>(bytes), pool.socket_id, 0, RTE_CACHE_LINE_SIZE);
  if (zone == nullptr) return false;
  const int filled = rte_mempool_populate_iova(&pool, static_cast<char*>(zone->addr), zone->iova, zone->len, FreeZone,
                                               const_cast<rte_memzone*>(zone));  // NOLINT: DPDK's callback wants it so
  if (filled < 0) {
    rte_memzone_free(zone);
    rte_errno = -filled;
    return false;
  }
  rte_errno = ENOMEM;
  return static_cast<uint32_t>(filled) == pool.size;
}

}  // namespace

rte_mempool* MakePacketPool(const std::string& name, uint32_t count, uint32_t cache, uint16_t room, int socket) {
  if (rte_eal_has_hugepages() != 0 || !DevicesSeeOurAddresses()) {
    return rte_pktmbuf_pool_create(name.c_str(), count, cache, 0, room, socket);
  }
  // It is, as FillInOnePiece says; the flag is for DPDK not to mind the ends of pages.
  constexpr unsigned flags = RTE_MEMPOOL_F_NO_IOVA_CONTIG;
  std::unique_ptr<rte_mempool, PoolFree> pool(rte_mempool_create_empty(
      name.c_str(), count, sizeof(rte_mbuf) + room, cache, sizeof(rte_pktmbuf_pool_private), socket, flags));
  if (pool == nullptr) return nullptr;
  if (const int error = rte_mempool_set_ops_byname(pool.get(), rte_mbuf_best_mempool_ops(), nullptr); error != 0) {
    rte_errno = -error;
    return nullptr;
  }
  rte_pktmbuf_pool_private rooms{};
  rooms.mbuf_data_room_size = room;
  rte_pktmbuf_pool_init(pool.get(), &rooms);
  if (!FillInOnePiece(*pool)) return nullptr;
  rte_mempool_obj_iter(pool.get(), rte_pktmbuf_init, nullptr);
  return pool.release();
}

}  // namespace sluice::rteflow
