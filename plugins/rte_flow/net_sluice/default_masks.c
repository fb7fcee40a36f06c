// SPDX-License-Identifier: Apache-2.0
#include "default_masks.h"

#include <stddef.h>

// DPDK 22.11 has none for it.
static const struct rte_flow_item_ipv6_frag_ext ipv6_frag_ext_mask = {
    .hdr = {.next_header = 0xff, .frag_data = RTE_BE16(0xffff)},
};

const void* sluice_default_mask(enum rte_flow_item_type type) {
  switch (type) {
    case RTE_FLOW_ITEM_TYPE_ETH:
      return &rte_flow_item_eth_mask;
    case RTE_FLOW_ITEM_TYPE_VLAN:
      return &rte_flow_item_vlan_mask;
    case RTE_FLOW_ITEM_TYPE_IPV4:
      return &rte_flow_item_ipv4_mask;
    case RTE_FLOW_ITEM_TYPE_IPV6:
      return &rte_flow_item_ipv6_mask;
    case RTE_FLOW_ITEM_TYPE_IPV6_FRAG_EXT:
      return &ipv6_frag_ext_mask;
    case RTE_FLOW_ITEM_TYPE_ARP_ETH_IPV4:
      return &rte_flow_item_arp_eth_ipv4_mask;
    case RTE_FLOW_ITEM_TYPE_TCP:
      return &rte_flow_item_tcp_mask;
    case RTE_FLOW_ITEM_TYPE_UDP:
      return &rte_flow_item_udp_mask;
    case RTE_FLOW_ITEM_TYPE_SCTP:
      return &rte_flow_item_sctp_mask;
    case RTE_FLOW_ITEM_TYPE_ICMP:
      return &rte_flow_item_icmp_mask;
    case RTE_FLOW_ITEM_TYPE_ICMP6:
      return &rte_flow_item_icmp6_mask;
    case RTE_FLOW_ITEM_TYPE_VXLAN:
      return &rte_flow_item_vxlan_mask;
    case RTE_FLOW_ITEM_TYPE_PORT_ID:
      return &rte_flow_item_port_id_mask;
    case RTE_FLOW_ITEM_TYPE_PORT_REPRESENTOR:
    case RTE_FLOW_ITEM_TYPE_REPRESENTED_PORT:
      return &rte_flow_item_ethdev_mask;
    default:
      return NULL;
  }
}
