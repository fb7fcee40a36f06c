// SPDX-License-Identifier: Apache-2.0
// A wire in memory: two rings, one for each direction. Packets change hands without being copied.
#include <time.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <map>
#include <mutex>
#include <new>

#include "packet_ring.h"
#include "wire.h"

namespace sluice::netsluice {
namespace {

struct Pair {
  explicit Pair(uint32_t depth) : towards{PacketRing(depth), PacketRing(depth)} {}

  std::array<PacketRing, 2> towards;  // by the receiving end
  std::array<bool, 2> taken{};        // under the mutex of all pairs
  std::array<std::atomic<bool>, 2> started{};
};

std::mutex g_mutex;
std::map<std::string, std::weak_ptr<Pair>>& Pairs() {
  static std::map<std::string, std::weak_ptr<Pair>> pairs;
  return pairs;
}

class RingWire : public Wire {
 public:
  RingWire(std::shared_ptr<Pair> pair, size_t end, Counters& counters)
      : pair_(std::move(pair)), end_(end), counters_(counters) {}
  // What it has sent is from pools that may go with it.
  ~RingWire() override {
    Stop();
    pair_->towards[1 - end_].Drain();
    const std::lock_guard lock(g_mutex);
    pair_->taken[end_] = false;
  }

  uint16_t Receive(rte_mbuf** packets, uint16_t count, rte_mempool* /*pool*/) override {
    return static_cast<uint16_t>(pair_->towards[end_].Take(packets, count));
  }

  uint16_t Send(rte_mbuf** packets, uint16_t count) override {
    const size_t other = 1 - end_;
    if (!pair_->started[other]) {
      counters_.Add(Counter::kTxNoLink, count);
      rte_pktmbuf_free_bulk(packets, count);
      return count;
    }
    for (uint16_t i = 0; i < count; ++i) {
      packets[i] = Sole(packets[i]);
      if (packets[i] != nullptr) continue;
      // It is lost; those behind it move up and are sent in another round, so that the caller's array stays whole.
      counters_.Add(Counter::kTxErrors);
      const auto put = static_cast<uint16_t>(pair_->towards[other].Put(packets, i));
      if (put == i) return static_cast<uint16_t>(i + 1);
      std::copy_backward(packets + put, packets + i, packets + i + 1);
      return static_cast<uint16_t>(put + 1);
    }
    return static_cast<uint16_t>(pair_->towards[other].Put(packets, count));
  }

  // Nothing tells when the other end sends.
  void Wait() override {
    const timespec pause = {0, 20'000};
    nanosleep(&pause, nullptr);
  }

  // A sender may have had its packets on the way while the end was stopped.
  void Start() override {
    pair_->towards[end_].Drain();
    pair_->started[end_] = true;
  }
  void Stop() final {
    pair_->started[end_] = false;
    pair_->towards[end_].Drain();
  }
  [[nodiscard]] bool Up() const override { return pair_->started[1 - end_]; }

 private:
  const std::shared_ptr<Pair> pair_;
  const size_t end_;
  Counters& counters_;
};

}  // namespace

Result<std::unique_ptr<Wire>> MakeRingWire(const std::string& name, uint32_t depth, Counters& counters) {
  const std::lock_guard lock(g_mutex);
  std::erase_if(Pairs(), [](const auto& entry) { return entry.second.expired(); });
  std::shared_ptr<Pair> pair = Pairs()[name].lock();
  if (pair == nullptr) {
    try {
      pair = std::make_shared<Pair>(depth);
    } catch (const std::bad_alloc&) {
      return Error{"system", "no memory for a ring of " + std::to_string(depth) + " packets"};
    }
    Pairs()[name] = pair;
  }
  for (size_t end = 0; end < 2; ++end) {
    if (pair->taken[end]) continue;
    pair->taken[end] = true;
    return std::unique_ptr<Wire>(std::make_unique<RingWire>(std::move(pair), end, counters));
  }
  return Error{"wire_taken", "ring=" + name + ": two devices are its ends already"};
}

}  // namespace sluice::netsluice
