// SPDX-License-Identifier: Apache-2.0
#include "tunnel_header.h"

#include <algorithm>
#include <cstring>

namespace sluice {
namespace {

constexpr uint16_t kTypeIpv4 = 0x0800;
constexpr uint16_t kTypeIpv6 = 0x86dd;
constexpr uint16_t kTypeTransparentBridging = 0x6558;
constexpr uint8_t kProtoUdp = 17;
constexpr uint8_t kProtoGre = 47;

bool IsGre(uint32_t type) { return type == kTunnelGre || type == kTunnelIp6Gre; }

void Put(std::string& out, uint64_t value, int bytes) {
  for (int i = bytes - 1; i >= 0; --i) out += static_cast<char>(value >> (8 * i));
}

void PutBytes(std::string& out, const uint8_t* bytes, size_t size) {
  out.append(reinterpret_cast<const char*>(bytes), size);
}

// Takes fields from the front; anything after too few bytes reads as 0, which the comparison with the re-encoded form
// then finds out.
class Reader {
 public:
  explicit Reader(const std::string& raw) : raw_(raw) {}

  uint64_t Get(size_t bytes) {
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; ++i) value = value << 8 | Byte();
    return value;
  }
  void GetBytes(uint8_t* to, size_t size) {
    for (size_t i = 0; i < size; ++i) to[i] = Byte();
  }

 private:
  uint8_t Byte() { return at_ < raw_.size() ? static_cast<uint8_t>(raw_[at_++]) : 0; }

  const std::string& raw_;
  size_t at_ = 0;
};

void EncodeIp(const TunnelHeader& header, uint8_t proto, std::string& out) {
  if (header.ipv6) {
    Put(out, uint64_t{6} << 28 | uint64_t{header.tos} << 20 | header.label, 4);
    Put(out, 0, 2);
    Put(out, proto, 1);
    Put(out, header.ttl, 1);
    PutBytes(out, header.src.data(), 16);
    PutBytes(out, header.dst.data(), 16);
    return;
  }
  Put(out, 0x45, 1);
  Put(out, header.tos, 1);
  Put(out, 0, 4);
  Put(out, header.frag, 2);
  Put(out, header.ttl, 1);
  Put(out, proto, 1);
  Put(out, 0, 2);
  PutBytes(out, header.src.data(), 4);
  PutBytes(out, header.dst.data(), 4);
}

void DecodeIp(Reader& in, TunnelHeader& header) {
  if (header.ipv6) {
    const auto flow = static_cast<uint32_t>(in.Get(4));
    header.tos = static_cast<uint8_t>(flow >> 20);
    header.label = flow & 0xfffff;
    in.Get(3);
    header.ttl = static_cast<uint8_t>(in.Get(1));
    in.GetBytes(header.src.data(), 16);
    in.GetBytes(header.dst.data(), 16);
    return;
  }
  in.Get(1);
  header.tos = static_cast<uint8_t>(in.Get(1));
  in.Get(4);
  header.frag = static_cast<uint16_t>(in.Get(2));
  header.ttl = static_cast<uint8_t>(in.Get(1));
  in.Get(3);
  in.GetBytes(header.src.data(), 4);
  in.GetBytes(header.dst.data(), 4);
}

void EncodeGre(const TunnelHeader& header, std::string& out) {
  Put(out, header.gre_flags, 2);
  Put(out, header.gre_proto, 2);
  if ((header.gre_flags & kGreCsum) != 0) Put(out, uint64_t{header.gre_csum} << 16, 4);
  if ((header.gre_flags & kGreKey) != 0) Put(out, header.gre_key, 4);
  if ((header.gre_flags & kGreSeq) != 0) Put(out, header.gre_seq, 4);
}

void DecodeGre(Reader& in, TunnelHeader& header) {
  header.gre_flags = static_cast<uint16_t>(in.Get(2));
  header.gre_proto = static_cast<uint16_t>(in.Get(2));
  if ((header.gre_flags & kGreCsum) != 0) header.gre_csum = static_cast<uint16_t>(in.Get(4) >> 16);
  if ((header.gre_flags & kGreKey) != 0) header.gre_key = static_cast<uint32_t>(in.Get(4));
  if ((header.gre_flags & kGreSeq) != 0) header.gre_seq = static_cast<uint32_t>(in.Get(4));
}

}  // namespace

std::string EncodeTunnel(uint32_t type, const TunnelHeader& header) {
  std::string out;
  PutBytes(out, header.eth_dst.data(), 6);
  PutBytes(out, header.eth_src.data(), 6);
  Put(out, header.ipv6 ? kTypeIpv6 : kTypeIpv4, 2);
  EncodeIp(header, IsGre(type) ? kProtoGre : kProtoUdp, out);
  if (IsGre(type)) {
    EncodeGre(header, out);
    return out;
  }
  Put(out, header.udp_src, 2);
  Put(out, header.udp_dst, 2);
  Put(out, 0, 2);
  Put(out, header.udp_csum, 2);
  if (type == kTunnelVxlan) {
    Put(out, header.vxlan_flags, 4);
  } else {
    Put(out, (header.oam ? 0x80u : 0u) | (header.crit ? 0x40u : 0u), 2);
    Put(out, kTypeTransparentBridging, 2);
  }
  Put(out, uint64_t{header.vni} << 8, 4);
  return out;
}

std::optional<TunnelHeader> DecodeTunnel(uint32_t type, const std::string& raw) {
  if (type != kTunnelVxlan && type != kTunnelGeneve && !IsGre(type)) return std::nullopt;
  Reader in(raw);
  TunnelHeader header;
  in.GetBytes(header.eth_dst.data(), 6);
  in.GetBytes(header.eth_src.data(), 6);
  header.ipv6 = in.Get(2) == kTypeIpv6;
  if (IsGre(type) && header.ipv6 != (type == kTunnelIp6Gre)) return std::nullopt;
  DecodeIp(in, header);
  if (IsGre(type)) {
    DecodeGre(in, header);
  } else {
    header.udp_src = static_cast<uint16_t>(in.Get(2));
    header.udp_dst = static_cast<uint16_t>(in.Get(2));
    in.Get(2);
    header.udp_csum = static_cast<uint16_t>(in.Get(2));
    const auto flags = static_cast<uint32_t>(in.Get(4));
    header.vxlan_flags = flags;
    header.oam = (flags & 0x800000) != 0;
    header.crit = (flags & 0x400000) != 0;
    header.vni = static_cast<uint32_t>(in.Get(4)) >> 8;
  }
  if ((header.gre_flags & ~(kGreCsum | kGreKey | kGreSeq)) != 0) return std::nullopt;
  if (EncodeTunnel(type, header) != raw) return std::nullopt;
  return header;
}

}  // namespace sluice
