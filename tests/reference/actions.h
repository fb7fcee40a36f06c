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

// Does what lies between two passes (passes.h). Frames are as they are by then.
class Between {
 public:
  Between() = default;
  Between(const Between&) = delete;
  Between& operator=(const Between&) = delete;
  virtual ~Between() = default;

  virtual void Track(const Ct& ct, const Bytes& frame) = 0;
  virtual void ForgetTracking(const Bytes& frame) = 0;
  virtual void Recirculate(uint32_t id, const Bytes& frame) = 0;
  virtual void Pop(uint32_t tunnel_port, const Bytes& frame) = 0;
  virtual void Push(const TnlPush& push, const Bytes& frame) = 0;
  // False: `port` is no tunnel port.
  virtual bool PushTo(uint32_t port, const Match& set, const Bytes& frame) = 0;
};

// Executes `actions` on `frame`, which came in by `in_port` of `ports`. A list ends where the packet leaves for another
// pass or for a tunnel. Throws std::logic_error where it comes to an action that no datapath of Sluice does (set(nd)
// and the like; without `between` recirculation, tunnels and connection tracking, too), and for a frame without an
// Ethernet header.
Outcome Execute(const Actions& actions, const Bytes& frame, uint32_t in_port, const std::set<uint32_t>& ports,
                Between* between = nullptr);

}  // namespace sluice::reference
