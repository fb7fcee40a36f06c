// SPDX-License-Identifier: Apache-2.0
#include "device.h"

#include <pthread.h>
#include <rte_lcore.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <mutex>
#include <new>

#include "log.h"

namespace sluice::netsluice {
namespace {

constexpr uint16_t kBurst = 32;

std::mutex g_mutex;
std::map<uint32_t, std::weak_ptr<Device>>& Devices() {
  static std::map<uint32_t, std::weak_ptr<Device>> devices;
  return devices;
}

uint64_t Station(const uint8_t* mac) {
  uint64_t station = 0;
  std::memcpy(&station, mac, RTE_ETHER_ADDR_LEN);
  return station;
}

uint64_t Bytes(rte_mbuf* const* packets, uint16_t count) {
  uint64_t bytes = 0;
  for (uint16_t i = 0; i < count; ++i) bytes += packets[i]->pkt_len;
  return bytes;
}

void Grow(std::atomic<uint64_t>& counter, uint64_t by) { counter.fetch_add(by, std::memory_order_relaxed); }

}  // namespace

Result<std::shared_ptr<Device>> Device::Make(const std::string& devargs, uint16_t port) {
  auto config = Config::Parse(devargs);
  if (!config) return config.error();
  auto device = std::make_shared<Device>(std::move(*config), port);
  const Config& told = device->config_;
  auto wire = told.ring.empty() ? MakePacketWire(told.iface, device->counters_)
                                : MakeRingWire(told.ring, told.depth, device->counters_);
  if (!wire) return wire.error();
  device->wire_ = std::move(*wire);
  if (told.mac) {
    device->mac_ = *told.mac;
  } else if (const auto mac = device->wire_->Mac()) {
    device->mac_ = *mac;
  } else {
    rte_eth_random_addr(device->mac_.addr_bytes);
  }
  device->SetMac(device->mac_);
  const std::lock_guard lock(g_mutex);
  Devices()[port] = device;
  return device;
}

std::shared_ptr<Device> Device::Find(uint32_t port) {
  const std::lock_guard lock(g_mutex);
  const auto at = Devices().find(port);
  return at == Devices().end() ? nullptr : at->second.lock();
}

Device::Device(Config config, uint16_t port)
    : config_(std::move(config)), port_(port), faults_(config_.faults, config_.faults_path) {}

Device::~Device() = default;

void Device::SetMac(const rte_ether_addr& mac) { station_ = Station(mac.addr_bytes); }

void Device::Configure(uint16_t rx_queues, uint16_t tx_queues, bool rss) {
  rx_.resize(rx_queues);
  tx_.resize(tx_queues);
  rx_count_ = rx_queues;
  rss_ = rss;
}

RxQueue* Device::MakeRxQueue(uint16_t id, rte_mempool* pool) {
  try {
    rx_[id] = std::make_unique<RxQueue>(*this, id, config_.depth, pool);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
  return rx_[id].get();
}

TxQueue* Device::MakeTxQueue(uint16_t id) {
  tx_[id] = std::make_unique<TxQueue>(*this, id);
  return tx_[id].get();
}

void Device::ReleaseRxQueue(uint16_t id) {
  if (id < rx_.size()) rx_[id].reset();
}

void Device::ReleaseTxQueue(uint16_t id) {
  if (id < tx_.size()) tx_[id].reset();
}

bool Device::Start() {
  bool enough = true;
  const auto add = [&](unsigned& reader) {
    reader = Readers::Get().Add();
    enough = enough && reader != Readers::kNone;
  };
  for (const auto& queue : rx_) add(queue->reader);
  for (const auto& queue : tx_) add(queue->reader);
  if (config_.thread) add(thread_reader_);
  if (!enough) {
    NET_SLUICE_LOG(ERR, "port %u: more than %u queues in the process", port_, Readers::kMost);
    Stop();
    return false;
  }
  wire_->Start();
  started_ = true;
  if (!config_.thread || rx_.empty()) return true;
  // Not on the cores of those who poll, which a thread of another making would inherit.
  run_ = true;
  const std::string name = "net_sluice-" + std::to_string(port_);
  if (rte_ctrl_thread_create(&thread_, name.c_str(), nullptr, RunThread, this) != 0) {
    NET_SLUICE_LOG(ERR, "port %u: cannot make a thread", port_);
    run_ = false;
    Stop();
    return false;
  }
  return true;
}

// The application polls no queue any more, but other devices may still send here until they see that it is stopped.
void Device::Stop() {
  if (run_.exchange(false)) pthread_join(thread_, nullptr);
  started_ = false;
  Readers::Get().Synchronize();
  wire_->Stop();
  const auto remove = [](unsigned& reader) { Readers::Get().Remove(std::exchange(reader, Readers::kNone)); };
  for (const auto& queue : rx_) {
    if (queue == nullptr) continue;
    remove(queue->reader);
    queue->ring.Drain();
  }
  for (const auto& queue : tx_) {
    if (queue != nullptr) remove(queue->reader);
  }
  remove(thread_reader_);
}

void Device::Close() {
  {
    const std::lock_guard lock(g_mutex);
    const auto at = Devices().find(port_);
    if (at != Devices().end() && at->second.lock().get() == this) Devices().erase(at);
  }
  wire_.reset();
  rx_.clear();
  tx_.clear();
}

void* Device::RunThread(void* device) {
  static_cast<Device*>(device)->Run();
  return nullptr;
}

void Device::Run() {
  if (config_.cpu >= 0) {
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(static_cast<unsigned>(config_.cpu), &cpus);
    if (pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus) != 0) {
      NET_SLUICE_LOG(WARNING, "port %u: cpu=%d: cannot run there", port_, config_.cpu);
    }
  }
  unsigned idle = 0;
  while (run_) {
    Readers::Get().Enter(thread_reader_);
    const uint16_t came = Poll(kBurst);
    Readers::Get().Leave(thread_reader_);
    idle = came > 0 ? 0 : idle + 1;
    if (idle > 1000) {
      wire_->Wait();
    } else if (idle > 100) {
      sched_yield();
    }
  }
}

// A station's own frames, and those to several, if it is not promiscuous; none that are longer than its MTU allows,
// with two tags.
bool Device::Admit(rte_mbuf* packet) {
  if (packet->pkt_len > size_t{mtu_} + RTE_ETHER_HDR_LEN + 2 * 4) {
    counters_.Add(Counter::kRxTooLong);
    return false;
  }
  if (promiscuous_ || packet->data_len < RTE_ETHER_HDR_LEN) return true;
  const auto* to = rte_pktmbuf_mtod(packet, const uint8_t*);
  if ((to[0] & 1) != 0 || Station(to) == station_) return true;
  counters_.Add(Counter::kRxFiltered);
  return false;
}

uint16_t Device::Poll(uint16_t count) {
  std::array<rte_mbuf*, kBurst> packets;
  const uint16_t came = wire_->Receive(packets.data(), std::min(count, kBurst), rx_[0]->pool);
  if (came == 0) return 0;
  if (link_lost_) {
    rte_pktmbuf_free_bulk(packets.data(), came);
    return 0;
  }
  uint16_t kept = 0;
  uint64_t bytes = 0;
  for (uint16_t i = 0; i < came; ++i) {
    rte_mbuf* packet = packets[i];
    packet->ol_flags = 0;
    packet->packet_type = RTE_PTYPE_UNKNOWN;
    packet->vlan_tci = 0;
    if (!Admit(packet)) {
      rte_pktmbuf_free(packet);
      continue;
    }
    bytes += packet->pkt_len;
    packets[kept++] = packet;
  }
  counters_.Add(Counter::kRxGood, kept);
  counters_.Add(Counter::kRxGoodBytes, bytes);
  pipeline_.Run(packets.data(), kept, *from_wire_);
  return came;
}

uint16_t Device::Receive(RxQueue& queue, rte_mbuf** packets, uint16_t count) {
  // One queue's poll receives for all; who finds another at it takes what there is.
  if (!config_.thread && queue.ring.empty() && !polling_.test_and_set(std::memory_order_acquire)) {
    Readers::Get().Enter(queue.reader);
    Poll(count);
    Readers::Get().Leave(queue.reader);
    polling_.clear(std::memory_order_release);
  }
  const auto taken = static_cast<uint16_t>(queue.ring.Take(packets, count));
  if (taken == 0) return 0;
  Grow(queue.packets, taken);
  Grow(queue.bytes, Bytes(packets, taken));
  return taken;
}

uint16_t Device::Transmit(TxQueue& queue, rte_mbuf** packets, uint16_t count) {
  if (!from_ethdev_->empty()) {
    std::array<rte_mbuf*, kBurst> own;
    count = std::min(count, kBurst);
    uint16_t kept = 0;
    for (uint16_t i = 0; i < count; ++i) {
      if ((own[kept] = Sole(packets[i])) != nullptr) {
        own[kept++]->ol_flags = 0;
      } else {
        counters_.Add(Counter::kTxErrors);
      }
    }
    Grow(queue.packets, kept);
    Grow(queue.bytes, Bytes(own.data(), kept));
    Readers::Get().Enter(queue.reader);
    queue.pipeline.Run(own.data(), kept, *from_ethdev_);
    Readers::Get().Leave(queue.reader);
    return count;
  }
  const uint64_t bytes = Bytes(packets, count);
  // What is not taken is counted off again: taken packets are not ours to look at any more.
  const uint16_t sent = Send(packets, count);
  const uint64_t kept = Bytes(packets + sent, static_cast<uint16_t>(count - sent));
  Grow(queue.packets, sent);
  Grow(queue.bytes, bytes - kept);
  counters_.Add(Counter::kTxGood, sent);
  counters_.Add(Counter::kTxGoodBytes, bytes - kept);
  return sent;
}

void Device::Deliver(uint16_t queue, rte_mbuf** packets, uint16_t count) {
  uint16_t put = 0;
  if (started_ && queue < rx_.size()) {
    for (uint16_t i = 0; i < count; ++i) packets[i]->port = port_;
    put = static_cast<uint16_t>(rx_[queue]->ring.Put(packets, count));
  }
  if (put == count) return;
  counters_.Add(Counter::kRxQueueFull, count - put);
  rte_pktmbuf_free_bulk(packets + put, count - put);
}

void Device::Forward(rte_mbuf** packets, uint16_t count, Device& from) {
  const uint64_t bytes = Bytes(packets, count);
  const uint16_t sent = started_ ? Send(packets, count) : 0;
  const auto left = static_cast<uint16_t>(count - sent);
  const uint64_t lost = Bytes(packets + sent, left);
  counters_.Add(Counter::kTxGood, sent);
  counters_.Add(Counter::kTxGoodBytes, bytes - lost);
  if (&from != this) counters_.Add(Counter::kTxForwarded, sent);
  if (left == 0) return;
  from.counters_.Add(Counter::kTxForwardFailed, left);
  rte_pktmbuf_free_bulk(packets + sent, left);
}

bool Device::LinkUp() {
  link_lost_ = faults_.Now().link_down;
  return started_ && !link_lost_ && wire_->Up();
}

uint16_t Device::Send(rte_mbuf** packets, uint16_t count) {
  if (!link_lost_) return wire_->Send(packets, count);
  counters_.Add(Counter::kTxNoLink, count);
  rte_pktmbuf_free_bulk(packets, count);
  return count;
}

uint64_t Device::Missed() {
  counters_.Add(Counter::kRxLostByKernel, wire_->TakeMissed());
  return counters_.Get(Counter::kRxLostByKernel) + counters_.Get(Counter::kRxQueueFull);
}

void Device::ResetCounters() {
  wire_->TakeMissed();
  counters_.Reset();
  for (const auto& queue : rx_) {
    if (queue != nullptr) queue->packets = queue->bytes = 0;
  }
  for (const auto& queue : tx_) {
    if (queue != nullptr) queue->packets = queue->bytes = 0;
  }
}

}  // namespace sluice::netsluice
