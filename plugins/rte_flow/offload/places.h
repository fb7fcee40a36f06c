// SPDX-License-Identifier: Apache-2.0
// The table of items.def, to be looked up by field.
#pragma once

#include <rte_flow.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "sluice/field.h"

namespace sluice::rteflow {

// An item of a pattern.
enum class Layer : uint8_t {
#define SLUICE_LAYER(layer, item, structure) layer,
#include "items.def"
#undef SLUICE_LAYER
};

struct LayerInfo {
  rte_flow_item_type item;
  uint8_t size;  // of its structure
};

inline constexpr std::array kLayers{
#define SLUICE_LAYER(layer, item, structure) LayerInfo{RTE_FLOW_ITEM_TYPE_##item, sizeof(structure)},
#include "items.def"
#undef SLUICE_LAYER
};

// How a field gets into its item.
enum class Say : uint8_t {
  kNot,     // it has no item
  kCopied,  // as it is
  kType,    // an Ethernet type; lengths need care
  kTag,     // a tag; the CFI bit is not sent
  kArp,     // of ARP with Ethernet and IPv4 addresses only
  kIpv4Proto,
  kIpv4Frag,
  kIpv6Proto,
  kIpv6Frag,
  kVni,  // from here on: of tunnel(...)
  kOuter,
  kOuterTos,
  kOuterTtl,
  kOuterPort,
  kOuterFlags,
};

struct Place {
  Say say = Say::kNot;
  Layer layer = Layer::eth;
  uint8_t offset = 0;  // in the item, bytes
  uint8_t size = 0;
  uint8_t shift = 0;
  rte_flow_field_id modify = RTE_FLOW_FIELD_START;      // START: none
  rte_flow_action_type old = RTE_FLOW_ACTION_TYPE_END;  // END: none
};

namespace places {
#define SLUICE_LAYER(layer, item, structure) using layer = structure;  // NOLINT(bugprone-macro-parentheses)
#include "items.def"
#undef SLUICE_LAYER
}  // namespace places

inline constexpr std::array<Place, kFieldCount> kPlaces = [] {
  std::array<Place, kFieldCount> table{};
#define SLUICE_PLACE(field, layer, member, skip, size, shift, say, modify, old)              \
  table[static_cast<size_t>(Field::field)] = Place{Say::say,                                 \
                                                   Layer::layer,                             \
                                                   offsetof(places::layer, member) + (skip), \
                                                   size,                                     \
                                                   shift,                                    \
                                                   RTE_FLOW_FIELD_##modify,                  \
                                                   RTE_FLOW_ACTION_TYPE_##old};
#include "items.def"
#undef SLUICE_PLACE
  return table;
}();

constexpr const Place& PlaceOf(Field field) { return kPlaces[static_cast<size_t>(field)]; }

}  // namespace sluice::rteflow
