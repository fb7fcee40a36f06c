// SPDX-License-Identifier: Apache-2.0
#include "frame_builder.h"

#include <linux/if_ether.h>
#include <netinet/in.h>

#include <algorithm>
#include <span>

#include "soft/checksum.h"

namespace sluice::ctl {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr uint16_t kCfi = 0x1000;
constexpr uint64_t kLength = 0x05ff;  // how the flow model has all frames whose type is a length
constexpr size_t kPayload = 18;       // of TCP, UDP and the like
constexpr uint64_t kFirst = 1;        // fragments
constexpr uint64_t kLater = 2;
constexpr uint64_t kFragmentUnits = 185;  // of 8 bytes: where a second fragment begins behind a first of 1480 bytes
constexpr uint64_t kTtl = 64;
constexpr uint64_t kSyn = 0x002;

void Add(Bytes& to, uint64_t value, size_t bytes) {
  while (bytes-- > 0) to.push_back(static_cast<uint8_t>(value >> 8 * bytes));
}
void Append(Bytes& to, std::span<const uint8_t> bytes) { to.insert(to.end(), bytes.begin(), bytes.end()); }
void PutWord(Bytes& in, size_t at, uint16_t value) {
  in[at] = static_cast<uint8_t>(value >> 8);
  in[at + 1] = static_cast<uint8_t>(value);
}

// RFC 1071.
uint64_t Sum(std::span<const uint8_t> bytes, uint64_t sum = 0) {
  for (size_t i = 0; i < bytes.size(); ++i) sum += i % 2 == 0 ? uint64_t{bytes[i]} << 8 : bytes[i];
  return sum;
}
uint16_t Fold(uint64_t sum) {
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

class Builder {
 public:
  explicit Builder(const Match& fields) : fields_(fields) {}

  Bytes Frame() {
    Bytes frame;
    Append(frame, fields_.Value(Field::eth_dst));
    Append(frame, fields_.Value(Field::eth_src));
    uint64_t type = Get(Field::eth_type);
    const auto tag = [&](Field tci, Field next) {
      Add(frame, type, 2);
      Add(frame, Get(tci) & ~uint64_t{kCfi}, 2);
      type = Get(next);
    };
    if (IsTag(type)) {
      tag(Field::vlan_tci, Field::vlan_eth_type);
      if (IsTag(type)) tag(Field::cvlan_tci, Field::cvlan_eth_type);
    }
    const Bytes rest = Layer3(type);
    Add(frame, type == kLength ? rest.size() : type, 2);
    Append(frame, rest);
    frame.resize(std::max<size_t>(frame.size(), ETH_ZLEN));
    return frame;
  }

 private:
  static bool IsTag(uint64_t type) { return type == ETH_P_8021Q || type == ETH_P_8021AD; }
  [[nodiscard]] uint64_t Get(Field field, uint64_t otherwise = 0) const {
    return fields_.Has(field) ? fields_.ValueOf(field) : otherwise;
  }

  [[nodiscard]] Bytes Layer3(uint64_t type) const {
    switch (type) {
      case ETH_P_ARP:
      case ETH_P_RARP:
        return Arp();
      case ETH_P_IP:
        return Ipv4();
      case ETH_P_IPV6:
        return Ipv6();
      default:
        return Bytes(ETH_ZLEN - ETH_HLEN);
    }
  }

  // RFC 826.
  [[nodiscard]] Bytes Arp() const {
    Bytes arp{0, 1, 8, 0, ETH_ALEN, 4};
    Add(arp, Get(Field::arp_op, 1), 2);
    for (const Field field : {Field::arp_sha, Field::arp_sip, Field::arp_tha, Field::arp_tip}) {
      Append(arp, fields_.Value(field));
    }
    return arp;
  }

  // RFC 791.
  [[nodiscard]] Bytes Ipv4() const {
    const uint64_t proto = Get(Field::ipv4_proto);
    const uint64_t frag = Get(Field::ipv4_frag);
    Bytes pseudo;
    Append(pseudo, fields_.Value(Field::ipv4_src));
    Append(pseudo, fields_.Value(Field::ipv4_dst));
    const Bytes body = Layer4(proto, frag == kLater, pseudo);
    Bytes ip{0x45};
    Add(ip, Get(Field::ipv4_tos), 1);
    Add(ip, 20 + body.size(), 2);
    Add(ip, 0, 2);
    Add(ip, frag == kFirst ? 0x2000 : frag == kLater ? kFragmentUnits : 0, 2);
    Add(ip, Get(Field::ipv4_ttl, kTtl), 1);
    Add(ip, proto, 1);
    Add(ip, 0, 2);
    Append(ip, pseudo);
    PutWord(ip, 10, Fold(Sum(ip)));
    Append(ip, body);
    return ip;
  }

  // RFC 8200.
  [[nodiscard]] Bytes Ipv6() const {
    const uint64_t proto = Get(Field::ipv6_proto);
    const uint64_t frag = Get(Field::ipv6_frag);
    Bytes pseudo;
    Append(pseudo, fields_.Value(Field::ipv6_src));
    Append(pseudo, fields_.Value(Field::ipv6_dst));
    Bytes body;
    if (frag != 0) {
      Add(body, frag == kLater ? uint64_t{IPPROTO_NONE} : proto, 1);  // of a later one nobody reads it
      Add(body, 0, 1);
      Add(body, frag == kFirst ? 1 : kFragmentUnits << 3, 2);
      Add(body, 0, 4);
    }
    Append(body, Layer4(proto, frag == kLater, pseudo));
    Bytes ip;
    Add(ip, uint64_t{6} << 28 | Get(Field::ipv6_tclass) << 20 | Get(Field::ipv6_label), 4);
    Add(ip, body.size(), 2);
    Add(ip, frag != 0 ? uint64_t{IPPROTO_FRAGMENT} : proto, 1);
    Add(ip, Get(Field::ipv6_hlimit, kTtl), 1);
    Append(ip, pseudo);
    Append(ip, body);
    return ip;
  }

  // With its checksum, under which are the addresses in `pseudo`.
  [[nodiscard]] Bytes Layer4(uint64_t proto, bool later, const Bytes& pseudo) const {
    const bool ipv6 = pseudo.size() > 8;
    if (later) return Bytes(kPayload);
    if (proto == IPPROTO_TCP) return Checked(Tcp(), 16, proto, pseudo);
    if (proto == IPPROTO_UDP) return Checked(Udp(), 6, proto, pseudo);
    if (proto == IPPROTO_SCTP) return Sctp();
    if (proto == IPPROTO_ICMP && !ipv6) return Checked(Icmp(Field::icmp_type, Field::icmp_code), 2, proto, {});
    if (proto == IPPROTO_ICMPV6 && ipv6) return Checked(Icmp(Field::icmpv6_type, Field::icmpv6_code), 2, proto, pseudo);
    return Bytes(kPayload);
  }

  // RFC 9293, 768, 9260, 792, 4443.
  [[nodiscard]] Bytes Tcp() const {
    Bytes tcp;
    Add(tcp, Get(Field::tcp_src), 2);
    Add(tcp, Get(Field::tcp_dst), 2);
    Add(tcp, 0, 8);
    Add(tcp, uint64_t{5} << 12 | Get(Field::tcp_flags, kSyn), 2);
    Add(tcp, 0xffff, 2);
    Add(tcp, 0, 4);
    tcp.resize(tcp.size() + kPayload);
    return tcp;
  }
  [[nodiscard]] Bytes Udp() const {
    Bytes udp;
    Add(udp, Get(Field::udp_src), 2);
    Add(udp, Get(Field::udp_dst), 2);
    Add(udp, 8 + kPayload, 2);
    Add(udp, 0, 2);
    udp.resize(udp.size() + kPayload);
    return udp;
  }
  [[nodiscard]] Bytes Sctp() const {
    Bytes sctp;
    Add(sctp, Get(Field::sctp_src), 2);
    Add(sctp, Get(Field::sctp_dst), 2);
    Add(sctp, 0, 8);
    sctp.resize(sctp.size() + kPayload);
    const uint32_t crc = soft::Crc32c(sctp);
    for (size_t i = 0; i < 4; ++i) sctp[8 + i] = static_cast<uint8_t>(crc >> 8 * i);  // least significant byte first
    return sctp;
  }
  [[nodiscard]] Bytes Icmp(Field type, Field code) const {
    Bytes icmp;
    Add(icmp, Get(type), 1);
    Add(icmp, Get(code), 1);
    Add(icmp, 0, 6);
    icmp.resize(icmp.size() + kPayload);
    return icmp;
  }

  static Bytes Checked(Bytes message, size_t at, uint64_t proto, const Bytes& pseudo) {
    const uint64_t pseudo_sum = pseudo.empty() ? 0 : Sum(pseudo, proto + message.size());
    const uint16_t checksum = Fold(Sum(message, pseudo_sum));
    PutWord(message, at, checksum == 0 && proto == IPPROTO_UDP ? 0xffff : checksum);
    return message;
  }

  const Match& fields_;
};

}  // namespace

std::vector<uint8_t> BuildFrame(const Match& fields) { return Builder(fields).Frame(); }

}  // namespace sluice::ctl
