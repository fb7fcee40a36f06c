// SPDX-License-Identifier: Apache-2.0
// What a datapath must do with a frame, in the plainest way: a scan over all flows, then the actions one by one
// (actions.h).
//
// Independent of the BPF programs and of the plugins; it shares with them the flow model of libsluice and nothing else.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "reference/actions.h"
#include "reference/packet.h"
#include "reference/parser.h"
#include "sluice/action.h"
#include "sluice/match.h"
#include "sluice/ufid.h"

namespace sluice::reference {

struct Counters {
  uint64_t packets = 0;
  uint64_t bytes = 0;  // of the frames as they came in, without FCS
  uint32_t tcp_flags = 0;
  bool operator==(const Counters&) const = default;
};

struct Flow {
  Ufid ufid;
  Match match;
  Actions actions;
  uint32_t priority = 0;
  Counters counters;
};

bool Matches(const Match& match, const Match& key);

class Datapath {
 public:
  explicit Datapath(std::set<uint32_t> ports) : ports_(std::move(ports)) {}

  // Adds or replaces; replacing keeps the counters.
  void Put(const Flow& flow);
  void Delete(const Ufid& ufid);

  // The flows that may take a frame with this key: all those of the highest priority among the ones that match. None:
  // the frame is a miss.
  std::vector<Flow*> Candidates(const Match& key);
  // The frame hits `flow`: executes its actions and counts.
  Outcome Hit(Flow& flow, const Bytes& frame, uint32_t in_port, Between* between = nullptr);

  // Parse's key with in_port.
  static Parsed ParseOn(uint32_t in_port, std::span<const uint8_t> frame);

  [[nodiscard]] const std::map<Ufid, Flow>& flows() const { return flows_; }
  [[nodiscard]] const std::set<uint32_t>& ports() const { return ports_; }

 private:
  std::set<uint32_t> ports_;
  std::map<Ufid, Flow> flows_;
};

}  // namespace sluice::reference
