// SPDX-License-Identifier: Apache-2.0
// rte_eth_stats and rte_eth_xstats.
#include <algorithm>
#include <cstdio>

#include "ethdev.h"

namespace sluice::netsluice {

int StatsGet(rte_eth_dev* dev, rte_eth_stats* stats) {
  Device& device = DeviceOf(dev);
  const Counters& counters = device.counters();
  for (const auto& queue : device.rx()) {
    if (queue == nullptr) continue;
    const uint64_t packets = queue->packets.load(std::memory_order_relaxed);
    const uint64_t bytes = queue->bytes.load(std::memory_order_relaxed);
    stats->ipackets += packets;
    stats->ibytes += bytes;
    if (queue->id >= RTE_ETHDEV_QUEUE_STAT_CNTRS) continue;
    stats->q_ipackets[queue->id] = packets;
    stats->q_ibytes[queue->id] = bytes;
  }
  for (const auto& queue : device.tx()) {
    if (queue == nullptr || queue->id >= RTE_ETHDEV_QUEUE_STAT_CNTRS) continue;
    stats->q_opackets[queue->id] = queue->packets.load(std::memory_order_relaxed);
    stats->q_obytes[queue->id] = queue->bytes.load(std::memory_order_relaxed);
  }
  stats->opackets = counters.Get(Counter::kTxGood);
  stats->obytes = counters.Get(Counter::kTxGoodBytes);
  stats->imissed = device.Missed();
  stats->ierrors = counters.Get(Counter::kRxTooLong);
  stats->oerrors = counters.Get(Counter::kTxErrors) + counters.Get(Counter::kTxNoLink);
  stats->rx_nombuf = counters.Get(Counter::kRxNoMbuf);
  return 0;
}

int StatsReset(rte_eth_dev* dev) {
  DeviceOf(dev).ResetCounters();
  return 0;
}

int XstatsGet(rte_eth_dev* dev, rte_eth_xstat* values, unsigned count) {
  constexpr unsigned kCount = kCounterNames.size();
  if (values == nullptr || count < kCount) return kCount;
  DeviceOf(dev).Missed();  // reads the kernel's
  for (unsigned n = 0; n < kCount; ++n) {
    values[n].id = n;
    values[n].value = DeviceOf(dev).counters().Get(static_cast<Counter>(n));
  }
  return kCount;
}

int XstatsGetNames(rte_eth_dev* /*dev*/, rte_eth_xstat_name* names, unsigned count) {
  constexpr unsigned kCount = kCounterNames.size();
  if (names == nullptr || count < kCount) return kCount;
  for (unsigned n = 0; n < kCount; ++n) std::snprintf(names[n].name, sizeof(names[n].name), "%s", kCounterNames[n]);
  return kCount;
}

}  // namespace sluice::netsluice
