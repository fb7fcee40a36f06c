// SPDX-License-Identifier: Apache-2.0
// set() against the builder: to set a field of a frame is to have built it with another value there, checksums and all,
// for every field, random values and masks, and packets of all kinds.
#include <gtest/gtest.h>

#include <iostream>
#include <map>
#include <stdexcept>
#include <type_traits>

#include "reference/actions.h"
#include "reference/parser.h"
#include "sluice/flow_text.h"

namespace sluice::reference {
namespace {

constexpr int kPackets = 60000;

void Blend(Mac& member, std::span<const uint8_t> value, std::span<const uint8_t> mask) {
  for (size_t i = 0; i < member.size(); ++i) member[i] = (member[i] & ~mask[i]) | value[i];
}
void Blend(Ipv6Address& member, std::span<const uint8_t> value, std::span<const uint8_t> mask) {
  for (size_t i = 0; i < member.size(); ++i) member[i] = (member[i] & ~mask[i]) | value[i];
}

uint64_t Number(std::span<const uint8_t> bytes) {
  uint64_t number = 0;
  for (uint8_t byte : bytes) number = number << 8 | byte;
  return number;
}

template <typename T>
void Blend(T& member, std::span<const uint8_t> value, std::span<const uint8_t> mask) {
  static_assert(std::is_unsigned_v<T>);
  member = static_cast<T>((member & ~Number(mask)) | Number(value));
}

// Calls `use` with the member of the spec that the field is about.
template <typename Use>
void WithMember(PacketSpec& spec, Field field, Use use) {
  switch (field) {
    case Field::eth_dst:
      return use(spec.dst);
    case Field::eth_src:
      return use(spec.src);
    case Field::vlan_tci:
      return use(spec.tags.at(0).tci);
    case Field::arp_op:
      return use(std::get<ArpSpec>(spec.l3).op);
    case Field::arp_sha:
      return use(std::get<ArpSpec>(spec.l3).sha);
    case Field::arp_tha:
      return use(std::get<ArpSpec>(spec.l3).tha);
    case Field::arp_sip:
      return use(std::get<ArpSpec>(spec.l3).sip);
    case Field::arp_tip:
      return use(std::get<ArpSpec>(spec.l3).tip);
    case Field::ipv4_src:
      return use(std::get<Ipv4Spec>(spec.l3).src);
    case Field::ipv4_dst:
      return use(std::get<Ipv4Spec>(spec.l3).dst);
    case Field::ipv4_tos:
      return use(std::get<Ipv4Spec>(spec.l3).tos);
    case Field::ipv4_ttl:
      return use(std::get<Ipv4Spec>(spec.l3).ttl);
    case Field::ipv6_src:
      return use(std::get<Ipv6Spec>(spec.l3).src);
    case Field::ipv6_dst:
      return use(std::get<Ipv6Spec>(spec.l3).dst);
    case Field::ipv6_label:
      return use(std::get<Ipv6Spec>(spec.l3).label);
    case Field::ipv6_tclass:
      return use(std::get<Ipv6Spec>(spec.l3).tclass);
    case Field::ipv6_hlimit:
      return use(std::get<Ipv6Spec>(spec.l3).hlimit);
    case Field::tcp_src:
      return use(std::get<TcpSpec>(spec.l4).src);
    case Field::tcp_dst:
      return use(std::get<TcpSpec>(spec.l4).dst);
    case Field::udp_src:
      return use(std::get<UdpSpec>(spec.l4).src);
    case Field::udp_dst:
      return use(std::get<UdpSpec>(spec.l4).dst);
    case Field::sctp_src:
      return use(std::get<SctpSpec>(spec.l4).src);
    case Field::sctp_dst:
      return use(std::get<SctpSpec>(spec.l4).dst);
    case Field::icmp_type:
    case Field::icmpv6_type:
      return use(std::get<IcmpSpec>(spec.l4).type);
    case Field::icmp_code:
    case Field::icmpv6_code:
      return use(std::get<IcmpSpec>(spec.l4).code);
    default:
      throw std::logic_error("no field of a packet");
  }
}

// The groups that can be set in packets, with their fields.
std::vector<std::vector<FieldInfo>> Groups() {
  std::map<std::string, std::vector<FieldInfo>> groups;
  for (const FieldInfo& info : kFields) {
    const bool in_packets = info.group != "tunnel" && info.group != "nd" && !info.group.starts_with("skb_");
    if (info.settable && in_packets) groups[std::string(info.group)].push_back(info);
  }
  std::vector<std::vector<FieldInfo>> out;
  for (auto& [name, fields] : groups) out.push_back(std::move(fields));
  return out;
}

Match RandomSet(Rng& rng, const std::vector<FieldInfo>& group) {
  Match fields;
  for (const FieldInfo& info : group) {
    if (rng.OneIn(3)) continue;
    Bytes value(info.size);
    Bytes mask(info.size, 0xff);
    const uint8_t fill = rng.OneIn(2) ? 0 : 0xff;  // the numbers at which one's complement sums go wrong
    const bool masked = rng.OneIn(2);
    const bool filled = rng.OneIn(4);
    for (size_t i = 0; i < value.size(); ++i) {
      value[i] = filled ? fill : static_cast<uint8_t>(rng.Bits());
      if (masked) mask[i] = static_cast<uint8_t>(rng.Bits());
    }
    fields.Set(info.id, value, mask);
  }
  return fields;
}

bool IsFragment(const Parsed& parsed) {
  return parsed.key.ValueOf(Field::ipv4_frag) != 0 || parsed.key.ValueOf(Field::ipv6_frag) != 0;
}

bool CanSet(const Parsed& parsed, Field field) {
  const bool sctp = field == Field::sctp_src || field == Field::sctp_dst;
  return parsed.key.Has(field) && !(sctp && IsFragment(parsed));
}

// Where lengths lie, the builder and the packet disagree about what SCTP's checksum is over; see actions_test.cpp. And
// where the type does, the payload might be taken for a header that the spec knows nothing of.
void MakeHonest(PacketSpec& spec) {
  if (std::holds_alternative<std::monostate>(spec.l3) && spec.eth_type >= 0x0600) spec.eth_type.reset();
  if (!std::holds_alternative<SctpSpec>(spec.l4)) return;
  if (auto* v4 = std::get_if<Ipv4Spec>(&spec.l3)) v4->total_length.reset();
  if (auto* v6 = std::get_if<Ipv6Spec>(&spec.l3)) v6->payload_length.reset();
}

// `changed`, but what follows the IP header as it was where no datapath looks there.
Bytes BuildChanged(const PacketSpec& changed, const Bytes& before, const Parsed& parsed) {
  Bytes after = Build(changed);
  const bool v4 = parsed.key.Has(Field::ipv4_src);
  const bool v6 = parsed.key.Has(Field::ipv6_src);
  if ((!v4 && !v6) || parsed.transport != 0) return after;
  const size_t end = parsed.network + (v4 ? 20 : 40);
  std::copy(before.begin() + static_cast<ptrdiff_t>(end), before.end(), after.begin() + static_cast<ptrdiff_t>(end));
  return after;
}

Bytes Edited(const Action& edit, const Bytes& frame) {
  return Execute({edit, Output{1}}, frame, 1, {1}).emissions.at(0).frame;
}

TEST(Set, IsToHaveBuiltItSo) {
  const uint64_t seed = SeedFromEnvironment();
  std::cout << "seed " << seed << "\n";
  Rng rng(seed);
  const auto groups = Groups();
  std::map<std::string, int> seen;
  for (int i = 0; i < kPackets; ++i) {
    PacketSpec spec = RandomPacket(rng);
    MakeHonest(spec);
    const Bytes before = Build(spec);
    const Parsed parsed = Parse(before);
    ASSERT_EQ(parsed.malformed, Malformed::kNo) << Hex(before);
    const Match fields = RandomSet(rng, rng.Pick(groups));
    PacketSpec changed = spec;
    for (const FieldInfo& info : kFields) {
      if (!fields.Has(info.id) || !CanSet(parsed, info.id)) continue;
      Bytes value(fields.Value(info.id).begin(), fields.Value(info.id).end());
      Bytes mask(fields.Mask(info.id).begin(), fields.Mask(info.id).end());
      if (info.id == Field::vlan_tci) {  // this bit is not the packet's
        value[0] &= 0xef;
        mask[0] &= 0xef;
      }
      WithMember(changed, info.id, [&](auto& member) { Blend(member, value, mask); });
      seen[std::string(info.name)] += 1;
    }
    const Bytes after = Edited(SetField{fields}, before);
    ASSERT_EQ(Hex(after), Hex(BuildChanged(changed, before, parsed)))
        << "SLUICE_SEED=" << seed << " set(" << FormatMatch(fields) << ") of " << Hex(before);
  }
  // Every field, in packets that have it.
  for (const auto& group : groups) {
    for (const FieldInfo& info : group) EXPECT_GT(seen[std::string(info.name)], 50) << info.name;
  }
}

TEST(DecTtl, IsToHaveBuiltItSo) {
  const uint64_t seed = SeedFromEnvironment();
  std::cout << "seed " << seed << "\n";
  Rng rng(seed);
  for (int i = 0; i < kPackets / 4; ++i) {
    PacketSpec spec = RandomPacket(rng);
    MakeHonest(spec);
    const Bytes before = Build(spec);
    const Parsed parsed = Parse(before);
    PacketSpec changed = spec;
    bool expired = false;
    for (Field field : {Field::ipv4_ttl, Field::ipv6_hlimit}) {
      if (!parsed.key.Has(field)) continue;
      WithMember(changed, field, [&](auto& member) {
        expired = parsed.key.ValueOf(field) <= 1;
        if constexpr (std::is_same_v<decltype(member), uint8_t&>) member = static_cast<uint8_t>(member - 1);
      });
    }
    const Outcome outcome = Execute({DecTtl{{ToController{}}}, Output{2}}, before, 1, {1, 2});
    const Outcome expected =
        expired ? Outcome{{}, {before}} : Outcome{{{2, BuildChanged(changed, before, parsed)}}, {}};
    ASSERT_EQ(outcome, expected) << "SLUICE_SEED=" << seed << " dec_ttl of " << Hex(before);
  }
}

// A 16-bit checksum as a one's complement number: 0 and 0xffff are the same.
unsigned Value(const Bytes& frame, size_t at) { return static_cast<unsigned>(frame[at] << 8 | frame[at + 1]) % 0xffff; }

// Checksums that are wrong as the packet comes in are wrong by the same afterwards, to where it goes.
TEST(Set, KeepsWrongChecksumsWrong) {
  const uint64_t seed = SeedFromEnvironment();
  std::cout << "seed " << seed << "\n";
  Rng rng(seed);
  const auto groups = Groups();
  int edits = 0;
  for (int i = 0; i < kPackets / 4; ++i) {
    const Bytes right = Build(RandomPacket(rng));
    const Parsed parsed = Parse(right);
    std::vector<size_t> sums;
    if (parsed.key.Has(Field::ipv4_src)) sums.push_back(parsed.network + 10);
    if (parsed.key.Has(Field::tcp_src)) sums.push_back(parsed.transport + 16);
    if (parsed.key.Has(Field::udp_src)) sums.push_back(parsed.transport + 6);
    if (parsed.key.Has(Field::icmp_type) || parsed.key.Has(Field::icmpv6_type)) sums.push_back(parsed.transport + 2);
    Bytes wrong = right;
    for (size_t at : sums) wrong[at] ^= static_cast<uint8_t>(1 + rng.Below(255));
    const SetField set{RandomSet(rng, rng.Pick(groups))};
    const Bytes right_after = Edited(set, right);
    const Bytes wrong_after = Edited(set, wrong);
    for (size_t at : sums) {
      const bool none = parsed.key.Has(Field::udp_src) && at == parsed.transport + 6 &&
                        (Value(right, at) == 0 || Value(wrong, at) == 0);
      if (none) continue;  // UDP's 0 is no checksum at all
      const unsigned before = (Value(wrong, at) + 0xffff - Value(right, at)) % 0xffff;
      const unsigned after = (Value(wrong_after, at) + 0xffff - Value(right_after, at)) % 0xffff;
      ASSERT_EQ(before, after) << "SLUICE_SEED=" << seed << " set(" << FormatMatch(set.fields) << ") of " << Hex(wrong);
      edits += right_after != right ? 1 : 0;
    }
    if (parsed.key.Has(Field::sctp_src)) {
      Bytes broken = right;
      broken[parsed.transport + 9] ^= 0x40;
      Bytes expected = right_after;
      expected[parsed.transport + 9] ^= 0x40;
      ASSERT_EQ(Hex(Edited(set, broken)), Hex(expected)) << "SLUICE_SEED=" << seed;
    }
  }
  EXPECT_GT(edits, 1000);
}

}  // namespace
}  // namespace sluice::reference
