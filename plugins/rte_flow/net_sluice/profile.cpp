// SPDX-License-Identifier: Apache-2.0
// What the copies of real drivers take is from DPDK 22.11: doc/guides/nics/features/{i40e,mlx5,tap}.ini (the tables of
// rte_flow items and actions), doc/guides/nics/mlx5.rst ("Limitations"), and the checks in drivers/net/i40e/i40e_flow.c
// (the flow director's) and drivers/net/tap/tap_flow.c. Of what those drivers can do beyond net_sluice, nothing.
#include "profile.h"

#include <array>
#include <initializer_list>
#include <string>

namespace sluice::netsluice {
namespace {

constexpr uint32_t kManyPriorities = 65536;

using Actions = std::initializer_list<rte_flow_action_type>;

ActionSet Set(std::initializer_list<Actions> lists) {
  ActionSet set;
  for (const Actions& list : lists) {
    for (const rte_flow_action_type type : list) set.set(static_cast<size_t>(type));
  }
  return set;
}

constexpr Actions kToQueues = {RTE_FLOW_ACTION_TYPE_QUEUE, RTE_FLOW_ACTION_TYPE_RSS};
constexpr Actions kMarks = {RTE_FLOW_ACTION_TYPE_MARK, RTE_FLOW_ACTION_TYPE_FLAG};
constexpr Actions kDrop = {RTE_FLOW_ACTION_TYPE_DROP};
constexpr Actions kCount = {RTE_FLOW_ACTION_TYPE_COUNT};
constexpr Actions kPassthru = {RTE_FLOW_ACTION_TYPE_PASSTHRU};
constexpr Actions kPorts = {RTE_FLOW_ACTION_TYPE_REPRESENTED_PORT, RTE_FLOW_ACTION_TYPE_PORT_ID};
constexpr Actions kPortRepresentor = {RTE_FLOW_ACTION_TYPE_PORT_REPRESENTOR};
constexpr Actions kPopVlan = {RTE_FLOW_ACTION_TYPE_OF_POP_VLAN};
constexpr Actions kPushVlan = {RTE_FLOW_ACTION_TYPE_OF_PUSH_VLAN, RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_VID,
                               RTE_FLOW_ACTION_TYPE_OF_SET_VLAN_PCP};
constexpr Actions kSets = {
    RTE_FLOW_ACTION_TYPE_SET_MAC_SRC,  RTE_FLOW_ACTION_TYPE_SET_MAC_DST,   RTE_FLOW_ACTION_TYPE_SET_IPV4_SRC,
    RTE_FLOW_ACTION_TYPE_SET_IPV4_DST, RTE_FLOW_ACTION_TYPE_SET_IPV4_DSCP, RTE_FLOW_ACTION_TYPE_SET_IPV6_SRC,
    RTE_FLOW_ACTION_TYPE_SET_IPV6_DST, RTE_FLOW_ACTION_TYPE_SET_IPV6_DSCP, RTE_FLOW_ACTION_TYPE_SET_TTL,
    RTE_FLOW_ACTION_TYPE_DEC_TTL,      RTE_FLOW_ACTION_TYPE_SET_TP_SRC,    RTE_FLOW_ACTION_TYPE_SET_TP_DST,
    RTE_FLOW_ACTION_TYPE_MODIFY_FIELD};
constexpr Actions kTunnels = {RTE_FLOW_ACTION_TYPE_VXLAN_ENCAP, RTE_FLOW_ACTION_TYPE_VXLAN_DECAP,
                              RTE_FLOW_ACTION_TYPE_RAW_ENCAP, RTE_FLOW_ACTION_TYPE_RAW_DECAP};

// i40e.ini; the flow director takes no ARP, ICMP or ports.
constexpr std::array kI40eItems = {
    ItemRule{RTE_FLOW_ITEM_TYPE_ETH},  ItemRule{RTE_FLOW_ITEM_TYPE_VLAN},          ItemRule{RTE_FLOW_ITEM_TYPE_IPV4},
    ItemRule{RTE_FLOW_ITEM_TYPE_IPV6}, ItemRule{RTE_FLOW_ITEM_TYPE_IPV6_FRAG_EXT}, ItemRule{RTE_FLOW_ITEM_TYPE_TCP},
    ItemRule{RTE_FLOW_ITEM_TYPE_UDP},  ItemRule{RTE_FLOW_ITEM_TYPE_SCTP},          ItemRule{RTE_FLOW_ITEM_TYPE_VXLAN},
};

// mlx5.ini: no SCTP, no ARP.
constexpr std::array kMlx5Items = {
    ItemRule{RTE_FLOW_ITEM_TYPE_ETH},
    ItemRule{RTE_FLOW_ITEM_TYPE_VLAN},
    ItemRule{RTE_FLOW_ITEM_TYPE_IPV4},
    ItemRule{RTE_FLOW_ITEM_TYPE_IPV6},
    ItemRule{RTE_FLOW_ITEM_TYPE_IPV6_FRAG_EXT},
    ItemRule{RTE_FLOW_ITEM_TYPE_TCP},
    ItemRule{RTE_FLOW_ITEM_TYPE_UDP},
    ItemRule{RTE_FLOW_ITEM_TYPE_ICMP},
    ItemRule{RTE_FLOW_ITEM_TYPE_ICMP6},
    ItemRule{RTE_FLOW_ITEM_TYPE_VXLAN},
    ItemRule{RTE_FLOW_ITEM_TYPE_PORT_ID},
    ItemRule{RTE_FLOW_ITEM_TYPE_PORT_REPRESENTOR},
    ItemRule{RTE_FLOW_ITEM_TYPE_REPRESENTED_PORT},
};

// The masks in tap_flow.c: no has_vlan, no DEI, of IP only addresses and protocol, of TCP and UDP only ports.
template <typename Item, typename Fill>
Item Mask(Fill fill) {
  Item mask{};
  fill(mask);
  return mask;
}
const auto kTapEth = Mask<rte_flow_item_eth>([](auto& mask) {
  for (uint8_t& byte : mask.dst.addr_bytes) byte = 0xff;
  for (uint8_t& byte : mask.src.addr_bytes) byte = 0xff;
  mask.type = 0xffff;
});
const auto kTapVlan = Mask<rte_flow_item_vlan>([](auto& mask) {
  mask.tci = RTE_BE16(0xefff);
  mask.inner_type = 0xffff;
});
const auto kTapIpv4 = Mask<rte_flow_item_ipv4>([](auto& mask) {
  mask.hdr.src_addr = mask.hdr.dst_addr = 0xffffffff;
  mask.hdr.next_proto_id = 0xff;
});
const auto kTapIpv6 = Mask<rte_flow_item_ipv6>([](auto& mask) {
  for (uint8_t& byte : mask.hdr.src_addr) byte = 0xff;
  for (uint8_t& byte : mask.hdr.dst_addr) byte = 0xff;
  mask.hdr.proto = 0xff;
});
const auto kTapUdp = Mask<rte_flow_item_udp>([](auto& mask) { mask.hdr.src_port = mask.hdr.dst_port = 0xffff; });
const auto kTapTcp = Mask<rte_flow_item_tcp>([](auto& mask) { mask.hdr.src_port = mask.hdr.dst_port = 0xffff; });
const std::array kTapItems = {
    ItemRule{RTE_FLOW_ITEM_TYPE_ETH, &kTapEth},   ItemRule{RTE_FLOW_ITEM_TYPE_VLAN, &kTapVlan},
    ItemRule{RTE_FLOW_ITEM_TYPE_IPV4, &kTapIpv4}, ItemRule{RTE_FLOW_ITEM_TYPE_IPV6, &kTapIpv6},
    ItemRule{RTE_FLOW_ITEM_TYPE_UDP, &kTapUdp},   ItemRule{RTE_FLOW_ITEM_TYPE_TCP, &kTapTcp},
};

const ActionSet kEverything =
    Set({kMarks, kCount, kToQueues, kDrop, kPassthru, kPorts, kPortRepresentor, kPopVlan, kPushVlan, kSets, kTunnels});

const std::array<Profile, 8>& Profiles() {
  static const std::array<Profile, 8> kProfiles = {
      Profile{
          .name = "full",
          .ingress = kEverything,
          .transfer = kEverything,
          .priorities = kManyPriorities,
      },
      Profile{
          .name = "mark-count",
          .ingress = Set({kMarks, kCount, kToQueues, kDrop, kPassthru}),
          .priorities = kManyPriorities,
      },
      Profile{
          .name = "mark-needs-queue",
          .ingress = Set({kMarks, kCount, kToQueues, kDrop, kPassthru}),
          .priorities = kManyPriorities,
          .mark_needs = MarkNeeds::kQueueOrRss,
      },
      Profile{
          .name = "no-count",
          .ingress = Set({kMarks, kToQueues, kDrop, kPassthru}),
          .priorities = kManyPriorities,
          .mark_needs = MarkNeeds::kQueue,
      },
      Profile{
          .name = "drop-only",
          .ingress = Set({kDrop, kCount}),
          .priorities = kManyPriorities,
          .needs_fate = true,
      },
      // i40e_flow.c: i40e_flow_parse_attr wants ingress, no priority, no group; i40e_flow_parse_fdir_action takes few
      // orders of few actions, none of which counts. Two rules of the same input set: EEXIST.
      Profile{
          .name = "i40e",
          .items = kI40eItems,
          .ingress = Set({kMarks, kToQueues, kDrop, kPassthru}),
          .priorities = 1,
          .flow_director = true,
          .eexist = true,
      },
      // mlx5.rst: marks of 24 bits, the last 16 reserved; no two vlan items; no push on ingress without transfer; in
      // transfer rules no queues, and MARK only with dv_xmeta_en, which is off.
      Profile{
          .name = "mlx5",
          .items = kMlx5Items,
          .ingress = Set({kMarks, kCount, kToQueues, kDrop, kPopVlan, kSets, kTunnels}),
          .transfer = Set({kCount, kDrop, kPorts, kPopVlan, kPushVlan, kSets, kTunnels}),
          .priorities = 21844,
          .most_mark = 0xffffef,
          .needs_fate = true,
          .most_tags = 1,
      },
      // tap_flow.c: no transfer; the last priorities are the driver's own (MAX_PRIORITY - TAP_REMOTE_MAX_IDX); one
      // action at most; rules that overlap: EEXIST from the kernel.
      Profile{
          .name = "net_tap",
          .items = kTapItems,
          .ingress = Set({kToQueues, kDrop, kPassthru}),
          .priorities = 4088,
          .most_actions = 1,
          .most_tags = 1,
          .eexist = true,
      },
  };
  return kProfiles;
}

}  // namespace

const Profile* FindProfile(std::string_view name) {
  for (const Profile& profile : Profiles()) {
    if (profile.name == name) return &profile;
  }
  return nullptr;
}

std::string ProfileNames() {
  std::string names;
  for (const Profile& profile : Profiles()) names += (names.empty() ? "" : ", ") + std::string(profile.name);
  return names;
}

MaybeRefusal CheckAttributes(const Profile& profile, const rte_flow_attr& attributes) {
  if (attributes.group != 0) {
    return Refusal{ENOTSUP, RTE_FLOW_ERROR_TYPE_ATTR_GROUP, nullptr,
                   "group " + std::to_string(attributes.group) + ": there is only group 0"};
  }
  if (attributes.priority >= profile.priorities) {
    return Refusal{
        profile.priorities == 1 ? ENOTSUP : EINVAL, RTE_FLOW_ERROR_TYPE_ATTR_PRIORITY, nullptr,
        "priority " + std::to_string(attributes.priority) + ": the last is " + std::to_string(profile.priorities - 1)};
  }
  if (attributes.egress != 0) {
    return Refusal{ENOTSUP, RTE_FLOW_ERROR_TYPE_ATTR_EGRESS, nullptr, "egress: not supported"};
  }
  if (attributes.transfer != 0 && profile.transfer.none()) {
    return Refusal{ENOTSUP, RTE_FLOW_ERROR_TYPE_ATTR_TRANSFER, nullptr, "transfer: not supported"};
  }
  if (attributes.transfer == 0 && attributes.ingress == 0) {
    return Refusal{EINVAL, RTE_FLOW_ERROR_TYPE_ATTR_INGRESS, nullptr, "a rule must be ingress or transfer"};
  }
  return {};
}

MaybeRefusal CheckItem(const Profile& profile, const rte_flow_item& item) {
  if (profile.items.empty()) return {};
  for (const ItemRule& rule : profile.items) {
    if (rule.type == item.type) return {};
  }
  return Refusal{ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM, &item, ItemName(item.type) + ": not supported"};
}

const void* MatchableBits(const Profile& profile, rte_flow_item_type type) {
  for (const ItemRule& rule : profile.items) {
    if (rule.type == type) return rule.mask;
  }
  return nullptr;
}

MaybeRefusal CheckAction(const Profile& profile, const rte_flow_attr& attributes, const rte_flow_action& action) {
  const ActionSet& set = attributes.transfer != 0 ? profile.transfer : profile.ingress;
  const auto type = static_cast<size_t>(action.type);
  if (type < set.size() && set[type]) return {};
  return Refusal{ENOTSUP, RTE_FLOW_ERROR_TYPE_ACTION, &action, ActionName(action.type) + ": not supported"};
}

}  // namespace sluice::netsluice
