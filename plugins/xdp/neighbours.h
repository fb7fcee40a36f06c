// SPDX-License-Identifier: Apache-2.0
// Programs that put a packet into a tunnel take its next hop's Ethernet address from the kernel, and cannot have it
// looked for. So what steps lead to is kept resolved from here, as if packets of the kernel's own went there.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <map>
#include <optional>

#include "netlink.h"
#include "step_table.h"

namespace sluice::xdp {

// Session thread, in the network namespace of the devices.
class Neighbours {
 public:
  // From time to time, and soon after steps came: has those asked for that are new, and some of the others in turn.
  // What cannot be asked for is left: packets for it are counted as tnl_no_neighbour.
  void Look(const StepTable& steps);

 private:
  struct FarEnd {
    uint32_t ifindex = 0;
    uint8_t size = 0;  // of the address: 4 or 16
    std::array<uint8_t, 16> address{};
    auto operator<=>(const FarEnd&) const = default;  // NOLINT(modernize-use-nullptr): it takes <=> for that
  };
  void Ask(const FarEnd& far_end);

  std::optional<NetlinkSocket> socket_;
  std::map<FarEnd, bool> far_ends_;  // false: no step leads there any more
  std::optional<FarEnd> asked_;      // the last one in turn
};

}  // namespace sluice::xdp
