// SPDX-License-Identifier: Apache-2.0
#include "eth_device.h"

#include <net/if.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <vector>

#include "packet_pool.h"

namespace sluice::rteflow {
namespace {

constexpr unsigned kPoolCache = 256;
constexpr size_t kFraming = RTE_ETHER_HDR_LEN + 2 * sizeof(rte_vlan_hdr) + RTE_ETHER_CRC_LEN;

// Which of DPDK's devices a port has, and how many ports have come out of the same devargs: a device with representors
// is unplugged with the last of them. Session thread.
std::set<uint16_t> taken;
std::map<std::string, unsigned> plugged;

Error DeviceFailed(const std::string& what, int error) {
  return {"device_failed", what + ": " + rte_strerror(error < 0 ? -error : error)};
}

std::string NameOf(uint16_t id) {
  std::array<char, RTE_ETH_NAME_MAX_LEN> name{};
  return rte_eth_dev_get_name_by_port(id, name.data()) == 0 ? name.data() : "";
}

std::vector<uint16_t> Matching(const std::string& devargs) {
  std::vector<uint16_t> ids;
  rte_dev_iterator iterator{};
  uint16_t id = 0;
  RTE_ETH_FOREACH_MATCHING_DEV(id, devargs.c_str(), &iterator) ids.push_back(id);
  return ids;
}

std::string Names(const std::vector<uint16_t>& ids) {
  std::string all;
  for (const uint16_t id : ids) all += (all.empty() ? "" : ", ") + NameOf(id);
  return all.empty() ? "none" : all;
}

}  // namespace

Result<std::unique_ptr<EthDevice>> EthDevice::Open(const PortSettings& settings, std::function<void()> on_removal) {
  if (settings.devargs.empty()) {
    return Error{"bad_option",
                 "option 'devargs' is missing: it names the device as DPDK does, for instance "
                 "0000:03:00.0 or net_sluice0,iface=veth0"};
  }
  std::unique_ptr<EthDevice> device(new EthDevice(std::move(on_removal)));
  if (auto done = device->Plug(settings); !done) return done.error();
  if (auto done = device->SetUp(settings); !done) return done.error();
  return device;
}

Result<void> EthDevice::Plug(const PortSettings& settings) {
  const std::string name = settings.devargs.substr(0, settings.devargs.find(','));
  if (plugged[name] == 0) {
    const int error = rte_dev_probe(settings.devargs.c_str());
    if (error != 0) {
      return Error{"no_such_device", "DPDK finds no device for devargs " + settings.devargs + ": " +
                                         rte_strerror(error < 0 ? -error : error)};
    }
  }
  devargs_ = name;
  ++plugged[name];
  plugged_ = true;
  const std::vector<uint16_t> ids = Matching(name);
  const auto wanted = std::find_if(ids.begin(), ids.end(), [&](uint16_t id) {
    return settings.ethdev.empty() ? taken.count(id) == 0 : NameOf(id) == settings.ethdev;
  });
  if (wanted == ids.end()) {
    const std::string which =
        settings.ethdev.empty() ? "no device that is not a port already" : "no device " + settings.ethdev;
    return Error{"no_such_device", "devargs " + settings.devargs + " have " + which + "; there are: " + Names(ids)};
  }
  if (taken.count(*wanted) != 0) {
    return Error{"device_busy", "the device " + NameOf(*wanted) + " is another port already"};
  }
  id_ = *wanted;
  taken.insert(id_);
  return {};
}

Result<void> EthDevice::SetUp(const PortSettings& settings) {
  const std::string name = NameOf(id_);
  rte_eth_dev_info info{};
  int error = rte_eth_dev_info_get(id_, &info);
  if (error != 0) return DeviceFailed("the device " + name + " tells nothing of itself", error);
  if (settings.queues > info.max_rx_queues || settings.queues > info.max_tx_queues) {
    return Error{"device_failed", "option 'queues' is " + std::to_string(settings.queues) + "; the device " + name +
                                      " has " + std::to_string(std::min(info.max_rx_queues, info.max_tx_queues))};
  }
  queues_ = settings.queues;
  rte_eth_conf conf{};
  if (queues_ > 1) {
    conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
    conf.rx_adv_conf.rss_conf.rss_hf =
        info.flow_type_rss_offloads & (RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_SCTP);
  }
  error = rte_eth_dev_configure(id_, queues_, queues_, &conf);
  if (error != 0) return DeviceFailed("the device " + name + " cannot be configured", error);
  if (settings.mtu != 0) error = rte_eth_dev_set_mtu(id_, settings.mtu);
  if (error != 0) {
    return DeviceFailed("the device " + name + " has no MTU of " + std::to_string(settings.mtu) + ": option 'mtu'",
                        error);
  }
  uint16_t received = settings.rx_descriptors;
  uint16_t sent = settings.tx_descriptors;
  error = rte_eth_dev_adjust_nb_rx_tx_desc(id_, &received, &sent);
  if (error != 0) return DeviceFailed("the device " + name + " takes no such descriptors", error);
  const auto socket = std::max(rte_eth_dev_socket_id(id_), 0);
  const std::string pool = "port" + std::to_string(id_);
  const size_t room = std::max<size_t>(RTE_MBUF_DEFAULT_BUF_SIZE, RTE_PKTMBUF_HEADROOM + settings.mtu + kFraming);
  pool_.reset(MakePacketPool(pool, settings.buffers, kPoolCache, static_cast<uint16_t>(room), socket));
  if (pool_ == nullptr) {
    return DeviceFailed("no memory for the " + std::to_string(settings.buffers) + " buffers of the device " + name,
                        rte_errno);
  }
  for (uint16_t queue = 0; queue < queues_; ++queue) {
    error = rte_eth_rx_queue_setup(id_, queue, received, static_cast<unsigned>(socket), nullptr, pool_.get());
    if (error == 0) error = rte_eth_tx_queue_setup(id_, queue, sent, static_cast<unsigned>(socket), nullptr);
    if (error != 0) return DeviceFailed("queue " + std::to_string(queue) + " of the device " + name, error);
  }
  rte_eth_dev_callback_register(id_, RTE_ETH_EVENT_INTR_RMV, &EthDevice::OnEvent, this);
  error = rte_eth_dev_start(id_);
  if (error != 0) return DeviceFailed("the device " + name + " does not start", error);
  started_ = true;
  std::array<char, IF_NAMESIZE> interface {};
  if (info.if_index != 0 && if_indextoname(info.if_index, interface.data()) != nullptr) {
    interface_ = interface.data();
    if_index_ = info.if_index;
  }
  if (settings.promiscuous) (void)rte_eth_promiscuous_enable(id_);  // some devices know nothing else
  return {};
}

EthDevice::~EthDevice() {
  if (id_ != RTE_MAX_ETHPORTS) {
    rte_eth_dev_callback_unregister(id_, RTE_ETH_EVENT_INTR_RMV, &EthDevice::OnEvent, this);
    if (started_) (void)rte_eth_dev_stop(id_);
    // A pool is not to go before the queues that take from it.
    const bool last = plugged[devargs_] == 1;
    rte_device* unplug = nullptr;
    rte_eth_dev_info info{};
    if (last && rte_eth_dev_info_get(id_, &info) == 0) unplug = info.device;
    (void)rte_eth_dev_close(id_);
    taken.erase(id_);
    if (unplug != nullptr) (void)rte_dev_remove(unplug);
  } else if (plugged_ && plugged[devargs_] == 1) {
    for (const uint16_t id : Matching(devargs_)) {
      rte_eth_dev_info info{};
      if (rte_eth_dev_info_get(id, &info) == 0) (void)rte_dev_remove(info.device);
      break;
    }
  }
  if (plugged_ && --plugged[devargs_] == 0) plugged.erase(devargs_);
}

std::string EthDevice::driver() const {
  rte_eth_dev_info info{};
  return rte_eth_dev_info_get(id_, &info) == 0 && info.driver_name != nullptr ? info.driver_name : "";
}

bool EthDevice::IsRemoved() const {
  return removed_ || (if_index_ != 0 && if_nametoindex(interface_.c_str()) != if_index_);
}

std::string EthDevice::Link() const {
  rte_eth_link link{};
  if (rte_eth_link_get_nowait(id_, &link) != 0 || link.link_status == RTE_ETH_LINK_DOWN) return "down";
  if (link.link_speed == RTE_ETH_SPEED_NUM_UNKNOWN || link.link_speed == RTE_ETH_SPEED_NUM_NONE) return "up";
  return "up " + std::to_string(link.link_speed) + " Mbit/s";
}

rte_eth_stats EthDevice::Stats() const {
  rte_eth_stats stats{};
  (void)rte_eth_stats_get(id_, &stats);
  return stats;
}

int EthDevice::OnEvent(uint16_t, rte_eth_event_type event, void* self, void*) {
  auto* device = static_cast<EthDevice*>(self);
  if (event == RTE_ETH_EVENT_INTR_RMV) {
    device->removed_ = true;
    device->on_removal_();
  }
  return 0;
}

}  // namespace sluice::rteflow
