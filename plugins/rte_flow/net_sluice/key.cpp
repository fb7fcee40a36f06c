// SPDX-License-Identifier: Apache-2.0
#include "key.h"

#include <linux/if_ether.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>

#include "sluice/field.h"

namespace sluice::netsluice {
namespace {

constexpr size_t kUdpSize = 8;
constexpr size_t kVxlanSize = 8;        // RFC 7348, section 5
constexpr uint8_t kVxlanHasVni = 0x08;  // the flag that must be set
constexpr size_t kIpv6Size = 40;
constexpr int kMostIpv6Extensions = 6;  // as soft::Parse

size_t NetworkSize(soft::Layer3 l3) {
  switch (l3) {
    case soft::Layer3::kArp:
      return 28;
    case soft::Layer3::kIpv4:
      return 20;
    case soft::Layer3::kIpv6:
      return kIpv6Size;
    case soft::Layer3::kNone:
      break;
  }
  return 0;
}

size_t TransportSize(soft::Layer4 l4) {
  switch (l4) {
    case soft::Layer4::kTcp:
      return 20;
    case soft::Layer4::kSctp:
      return 12;
    case soft::Layer4::kUdp:
    case soft::Layer4::kIcmp:
    case soft::Layer4::kIcmpv6:
      return 8;
    case soft::Layer4::kNone:
      break;
  }
  return 0;
}

// RFC 8200, section 4: the fragment header among the extension headers of a well-formed packet. nullptr: none.
const uint8_t* FragmentHeader(std::span<const uint8_t> frame, size_t ip) {
  uint8_t proto = frame[ip + 6];
  size_t at = ip + kIpv6Size;
  for (int i = 0; i < kMostIpv6Extensions && at + 8 <= frame.size(); ++i) {
    const uint8_t* header = frame.data() + at;
    if (proto == IPPROTO_FRAGMENT) return header;
    if (proto == IPPROTO_HOPOPTS || proto == IPPROTO_ROUTING || proto == IPPROTO_DSTOPTS) {
      at += (size_t{header[1]} + 1) * 8;
    } else if (proto == IPPROTO_AH) {
      at += (size_t{header[1]} + 2) * 4;
    } else {
      return nullptr;
    }
    proto = header[0];
  }
  return nullptr;
}

bool Has(const soft::Parsed& packet, Field field) { return (packet.present >> static_cast<size_t>(field) & 1) != 0; }

bool ReadLayers(std::span<const uint8_t> frame, const Layers& layers, Key& key, soft::Headers& headers) {
  const soft::Parsed packet = soft::Parse(frame, 0);
  if (packet.malformed != soft::Malformed::kNo) return false;
  headers = packet.headers;
  std::memcpy(key.at(layers.ethernet()), frame.data(), ETH_HLEN);
  const size_t tags = Has(packet, Field::cvlan_tci) ? 2 : Has(packet, Field::vlan_tci) ? 1 : 0;
  std::memcpy(key.at(layers.tag(0)), frame.data() + ETH_HLEN, 4 * tags);
  *key.at(layers.tags()) = static_cast<uint8_t>(tags == 0 ? 0 : tags == 1 ? kFirstTag : kFirstTag | kSecondTag);
  *key.at(layers.l3()) = static_cast<uint8_t>(headers.l3);
  *key.at(layers.l4()) = static_cast<uint8_t>(headers.l4);
  if (headers.l3 != soft::Layer3::kNone) {
    std::memcpy(key.at(layers.network()), frame.data() + headers.l3_offset, NetworkSize(headers.l3));
  }
  if (headers.l4 != soft::Layer4::kNone) {
    std::memcpy(key.at(layers.transport()), frame.data() + headers.l4_offset, TransportSize(headers.l4));
  }
  if (headers.l3 == soft::Layer3::kIpv6) {
    if (const uint8_t* fragment = FragmentHeader(frame, headers.l3_offset); fragment != nullptr) {
      *key.at(layers.has()) |= kFragmentExt;
      std::memcpy(key.at(layers.fragment_ext()), fragment, 8);
    }
    *key.at(layers.network() + 6) = packet.key[Info(Field::ipv6_proto).offset];
  }
  return true;
}

}  // namespace

size_t FindVxlan(std::span<const uint8_t> frame, const soft::Headers& headers) {
  if (headers.l4 != soft::Layer4::kUdp || headers.fragment) return 0;
  const size_t at = headers.l4_offset + kUdpSize;
  if (frame.size() < at + kVxlanSize || (frame[at] & kVxlanHasVni) == 0) return 0;
  return soft::Parse(frame.subspan(at + kVxlanSize), 0).malformed == soft::Malformed::kNo ? at : 0;
}

bool ReadKey(std::span<const uint8_t> frame, bool inner, Key& key, soft::Headers& headers) {
  if (!ReadLayers(frame, kOuter, key, headers)) return false;
  if (!inner || headers.l4 != soft::Layer4::kUdp || headers.fragment) return true;
  const size_t at = headers.l4_offset + kUdpSize;
  if (frame.size() < at + kVxlanSize || (frame[at] & kVxlanHasVni) == 0) return true;
  soft::Headers inner_headers;
  if (!ReadLayers(frame.subspan(at + kVxlanSize), kInner, key, inner_headers)) return true;
  *key.at(kOuter.has()) |= kVxlan;
  std::memcpy(key.at(kVxlanHeader), frame.data() + at, kVxlanSize);
  return true;
}

}  // namespace sluice::netsluice
