// SPDX-License-Identifier: Apache-2.0
// Datapath actions, as a value tree. Text form: flow_text.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "sluice/match.h"

namespace sluice {

struct Action;
using Actions = std::vector<Action>;  // empty: drop

struct Output {
  uint32_t port = 0;
  bool operator==(const Output&) const = default;
};
// Every port of the same plugin but the one the packet came in by. Sluice's own; OVS lists the ports.
struct Flood {
  bool operator==(const Flood&) const = default;
};
// Never made by the parser, which reads `drop` as the empty list; prints as "drop".
struct Drop {
  bool operator==(const Drop&) const = default;
};
// tci in host order with the CFI bit set, which says that there is a tag and is not sent (as in OVS); tpid 0x8100 or
// 0x88a8.
struct PushVlan {
  uint16_t tpid = 0x8100;
  uint16_t tci = 0x1000;
  bool operator==(const PushVlan&) const = default;
};
struct PopVlan {
  bool operator==(const PopVlan&) const = default;
};
// Fields of one text group (set(ipv4(src=..,ttl=..))), with masks. set(tunnel(...)) too.
struct SetField {
  Match fields;
  bool operator==(const SetField&) const = default;
};
// Decrement IPv4 TTL or IPv6 hop limit; a packet whose would become 0 takes `expired` instead (empty: drop).
struct DecTtl {
  Actions expired;
  bool operator==(const DecTtl&) const;
};
// To the controller as an `upcall` event, at most max_len bytes (0: all). OVS's userspace(...) reads as this; of its
// arguments only controller(max_len=) is kept.
struct ToController {
  uint32_t max_len = 0;
  uint32_t cookie = 0;
  bool operator==(const ToController&) const = default;
};
struct Recirc {
  uint32_t id = 0;
  bool operator==(const Recirc&) const = default;
};
struct Ct {
  bool commit = false;
  bool force = false;  // commit even against the direction of an existing entry; implies commit
  uint16_t zone = 0;
  std::optional<std::pair<uint32_t, uint32_t>> mark;  // value, mask
  std::string label;                                  // 32 bytes value and mask, or empty
  bool operator==(const Ct&) const = default;
};
struct CtClear {
  bool operator==(const CtClear&) const = default;
};
// Strip the outer headers and take the packet as received on tunnel port `port`.
struct TnlPop {
  uint32_t port = 0;
  bool operator==(const TnlPop&) const = default;
};
// Prepend outer headers, then output. `header` is the raw outer headers, Ethernet to tunnel; OVS's text form gives
// their fields. Lengths, the IPv4 id and the IPv4 checksum are 0 in it: who pushes it fills them in per packet.
struct TnlPush {
  uint32_t tnl_port = 0;
  uint32_t out_port = 0;
  uint32_t tnl_type = 0;  // OVS_VPORT_TYPE_*: 3 gre, 4 vxlan, 5 geneve, 109 gre over IPv6
  std::string header;
  bool operator==(const TnlPush&) const = default;
};
struct Trunc {
  uint32_t max_len = 0;
  bool operator==(const Trunc&) const = default;
};

struct Action : std::variant<Output, Flood, Drop, PushVlan, PopVlan, SetField, DecTtl, ToController, Recirc, Ct,
                             CtClear, TnlPop, TnlPush, Trunc> {
  using variant::variant;
};

// The names by which capabilities and refusals call actions: "output", "push_vlan", "set(ipv4)", ...
std::string ActionName(const Action& action);

}  // namespace sluice
