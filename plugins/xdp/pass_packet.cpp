// SPDX-License-Identifier: Apache-2.0
#include "pass_packet.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>

namespace sluice::xdp {
namespace {

// A value as it lies in the pass, in network byte order. What is 0 is not said of the packet, unless `always`.
template <typename Value>
void Add(Field field, const Value& value, soft::Parsed& to, bool always = false) {
  const FieldInfo& info = Info(field);
  static_assert(sizeof(Value) <= 16);
  const auto* bytes = reinterpret_cast<const uint8_t*>(&value);
  if (!always && std::all_of(bytes, bytes + sizeof(value), [](uint8_t byte) { return byte == 0; })) return;
  std::memcpy(to.key.data() + info.offset, bytes, std::min<size_t>(info.size, sizeof(value)));
  to.present |= uint64_t{1} << static_cast<size_t>(field);
}

void AddTunnel(const sluice_tunnel& tunnel, soft::Parsed& to) {
  const sluice_tunnel none{};
  if (std::memcmp(&tunnel, &none, sizeof(tunnel)) == 0) return;
  Add(Field::tun_id, tunnel.id, to, true);
  Add(Field::tun_src, tunnel.src, to);
  Add(Field::tun_dst, tunnel.dst, to);
  Add(Field::tun_ipv6_src, tunnel.ipv6_src, to);
  Add(Field::tun_ipv6_dst, tunnel.ipv6_dst, to);
  Add(Field::tun_tos, tunnel.tos, to, true);
  Add(Field::tun_ttl, tunnel.ttl, to, true);
  Add(Field::tun_tp_src, tunnel.tp_src, to);
  Add(Field::tun_tp_dst, tunnel.tp_dst, to);
  Add(Field::tun_flags, tunnel.flags, to, true);
}

}  // namespace

std::optional<SeenPacket> TakePass(std::span<const uint8_t> bytes) {
  if (bytes.size() < sizeof(sluice_pass_prefix)) return std::nullopt;
  sluice_pass_prefix prefix{};
  std::memcpy(&prefix, bytes.data(), sizeof(prefix));
  return SeenPacket{bytes.subspan(sizeof(prefix)), prefix.pass};
}

soft::Parsed Parse(const SeenPacket& packet, uint32_t in_port) {
  if (!packet.pass) return soft::Parse(packet.bytes, in_port);
  const sluice_pass& pass = *packet.pass;
  soft::Parsed parsed = soft::Parse(packet.bytes, ntohl(pass.in_port));
  Add(Field::recirc_id, pass.recirc_id, parsed, true);
  AddTunnel(pass.tunnel, parsed);
  if (pass.ct_state == 0 && pass.ct_zone == 0) return parsed;
  Add(Field::ct_state, pass.ct_state, parsed, true);  // 0: ct found nothing that can be tracked
  Add(Field::ct_zone, pass.ct_zone, parsed, true);
  Add(Field::ct_mark, pass.ct_mark, parsed, true);
  return parsed;
}

}  // namespace sluice::xdp
