// SPDX-License-Identifier: Apache-2.0
#include "buffers.h"

#include <rte_errno.h>
#include <rte_ether.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <string>

#include "packet_pool.h"

namespace sluice::rteflow {
namespace {

// Of DPDK's cache for a thread; it wants that many and a half in the pool.
unsigned CacheOf(uint32_t count) { return std::min<unsigned>(256, count * 2 / 3); }

}  // namespace

Result<std::unique_ptr<Buffers>> Buffers::Make(uint32_t count, uint16_t frame_bytes) {
  static std::atomic<unsigned> made{0};
  const std::string name = "sluice_loop_" + std::to_string(made.fetch_add(1));
  const uint32_t room = uint32_t{frame_bytes} + RTE_PKTMBUF_HEADROOM;
  rte_mempool* pool = nullptr;
  if (room <= UINT16_MAX) {
    pool = MakePacketPool(name, count, CacheOf(count), static_cast<uint16_t>(room), SOCKET_ID_ANY);
  } else {
    rte_errno = EINVAL;
  }
  if (pool == nullptr) {
    return Error{"no_memory", "DPDK gave no " + std::to_string(count) + " packet buffers of " +
                                  std::to_string(frame_bytes) + " bytes: " + rte_strerror(rte_errno)};
  }
  return std::unique_ptr<Buffers>(new Buffers(pool));
}

Buffers::~Buffers() {
  if (rte_mempool_in_use_count(pool_) == 0) rte_mempool_free(pool_);
}

rte_mbuf* Buffers::Copy(std::span<const uint8_t> frame) {
  rte_mbuf* copy = rte_pktmbuf_alloc(pool_);
  if (copy == nullptr || Replace(*copy, frame)) return copy;
  rte_pktmbuf_free(copy);
  return nullptr;
}

bool Buffers::Replace(rte_mbuf& packet, std::span<const uint8_t> frame) {
  if (frame.size() > packet.buf_len) return false;
  // As much headroom as the frame leaves, up to the usual.
  const size_t headroom = std::min<size_t>(RTE_PKTMBUF_HEADROOM, packet.buf_len - frame.size());
  packet.data_off = static_cast<uint16_t>(headroom);
  packet.data_len = static_cast<uint16_t>(frame.size());
  packet.pkt_len = packet.data_len;
  if (!frame.empty()) std::memcpy(rte_pktmbuf_mtod(&packet, uint8_t*), frame.data(), frame.size());
  return true;
}

rte_mbuf* Buffers::OwnCopy(rte_mbuf* packet) {
  // rte_pktmbuf_copy would make a chain of a packet that does not fit.
  rte_mbuf* copy = nullptr;
  if (packet->pkt_len + RTE_PKTMBUF_HEADROOM <= rte_pktmbuf_data_room_size(pool_)) {
    copy = rte_pktmbuf_copy(packet, pool_, 0, UINT32_MAX);
  }
  rte_pktmbuf_free(packet);
  return copy;
}

rte_mbuf* Buffers::Straighten(rte_mbuf* packet) {
  if (packet->nb_segs > 1 && (!IsOwn(*packet) || rte_pktmbuf_linearize(packet) != 0)) {
    packet = OwnCopy(packet);
    if (packet == nullptr) return nullptr;
  }
  if ((packet->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) == 0) return packet;
  if (!IsOwn(*packet) || rte_pktmbuf_headroom(packet) < RTE_VLAN_HLEN) {
    packet = OwnCopy(packet);
    if (packet == nullptr) return nullptr;
  }
  if (rte_vlan_insert(&packet) == 0) return packet;
  rte_pktmbuf_free(packet);  // too short for an Ethernet header
  return nullptr;
}

}  // namespace sluice::rteflow
