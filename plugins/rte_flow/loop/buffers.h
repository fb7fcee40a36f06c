// SPDX-License-Identifier: Apache-2.0
// The loop's own packet buffers, and what it does to those of the devices before it works on them.
#pragma once

#include <rte_mbuf.h>
#include <rte_mempool.h>

#include <cstdint>
#include <memory>
#include <span>

#include "sluice/error.h"

namespace sluice::rteflow {

inline std::span<const uint8_t> BytesOf(const rte_mbuf& packet) {
  return {rte_pktmbuf_mtod(&packet, const uint8_t*), packet.data_len};
}

// Whether nobody else has the bytes, so that they may be written.
inline bool IsOwn(const rte_mbuf& packet) { return RTE_MBUF_DIRECT(&packet) && rte_mbuf_refcnt_read(&packet) == 1; }

class Buffers {
 public:
  // Errors: "no_memory".
  static Result<std::unique_ptr<Buffers>> Make(uint32_t count, uint16_t frame_bytes);
  // The memory stays where a device still has one of them.
  ~Buffers();
  Buffers(const Buffers&) = delete;
  Buffers& operator=(const Buffers&) = delete;

  // ---- one thread that is registered with DPDK. nullptr: none is free, or the frame is too long.
  [[nodiscard]] rte_mbuf* Copy(std::span<const uint8_t> frame);
  // Puts `frame` in place of what is in `packet`, which IsOwn. False, and nothing done: it does not fit.
  static bool Replace(rte_mbuf& packet, std::span<const uint8_t> frame);

  // Whether Straighten has something to do.
  [[nodiscard]] static bool IsStraight(const rte_mbuf& packet) {
    return packet.nb_segs == 1 && (packet.ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) == 0;
  }
  // The packet in one piece, and with the VLAN tag in it that the device took off. Takes `packet` over; nullptr: it
  // could not be, and is gone.
  [[nodiscard]] rte_mbuf* Straighten(rte_mbuf* packet);

 private:
  explicit Buffers(rte_mempool* pool) : pool_(pool) {}
  [[nodiscard]] rte_mbuf* OwnCopy(rte_mbuf* packet);

  rte_mempool* pool_;
};

}  // namespace sluice::rteflow
