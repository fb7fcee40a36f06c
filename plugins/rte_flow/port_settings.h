// SPDX-License-Identifier: Apache-2.0
// What a port of this plugin can be told: the options of `port add`, and of `plugin load` as their defaults.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "loop/datapath.h"
#include "offload/offloader.h"
#include "sluice/error.h"

namespace sluice::rteflow {

struct PortSettings {
  std::string devargs;  // as DPDK reads them: "0000:03:00.0,representor=[0-3]", "net_sluice0,iface=veth0"
  std::string ethdev;   // which of the devices that devargs make; empty: the first
  uint16_t queues = 1;
  uint16_t rx_descriptors = 1024;
  uint16_t tx_descriptors = 1024;
  uint32_t buffers = 8192;  // packets that this port's pool has room for
  uint16_t mtu = 0;         // bytes behind the Ethernet header; 0: the device's own
  bool promiscuous = true;
  MissPolicy miss = MissPolicy::kUpcall;
  uint32_t upcall_rate = 10000;  // a second; 0: no limit
  uint32_t upcall_bytes = 0;     // of a packet that are sent up at most; 0: all
  bool upcall_match = true;      // upcalls tell their match
  // How much is asked of the device.
  enum class Offload : uint8_t { kFull, kPartial, kNone } offload = Offload::kFull;
  enum class Rss : uint8_t { kByDriver, kYes, kNo } rss = Rss::kByDriver;
  bool uncounted = false;  // the device may drop what it does not count
  PortItem port_item = PortItem::kRepresentedPort;
  // Frames with VLAN tags can come in. The operator's word, for devices that cannot tell tagged frames from others.
  bool tagged = true;

  // Errors: "bad_option", "unknown_option".
  static Result<PortSettings> Parse(const std::map<std::string, std::string>& options, const PortSettings& defaults);
};

}  // namespace sluice::rteflow
