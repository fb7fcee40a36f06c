// SPDX-License-Identifier: Apache-2.0
// A net_sluice device: its wire, its receive queues, and the way of packets between them. The rules are FlowSet's.
#pragma once

#include <pthread.h>
#include <rte_ethdev.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "config.h"
#include "counters.h"
#include "fault_file.h"
#include "packet_ring.h"
#include "pipeline.h"
#include "readers.h"
#include "rule_table.h"
#include "sluice/error.h"
#include "wire.h"

namespace sluice::netsluice {

class Device;

struct RxQueue {
  RxQueue(Device& owner, uint16_t number, uint32_t depth, rte_mempool* from)
      : device(owner), id(number), ring(depth), pool(from) {}

  Device& device;
  const uint16_t id;
  PacketRing ring;  // matched packets
  rte_mempool* const pool;
  unsigned reader = Readers::kNone;
  std::atomic<uint64_t> packets{0};
  std::atomic<uint64_t> bytes{0};
};

struct TxQueue {
  TxQueue(Device& owner, uint16_t number) : device(owner), id(number), pipeline(owner, Pipeline::Way::kTransmit) {}

  Device& device;
  const uint16_t id;
  Pipeline pipeline;
  unsigned reader = Readers::kNone;
  std::atomic<uint64_t> packets{0};
  std::atomic<uint64_t> bytes{0};
};

// Control calls come from one thread at a time, as ethdev demands of applications; others say what they allow.
class Device {
 public:
  // Errors: "bad_devargs" and those of wires.
  static Result<std::shared_ptr<Device>> Make(const std::string& devargs, uint16_t port);
  // By ethdev port number; nullptr: that port is no net_sluice device. Any thread.
  static std::shared_ptr<Device> Find(uint32_t port);
  Device(Config config, uint16_t port);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  // -- Set-up. Queues are made while the device is not started.
  void Configure(uint16_t rx_queues, uint16_t tx_queues, bool rss);
  RxQueue* MakeRxQueue(uint16_t id, rte_mempool* pool);  // nullptr: no memory
  TxQueue* MakeTxQueue(uint16_t id);
  void ReleaseRxQueue(uint16_t id);
  void ReleaseTxQueue(uint16_t id);
  bool Start();  // false: there are too many readers in the process
  void Stop();
  void Close();  // for good; rules of other devices may still send here, in vain

  // -- Statistics, until it is closed.
  uint64_t Missed();  // by the wire, and because of full queues
  void ResetCounters();

  // -- Packets.
  uint16_t Receive(RxQueue& queue, rte_mbuf** packets, uint16_t count);
  uint16_t Transmit(TxQueue& queue, rte_mbuf** packets, uint16_t count);
  // By pipelines, of this device and of others. They take the packets.
  void Deliver(uint16_t queue, rte_mbuf** packets, uint16_t count);
  void Forward(rte_mbuf** packets, uint16_t count, Device& from);
  // Over how many queues the packets go that no rule sends to one. By pipelines.
  [[nodiscard]] size_t DefaultQueues() const { return rss_ ? rx_count_.load() : 1; }

  // -- Any thread.
  [[nodiscard]] uint16_t port() const { return port_; }
  [[nodiscard]] uint16_t rx_queues() const { return rx_count_; }
  [[nodiscard]] const Config& config() const { return config_; }
  [[nodiscard]] Counters& counters() { return counters_; }
  [[nodiscard]] Faults faults() { return faults_.Now(); }
  [[nodiscard]] bool LinkUp();
  [[nodiscard]] bool started() const { return started_; }
  [[nodiscard]] const std::shared_ptr<RuleTable>& from_wire() const { return from_wire_; }
  [[nodiscard]] const std::shared_ptr<RuleTable>& from_ethdev() const { return from_ethdev_; }
  [[nodiscard]] const rte_ether_addr& default_mac() const { return mac_; }
  void SetMac(const rte_ether_addr& mac);
  void SetPromiscuous(bool on) { promiscuous_ = on; }
  void SetMtu(uint16_t mtu) { mtu_ = mtu; }
  [[nodiscard]] const std::vector<std::unique_ptr<RxQueue>>& rx() const { return rx_; }
  [[nodiscard]] const std::vector<std::unique_ptr<TxQueue>>& tx() const { return tx_; }

 private:
  static void* RunThread(void* device);  // of thread=1
  void Run();
  uint16_t Poll(uint16_t count);
  uint16_t Send(rte_mbuf** packets, uint16_t count);
  bool Admit(rte_mbuf* packet);

  const Config config_;
  const uint16_t port_;
  Counters counters_;
  FaultFile faults_;
  rte_ether_addr mac_{};
  std::unique_ptr<Wire> wire_;
  const std::shared_ptr<RuleTable> from_wire_ = std::make_shared<RuleTable>();
  const std::shared_ptr<RuleTable> from_ethdev_ = std::make_shared<RuleTable>();

  std::vector<std::unique_ptr<RxQueue>> rx_;
  std::vector<std::unique_ptr<TxQueue>> tx_;
  std::atomic<uint16_t> rx_count_{0};
  std::atomic<bool> rss_{false};
  std::atomic<bool> started_{false};
  std::atomic<bool> link_lost_{false};  // a fault
  std::atomic<bool> promiscuous_{false};
  std::atomic<uint64_t> station_{0};  // the MAC address, in the low 48 bits
  std::atomic<uint16_t> mtu_{RTE_ETHER_MTU};

  std::atomic_flag polling_;  // who has it receives from the wire and uses pipeline_
  Pipeline pipeline_{*this, Pipeline::Way::kReceive};
  pthread_t thread_{};
  std::atomic<bool> run_{false};
  unsigned thread_reader_ = Readers::kNone;
};

}  // namespace sluice::netsluice
