// SPDX-License-Identifier: Apache-2.0
#include "tc_filter.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_gact.h>

#include <array>
#include <cstring>
#include <functional>
#include <span>
#include <string_view>

namespace sluice::rteflow {
namespace {

using AttributeCallback = std::function<void(uint16_t type, const nlattr& attribute)>;

int CallBack(const nlattr* attribute, void* callback) {
  (*static_cast<const AttributeCallback*>(callback))(mnl_attr_get_type(attribute), *attribute);
  return MNL_CB_OK;
}

void ForEach(const nlattr& nest, AttributeCallback callback) { mnl_attr_parse_nested(&nest, CallBack, &callback); }

std::span<const uint8_t> Bytes(const nlattr& attribute) {
  return {static_cast<const uint8_t*>(mnl_attr_get_payload(&attribute)), mnl_attr_get_payload_len(&attribute)};
}

// Big-endian, of up to 8 bytes.
uint64_t Number(const nlattr& attribute) {
  uint64_t number = 0;
  for (const uint8_t byte : Bytes(attribute)) number = number << 8 | byte;
  return number;
}

// The kernel's own byte order, which TCA_FLOWER_KEY_VLAN_ID has in spite of its comment.
template <typename T>
T Native(const nlattr& attribute) {
  T number{};
  const auto bytes = Bytes(attribute);
  if (bytes.size() >= sizeof(number)) memcpy(&number, bytes.data(), sizeof(number));
  return number;
}

// Attributes that hold a field as it stands in the packet. `mask` 0: there is none, the field is compared whole.
struct Key {
  uint16_t value;
  uint16_t mask;
  Field field;
};
constexpr std::array kKeys{
    Key{TCA_FLOWER_KEY_ETH_DST, TCA_FLOWER_KEY_ETH_DST_MASK, Field::eth_dst},
    Key{TCA_FLOWER_KEY_ETH_SRC, TCA_FLOWER_KEY_ETH_SRC_MASK, Field::eth_src},
    Key{TCA_FLOWER_KEY_IPV4_SRC, TCA_FLOWER_KEY_IPV4_SRC_MASK, Field::ipv4_src},
    Key{TCA_FLOWER_KEY_IPV4_DST, TCA_FLOWER_KEY_IPV4_DST_MASK, Field::ipv4_dst},
    Key{TCA_FLOWER_KEY_IPV6_SRC, TCA_FLOWER_KEY_IPV6_SRC_MASK, Field::ipv6_src},
    Key{TCA_FLOWER_KEY_IPV6_DST, TCA_FLOWER_KEY_IPV6_DST_MASK, Field::ipv6_dst},
    Key{TCA_FLOWER_KEY_TCP_SRC, TCA_FLOWER_KEY_TCP_SRC_MASK, Field::tcp_src},
    Key{TCA_FLOWER_KEY_TCP_DST, TCA_FLOWER_KEY_TCP_DST_MASK, Field::tcp_dst},
    Key{TCA_FLOWER_KEY_UDP_SRC, TCA_FLOWER_KEY_UDP_SRC_MASK, Field::udp_src},
    Key{TCA_FLOWER_KEY_UDP_DST, TCA_FLOWER_KEY_UDP_DST_MASK, Field::udp_dst},
};

class FlowerReader {
 public:
  explicit FlowerReader(TcFilter& filter) : filter_(filter) {}

  void Read(const nlattr& options) {
    ForEach(options, [this](uint16_t type, const nlattr& attribute) { TakeOne(type, attribute); });
    for (size_t n = 0; n < kKeys.size(); ++n) {
      const Key& key = kKeys[n];
      if (values_[n].empty()) continue;
      const std::string whole(Info(key.field).size, '\xff');
      const auto mask =
          masks_[n].empty() ? std::span(reinterpret_cast<const uint8_t*>(whole.data()), whole.size()) : masks_[n];
      filter_.keys.Set(key.field, values_[n], mask);
    }
    // 0: IPv6's is asked for by the type; a filter on neither compares no protocol.
    if (ip_proto_) {
      filter_.keys.SetExact(filter_.eth_type == ETH_P_IPV6 ? Field::ipv6_proto : Field::ipv4_proto, *ip_proto_);
    }
  }

 private:
  void TakeOne(uint16_t type, const nlattr& attribute) {
    for (size_t n = 0; n < kKeys.size(); ++n) {
      if (type == kKeys[n].value) {
        values_[n] = Bytes(attribute);
        return;
      }
      if (type == kKeys[n].mask) {
        masks_[n] = Bytes(attribute);
        return;
      }
    }
    switch (type) {
      case TCA_FLOWER_KEY_ETH_TYPE:
        filter_.eth_type = Number(attribute);
        break;
      case TCA_FLOWER_KEY_VLAN_ID:
        filter_.vlan_id = Native<uint16_t>(attribute);
        break;
      case TCA_FLOWER_KEY_VLAN_PRIO:
        filter_.vlan_pcp = Native<uint8_t>(attribute);
        break;
      case TCA_FLOWER_KEY_VLAN_ETH_TYPE:
        filter_.vlan_eth_type = Number(attribute);
        break;
      case TCA_FLOWER_KEY_IP_PROTO:
        ip_proto_ = Native<uint8_t>(attribute);
        break;
      case TCA_FLOWER_ACT:
        TakeActions(attribute);
        break;
      case TCA_FLOWER_FLAGS:        // whether hardware has it
      case TCA_FLOWER_IN_HW_COUNT:  // and how often
        break;
      default:
        if (filter_.beyond.empty()) filter_.beyond = "flower attribute " + std::to_string(type);
    }
  }

  void TakeActions(const nlattr& actions) {
    size_t count = 0;
    bool drop = false;
    ForEach(actions, [&](uint16_t, const nlattr& action) {
      ++count;
      drop = IsDrop(action);
    });
    filter_.drops = count == 1 && drop;
  }

  static bool IsDrop(const nlattr& action) {
    std::string kind;
    int verdict = TC_ACT_UNSPEC;
    ForEach(action, [&](uint16_t type, const nlattr& attribute) {
      if (type == TCA_ACT_KIND) kind = mnl_attr_get_str(&attribute);
      if (type != TCA_ACT_OPTIONS) return;
      ForEach(attribute, [&](uint16_t option, const nlattr& parameters) {
        if (option == TCA_GACT_PARMS) verdict = Native<tc_gact>(parameters).action;
      });
    });
    return kind == "gact" && verdict == TC_ACT_SHOT;
  }

  TcFilter& filter_;
  std::array<std::span<const uint8_t>, kKeys.size()> values_;
  std::array<std::span<const uint8_t>, kKeys.size()> masks_;
  std::optional<uint8_t> ip_proto_;
};

}  // namespace

std::optional<TcFilter> ParseTcFilter(const nlmsghdr& message) {
  if (message.nlmsg_type != RTM_NEWTFILTER && message.nlmsg_type != RTM_DELTFILTER) return std::nullopt;
  if (message.nlmsg_len < NLMSG_LENGTH(sizeof(tcmsg))) return std::nullopt;
  const auto& header = *static_cast<const tcmsg*>(mnl_nlmsg_get_payload(&message));
  TcFilter filter;
  filter.interface = static_cast<uint32_t>(header.tcm_ifindex);
  filter.handle = header.tcm_handle;
  filter.priority = TC_H_MAJ(header.tcm_info) >> 16;
  filter.protocol = ntohs(TC_H_MIN(header.tcm_info));

  std::string kind;
  const nlattr* options = nullptr;
  AttributeCallback take = [&](uint16_t type, const nlattr& attribute) {
    if (type == TCA_KIND) kind = mnl_attr_get_str(&attribute);
    if (type == TCA_OPTIONS) options = &attribute;
  };
  mnl_attr_parse(&message, sizeof(tcmsg), CallBack, &take);
  if (kind != "flower") {
    filter.beyond = "a filter of kind " + kind;
  } else if (options != nullptr) {
    FlowerReader(filter).Read(*options);
  }
  return filter;
}

}  // namespace sluice::rteflow
