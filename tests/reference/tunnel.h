// SPDX-License-Identifier: Apache-2.0
// Tunnels: what their headers say, and how they are made. Written from RFC 7348 (VXLAN), 8926 (Geneve), 2784 and 2890
// (GRE), for reading.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "reference/packet.h"
#include "sluice/action.h"
#include "sluice/match.h"

namespace sluice::reference {

struct TunnelPort {
  enum class Kind { kVxlan, kGeneve, kGre };
  enum class Checksum { kIgnore, kVerify, kRequire };
  Kind kind = Kind::kVxlan;
  uint16_t udp_port = 4789;               // not of GRE
  Checksum checksum = Checksum::kVerify;  // of outer ones
  uint32_t underlay = 0;                  // the port that its packets leave by
};

// A packet without its outer headers, or why it has none that can be taken off.
struct Decapsulated {
  Bytes frame;
  Match tunnel;       // tun_*, exact
  std::string wrong;  // "tnl_malformed", "tnl_checksum"; empty: nothing
};
Decapsulated Decapsulate(const TunnelPort& port, const Bytes& frame);

// A frame with new outer headers. What is free is whatever the one who sends it likes.
class Encapsulated {
 public:
  // As tnl_push says, in which all is said but a UDP source port of 0.
  Encapsulated(const TnlPush& push, Bytes inner);
  // As set(tunnel(...)) says, to a tunnel port: the Ethernet addresses are free, too.
  Encapsulated(const TunnelPort& port, const Match& set, Bytes inner);

  // What must come out, given what the other side has chosen where it is free; `seen` itself where that is no choice
  // that it has.
  [[nodiscard]] Bytes Expected(const Bytes& seen) const;
  // Without Ethernet header: what counts to the MTU.
  [[nodiscard]] size_t length() const { return header_.size() + inner_.size() - 14; }

 private:
  Bytes header_;
  Bytes inner_;
  bool any_addresses_ = false;
  bool any_source_port_ = false;
  bool checksum_ = false;  // of UDP
};

}  // namespace sluice::reference
