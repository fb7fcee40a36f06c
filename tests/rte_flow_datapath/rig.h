// SPDX-License-Identifier: Apache-2.0
// A loop with ports made of memory rings: what the test puts into one is received, what is sent comes out of the other.
#pragma once

#include <gtest/gtest.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "loop/datapath.h"
#include "reference/packet.h"
#include "sluice/flow_text.h"

namespace sluice::rteflow {

using reference::Bytes;
using Frames = std::vector<Bytes>;

// A pool for packets that devices receive. Freed with what is in it.
class Pool {
 public:
  explicit Pool(unsigned count = 8191);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  [[nodiscard]] rte_mempool* get() const { return pool_; }
  // Throws where there is no room.
  [[nodiscard]] rte_mbuf* Make(std::span<const uint8_t> frame, uint32_t mark = 0) const;
  // Of more than one piece: `first` bytes in the first, the rest in pieces of `rest`.
  [[nodiscard]] rte_mbuf* MakeChain(std::span<const uint8_t> frame, size_t first, size_t rest) const;
  [[nodiscard]] unsigned in_use() const;

 private:
  rte_mempool* pool_;
};

class RingDevice {
 public:
  explicit RingDevice(const Pool& pool, unsigned queues = 1, unsigned size = 4096);
  ~RingDevice();
  RingDevice(const RingDevice&) = delete;
  RingDevice& operator=(const RingDevice&) = delete;

  [[nodiscard]] uint16_t ethdev() const { return ethdev_; }
  // To be received next. False, and `packet` freed: the ring is full.
  bool Inject(rte_mbuf* packet, unsigned queue = 0);
  // What was sent, and not collected before.
  std::vector<Bytes> Collect();
  rte_mbuf* CollectOne();
  [[nodiscard]] unsigned waiting() const;  // to be received

 private:
  std::vector<rte_ring*> receive_;
  rte_ring* send_;
  uint16_t ethdev_;
  // What the rings order, once more where ThreadSanitizer sees it: DPDK's libraries are not built with it.
  std::atomic<uint64_t> injected_{0};
  std::atomic<uint64_t> sent_{0};
  std::vector<const rte_eth_rxtx_callback*> after_receive_;
  const rte_eth_rxtx_callback* before_send_ = nullptr;
};

class DatapathTest : public ::testing::Test {
 protected:
  DatapathTest() : DatapathTest(Datapath::Settings{}) {}
  explicit DatapathTest(Datapath::Settings settings);

  // With a device of its own.
  RingDevice& AddPort(uint32_t number, Datapath::Port settings = {}, unsigned ring = 4096);
  void RemovePort(uint32_t number);
  RingDevice& Device(uint32_t number) { return *devices_.at(number); }

  // Kept until the end. Takes effect at once: waits.
  DatapathFlow& Put(const std::string& match, const std::string& actions, uint32_t priority = 0, uint32_t mark = 0);
  DatapathFlow& Put(const Match& match, const Actions& actions, uint32_t priority = 0, uint32_t mark = 0);
  void Delete(DatapathFlow& flow);
  // A flow that the loop does not know.
  DatapathFlow& MakeFlow(const Match& match, const Actions& actions, uint32_t priority, uint32_t mark);

  void Inject(uint32_t port, const Bytes& frame, uint32_t mark = 0);
  std::vector<Bytes> Collect(uint32_t port) { return Device(port).Collect(); }
  // All commands are executed.
  void Settle() { datapath_->WaitFor(datapath_->Fence()); }
  // And all packets that were injected are through.
  void Drain();
  std::vector<DatapathUpcall> TakeUpcalls();
  // What it has to be, of ports whose packets are through.
  void ExpectAllAccountedFor(uint32_t port, uint64_t packets);

  Pool pool_;
  std::map<uint32_t, std::unique_ptr<RingDevice>> devices_;
  std::vector<std::unique_ptr<DatapathFlow>> flows_;
  std::unique_ptr<Datapath> datapath_;
};

Match MatchOf(const std::string& text);
Actions ActionsOf(const std::string& text);
reference::PacketSpec Named(const std::string& name);
Bytes NamedFrame(const std::string& name);

}  // namespace sluice::rteflow
