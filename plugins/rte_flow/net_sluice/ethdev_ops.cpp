// SPDX-License-Identifier: Apache-2.0
#include <net/if.h>
#include <rte_alarm.h>

#include <algorithm>
#include <mutex>

#include "ethdev.h"
#include "log.h"

namespace sluice::netsluice {
namespace {

constexpr uint64_t kLinkPeriodUs = 50'000;
constexpr uint16_t kMostMtu = 9600;
constexpr uint32_t kFrameOverhead = RTE_ETHER_HDR_LEN + 2 * 4;  // with two tags

int Configure(rte_eth_dev* dev) {
  const rte_eth_dev_data& data = *dev->data;
  const bool rss = (data.dev_conf.rxmode.mq_mode & RTE_ETH_MQ_RX_RSS_FLAG) != 0;
  DeviceOf(dev).Configure(data.nb_rx_queues, data.nb_tx_queues, rss);
  return 0;
}

int LinkUpdate(rte_eth_dev* dev, int /*wait*/) {
  rte_eth_link link{};
  link.link_speed = RTE_ETH_SPEED_NUM_10G;
  link.link_duplex = RTE_ETH_LINK_FULL_DUPLEX;
  link.link_autoneg = RTE_ETH_LINK_FIXED;
  link.link_status = DeviceOf(dev).LinkUp() ? RTE_ETH_LINK_UP : RTE_ETH_LINK_DOWN;
  return rte_eth_linkstatus_set(dev, &link);
}

// Held by looks at links, but for the application's callback: what was done before a look was asked for it sees, and
// what is done after the last it does not.
std::mutex g_looking;

void LookAtLink(void* arg) {
  auto* dev = static_cast<rte_eth_dev*>(arg);
  bool tell = false;
  {
    const std::lock_guard lock(g_looking);
    rte_eal_alarm_set(kLinkPeriodUs, LookAtLink, dev);
    tell = LinkUpdate(dev, 0) == 0 && dev->data->dev_conf.intr_conf.lsc != 0;
  }
  if (tell) rte_eth_dev_callback_process(dev, RTE_ETH_EVENT_INTR_LSC, nullptr);
}

void SetQueueStates(rte_eth_dev* dev, uint8_t state) {
  std::fill_n(dev->data->rx_queue_state, dev->data->nb_rx_queues, state);
  std::fill_n(dev->data->tx_queue_state, dev->data->nb_tx_queues, state);
}

int Start(rte_eth_dev* dev) {
  if (!DeviceOf(dev).Start()) return -ENOMEM;
  SetQueueStates(dev, RTE_ETH_QUEUE_STATE_STARTED);
  LinkUpdate(dev, 0);
  return 0;
}

int Stop(rte_eth_dev* dev) {
  DeviceOf(dev).Stop();
  dev->data->dev_started = 0;
  SetQueueStates(dev, RTE_ETH_QUEUE_STATE_STOPPED);
  LinkUpdate(dev, 0);
  return 0;
}

int Close(rte_eth_dev* dev) {
  UnwatchLink(dev);
  Private& own = PrivateOf(dev);
  own.device->Stop();
  own.flows.Flush();
  own.device->Close();
  own.~Private();
  dev->data->mac_addrs = nullptr;  // it was in there
  return 0;
}

int InfosGet(rte_eth_dev* dev, rte_eth_dev_info* info) {
  const Config& config = DeviceOf(dev).config();
  if (!config.iface.empty()) info->if_index = if_nametoindex(config.iface.c_str());
  info->max_mac_addrs = 1;
  info->min_mtu = RTE_ETHER_MIN_MTU;
  info->max_mtu = kMostMtu;
  info->min_rx_bufsize = 0;
  info->max_rx_pktlen = kMostMtu + kFrameOverhead;
  info->max_rx_queues = config.queues;
  info->max_tx_queues = config.queues;
  info->flow_type_rss_offloads = RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_SCTP;
  info->hash_key_size = 40;
  info->rx_offload_capa = RTE_ETH_RX_OFFLOAD_RSS_HASH;
  info->tx_offload_capa = RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
  info->speed_capa = RTE_ETH_LINK_SPEED_10G;
  info->dev_capa &= ~RTE_ETH_DEV_CAPA_FLOW_RULE_KEEP;
  return 0;
}

int RxQueueSetup(rte_eth_dev* dev, uint16_t id, uint16_t /*descriptors*/, unsigned /*socket*/,
                 const rte_eth_rxconf* /*conf*/, rte_mempool* pool) {
  RxQueue* queue = DeviceOf(dev).MakeRxQueue(id, pool);
  if (queue == nullptr) return -ENOMEM;
  dev->data->rx_queues[id] = queue;
  return 0;
}

int TxQueueSetup(rte_eth_dev* dev, uint16_t id, uint16_t /*descriptors*/, unsigned /*socket*/,
                 const rte_eth_txconf* /*conf*/) {
  dev->data->tx_queues[id] = DeviceOf(dev).MakeTxQueue(id);
  return 0;
}

void RxQueueRelease(rte_eth_dev* dev, uint16_t id) {
  DeviceOf(dev).ReleaseRxQueue(id);
  dev->data->rx_queues[id] = nullptr;
}

void TxQueueRelease(rte_eth_dev* dev, uint16_t id) {
  DeviceOf(dev).ReleaseTxQueue(id);
  dev->data->tx_queues[id] = nullptr;
}

int PromiscuousEnable(rte_eth_dev* dev) {
  DeviceOf(dev).SetPromiscuous(true);
  return 0;
}

int PromiscuousDisable(rte_eth_dev* dev) {
  DeviceOf(dev).SetPromiscuous(false);
  return 0;
}

// Frames to several are always received.
int AllMulticast(rte_eth_dev* /*dev*/) { return 0; }

int MacAddrSet(rte_eth_dev* dev, rte_ether_addr* mac) {
  DeviceOf(dev).SetMac(*mac);
  return 0;
}

int MtuSet(rte_eth_dev* dev, uint16_t mtu) {
  DeviceOf(dev).SetMtu(mtu);
  return 0;
}

int FlowOpsGet(rte_eth_dev* /*dev*/, const rte_flow_ops** ops) {
  *ops = &kFlowOps;
  return 0;
}

}  // namespace

uint16_t ReceiveBurst(void* queue, rte_mbuf** packets, uint16_t count) {
  auto& own = *static_cast<RxQueue*>(queue);
  return own.device.Receive(own, packets, count);
}

uint16_t TransmitBurst(void* queue, rte_mbuf** packets, uint16_t count) {
  auto& own = *static_cast<TxQueue*>(queue);
  return own.device.Transmit(own, packets, count);
}

void WatchLink(rte_eth_dev* dev) {
  const std::lock_guard lock(g_looking);
  rte_eal_alarm_set(kLinkPeriodUs, LookAtLink, dev);
}

void UnwatchLink(rte_eth_dev* dev) {
  rte_eal_alarm_cancel(LookAtLink, dev);
  const std::lock_guard lock(g_looking);
}

constinit const eth_dev_ops kEthDevOps = [] {
  eth_dev_ops ops{};
  ops.dev_configure = Configure;
  ops.dev_start = Start;
  ops.dev_stop = Stop;
  ops.dev_close = Close;
  ops.link_update = LinkUpdate;
  ops.promiscuous_enable = PromiscuousEnable;
  ops.promiscuous_disable = PromiscuousDisable;
  ops.allmulticast_enable = AllMulticast;
  ops.allmulticast_disable = AllMulticast;
  ops.mac_addr_set = MacAddrSet;
  ops.mtu_set = MtuSet;
  ops.stats_get = StatsGet;
  ops.stats_reset = StatsReset;
  ops.xstats_get = XstatsGet;
  ops.xstats_reset = StatsReset;
  ops.xstats_get_names = XstatsGetNames;
  ops.dev_infos_get = InfosGet;
  ops.rx_queue_setup = RxQueueSetup;
  ops.rx_queue_release = RxQueueRelease;
  ops.tx_queue_setup = TxQueueSetup;
  ops.tx_queue_release = TxQueueRelease;
  ops.flow_ops_get = FlowOpsGet;
  return ops;
}();

}  // namespace sluice::netsluice
