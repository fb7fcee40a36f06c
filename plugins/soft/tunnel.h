// SPDX-License-Identifier: Apache-2.0
// Tunnels on frames: outer headers taken off, and put in front of a frame, as the programs of bpf/ do it. Pure
// functions, any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "execute.h"
#include "sluice/error.h"
#include "sluice/match.h"

namespace sluice::soft {

// Numbers of OVS_VPORT_TYPE_*.
enum class TunnelType : uint32_t { kGre = 3, kVxlan = 4, kGeneve = 5 };

// "vxlan", "geneve", "gre"; nullopt: none of them.
std::optional<TunnelType> TunnelTypeOf(std::string_view name);
// 4789, 6081; GRE has none: 0.
uint16_t DefaultTunnelPort(TunnelType type);

// What becomes of packets by their outer UDP checksum.
enum class OuterChecksum : uint8_t {
  kIgnore,
  kVerify,   // a wrong one is dropped; 0 says that there is none
  kRequire,  // 0 is dropped, too
};

struct Popped {
  size_t inner = 0;  // where in the frame the inner one begins; it has an Ethernet header at least
  size_t end = 0;    // and ends: what is behind it only pads the outer one
  Match tunnel;      // tun_*, each exact
};

// `frame` from its outer Ethernet header on, which may have tags; `port`: the UDP destination, host order. What a
// packet of the tunnel must be is told in bpf/tunnel_pop.h. Errors: reason "tnl_malformed" or "tnl_checksum", the
// counters of these names; detail: what is wrong, without a full stop.
Result<Popped> PopTunnel(std::span<const uint8_t> frame, TunnelType type, uint16_t port, OuterChecksum checksum);

// The outer headers of set(tunnel(...)), as those of tnl_push: Ethernet (addresses 0) to tunnel. Lengths, the IPv4 id
// and checksum are 0, and the UDP source port where tp_src says none; a UDP checksum that is wanted is 0xffff. IPv6
// where there is an IPv6 destination.
std::string TunnelHeader(TunnelType type, uint16_t port, const Match& set);

// `header` (whole, as TunnelHeader or TnlPush have it) in front of the frame, with its lengths and the IPv4 checksum; a
// UDP checksum, where it is not 0 or over IPv6; that of GRE, where its flags say so. What the programs choose for each
// packet stays 0: a UDP source port that is 0 (theirs is the inner flow's hash, differently seeded with each load), the
// IPv4 identification (random without DF). Errors: "tnl_mtu", where the packet without its Ethernet header is longer
// than `mtu` (0: 65535), and "tnl_no_room", where the header is cut short; the frame is as it was.
Result<void> PushTunnel(Frame& frame, std::string_view header, size_t mtu);

}  // namespace sluice::soft
