// SPDX-License-Identifier: Apache-2.0
#include "frames.h"

#include <algorithm>
#include <stdexcept>

#include "reference/checksum.h"

namespace sluice::xdp {
namespace {

constexpr size_t kEthernet = 14;

Bytes TunnelHeader(const Outer& outer) {
  const auto id = [&](int shift) { return static_cast<uint8_t>(outer.id >> shift); };
  if (outer.type == SLUICE_TUNNEL_VXLAN) return {8, 0, 0, 0, id(16), id(8), id(0), 0};
  if (outer.type == SLUICE_TUNNEL_GENEVE) {
    Bytes header = {outer.option_words, 0, 0x65, 0x58, id(16), id(8), id(0), 0};
    // One option, class 0x0102, type 3, of as many bytes as there are.
    if (outer.option_words != 0) {
      header.insert(header.end(), {1, 2, 3, static_cast<uint8_t>(outer.option_words - 1)});
      for (int i = 4; i < outer.option_words * 4; ++i) header.push_back(static_cast<uint8_t>(i));
    }
    return header;
  }
  const int flags = (outer.csum ? 0x80 : 0) | (outer.key ? 0x20 : 0) | (outer.sequence ? 0x10 : 0);
  Bytes header = {static_cast<uint8_t>(flags), 0, 0x65, 0x58};
  if (outer.csum) header.insert(header.end(), {0, 0, 0, 0});
  if (outer.key) header.insert(header.end(), {id(24), id(16), id(8), id(0)});
  if (outer.sequence) header.insert(header.end(), {0, 0, 0, 9});
  return header;
}

reference::PacketSpec SpecOf(const Outer& outer, size_t payload) {
  reference::PacketSpec spec;
  spec.dst = {2, 0, 0, 0, 1, 2};
  spec.src = {2, 0, 0, 0, 1, 1};
  spec.tags = outer.tags;
  spec.padding = outer.padding;
  spec.payload = static_cast<uint16_t>(payload);
  const bool gre = outer.type == SLUICE_TUNNEL_GRE;
  if (outer.ipv6) {
    reference::Ipv6Spec ip;
    ip.src[0] = ip.dst[0] = 0xfd;
    ip.src[15] = 1;
    ip.dst[15] = 2;
    ip.tclass = outer.tos;
    ip.hlimit = outer.ttl;
    ip.extensions = outer.extensions;
    if (gre) ip.protocol = 47;
    spec.l3 = ip;
  } else {
    reference::Ipv4Spec ip;
    ip.src = 0xc0a80001;
    ip.dst = 0xc0a80002;
    ip.tos = outer.tos;
    ip.ttl = outer.ttl;
    ip.option_words = outer.ip_options;
    if (gre) ip.protocol = 47;
    spec.l3 = ip;
  }
  if (!gre) spec.l4 = reference::UdpSpec{outer.tp_src, outer.tp_dst, false};
  return spec;
}

uint16_t PseudoSum(const Bytes& frame, size_t l3, size_t length, uint8_t proto) {
  Bytes pseudo;
  if (frame[l3] >> 4 == 4) {
    pseudo.assign(frame.begin() + l3 + 12, frame.begin() + l3 + 20);
  } else {
    pseudo.assign(frame.begin() + l3 + 8, frame.begin() + l3 + 40);
  }
  pseudo.insert(pseudo.end(), {0, 0, static_cast<uint8_t>(length >> 8), static_cast<uint8_t>(length), 0, proto});
  return static_cast<uint16_t>(~reference::Checksum(pseudo));
}

// One's complement sum, as the checksum would be over both.
uint16_t Add(uint16_t a, uint16_t b) {
  const uint32_t sum = uint32_t{a} + b;
  return static_cast<uint16_t>((sum & 0xffff) + (sum >> 16));
}

}  // namespace

uint16_t Load16(const Bytes& frame, size_t at) { return static_cast<uint16_t>(frame.at(at) << 8 | frame.at(at + 1)); }

void Store16(Bytes& frame, size_t at, uint16_t value) {
  frame.at(at) = static_cast<uint8_t>(value >> 8);
  frame.at(at + 1) = static_cast<uint8_t>(value);
}

Bytes Encapsulate(const Bytes& inner, const Outer& outer) {
  Bytes payload = TunnelHeader(outer);
  payload.insert(payload.end(), inner.begin(), inner.end());
  Bytes frame = reference::Build(SpecOf(outer, payload.size()));
  const size_t end = frame.size() - outer.padding;
  const size_t at = end - payload.size();
  std::copy(payload.begin(), payload.end(), frame.begin() + static_cast<ptrdiff_t>(at));
  if (outer.df) {
    const size_t ip = kEthernet + 4 * outer.tags.size();
    Store16(frame, ip + 4, 0);  // identification: nothing is ever put together again
    Store16(frame, ip + 6, 0x4000);
    Store16(frame, ip + 10, 0);
    Store16(frame, ip + 10, reference::Checksum(std::span(frame).subspan(ip, (frame[ip] & 0xfU) * 4)));
  }
  if (!outer.csum) return frame;
  const bool gre = outer.type == SLUICE_TUNNEL_GRE;
  const size_t l4 = gre ? at : at - 8;
  uint16_t sum = static_cast<uint16_t>(~reference::Checksum(std::span(frame).subspan(l4, end - l4)));
  if (!gre) sum = Add(sum, PseudoSum(frame, kEthernet + 4 * outer.tags.size(), end - l4, 17));
  sum = static_cast<uint16_t>(~sum);
  Store16(frame, gre ? l4 + 4 : l4 + 6, !gre && sum == 0 ? 0xffff : sum);
  return frame;
}

Bytes HeaderOf(const Outer& outer) {
  Outer bare = outer;
  bare.csum = outer.csum && outer.type == SLUICE_TUNNEL_GRE;
  Bytes frame = Encapsulate({}, bare);
  if (outer.ipv6) {
    Store16(frame, 18, 0);
  } else {
    Store16(frame, 16, 0);  // length, identification, checksum
    Store16(frame, 18, 0);
    Store16(frame, 24, 0);
  }
  const size_t l4 = outer.ipv6 ? 54 : 34;
  if (outer.type == SLUICE_TUNNEL_GRE) {
    if (outer.csum) Store16(frame, l4 + 4, 0);
  } else {
    Store16(frame, l4 + 4, 0);
  }
  return frame;
}

bool ChecksumsAreRight(const Bytes& frame) {
  const bool ipv4 = Load16(frame, 12) == 0x0800;
  if (!ipv4 && Load16(frame, 12) != 0x86dd) throw std::runtime_error("no IP");
  const size_t l4 = ipv4 ? 34 : 54;
  if (ipv4 && reference::Checksum(std::span(frame).subspan(14, 20)) != 0) return false;
  const uint8_t proto = frame[ipv4 ? 23 : 20];
  const auto rest = std::span(frame).subspan(l4);
  if (proto == 47) return (frame[l4] & 0x80) == 0 || reference::Checksum(rest) == 0;
  if (proto == 17 && Load16(frame, l4 + 6) == 0) return true;
  const auto sum = static_cast<uint16_t>(~reference::Checksum(rest));
  return Add(sum, proto == 1 ? 0 : PseudoSum(frame, 14, rest.size(), proto)) == 0xffff;
}

}  // namespace sluice::xdp
