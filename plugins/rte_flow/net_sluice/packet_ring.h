// SPDX-License-Identifier: Apache-2.0
// An rte_ring of packets that owns its memory and what is in it.
#pragma once

#include <rte_mbuf.h>
#include <rte_ring.h>

#include <cstdint>
#include <memory>

namespace sluice::netsluice {

// Any number of threads on either side.
class PacketRing {
 public:
  // Holds `depth` packets, a power of two, less one. Throws std::bad_alloc.
  explicit PacketRing(uint32_t depth);
  ~PacketRing() { Drain(); }
  PacketRing(const PacketRing&) = delete;
  PacketRing& operator=(const PacketRing&) = delete;

  // How many went in; the caller keeps the others.
  unsigned Put(rte_mbuf* const* packets, unsigned count) {
    return rte_ring_enqueue_burst(ring_.get(), reinterpret_cast<void* const*>(packets), count, nullptr);
  }
  unsigned Take(rte_mbuf** packets, unsigned count) {
    return rte_ring_dequeue_burst(ring_.get(), reinterpret_cast<void**>(packets), count, nullptr);
  }
  [[nodiscard]] bool empty() const { return rte_ring_empty(ring_.get()) != 0; }
  // Frees what is in it.
  void Drain();

 private:
  struct Free {
    void operator()(rte_ring* ring) const;
  };
  std::unique_ptr<rte_ring, Free> ring_;
};

// A packet that nobody else has and that is in one piece: `packet` itself, or a copy in its place. nullptr: no memory,
// or too long for that; `packet` is freed.
rte_mbuf* Sole(rte_mbuf* packet);

}  // namespace sluice::netsluice
