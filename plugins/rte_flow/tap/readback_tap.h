// SPDX-License-Identifier: Apache-2.0
// Sees by the kernel's word whether net_tap has made the rule that it was asked for. Its rules are TC filters on the
// tap interface, and some of those that it makes take other packets than the rule says (README.md).
//
// Not the driver's handle, which is opaque, says which filter is the new one, but the kernel's own notification
// (rtnetlink, RTNLGRP_TC), which is there before the driver has its answer. So it takes no dump, however many rules.
//
// One thread at a time, the one that makes the rules.
#pragma once

#include <cstdint>
#include <memory>

#include "sluice/error.h"
#include "sluice/match.h"
#include "tc_filter.h"

namespace sluice::rteflow {

// Whether frames with VLAN tags can come in by a port. net_tap's rules for untagged frames take tagged ones as well, so
// with kPossible they are told to differ.
enum class TaggedFrames : uint8_t { kPossible, kNever };

// Whether `filter` takes the packets of `match` (but for in_port, which chose the interface), no others, and drops
// them. Errors: "device_differs", naming what TC has and what the flow has.
Result<void> CompareWithTc(const TcFilter& filter, const Match& match, TaggedFrames tagged);

class TapReadback {
 public:
  // `interface` is rte_eth_dev_info.if_index, in the caller's network namespace. Errors: "no_readback".
  static Result<std::unique_ptr<TapReadback>> Open(uint32_t interface, TaggedFrames tagged);
  ~TapReadback();
  TapReadback(const TapReadback&) = delete;
  TapReadback& operator=(const TapReadback&) = delete;

  // Before the driver is asked: what the kernel has told until now is not about this rule.
  void Begin();
  // After the driver has said yes to a rule that drops the packets of `match`. Errors: "device_differs": the rule has
  // to go; "no_readback": the kernel has told too much meanwhile, so that this rule was missed.
  Result<void> Check(const Match& match);

 private:
  class Socket;
  TapReadback(std::unique_ptr<Socket> socket, uint32_t interface, TaggedFrames tagged);

  std::unique_ptr<Socket> socket_;
  uint32_t interface_;
  TaggedFrames tagged_;
};

}  // namespace sluice::rteflow
