// SPDX-License-Identifier: Apache-2.0
// The outer headers that tnl_push prepends: raw bytes, their fields, and their text.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "sluice/action.h"
#include "text_scanner.h"

namespace sluice {

enum TunnelType : uint32_t { kTunnelGre = 3, kTunnelVxlan = 4, kTunnelGeneve = 5, kTunnelIp6Gre = 109 };

// Host order except for the addresses. Lengths, the IPv4 id and checksum are 0 in the raw form.
struct TunnelHeader {
  std::array<uint8_t, 6> eth_dst{};
  std::array<uint8_t, 6> eth_src{};
  bool ipv6 = false;
  std::array<uint8_t, 16> src{};  // IPv4: the first four bytes
  std::array<uint8_t, 16> dst{};
  uint8_t tos = 0;       // IPv6: traffic class
  uint8_t ttl = 0;       // IPv6: hop limit
  uint16_t frag = 0;     // IPv4 flags and offset; 0x4000 is DF
  uint32_t label = 0;    // IPv6
  uint16_t udp_src = 0;  // 0: who pushes it chooses one by the packet's hash
  uint16_t udp_dst = 0;
  uint16_t udp_csum = 0;
  uint32_t vxlan_flags = 0;  // RFC 7348: 0x8000000 is "the VNI is valid"
  uint32_t vni = 0;
  bool oam = false;  // Geneve, RFC 8926
  bool crit = false;
  uint16_t gre_flags = 0;  // RFC 2784, 2890
  uint16_t gre_proto = 0;
  uint16_t gre_csum = 0;
  uint32_t gre_key = 0;
  uint32_t gre_seq = 0;
};

inline constexpr uint16_t kGreCsum = 0x8000;
inline constexpr uint16_t kGreKey = 0x2000;
inline constexpr uint16_t kGreSeq = 0x1000;

std::string EncodeTunnel(uint32_t type, const TunnelHeader& header);
// nullopt where `raw` is not what EncodeTunnel(type, ...) would make.
std::optional<TunnelHeader> DecodeTunnel(uint32_t type, const std::string& raw);

// size=..,type=..,eth(..),.. as it stands in header(...), the parenthesis not included.
bool ScanTunnelHeader(TextScanner& in, TnlPush& push);
void AppendTunnelHeader(std::string& out, const TnlPush& push);

}  // namespace sluice
