// SPDX-License-Identifier: Apache-2.0
// The driver as EAL's bus of virtual devices sees it.
#include <bus_vdev_driver.h>
#include <ethdev_driver.h>
#include <ethdev_vdev.h>

#include <new>

#include "ethdev.h"
#include "log.h"

namespace sluice::netsluice {

namespace {

int Probe(rte_vdev_device* vdev) {
  const char* name = rte_vdev_device_name(vdev);
  if (rte_eal_process_type() != RTE_PROC_PRIMARY) {
    NET_SLUICE_LOG(ERR, "%s: only the primary process can have it", name);
    return -ENOTSUP;
  }
  rte_eth_dev* dev = rte_eth_vdev_allocate(vdev, sizeof(Private));
  if (dev == nullptr) return -ENOMEM;
  auto device = Device::Make(rte_vdev_device_args(vdev), dev->data->port_id);
  if (!device) {
    NET_SLUICE_LOG(ERR, "%s: %s", name, device.error().detail.c_str());
    rte_eth_dev_release_port(dev);
    return -EINVAL;
  }
  rte_eth_dev_data& data = *dev->data;
  auto* own = new (data.dev_private) Private(*device);
  data.mac_addrs = const_cast<rte_ether_addr*>(&own->device->default_mac());
  data.promiscuous = 0;
  data.dev_link.link_status = RTE_ETH_LINK_DOWN;
  data.dev_flags = RTE_ETH_DEV_INTR_LSC | RTE_ETH_DEV_AUTOFILL_QUEUE_XSTATS;
  dev->dev_ops = &kEthDevOps;
  dev->rx_pkt_burst = ReceiveBurst;
  dev->tx_pkt_burst = TransmitBurst;
  rte_eth_dev_probing_finish(dev);
  WatchLink(dev);
  return 0;
}

// The application has closed the port, or has not: then it is closed here.
int Remove(rte_vdev_device* vdev) {
  rte_eth_dev* dev = rte_eth_dev_allocated(rte_vdev_device_name(vdev));
  return dev == nullptr ? 0 : rte_eth_dev_close(dev->data->port_id);
}

// Constant: EAL's list has it before any constructor of C++ may have run.
constinit rte_vdev_driver g_driver = {
    .next = {},
    .driver = {},
    .probe = Probe,
    .remove = Remove,
    .dma_map = nullptr,
    .dma_unmap = nullptr,
    .drv_flags = 0,
};

}  // namespace

RTE_LOG_REGISTER(g_log_type, pmd.net.sluice, NOTICE)
RTE_PMD_REGISTER_VDEV(net_sluice, g_driver);
RTE_PMD_REGISTER_PARAM_STRING(
    net_sluice,
    "iface=<device> ring=<name> profile=<name> mac=<address> queues=<n> depth=<n> thread=<0|1> "
    "cpu=<n> validate=<lies|true> faults=<path> max_rules=<n> create_us=<n> eexist=<0|1> "
    "link=<up|down> query=<ok|fail> query_noreset=<0|1> create=<ok|fail> destroy=<ok|fail>");

}  // namespace sluice::netsluice
