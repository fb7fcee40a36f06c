// SPDX-License-Identifier: Apache-2.0
#include "packet_ring.h"

#include <rte_malloc.h>

#include <array>
#include <new>

namespace sluice::netsluice {

PacketRing::PacketRing(uint32_t depth) {
  const auto size = static_cast<size_t>(rte_ring_get_memsize(depth));
  ring_.reset(static_cast<rte_ring*>(rte_zmalloc("net_sluice", size, RTE_CACHE_LINE_SIZE)));
  if (ring_ == nullptr || rte_ring_init(ring_.get(), "net_sluice", depth, 0) != 0) throw std::bad_alloc();
}

void PacketRing::Free::operator()(rte_ring* ring) const { rte_free(ring); }

void PacketRing::Drain() {
  std::array<rte_mbuf*, 64> packets;
  while (const unsigned count = Take(packets.data(), packets.size())) rte_pktmbuf_free_bulk(packets.data(), count);
}

rte_mbuf* Sole(rte_mbuf* packet) {
  if (rte_mbuf_refcnt_read(packet) == 1 && RTE_MBUF_DIRECT(packet) && packet->nb_segs == 1) return packet;
  // A clone's own pool may have no room for data.
  rte_mempool* pool = RTE_MBUF_CLONED(packet) ? rte_mbuf_from_indirect(packet)->pool : packet->pool;
  rte_mbuf* copy = rte_pktmbuf_alloc(pool);
  if (copy != nullptr && packet->pkt_len <= rte_pktmbuf_tailroom(copy)) {
    auto* to = rte_pktmbuf_mtod(copy, uint8_t*);
    const void* from = rte_pktmbuf_read(packet, 0, packet->pkt_len, to);
    if (from != to) rte_memcpy(to, from, packet->pkt_len);
    copy->data_len = static_cast<uint16_t>(packet->pkt_len);
    copy->pkt_len = packet->pkt_len;
  } else {
    rte_pktmbuf_free(copy);
    copy = nullptr;
  }
  rte_pktmbuf_free(packet);
  return copy;
}

}  // namespace sluice::netsluice
