// SPDX-License-Identifier: Apache-2.0
#include "rig.h"

#include <poll.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <thread>
#include <utility>

namespace sluice::rteflow {
namespace {

std::string Unique(const char* what) {
  static std::atomic<unsigned> made{0};
  return what + std::to_string(made.fetch_add(1));
}

void Must(bool good, const std::string& what) {
  if (!good) throw std::runtime_error(what + ": " + rte_strerror(rte_errno));
}

rte_ring* MakeRing(unsigned size) {
  rte_ring* ring = rte_ring_create(Unique("ring_").c_str(), size, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
  Must(ring != nullptr, "rte_ring_create");
  return ring;
}

uint16_t AfterReceive(uint16_t /*ethdev*/, uint16_t /*queue*/, rte_mbuf** /*packets*/, uint16_t count,
                      uint16_t /*most*/, void* injected) {
  static_cast<std::atomic<uint64_t>*>(injected)->load(std::memory_order_acquire);
  return count;
}

uint16_t BeforeSend(uint16_t /*ethdev*/, uint16_t /*queue*/, rte_mbuf** /*packets*/, uint16_t count, void* sent) {
  static_cast<std::atomic<uint64_t>*>(sent)->fetch_add(1, std::memory_order_release);
  return count;
}

void FreeRing(rte_ring* ring) {
  void* packet = nullptr;
  while (rte_ring_dequeue(ring, &packet) == 0) rte_pktmbuf_free(static_cast<rte_mbuf*>(packet));
  rte_ring_free(ring);
}

}  // namespace

Pool::Pool(unsigned count)
    : pool_(rte_pktmbuf_pool_create(Unique("pool_").c_str(), count, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY)) {
  Must(pool_ != nullptr, "rte_pktmbuf_pool_create");
}

Pool::~Pool() { rte_mempool_free(pool_); }

unsigned Pool::in_use() const { return rte_mempool_in_use_count(pool_); }

rte_mbuf* Pool::Make(std::span<const uint8_t> frame, uint32_t mark) const {
  rte_mbuf* packet = MakeChain(frame, frame.size(), frame.size());
  if (mark != 0) {
    packet->ol_flags |= RTE_MBUF_F_RX_FDIR | RTE_MBUF_F_RX_FDIR_ID;
    packet->hash.fdir.hi = mark;
  }
  return packet;
}

rte_mbuf* Pool::MakeChain(std::span<const uint8_t> frame, size_t first, size_t rest) const {
  rte_mbuf* head = nullptr;
  do {
    rte_mbuf* piece = rte_pktmbuf_alloc(pool_);
    Must(piece != nullptr, "rte_pktmbuf_alloc");
    const auto bytes = frame.first(std::min(frame.size(), head == nullptr ? first : rest));
    char* at = rte_pktmbuf_append(piece, static_cast<uint16_t>(bytes.size()));
    Must(at != nullptr, "rte_pktmbuf_append");
    if (!bytes.empty()) std::memcpy(at, bytes.data(), bytes.size());
    frame = frame.subspan(bytes.size());
    if (head == nullptr) {
      head = piece;
    } else {
      Must(rte_pktmbuf_chain(head, piece) == 0, "rte_pktmbuf_chain");
    }
  } while (!frame.empty());
  return head;
}

RingDevice::RingDevice(const Pool& pool, unsigned queues, unsigned size) : send_(MakeRing(size)) {
  for (unsigned i = 0; i < queues; ++i) receive_.push_back(MakeRing(size));
  const int made = rte_eth_from_rings(Unique("loop").c_str(), receive_.data(), queues, &send_, 1, 0);
  Must(made >= 0, "rte_eth_from_rings");
  ethdev_ = static_cast<uint16_t>(made);
  const rte_eth_conf conf{};
  Must(rte_eth_dev_configure(ethdev_, static_cast<uint16_t>(queues), 1, &conf) == 0, "rte_eth_dev_configure");
  for (uint16_t i = 0; i < queues; ++i) {
    Must(rte_eth_rx_queue_setup(ethdev_, i, 512, 0, nullptr, pool.get()) == 0, "rte_eth_rx_queue_setup");
    after_receive_.push_back(rte_eth_add_rx_callback(ethdev_, i, AfterReceive, &injected_));
    Must(after_receive_.back() != nullptr, "rte_eth_add_rx_callback");
  }
  Must(rte_eth_tx_queue_setup(ethdev_, 0, 512, 0, nullptr) == 0, "rte_eth_tx_queue_setup");
  before_send_ = rte_eth_add_tx_callback(ethdev_, 0, BeforeSend, &sent_);
  Must(before_send_ != nullptr, "rte_eth_add_tx_callback");
  Must(rte_eth_dev_start(ethdev_) == 0, "rte_eth_dev_start");
}

RingDevice::~RingDevice() {
  rte_eth_dev_info info{};
  rte_eth_dev_info_get(ethdev_, &info);
  rte_eth_dev_stop(ethdev_);
  // Else the next device of this number has them, too.
  for (uint16_t i = 0; i < after_receive_.size(); ++i) rte_eth_remove_rx_callback(ethdev_, i, after_receive_[i]);
  rte_eth_remove_tx_callback(ethdev_, 0, before_send_);
  rte_eth_dev_close(ethdev_);
  rte_dev_remove(info.device);
  for (rte_ring* ring : receive_) FreeRing(ring);
  FreeRing(send_);
}

bool RingDevice::Inject(rte_mbuf* packet, unsigned queue) {
  injected_.fetch_add(1, std::memory_order_release);
  if (rte_ring_enqueue(receive_[queue], packet) == 0) return true;
  rte_pktmbuf_free(packet);
  return false;
}

rte_mbuf* RingDevice::CollectOne() {
  void* packet = nullptr;
  if (rte_ring_dequeue(send_, &packet) != 0) return nullptr;
  sent_.load(std::memory_order_acquire);
  return static_cast<rte_mbuf*>(packet);
}

std::vector<Bytes> RingDevice::Collect() {
  std::vector<Bytes> frames;
  while (rte_mbuf* packet = CollectOne()) {
    Bytes& frame = frames.emplace_back();
    for (const rte_mbuf* piece = packet; piece != nullptr; piece = piece->next) {
      const auto* bytes = rte_pktmbuf_mtod(piece, const uint8_t*);
      frame.insert(frame.end(), bytes, bytes + piece->data_len);
    }
    EXPECT_EQ(frame.size(), packet->pkt_len);
    EXPECT_EQ(packet->ol_flags, 0u) << "what one device said of it must not reach the next";
    rte_pktmbuf_free(packet);
  }
  return frames;
}

unsigned RingDevice::waiting() const {
  unsigned count = 0;
  for (const rte_ring* ring : receive_) count += rte_ring_count(ring);
  return count;
}

DatapathTest::DatapathTest(Datapath::Settings settings) {
  if (settings.copies == Datapath::Settings{}.copies) settings.copies = 2047;
  auto started = Datapath::Start(settings);
  if (!started) throw std::runtime_error(started.error().detail);
  datapath_ = *std::move(started);
}

RingDevice& DatapathTest::AddPort(uint32_t number, Datapath::Port settings, unsigned ring) {
  auto& device = devices_[number];
  device = std::make_unique<RingDevice>(pool_, settings.rx_queues, ring);
  settings.number = number;
  settings.ethdev = device->ethdev();
  datapath_->AddPort(settings);
  Settle();
  return *device;
}

void DatapathTest::RemovePort(uint32_t number) {
  datapath_->RemovePort(number);
  Settle();
  devices_.erase(number);
}

DatapathFlow& DatapathTest::MakeFlow(const Match& match, const Actions& actions, uint32_t priority, uint32_t mark) {
  DatapathFlow& flow = *flows_.emplace_back(std::make_unique<DatapathFlow>());
  flow.ufid = match.DeriveUfid();
  flow.match = match;
  flow.priority = priority;
  flow.actions = actions;
  flow.mark = mark;
  return flow;
}

DatapathFlow& DatapathTest::Put(const Match& match, const Actions& actions, uint32_t priority, uint32_t mark) {
  DatapathFlow& flow = MakeFlow(match, actions, priority, mark);
  datapath_->Insert(flow);
  Settle();
  return flow;
}

DatapathFlow& DatapathTest::Put(const std::string& match, const std::string& actions, uint32_t priority,
                                uint32_t mark) {
  return Put(MatchOf(match), ActionsOf(actions), priority, mark);
}

void DatapathTest::Delete(DatapathFlow& flow) {
  datapath_->Remove(flow);
  Settle();
}

void DatapathTest::Inject(uint32_t port, const Bytes& frame, uint32_t mark) {
  ASSERT_TRUE(Device(port).Inject(pool_.Make(frame, mark)));
}

void DatapathTest::Drain() {
  const uint64_t fence = datapath_->Fence();
  while (datapath_->drained_fence() < fence) std::this_thread::yield();
}

std::vector<DatapathUpcall> DatapathTest::TakeUpcalls() {
  std::vector<DatapathUpcall> all;
  pollfd event{datapath_->upcall_fd(), POLLIN, 0};
  while (poll(&event, 1, 0) > 0) {
    for (auto& upcall : datapath_->TakeUpcalls(100)) all.push_back(std::move(upcall));
  }
  return all;
}

void DatapathTest::ExpectAllAccountedFor(uint32_t port, uint64_t packets) {
  const DatapathPortCounters counters = datapath_->Counters(port);
  EXPECT_EQ(counters.rx_packets, packets);
  EXPECT_EQ(counters.marked + counters.hit_software + counters.miss + counters.malformed, packets);
}

Match MatchOf(const std::string& text) {
  if (text.empty()) return {};
  const auto match = ParseMatch(text);
  if (!match) throw std::invalid_argument(Explain(match.error(), text));
  return *match;
}

Actions ActionsOf(const std::string& text) {
  const auto actions = ParseActions(text);
  if (!actions) throw std::invalid_argument(Explain(actions.error(), text));
  return *actions;
}

reference::PacketSpec Named(const std::string& name) {
  for (const auto& [known, spec] : reference::NamedPackets()) {
    if (known == name) return spec;
  }
  throw std::out_of_range(name);
}

Bytes NamedFrame(const std::string& name) { return Build(Named(name)); }

}  // namespace sluice::rteflow
