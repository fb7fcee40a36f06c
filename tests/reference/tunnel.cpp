// SPDX-License-Identifier: Apache-2.0
#include "reference/tunnel.h"

#include <algorithm>

#include "reference/checksum.h"
#include "reference/parser.h"

namespace sluice::reference {
namespace {

constexpr uint16_t kOam = 1;  // bits of tun_flags
constexpr uint16_t kCsum = 4;
constexpr uint16_t kKey = 8;
constexpr uint16_t kEthernetInside = 0x6558;

uint16_t U16(const Bytes& bytes, size_t at) { return static_cast<uint16_t>(bytes[at] << 8 | bytes[at + 1]); }
uint32_t U32(const Bytes& bytes, size_t at) { return static_cast<uint32_t>(U16(bytes, at)) << 16 | U16(bytes, at + 2); }
void Put(Bytes& bytes, uint64_t value, int size) {
  while (size-- > 0) bytes.push_back(static_cast<uint8_t>(value >> (8 * size)));
}
void Store(Bytes& bytes, size_t at, uint16_t value) {
  bytes[at] = static_cast<uint8_t>(value >> 8);
  bytes[at + 1] = static_cast<uint8_t>(value);
}
Bytes Part(const Bytes& bytes, size_t from, size_t to) {
  return {bytes.begin() + static_cast<ptrdiff_t>(from), bytes.begin() + static_cast<ptrdiff_t>(to)};
}
void Append(Bytes& to, const Bytes& from) { to.insert(to.end(), from.begin(), from.end()); }

// RFC 768 and 8200 section 8.1: what UDP sums beside itself.
Bytes PseudoHeader(const Bytes& addresses, size_t length) {
  Bytes out = addresses;
  Put(out, length, 4);
  Put(out, 17, 4);
  return out;
}

// Behind the IPv6 header and those of its extensions, as far as a datapath follows them.
size_t EndOfIpv6Headers(const Bytes& frame, size_t network) {
  uint8_t next = frame[network + 6];
  size_t at = network + 40;
  for (int i = 0; i < kMaxIpv6Extensions; ++i) {
    if (next == 0 || next == 43 || next == 60) {
      next = frame[at];
      at += 8 + frame[at + 1] * 8UL;
    } else if (next == 51) {
      next = frame[at];
      at += (frame[at + 1] + 2UL) * 4;
    } else if (next == 44) {
      next = frame[at];
      at += 8;
    } else {
      break;
    }
  }
  return at;
}

struct Wrong {
  const char* counter;
};

// One packet, from its outer headers inwards. Throws Wrong.
class Packet {
 public:
  Packet(const TunnelPort& port, const Bytes& frame) : port_(port), frame_(frame), parsed_(Parse(frame)) {}

  Decapsulated Open() {
    Ip();
    port_.kind == TunnelPort::Kind::kGre ? Gre() : Udp();
    Need(at_ + 14 <= end_);
    CheckChecksum();
    tunnel_.SetExact(Field::tun_flags, flags_);
    return {Part(frame_, at_, end_), tunnel_, ""};
  }

 private:
  static void Need(bool fact) {
    if (!fact) throw Wrong{"tnl_malformed"};
  }
  void Copy(Field to, Field from) {
    const auto value = parsed_.key.Value(from);
    tunnel_.Set(to, value, Bytes(value.size(), 0xff));
  }

  void Ip() {
    Need(parsed_.malformed == Malformed::kNo);
    const bool v4 = parsed_.key.Has(Field::ipv4_src);
    Need(v4 || parsed_.key.Has(Field::ipv6_src));
    Need(parsed_.key.ValueOf(v4 ? Field::ipv4_frag : Field::ipv6_frag) == 0);
    Need(parsed_.key.ValueOf(v4 ? Field::ipv4_proto : Field::ipv6_proto) ==
         (port_.kind == TunnelPort::Kind::kGre ? 47 : 17));
    const size_t ip = parsed_.network;
    if (v4) {
      at_ = ip + (frame_[ip] & 15) * 4UL;
      end_ = ip + U16(frame_, ip + 2);
      addresses_ = Part(frame_, ip + 12, ip + 20);
      Need(Checksum(Part(frame_, ip, at_)) == 0);
      Copy(Field::tun_src, Field::ipv4_src);
      Copy(Field::tun_dst, Field::ipv4_dst);
      Copy(Field::tun_tos, Field::ipv4_tos);
      Copy(Field::tun_ttl, Field::ipv4_ttl);
    } else {
      at_ = EndOfIpv6Headers(frame_, ip);
      end_ = ip + 40 + U16(frame_, ip + 4);
      addresses_ = Part(frame_, ip + 8, ip + 40);
      Copy(Field::tun_ipv6_src, Field::ipv6_src);
      Copy(Field::tun_ipv6_dst, Field::ipv6_dst);
      Copy(Field::tun_tos, Field::ipv6_tclass);
      Copy(Field::tun_ttl, Field::ipv6_hlimit);
    }
    Need(at_ <= end_ && end_ <= frame_.size());
  }

  void Udp() {
    Need(at_ + 8 <= end_);
    const size_t length = U16(frame_, at_ + 4);
    Need(length >= 8 && at_ + length <= end_);
    Need(U16(frame_, at_ + 2) == port_.udp_port);
    end_ = at_ + length;
    Copy(Field::tun_tp_src, Field::udp_src);
    Copy(Field::tun_tp_dst, Field::udp_dst);
    if (U16(frame_, at_ + 6) != 0) {
      flags_ |= kCsum;
      summed_ = PseudoHeader(addresses_, length);
      Append(summed_, Part(frame_, at_, end_));
    }
    at_ += 8;
    Need(at_ + 8 <= end_);
    port_.kind == TunnelPort::Kind::kVxlan ? Vxlan() : Geneve();
  }

  // The I bit and no other; reserved fields are 0.
  void Vxlan() {
    Need(U32(frame_, at_) == 0x08000000 && frame_[at_ + 7] == 0);
    Vni();
    at_ += 8;
  }

  // Version 0, without options that must be understood.
  void Geneve() {
    Need(frame_[at_] >> 6 == 0 && (frame_[at_ + 1] & 0x40) == 0 && U16(frame_, at_ + 2) == kEthernetInside);
    if ((frame_[at_ + 1] & 0x80) != 0) flags_ |= kOam;
    Vni();
    at_ += 8 + (frame_[at_] & 0x3f) * 4UL;
  }

  void Vni() {
    tunnel_.SetExact(Field::tun_id, U32(frame_, at_ + 4) >> 8);
    flags_ |= kKey;
  }

  void Gre() {
    Need(at_ + 4 <= end_);
    const uint16_t flags = U16(frame_, at_);
    Need((flags & ~0xb000) == 0 && U16(frame_, at_ + 2) == kEthernetInside);
    const size_t begin = at_;
    at_ += 4;
    if ((flags & 0x8000) != 0) {
      flags_ |= kCsum;
      summed_ = Part(frame_, begin, end_);
      at_ += 4;
    }
    if ((flags & 0x2000) != 0) {
      Need(at_ + 4 <= end_);
      tunnel_.SetExact(Field::tun_id, U32(frame_, at_));
      flags_ |= kKey;
      at_ += 4;
    }
    if ((flags & 0x1000) != 0) at_ += 4;
  }

  void CheckChecksum() {
    const bool there = (flags_ & kCsum) != 0;
    if (!there && port_.checksum == TunnelPort::Checksum::kRequire) throw Wrong{"tnl_checksum"};
    if (there && port_.checksum != TunnelPort::Checksum::kIgnore && Checksum(summed_) != 0) throw Wrong{"tnl_checksum"};
  }

  const TunnelPort& port_;
  const Bytes& frame_;
  const Parsed parsed_;
  size_t at_ = 0;
  size_t end_ = 0;
  Bytes addresses_;
  Bytes summed_;  // what the checksum is over, itself included
  uint16_t flags_ = 0;
  Match tunnel_;
};

bool IsIpv6(const Bytes& header) { return U16(header, 12) == 0x86dd; }
size_t TransportAt(const Bytes& header) { return IsIpv6(header) ? 54 : 34; }
bool IsUdp(const Bytes& header) { return header[IsIpv6(header) ? 20 : 23] == 17; }

Bytes HeaderOf(const TunnelPort& port, const Match& set) {
  const bool v6 = set.Has(Field::tun_ipv6_dst);
  const auto flags = static_cast<unsigned>(set.ValueOf(Field::tun_flags));
  const uint64_t ttl = set.Has(Field::tun_ttl) ? set.ValueOf(Field::tun_ttl) : 64;
  const bool gre = port.kind == TunnelPort::Kind::kGre;
  const uint64_t id = set.ValueOf(Field::tun_id);
  const auto address = [&](Bytes& out, Field field) {
    const auto value = set.Value(field);
    out.insert(out.end(), value.begin(), value.end());
  };
  Bytes out(12);
  Put(out, v6 ? 0x86dd : 0x0800, 2);
  if (v6) {
    Put(out, 0x60000000U | set.ValueOf(Field::tun_tos) << 20, 4);
    Put(out, 0, 2);
    Put(out, gre ? 47 : 17, 1);
    Put(out, ttl, 1);
  } else {
    Put(out, 0x45, 1);
    Put(out, set.ValueOf(Field::tun_tos), 1);
    Put(out, 0, 4);
    Put(out, (flags & 2) != 0 ? 0x4000 : 0, 2);
    Put(out, ttl, 1);
    Put(out, gre ? 47 : 17, 1);
    Put(out, 0, 2);
  }
  address(out, v6 ? Field::tun_ipv6_src : Field::tun_src);
  address(out, v6 ? Field::tun_ipv6_dst : Field::tun_dst);
  if (gre) {
    const bool key = set.Has(Field::tun_id) || (flags & kKey) != 0;
    const bool sum = (flags & kCsum) != 0;
    Put(out, (sum ? 0x8000 : 0) | (key ? 0x2000 : 0), 2);
    Put(out, kEthernetInside, 2);
    if (sum) Put(out, 0, 4);
    if (key) Put(out, id, 4);
    return out;
  }
  Put(out, set.ValueOf(Field::tun_tp_src), 2);
  Put(out, set.Has(Field::tun_tp_dst) ? set.ValueOf(Field::tun_tp_dst) : port.udp_port, 2);
  Put(out, 0, 4);
  if (port.kind == TunnelPort::Kind::kVxlan) {
    Put(out, 0x08000000, 4);
  } else {
    Put(out, (flags & 1) != 0 ? 0x0080 : 0, 2);
    Put(out, kEthernetInside, 2);
  }
  Put(out, id << 8, 4);
  return out;
}

}  // namespace

Decapsulated Decapsulate(const TunnelPort& port, const Bytes& frame) {
  try {
    return Packet(port, frame).Open();
  } catch (const Wrong& wrong) {
    return {{}, {}, wrong.counter};
  }
}

Encapsulated::Encapsulated(const TnlPush& push, Bytes inner)
    : header_(push.header.begin(), push.header.end()), inner_(std::move(inner)) {
  const size_t transport = TransportAt(header_);
  any_source_port_ = IsUdp(header_) && U16(header_, transport) == 0;
  checksum_ = IsUdp(header_) && (IsIpv6(header_) || U16(header_, transport + 6) != 0);
}

Encapsulated::Encapsulated(const TunnelPort& port, const Match& set, Bytes inner)
    : header_(HeaderOf(port, set)), inner_(std::move(inner)), any_addresses_(true) {
  any_source_port_ = IsUdp(header_) && U16(header_, TransportAt(header_)) == 0;
  checksum_ = IsUdp(header_) && (IsIpv6(header_) || (set.ValueOf(Field::tun_flags) & kCsum) != 0);
}

// RFC 791, 8200, 768, 2784: lengths and checksums.
Bytes Encapsulated::Expected(const Bytes& seen) const {
  Bytes out = header_;
  Append(out, inner_);
  if (seen.size() != out.size()) return out;
  const bool v6 = IsIpv6(header_);
  const size_t transport = TransportAt(header_);
  if (any_addresses_) std::copy_n(seen.begin(), 12, out.begin());
  if (v6) {
    Store(out, 18, static_cast<uint16_t>(out.size() - transport));
  } else {
    Store(out, 16, static_cast<uint16_t>(out.size() - 14));
    if ((out[20] & 0x40) == 0) Store(out, 18, U16(seen, 18));  // RFC 6864: without DF it tells packets apart
    Store(out, 24, 0);
    Store(out, 24, Checksum(Part(out, 14, 34)));
  }
  if (IsUdp(header_)) {
    // The kernel's range of local ports, by the flow that is inside.
    const uint16_t port = U16(seen, transport);
    if (any_source_port_ && port >= 32768 && port <= 60999) Store(out, transport, port);
    Store(out, transport + 4, static_cast<uint16_t>(out.size() - transport));
    Store(out, transport + 6, 0);
    if (checksum_) {
      Bytes summed = PseudoHeader(Part(out, v6 ? 22 : 26, transport), out.size() - transport);
      Append(summed, Part(out, transport, out.size()));
      const uint16_t sum = Checksum(summed);
      Store(out, transport + 6, sum == 0 ? 0xffff : sum);
    }
  } else if ((header_[transport] & 0x80) != 0) {
    Store(out, transport + 4, 0);
    Store(out, transport + 4, Checksum(Part(out, transport, out.size())));
  }
  return out;
}

}  // namespace sluice::reference
