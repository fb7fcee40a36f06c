// SPDX-License-Identifier: Apache-2.0
// What a device has to do with the packets of a flow that it takes all of: the actions as steps that rte_flow can say,
// in their order, or the action that it cannot. README.md has the table.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "sluice/action.h"
#include "sluice/error.h"
#include "sluice/match.h"

namespace sluice::rteflow {

// Takes the outer headers of VXLAN off.
struct DecapStep {};
struct OutputStep {
  uint16_t ethdev;
};
struct PushStep {
  uint16_t tpid;
};
struct PopStep {};
// Of the outermost tag.
struct VidStep {
  uint16_t vid;
};
struct PcpStep {
  uint8_t pcp;
};
// `width` bits of a field, `offset` bits after its first; value as it stands in the field.
struct SetStep {
  Field field;
  uint16_t offset;
  uint16_t width;
  std::array<uint8_t, 16> value;
};
struct DscpStep {
  bool ipv6;
  uint8_t dscp;  // 6 bits
};
struct EcnStep {
  uint8_t ecn;  // 2 bits, of IPv4
};
struct DecTtlStep {};
struct EncapStep {
  std::string header;  // Ethernet to VXLAN, as it is to stand before the packet
};

using Step = std::variant<DecapStep, OutputStep, PushStep, PopStep, VidStep, PcpStep, SetStep, DscpStep, EcnStep,
                          DecTtlStep, EncapStep>;

struct FullPlan {
  std::vector<Step> steps;  // empty: drop; else the last is an output
  std::string shape;        // for people and for what is remembered: "set(eth_dst),output", "drop"
  size_t outputs = 0;
  bool sets = false;    // has a SetStep or an EcnStep
  bool encaps = false;  // has an EncapStep
};

using EthdevOf = std::function<std::optional<uint16_t>(uint32_t port)>;

// The packets are those of `match`, which has passed Validate(); `tunnel`: they come with outer headers of VXLAN. The
// plan does what plugins/soft/README.md says of the actions. Errors: "unsupported_action", naming it.
Result<FullPlan> PlanFull(const Match& match, bool tunnel, const Actions& actions, const EthdevOf& ethdev_of);

// The actions that can be offloaded in full, by name.
std::vector<std::string> OffloadableActions();

}  // namespace sluice::rteflow
