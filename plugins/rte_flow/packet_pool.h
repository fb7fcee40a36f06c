// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <rte_mempool.h>

#include <cstdint>
#include <string>

namespace sluice::rteflow {

// As rte_pktmbuf_pool_create (`room`: bytes of a buffer, with headroom; `cache`: of a thread), but for memory that is
// not in huge pages: there DPDK gives each buffer a page of its own, so that all buffers' headers lie at the same place
// of their pages, share a few sets of the processor's caches, and drive each other out. Here they lie side by side.
// nullptr: rte_errno says why.
rte_mempool* MakePacketPool(const std::string& name, uint32_t count, uint32_t cache, uint16_t room, int socket);

}  // namespace sluice::rteflow
