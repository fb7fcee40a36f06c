// SPDX-License-Identifier: Apache-2.0
// A TC filter as the kernel tells it by rtnetlink (RTM_NEWTFILTER): what net_tap's rules are.
//
// Attributes: linux/pkt_cls.h, TCA_FLOWER_*. Only those that net_tap writes are understood; `beyond` names the first
// that is there besides.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "sluice/match.h"

struct nlmsghdr;

namespace sluice::rteflow {

struct TcFilter {
  uint32_t interface = 0;  // its index
  uint32_t handle = 0;     // unique among those of a priority
  uint16_t priority = 0;   // the lower is asked first
  uint16_t protocol = 0;   // host order. Of the frame's outermost type; ETH_P_ALL: any frame is looked at

  // What flower compares; host order. The type is that behind all tags, or with `protocol` a tag's the first tag's own.
  std::optional<uint16_t> eth_type;
  std::optional<uint16_t> vlan_id;
  std::optional<uint8_t> vlan_pcp;
  std::optional<uint16_t> vlan_eth_type;  // what follows the first tag
  Match keys;                             // addresses, protocol, ports

  bool drops = false;  // its one action is to drop
  std::string beyond;  // the kind or attribute that is not understood, for people; empty: none
};

// nullopt: the message is no filter, or cut short.
std::optional<TcFilter> ParseTcFilter(const nlmsghdr& message);

}  // namespace sluice::rteflow
