// SPDX-License-Identifier: Apache-2.0
#include "packet_fields.h"

#include <linux/if_ether.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <bit>
#include <string>

#include "frame_builder.h"
#include "soft/packet.h"

namespace sluice::ctl {
namespace {

constexpr uint64_t kExperimentType = 0x88b5;
constexpr uint64_t kExperimentProto = 253;
constexpr uint64_t kLaterFragment = 2;

bool IsTag(uint64_t type) { return type == ETH_P_8021Q || type == ETH_P_8021AD; }

std::string FieldName(Field field) {
  const FieldInfo& info = Info(field);
  std::string name(info.group);
  if (!info.sub.empty()) name.append("(").append(info.sub).append(")");
  return name;
}

// Points at the group `word` in the text, or at its beginning where that is not said there.
Error BadPacket(std::string_view text, std::string_view word, std::string detail) {
  const std::string group(word.substr(0, word.find_first_of("( ")));
  size_t at = text.find(group + '(');
  if (at == std::string_view::npos || word.empty()) at = 0;
  const std::string_view before = text.substr(0, at);
  const auto line = static_cast<uint32_t>(1 + std::ranges::count(before, '\n'));
  const size_t line_start = before.rfind('\n') + 1;  // npos + 1 is 0
  return {"bad_packet", std::move(detail), line, static_cast<uint32_t>(at - line_start + 1)};
}

bool AnyOf(const Match& match, Field first, Field last) {
  for (auto f = static_cast<size_t>(first); f <= static_cast<size_t>(last); ++f) {
    if (match.Has(static_cast<Field>(f))) return true;
  }
  return false;
}

// Fields that come from the passes before.
bool FromPasses(Field field) {
  return field == Field::recirc_id || (field >= Field::tun_id && field <= Field::tun_flags) ||
         (field >= Field::ct_state && field <= Field::ct_mark);
}

// Fields that stand in no frame and come from nowhere else, at 0 in every packet.
bool InNoPacket(Field field) { return !FromPasses(field) && (field < Field::in_port || field >= Field::nd_target); }

// A tag's parts and flags can be said one by one, the others are 0. A part of a part cannot.
bool WholeParts(const Match& match, Field field) {
  if (field == Field::tcp_flags || field == Field::tun_flags || field == Field::ct_state) return true;
  if (field != Field::vlan_tci && field != Field::cvlan_tci) return false;
  return std::ranges::all_of(std::array{0xe000U, 0x0fffU}, [&](uint64_t part) {
    const uint64_t said = match.MaskOf(field) & part;
    return said == 0 || said == part;
  });
}

Result<void> CheckOne(const Match& match, Field field, std::string_view text) {
  const std::string name = FieldName(field);
  const auto value = match.Value(field);
  if (InNoPacket(field) && std::ranges::any_of(value, [](uint8_t byte) { return byte != 0; })) {
    return BadPacket(text, name, name + " is nothing that a packet has which comes in by a port");
  }
  if (match.IsExact(field) || WholeParts(match, field) || InNoPacket(field)) return {};
  return BadPacket(text, name, name + " has a mask: of a packet it is one value");
}

void Default(Match& match, Field field, uint64_t value) {
  if (!match.Has(field)) match.SetExact(field, value);
}

// What layer 4 there is; 0: none is said.
uint64_t SaidProto(const Match& match) {
  if (AnyOf(match, Field::tcp_src, Field::tcp_flags)) return IPPROTO_TCP;
  if (AnyOf(match, Field::udp_src, Field::udp_dst)) return IPPROTO_UDP;
  if (AnyOf(match, Field::sctp_src, Field::sctp_dst)) return IPPROTO_SCTP;
  if (AnyOf(match, Field::icmp_type, Field::icmp_code)) return IPPROTO_ICMP;
  if (AnyOf(match, Field::icmpv6_type, Field::icmpv6_code)) return IPPROTO_ICMPV6;
  return 0;
}

uint64_t SaidLayer3(const Match& match) {
  if (AnyOf(match, Field::ipv4_src, Field::ipv4_frag)) return ETH_P_IP;
  if (AnyOf(match, Field::ipv6_src, Field::ipv6_frag)) return ETH_P_IPV6;
  if (AnyOf(match, Field::arp_sip, Field::arp_tha)) return ETH_P_ARP;
  const uint64_t proto = SaidProto(match);
  if (proto == 0) return kExperimentType;
  return proto == IPPROTO_ICMPV6 ? ETH_P_IPV6 : ETH_P_IP;
}

// Says the types and protocols that follow from the other fields, where the text does not.
void Complete(Match& match) {
  const bool two =
      match.Has(Field::cvlan_tci) || match.Has(Field::cvlan_eth_type) || IsTag(match.ValueOf(Field::vlan_eth_type));
  const bool one =
      two || match.Has(Field::vlan_tci) || match.Has(Field::vlan_eth_type) || IsTag(match.ValueOf(Field::eth_type));
  if (one) Default(match, Field::eth_type, ETH_P_8021Q);
  if (two) Default(match, Field::vlan_eth_type, ETH_P_8021Q);
  const Field inner = two ? Field::cvlan_eth_type : one ? Field::vlan_eth_type : Field::eth_type;
  Default(match, inner, SaidLayer3(match));
  const uint64_t said = SaidProto(match);
  const uint64_t proto = said != 0 ? said : kExperimentProto;
  if (match.ValueOf(inner) == ETH_P_IP) Default(match, Field::ipv4_proto, proto);
  // The header that says so is the last which a later fragment has.
  const bool later = match.ValueOf(Field::ipv6_frag) == kLaterFragment;
  if (match.ValueOf(inner) == ETH_P_IPV6) Default(match, Field::ipv6_proto, later ? uint64_t{IPPROTO_FRAGMENT} : proto);
}

// What passes before have left, as the next lookup sees it. A packet that has any other bit of ct_state is tracked.
Match Beside(const Match& wanted) {
  constexpr uint64_t kTracked = 0x20;
  Match beside;
  for (uint64_t left = wanted.FieldBits(); left != 0; left &= left - 1) {
    const auto field = static_cast<Field>(std::countr_zero(left));
    if (!FromPasses(field) || std::ranges::all_of(wanted.Value(field), [](uint8_t byte) { return byte == 0; }))
      continue;
    const std::vector<uint8_t> exact(Info(field).size, 0xff);
    beside.Set(field, wanted.Value(field), exact);
  }
  if (beside.Has(Field::ct_state)) beside.SetExact(Field::ct_state, beside.ValueOf(Field::ct_state) | kTracked);
  return beside;
}

// That the packet says what was asked for: there are values that none has.
Result<void> CheckFrame(const Match& wanted, const FieldsPacket& packet, std::string_view text) {
  Match beside = packet.beside;
  beside.SetExact(Field::in_port, wanted.ValueOf(Field::in_port));
  const soft::Parsed parsed = soft::Parse(packet.frame, beside);
  for (uint64_t left = wanted.FieldBits(); left != 0; left &= left - 1) {
    const auto field = static_cast<Field>(std::countr_zero(left));
    const FieldInfo& info = Info(field);
    for (size_t i = 0; i < info.size; ++i) {
      if ((parsed.key[info.offset + i] & wanted.Mask(field)[i]) == wanted.Value(field)[i]) continue;
      return BadPacket(text, FieldName(field), FieldName(field) + " contradicts the other fields: no packet has that");
    }
  }
  if (parsed.malformed != soft::Malformed::kNo) {
    return BadPacket(text, "", "the fields contradict each other: no packet that is not malformed has them");
  }
  return {};
}

}  // namespace

Result<FieldsPacket> ReadFields(std::string_view text, const PortNames& ports) {
  const auto wanted = ParseMatchPart(text, ports);
  if (!wanted) return wanted.error();
  for (uint64_t left = wanted->FieldBits(); left != 0; left &= left - 1) {
    if (auto fine = CheckOne(*wanted, static_cast<Field>(std::countr_zero(left)), text); !fine) return fine.error();
  }
  Match whole = *wanted;
  Complete(whole);
  if (const auto valid = whole.Validate(); !valid) return BadPacket(text, valid.error().detail, valid.error().detail);
  FieldsPacket packet;
  packet.frame = BuildFrame(whole);
  packet.beside = Beside(*wanted);
  if (auto fine = CheckFrame(*wanted, packet, text); !fine) return fine.error();
  if (wanted->Has(Field::in_port)) packet.in_port = static_cast<uint32_t>(wanted->ValueOf(Field::in_port));
  return packet;
}

}  // namespace sluice::ctl
