// SPDX-License-Identifier: Apache-2.0
// What becomes of a frame in all its passes: lookups and actions, and between two passes recirculation, tunnels and
// connection tracking.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "reference/conntrack.h"
#include "reference/datapath.h"
#include "reference/tunnel.h"

namespace sluice::reference {

// One lookup.
struct Pass {
  Bytes frame;
  Match key;  // in_port and what passes before have left are in it
  Malformed malformed = Malformed::kNo;
  std::optional<Ufid> flow;  // none: it missed, or is malformed
};

struct Journey {
  std::vector<Pass> passes;
  Match beside;                                           // what a lookup after the last would get beside the frame
  Outcome outcome;                                        // of the last
  std::vector<std::pair<uint32_t, Encapsulated>> pushed;  // by which port
  std::vector<Tracked> tracked;                           // what each ct found
  std::string dropped;  // the counter of why it ended between two passes; empty: it did not
  // What was counted between passes: "recirculated", "tnl_popped", "tnl_pushed", "ct_untracked", "ct_invalid",
  // "ct_committed".
  std::map<std::string, uint64_t> counters;
};

class Passes : Between {
 public:
  // A datapath's limits: passes after the first, and ways from one program to another.
  static constexpr size_t kDepth = 8;
  static constexpr size_t kHops = 32;

  // `mtu`: of every port, without Ethernet header.
  Passes(Datapath& datapath, std::map<uint32_t, TunnelPort> tunnels, size_t mtu)
      : datapath_(datapath), tunnels_(std::move(tunnels)), mtu_(mtu) {}

  // Flows of one priority must not overlap. Counts in the flows.
  Journey Run(uint32_t port, const Bytes& frame);

  [[nodiscard]] const Conntrack& connections() const { return connections_; }

 private:
  void Track(const Ct& ct, const Bytes& frame) override;
  void ForgetTracking(const Bytes& frame) override;
  void Recirculate(uint32_t id, const Bytes& frame) override;
  void Pop(uint32_t tunnel_port, const Bytes& frame) override;
  void Push(const TnlPush& push, const Bytes& frame) override;
  bool PushTo(uint32_t port, const Match& set, const Bytes& frame) override;

  // Counts a way on, which mostly is one to another program. False: it is one too many.
  bool Hop(bool other_program = true);
  void Send(uint32_t port, Encapsulated packet);

  Datapath& datapath_;
  const std::map<uint32_t, TunnelPort> tunnels_;
  const size_t mtu_;
  Conntrack connections_;

  // Of the frame at hand.
  Journey journey_;
  size_t hops_ = 0;
  bool tracked_last_ = false;  // what does ct has parsed it, and looks it up itself where recirc follows
  Match beside_;               // what the next lookup gets beside the frame
  std::optional<Bytes> next_;  // the frame for it
};

}  // namespace sluice::reference
