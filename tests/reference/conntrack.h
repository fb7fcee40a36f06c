// SPDX-License-Identifier: Apache-2.0
// A model of connection tracking: which connections there are and what ct says of a packet. Time does not pass in it:
// only what a packet itself ends is gone.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "reference/packet.h"
#include "reference/parser.h"
#include "sluice/action.h"

namespace sluice::reference {

// Bits of ct_state.
inline constexpr uint32_t kCtNew = 1, kCtEst = 2, kCtRel = 4, kCtRpl = 8, kCtInv = 16, kCtTrk = 32;

struct Tracked {
  uint32_t state = 0;
  uint32_t mark = 0;
  // Of the connection found, as it was before.
  std::optional<uint32_t> found_mark = std::nullopt;
  bool operator==(const Tracked&) const = default;
};

// From who began it to whom.
struct Tuple {
  uint16_t zone = 0;
  uint8_t protocol = 0;
  Bytes src, dst;                 // 4 bytes or 16
  uint16_t sport = 0, dport = 0;  // ICMP echo: the identifier, 0
  auto operator<=>(const Tuple&) const = default;
  [[nodiscard]] Tuple Turned() const { return {zone, protocol, dst, src, dport, sport}; }
};

class Conntrack {
 public:
  // What ct(...) finds and, as it says, enters. `frame`: as it is by then.
  Tracked Track(const Ct& ct, const Bytes& frame);

  // Connections that were entered and not ended.
  [[nodiscard]] size_t size() const { return connections_.size(); }
  [[nodiscard]] uint64_t committed() const { return committed_; }

 private:
  struct Connection {
    uint32_t mark = 0;
    bool replied = false;
    bool assured = false;  // it has seen both sides, and then one more packet
    bool closing = false;  // an assured one that saw a FIN or RST
  };
  struct Found {
    std::map<Tuple, Connection>::iterator at;
    bool reply = false;
  };

  std::optional<Found> Find(const Tuple& tuple);
  Tracked Icmp(const Ct& ct, const Bytes& frame, const Parsed& parsed);
  Tracked Quoted(const Ct& ct, const Bytes& frame, const Parsed& parsed);
  Tracked Echo(const Ct& ct, const Bytes& frame, const Parsed& parsed, bool reply);
  Tracked Begin(const Ct& ct, const Tuple& tuple);
  // False: the connection is over.
  static bool Tcp(Connection& connection, unsigned flags, bool reply);

  std::map<Tuple, Connection> connections_;
  uint64_t committed_ = 0;
};

}  // namespace sluice::reference
