// SPDX-License-Identifier: Apache-2.0
#include "reference/conntrack.h"

#include <array>
#include <utility>

namespace sluice::reference {
namespace {

constexpr Tracked kInvalid{kCtTrk | kCtInv, 0};
enum TcpFlags : unsigned { kFin = 1, kSyn = 2, kRst = 4, kPsh = 8, kAck = 16, kUrg = 32 };

uint16_t U16(const Bytes& bytes, size_t at) { return static_cast<uint16_t>(bytes[at] << 8 | bytes[at + 1]); }
Bytes Part(const Bytes& bytes, size_t from, size_t size) {
  return {bytes.begin() + static_cast<ptrdiff_t>(from), bytes.begin() + static_cast<ptrdiff_t>(from + size)};
}
Bytes ValueOf(const Match& key, Field field) {
  const auto value = key.Value(field);
  return {value.begin(), value.end()};
}

bool IsIpv6(const Parsed& parsed) { return parsed.key.Has(Field::ipv6_src); }

Tuple TupleOf(const Ct& ct, const Parsed& parsed, uint8_t protocol) {
  const bool v6 = IsIpv6(parsed);
  Tuple tuple{ct.zone,
              protocol,
              ValueOf(parsed.key, v6 ? Field::ipv6_src : Field::ipv4_src),
              ValueOf(parsed.key, v6 ? Field::ipv6_dst : Field::ipv4_dst),
              0,
              0};
  if (protocol == 6) {
    tuple.sport = static_cast<uint16_t>(parsed.key.ValueOf(Field::tcp_src));
    tuple.dport = static_cast<uint16_t>(parsed.key.ValueOf(Field::tcp_dst));
  } else if (protocol == 17) {
    tuple.sport = static_cast<uint16_t>(parsed.key.ValueOf(Field::udp_src));
    tuple.dport = static_cast<uint16_t>(parsed.key.ValueOf(Field::udp_dst));
  }
  return tuple;
}

// Those that the kernel takes for possible, PSH and the congestion bits not looked at.
bool PossibleFlags(unsigned flags) {
  constexpr std::array<unsigned, 9> kPossible{kSyn,        kSyn | kUrg,        kSyn | kAck, kRst,       kRst | kAck,
                                              kFin | kAck, kFin | kAck | kUrg, kAck,        kAck | kUrg};
  for (const unsigned possible : kPossible) {
    if (flags == possible) return true;
  }
  return false;
}

uint32_t Marked(const Ct& ct, uint32_t mark) {
  if ((!ct.commit && !ct.force) || !ct.mark) return mark;
  return (mark & ~ct.mark->second) | (ct.mark->first & ct.mark->second);
}

}  // namespace

std::optional<Conntrack::Found> Conntrack::Find(const Tuple& tuple) {
  // Of one with itself no direction is the first; the kernel takes all its packets for answers.
  if (const auto at = connections_.find(tuple); at != connections_.end()) return Found{at, tuple == tuple.Turned()};
  if (const auto at = connections_.find(tuple.Turned()); at != connections_.end()) return Found{at, true};
  return std::nullopt;
}

Tracked Conntrack::Begin(const Ct& ct, const Tuple& tuple) {
  if (!ct.commit && !ct.force) return {kCtTrk | kCtNew, 0};
  ++committed_;
  Connection& connection = connections_[tuple] = {};
  connection.mark = Marked(ct, 0);
  return {kCtTrk | kCtNew, connection.mark};
}

Tracked Conntrack::Track(const Ct& ct, const Bytes& frame) {
  const Parsed parsed = Parse(frame);
  switch (parsed.malformed) {
    case Malformed::kNo:
      break;
    case Malformed::kIpv4:
    case Malformed::kIpv6:
    case Malformed::kLayer4:
      return kInvalid;
    default:
      return {};
  }
  const bool v6 = IsIpv6(parsed);
  if (!v6 && !parsed.key.Has(Field::ipv4_src)) return {};
  constexpr uint64_t kLater = 2;
  if (parsed.key.ValueOf(v6 ? Field::ipv6_frag : Field::ipv4_frag) == kLater) return kInvalid;
  const auto protocol = static_cast<uint8_t>(parsed.key.ValueOf(v6 ? Field::ipv6_proto : Field::ipv4_proto));
  if (protocol == (v6 ? 58 : 1)) return Icmp(ct, frame, parsed);
  const bool tcp = protocol == 6;
  if (!tcp && protocol != 17) return kInvalid;
  const unsigned flags = parsed.key.ValueOf(Field::tcp_flags) & (kFin | kSyn | kRst | kAck | kUrg);
  if (tcp && !PossibleFlags(flags)) return kInvalid;
  const unsigned plain = flags & ~unsigned{kUrg};

  const Tuple tuple = TupleOf(ct, parsed, protocol);
  if (const auto found = Find(tuple)) {
    Connection& connection = found->at->second;
    const bool again = tcp && plain == kSyn && connection.closing;  // the same addresses and ports, another connection
    if (!again && !(ct.force && found->reply)) {
      const bool established = connection.replied || found->reply;
      const uint32_t before = std::exchange(connection.mark, Marked(ct, connection.mark));
      const Tracked tracked{kCtTrk | (established ? kCtEst : kCtNew) | (found->reply ? kCtRpl : 0), connection.mark,
                            before};
      if (!tcp) {
        connection.assured = connection.assured || connection.replied;
        connection.replied = connection.replied || found->reply;
      } else if (!Tcp(connection, flags, found->reply)) {
        connections_.erase(found->at);
      }
      return tracked;
    }
    connections_.erase(found->at);
  }
  if (tcp && plain != kSyn && plain != kAck) return kInvalid;
  return Begin(ct, tuple);
}

bool Conntrack::Tcp(Connection& connection, unsigned flags, bool reply) {
  if ((flags & kRst) != 0) {
    connection.closing = connection.assured;
    return connection.assured;  // of one that never was there is nothing left
  }
  if (connection.closing) return true;
  const bool both = connection.replied;
  if (reply) connection.replied = true;
  if ((flags & kFin) != 0) {
    connection.assured = connection.assured || both;
    connection.closing = connection.assured;
  } else if ((flags & kSyn) == 0) {
    connection.assured = connection.assured || both;
  }
  return true;
}

Tracked Conntrack::Icmp(const Ct& ct, const Bytes& frame, const Parsed& parsed) {
  const bool v6 = IsIpv6(parsed);
  const uint64_t type = parsed.key.ValueOf(v6 ? Field::icmpv6_type : Field::icmp_type);
  // RFC 4443: errors are those below 128. RFC 792: unreachable, quench, redirect, time exceeded, parameter problem.
  const bool error = v6 ? type < 128 : type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
  if (error) return Quoted(ct, frame, parsed);
  if (type == (v6 ? 128 : 8)) return Echo(ct, frame, parsed, false);
  if (type == (v6 ? 129 : 0)) return Echo(ct, frame, parsed, true);
  return kInvalid;
}

// An error belongs to the connection of the packet that it quotes, which went the other way.
Tracked Conntrack::Quoted(const Ct& ct, const Bytes& frame, const Parsed& parsed) {
  const size_t at = parsed.transport + 8;
  const bool v6 = IsIpv6(parsed);
  if (frame.size() < at + (v6 ? 48 : 20)) return kInvalid;
  if (frame[at] >> 4 != (v6 ? 6 : 4)) return kInvalid;
  Tuple quoted;
  size_t ports = at + 40;
  if (v6) {
    quoted = {ct.zone, frame[at + 6], Part(frame, at + 8, 16), Part(frame, at + 24, 16)};
  } else {
    if ((U16(frame, at + 6) & 0x1fff) != 0) return kInvalid;
    const size_t header = (frame[at] & 15) * 4UL;
    ports = at + header;
    if (header < 20 || frame.size() < ports + 8) return kInvalid;
    quoted = {ct.zone, frame[at + 9], Part(frame, at + 12, 4), Part(frame, at + 16, 4)};
  }
  if (quoted.src != ValueOf(parsed.key, v6 ? Field::ipv6_dst : Field::ipv4_dst)) return kInvalid;
  if (quoted.protocol != 6 && quoted.protocol != 17) return kInvalid;
  quoted.sport = U16(frame, ports);
  quoted.dport = U16(frame, ports + 2);
  const auto found = Find(quoted.Turned());
  if (!found) return kInvalid;
  return {kCtTrk | kCtRel | (found->reply ? kCtRpl : 0), found->at->second.mark, found->at->second.mark};
}

// Only who asks can begin; the answer has the same identifier.
Tracked Conntrack::Echo(const Ct& ct, const Bytes& frame, const Parsed& parsed, bool reply) {
  Tuple asked = TupleOf(ct, parsed, static_cast<uint8_t>(IsIpv6(parsed) ? 58 : 1));
  if (reply) asked = asked.Turned();
  asked.sport = U16(frame, parsed.transport + 4);
  const auto known = connections_.find(asked);
  if (known == connections_.end()) return reply ? kInvalid : Begin(ct, asked);
  Connection& connection = known->second;
  connection.replied = connection.replied || reply;
  const uint32_t before = std::exchange(connection.mark, Marked(ct, connection.mark));
  return {kCtTrk | (connection.replied ? kCtEst : kCtNew) | (reply ? kCtRpl : 0), connection.mark, before};
}

}  // namespace sluice::reference
