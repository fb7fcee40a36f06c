// SPDX-License-Identifier: Apache-2.0
// What actions do to a frame, one by one and in the plainest way.
//
// Headers are located once, as the frame came in, by the parser's rules; VLAN tags that are pushed and popped move them
// and nothing is parsed again. An edit of a header that the frame does not have changes nothing. Checksums are brought
// up to date after every edit; ones that were wrong stay wrong by the same difference.
#pragma once

#include <cstdint>
#include <set>
#include <vector>

#include "reference/packet.h"
#include "sluice/action.h"

namespace sluice::reference {

struct Emission {
  uint32_t port = 0;
  Bytes frame;
  auto operator<=>(const Emission&) const = default;
};

// What became of one frame.
struct Outcome {
  std::vector<Emission> emissions;  // in the order of the actions; of a flood: by port
  std::vector<Bytes> upcalls;       // sent up by an action
  bool operator==(const Outcome&) const = default;
};

// Executes `actions` on `frame`, which came in by `in_port` of `ports`. Throws std::logic_error where it comes to an
// action that no datapath of Sluice does (conntrack, tunnels, recirculation, set(nd) and the like), and for a frame
// without an Ethernet header.
Outcome Execute(const Actions& actions, const Bytes& frame, uint32_t in_port, const std::set<uint32_t>& ports);

}  // namespace sluice::reference
