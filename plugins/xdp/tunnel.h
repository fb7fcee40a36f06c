// SPDX-License-Identifier: Apache-2.0
// Tunnel ports: ports without a device. Packets come in by one when tnl_pop has taken their outer headers off, and
// leave by one with new ones.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "pass.h"
#include "sluice/action.h"
#include "sluice/error.h"
#include "sluice/match.h"

namespace sluice::xdp {

// plugins/xdp/README.md, "Tunnel ports", lists the options.
struct TunnelSettings {
  sluice_tunnel_type type = SLUICE_TUNNEL_VXLAN;
  uint16_t dst_port = 0;  // of UDP, host order; GRE has none
  uint32_t csum = 0;      // enum sluice_step_flags: CSUM_VERIFY, CSUM_REQUIRE
  std::string underlay;   // name of the port that packets leave by; empty: none can
  bool mtu_icmp = false;  // who sends what is too long is told
  bool operator==(const TunnelSettings&) const = default;

  // Whether a port with these options is a tunnel port.
  static bool Asked(const std::map<std::string, std::string>& options) { return options.contains("tunnel"); }
  // Errors: "unknown_option", "bad_option", naming it.
  static Result<TunnelSettings> Parse(const std::map<std::string, std::string>& options);
  // "vxlan", ...
  [[nodiscard]] const char* TypeName() const;
  [[nodiscard]] const char* CsumName() const;
};

struct TunnelPort {
  uint32_t number = 0;
  TunnelSettings settings;
  // The underlay's, as it is now; 0: it has none.
  uint32_t underlay = 0;  // its number
  uint32_t ifindex = 0;
  uint32_t mtu = 0;
  bool operator==(const TunnelPort&) const = default;
};

// The step that takes the outer headers of a packet for `port` off.
sluice_step PopStep(const TunnelPort& port);
// The one that puts new ones in front, made from set(tunnel(...)), and gives the packet to the underlay. Where the set
// names no source address it is the one that the kernel would take towards `dst` now. Errors: "unsupported_action",
// with what is missing or beyond the tunnel; "no_route"; "no_forwarding".
Result<sluice_step> PushStep(const TunnelPort& port, const Match& set);
// The same with the headers of tnl_push, for a device with this MTU. `port` may be nullptr: no options then.
Result<sluice_step> PushStep(const TunnelPort* port, const TnlPush& push, uint32_t mtu);

}  // namespace sluice::xdp
