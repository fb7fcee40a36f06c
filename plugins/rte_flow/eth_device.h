// SPDX-License-Identifier: Apache-2.0
// One DPDK device: hot-plugged by its devargs, set up with queues, started; and undone again, so that the same name can
// come back.
#pragma once

#include <rte_ethdev.h>
#include <rte_mempool.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "port_settings.h"
#include "sluice/error.h"

namespace sluice::rteflow {

class EthDevice {
 public:
  // `on_removal` is called when the driver says that the device is gone, on one of DPDK's threads. Errors:
  // "bad_option" (no devargs), "no_such_device", "device_busy" (another port has it), "device_failed"; nothing is left
  // of it then.
  static Result<std::unique_ptr<EthDevice>> Open(const PortSettings& settings, std::function<void()> on_removal);
  // Stops, closes and unplugs. Nobody may receive from or send to it any more, and its rules have to be gone.
  ~EthDevice();
  EthDevice(const EthDevice&) = delete;
  EthDevice& operator=(const EthDevice&) = delete;

  [[nodiscard]] uint16_t id() const { return id_; }
  [[nodiscard]] std::string driver() const;
  // The Linux device behind it; empty and 0: none.
  [[nodiscard]] const std::string& interface() const { return interface_; }
  [[nodiscard]] uint32_t interface_index() const { return if_index_; }
  [[nodiscard]] uint16_t queues() const { return queues_; }
  // The driver has said so, or the Linux device behind it is not there any more.
  [[nodiscard]] bool IsRemoved() const;
  // "up 10000 Mbit/s", "down".
  [[nodiscard]] std::string Link() const;
  // Those of the hardware: what it lost before anybody could receive it.
  [[nodiscard]] rte_eth_stats Stats() const;

 private:
  explicit EthDevice(std::function<void()> on_removal) : on_removal_(std::move(on_removal)) {}
  Result<void> Plug(const PortSettings& settings);
  Result<void> SetUp(const PortSettings& settings);
  static int OnEvent(uint16_t id, rte_eth_event_type event, void* self, void*);

  struct FreePool {
    void operator()(rte_mempool* pool) const { rte_mempool_free(pool); }
  };

  std::function<void()> on_removal_;
  std::string devargs_;
  std::string interface_;
  uint32_t if_index_ = 0;
  uint16_t id_ = RTE_MAX_ETHPORTS;
  uint16_t queues_ = 1;
  bool plugged_ = false;
  bool started_ = false;
  std::atomic<bool> removed_ = false;
  std::unique_ptr<rte_mempool, FreePool> pool_;
};

}  // namespace sluice::rteflow
