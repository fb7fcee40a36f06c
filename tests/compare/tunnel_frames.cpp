// SPDX-License-Identifier: Apache-2.0
#include "compare/tunnel_frames.h"

#include <algorithm>

#include "reference/checksum.h"
#include "reference/parser.h"

namespace sluice::compare {
namespace {

using reference::Bytes;
using reference::PacketSpec;
using reference::Rng;
using Kind = reference::TunnelPort::Kind;

void Put(Bytes& out, uint64_t value, int size) {
  while (size-- > 0) out.push_back(static_cast<uint8_t>(value >> (8 * size)));
}

void Append(Bytes& to, const Bytes& from) { to.insert(to.end(), from.begin(), from.end()); }

uint32_t Vni(Rng& rng) {
  static const std::vector<uint32_t> kVnis{0, 1, 0x7b, 0x7c, 0xffffff};
  return rng.Pick(kVnis);
}

Bytes VxlanHeader(Rng& rng) {
  Bytes out;
  Put(out, 0x08000000, 4);
  Put(out, Vni(rng) << 8, 4);
  // A reserved bit, or the one that says that there is a number.
  if (rng.OneIn(20)) out[rng.OneIn(2) ? 7 : rng.Below(4)] ^= static_cast<uint8_t>(1U << rng.Below(8));
  return out;
}

Bytes GeneveHeader(Rng& rng) {
  const uint64_t words = rng.OneIn(3) ? rng.Below(12) : 0;
  Bytes out{static_cast<uint8_t>(words), 0};
  Put(out, 0x6558, 2);
  Put(out, Vni(rng) << 8, 4);
  for (uint64_t i = 0; i < words * 4; ++i) out.push_back(static_cast<uint8_t>(rng.Bits()));
  if (rng.OneIn(20)) out[rng.Below(4)] ^= static_cast<uint8_t>(1U << rng.Below(8));
  return out;
}

// With the checksum still 0.
Bytes GreHeader(Rng& rng) {
  const uint16_t flags =
      static_cast<uint16_t>((rng.OneIn(3) ? 0x8000 : 0) | (rng.OneIn(2) ? 0x2000 : 0) | (rng.OneIn(4) ? 0x1000 : 0));
  Bytes out;
  Put(out, rng.OneIn(30) ? flags | 0x4001 : flags, 2);
  Put(out, rng.OneIn(30) ? 0x0800 : 0x6558, 2);
  if ((flags & 0x8000) != 0) Put(out, 0, 4);
  if ((flags & 0x2000) != 0) Put(out, Vni(rng), 4);
  if ((flags & 0x1000) != 0) Put(out, rng.Bits(), 4);
  return out;
}

// What carries a payload of `size` bytes.
PacketSpec Outer(Rng& rng, const reference::TunnelPort& port, size_t size) {
  static const std::vector<uint8_t> kTos{0, 0, 4, 0xb8};
  static const std::vector<uint8_t> kTtl{64, 64, 1, 255};
  PacketSpec spec;
  spec.dst = {0x02, 0, 0, 0, 0, 9};
  spec.src = {0x02, 0, 0, 0, 0, 8};
  spec.payload = static_cast<uint16_t>(size);
  if (rng.OneIn(8)) spec.tags.push_back({0x8100, 5});
  if (rng.OneIn(6)) spec.padding = static_cast<uint8_t>(1 + rng.Below(20));
  const bool gre = port.kind == Kind::kGre;
  if (!gre) spec.l4 = reference::UdpSpec{static_cast<uint16_t>(40000 + rng.Below(2)), port.udp_port, !rng.OneIn(3)};
  if (rng.OneIn(3)) {
    reference::Ipv6Spec ip;
    ip.src = {0xfd, 0xaa, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, static_cast<uint8_t>(1 + rng.Below(2))};
    ip.dst = {0xfd, 0xaa, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, static_cast<uint8_t>(8 + rng.Below(2))};
    ip.tclass = rng.Pick(kTos);
    ip.hlimit = rng.Pick(kTtl);
    if (rng.OneIn(5)) ip.extensions.push_back({.type = 60, .words = static_cast<uint8_t>(rng.Below(3))});
    if (rng.OneIn(20)) ip.extensions.push_back({.type = 44, .more_fragments = rng.OneIn(2)});
    if (rng.OneIn(20)) ip.payload_length = static_cast<uint16_t>(rng.Below(200));
    if (gre) ip.protocol = 47;
    spec.l3 = ip;
  } else {
    reference::Ipv4Spec ip;
    ip.src = 0xac100001U + static_cast<uint32_t>(rng.Below(2));
    ip.dst = 0xac100009U + static_cast<uint32_t>(rng.Below(2));
    ip.tos = rng.Pick(kTos);
    ip.ttl = rng.Pick(kTtl);
    if (rng.OneIn(6)) ip.option_words = static_cast<uint8_t>(1 + rng.Below(10));
    if (rng.OneIn(20)) ip.more_fragments = true;
    if (rng.OneIn(20)) ip.total_length = static_cast<uint16_t>(rng.Below(200));
    if (gre) ip.protocol = 47;
    spec.l3 = ip;
  }
  return spec;
}

uint16_t Load(const Bytes& bytes, size_t at) { return static_cast<uint16_t>(bytes[at] << 8 | bytes[at + 1]); }
void Store(Bytes& bytes, size_t at, uint16_t value) {
  bytes[at] = static_cast<uint8_t>(value >> 8);
  bytes[at + 1] = static_cast<uint8_t>(value);
}

}  // namespace

Bytes InTunnel(Rng& rng, const reference::TunnelPort& port, const Bytes& inner) {
  const bool gre = port.kind == Kind::kGre;
  Bytes content = gre ? GreHeader(rng) : port.kind == Kind::kVxlan ? VxlanHeader(rng) : GeneveHeader(rng);
  Append(content, inner);
  if (gre && (content[0] & 0x80) != 0) Store(content, 4, reference::Checksum(content));
  const PacketSpec spec = Outer(rng, port, content.size());
  Bytes frame = reference::Build(spec);
  const size_t at = frame.size() - spec.padding - content.size();
  const Bytes filling(frame.begin() + static_cast<ptrdiff_t>(at), frame.end() - spec.padding);
  std::ranges::copy(content, frame.begin() + static_cast<ptrdiff_t>(at));
  if (const auto* udp = std::get_if<reference::UdpSpec>(&spec.l4); udp != nullptr && udp->checksum) {
    // The headers were summed with another content of the same length.
    const uint16_t sum = reference::UpdatedChecksum(Load(frame, at - 2), filling, content);
    Store(frame, at - 2, sum == 0 ? 0xffff : sum);
    if (rng.OneIn(12)) frame[at - 1] ^= 1;
  }
  if (rng.OneIn(16)) frame.resize(std::max<size_t>(14, rng.Below(frame.size())));
  return frame;
}

}  // namespace sluice::compare
