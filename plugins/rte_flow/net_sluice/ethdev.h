// SPDX-License-Identifier: Apache-2.0
// Between ethdev's C structures and ours.
#pragma once

#include <ethdev_driver.h>

#include <memory>

#include "device.h"
#include "flow_set.h"

namespace sluice::netsluice {

// What eth_dev->data->dev_private points to. Made by the probe, destroyed by close; ethdev frees the memory.
struct Private {
  explicit Private(std::shared_ptr<Device> made) : device(std::move(made)), flows(device) {}

  std::shared_ptr<Device> device;
  FlowSet flows;
};

inline Private& PrivateOf(const rte_eth_dev* dev) { return *static_cast<Private*>(dev->data->dev_private); }
inline Device& DeviceOf(const rte_eth_dev* dev) { return *PrivateOf(dev).device; }

extern const eth_dev_ops kEthDevOps;
extern const rte_flow_ops kFlowOps;

// By rx_pkt_burst and tx_pkt_burst.
uint16_t ReceiveBurst(void* queue, rte_mbuf** packets, uint16_t count);
uint16_t TransmitBurst(void* queue, rte_mbuf** packets, uint16_t count);

// rte_eth_stats and rte_eth_xstats. (statistics.cpp)
int StatsGet(rte_eth_dev* dev, rte_eth_stats* stats);
int StatsReset(rte_eth_dev* dev);
int XstatsGet(rte_eth_dev* dev, rte_eth_xstat* values, unsigned count);
int XstatsGetNames(rte_eth_dev* dev, rte_eth_xstat_name* names, unsigned count);

// Looks at the link now and then, while the device is there, and tells the application of changes.
void WatchLink(rte_eth_dev* dev);
void UnwatchLink(rte_eth_dev* dev);

}  // namespace sluice::netsluice
