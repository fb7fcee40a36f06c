// SPDX-License-Identifier: Apache-2.0
// Tunnel ports, and what they do to traced packets.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "sluice/action.h"
#include "sluice/error.h"
#include "soft/tunnel.h"
#include "trace.h"

namespace sluice::ctl {

// A port without a device that stands for the far end of tunnels: its options.
struct TunnelPort {
  soft::TunnelType type{};
  uint16_t dst_port = 0;  // UDP
  soft::OuterChecksum checksum = soft::OuterChecksum::kVerify;
  std::string underlay;  // the port that its packets leave by; empty: it takes none
};

// nullptr: there is none.
const v1::Port* PortNumbered(const TracePlace& place, uint32_t number);
// What the kernel lets out by it, without Ethernet header; 0: not told.
size_t MtuOf(const v1::Port& port);

// nullopt: `port` is none, or one whose options are not understood.
std::optional<TunnelPort> TunnelOf(const v1::Port& port);

// The packet as it came in by tunnel port number `port`, for the pass that follows. Errors: reason "tnl_malformed" and
// the like, or "unknown_port".
Result<PassPacket> Pop(const TracePlace& place, uint32_t port, std::span<const uint8_t> frame);

// `output` goes to tunnel port `port` after set(tunnel(...)) with the fields `set`: makes it what leaves by the
// underlay. Errors: as Pop, with "tnl_mtu".
Result<void> Encapsulate(const TracePlace& place, const v1::Port& port, const Match& set, TraceOutput& output);
Result<TraceOutput> Push(const TracePlace& place, const TnlPush& push, std::span<const uint8_t> frame);

// What of a frame with outer headers the datapath chooses for each packet, and is 0 here; empty: nothing.
std::string ChosenLater(std::span<const uint8_t> frame);

}  // namespace sluice::ctl
