// SPDX-License-Identifier: Apache-2.0
// A match as the items of an rte_flow pattern. README.md tells what can be said and what cannot; items.def is the
// table.
#pragma once

#include <rte_flow.h>

#include <array>
#include <bitset>
#include <cstdint>
#include <string>
#include <vector>

#include "offloader.h"
#include "places.h"
#include "sluice/error.h"
#include "sluice/match.h"

namespace sluice::rteflow {

// The fields that a pattern can say, by name, in the order of field.def.
std::vector<std::string> MatchableFields();

// An IPv6 header whose next header is this one is followed by an extension header (RFC 8200), not by the protocol.
constexpr bool IsIpv6Extension(uint64_t proto) {
  return proto == 0 || proto == 43 || proto == 44 || proto == 51 || proto == 60;
}

// Which kinds of fragments a match takes.
struct Fragments {
  bool no, first, later;
};
Fragments FragmentsOf(const Match& match, Field frag);

// Owns what the items point to: stays where it is. One thread at a time; may be built again and again.
class Pattern {
 public:
  // `tag_type`: the type of an outermost 802.1Q tag is said in the ETH item. Else the VLAN item has to be enough.
  explicit Pattern(bool tag_type = true) : tag_type_(tag_type) {}
  Pattern(const Pattern&) = delete;
  Pattern& operator=(const Pattern&) = delete;

  // `match` has passed Validate(); in_port is not looked at. Takes no packet that `match` does not, of those that are
  // not malformed. Errors: "unsupported_field", naming it; there is no pattern then.
  Result<void> Build(const Match& match, PortItem port_item, uint16_t ethdev);

  // Up to END; spec and mask are nullptr where only the header's presence is meant, last always is. Of rules without
  // `transfer` the port's item is no part: such a rule is of the ethdev that it is created on anyway.
  [[nodiscard]] const rte_flow_item* Items(bool transfer) const;
  // Takes all packets that the match does.
  [[nodiscard]] bool exact() const { return exact_; }
  // Matches packets in a VXLAN tunnel, whose outer headers have to be taken off.
  [[nodiscard]] bool tunnel() const { return tunnel_; }

 private:
  struct Storage {
    alignas(8) std::array<uint8_t, 48> spec;
    alignas(8) std::array<uint8_t, 48> mask;
  };

  Result<void> Say(const Match& match, const FieldInfo& field);
  Result<void> SayType(const Match& match, const FieldInfo& field);
  Result<void> SayIpv4Frag(const Match& match);
  Result<void> SayIpv6Frag(const Match& match);
  Result<void> SayIpv6Proto(const Match& match);
  Result<void> SayArp(const Match& match, const FieldInfo& field);
  Result<void> SayTunnel(const Match& match, const FieldInfo& field);
  Result<void> SayTunnelFlags(const Match& match);
  Result<void> BeginTunnel(const Match& match);
  void CheckAbsentHeaders(const Match& match);
  void Finish(PortItem port_item, uint16_t ethdev);

  [[nodiscard]] bool Uses(Layer layer) const { return used_[static_cast<size_t>(layer)]; }
  Storage& Use(Layer layer);
  // A number in a place of up to 8 bytes, host order.
  void Put(Layer layer, size_t offset, size_t size, uint64_t value, uint64_t mask);
  void Put(const Place& place, uint64_t value, uint64_t mask) {
    Put(place.layer, place.offset, place.size, value, mask);
  }
  void Copy(const Match& match, const FieldInfo& field);

  std::array<Storage, kLayers.size()> storage_;
  std::bitset<kLayers.size()> used_;
  rte_flow_item_ethdev port_{};
  rte_flow_item_ethdev port_mask_{0xffff};
  rte_flow_item_port_id port_id_{};
  rte_flow_item_port_id port_id_mask_{0xffffffff};
  std::array<rte_flow_item, kLayers.size() + 2> items_{};  // the port's first, END last
  PortItem port_item_ = PortItem::kNone;
  bool tag_type_;
  bool exact_ = true;
  bool tunnel_ = false;
};

}  // namespace sluice::rteflow
