// SPDX-License-Identifier: Apache-2.0
#include "soft/packet.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <memory>

#include "reference/datapath.h"
#include "reference/packet.h"
#include "reference/parser.h"
#include "sluice/flow_text.h"

namespace sluice::soft {
namespace {

Match PacketMatch(const reference::Bytes& frame, uint32_t in_port) { return ToMatch(Parse(frame, in_port)); }

Match Expected(const reference::Bytes& frame) {
  Match match = reference::Parse(frame).key;
  match.SetExact(Field::in_port, 3);
  return match;
}

TEST(PacketMatch, SaysOfEveryKindOfPacketWhatTheReferenceSays) {
  for (const auto& [name, spec] : reference::NamedPackets()) {
    const auto frame = reference::Build(spec);
    EXPECT_EQ(FormatMatch(PacketMatch(frame, 3)), FormatMatch(Expected(frame))) << name;
  }
}

TEST(PacketMatch, SaysOfRandomPacketsWhatTheReferenceSays) {
  reference::Rng rng(20260101);
  for (int i = 0; i < 20000; ++i) {
    const auto frame = reference::Build(reference::RandomPacket(rng));
    ASSERT_EQ(FormatMatch(PacketMatch(frame, 3)), FormatMatch(Expected(frame))) << reference::Hex(frame);
  }
}

// Of a damaged packet the two may differ in how far they read; neither may read what is not there.
TEST(PacketMatch, ReadsDamagedPacketsAsFarAsTheyGo) {
  reference::Rng rng(7);
  for (int i = 0; i < 20000; ++i) {
    const auto frame = reference::Damage(reference::Build(reference::RandomPacket(rng)), rng);
    const auto parsed = reference::Parse(frame);
    const Match match = PacketMatch(frame, 3);
    if (parsed.malformed == reference::Malformed::kNo) {
      ASSERT_EQ(FormatMatch(match), FormatMatch(Expected(frame))) << reference::Hex(frame);
    }
  }
  EXPECT_EQ(FormatMatch(PacketMatch({}, 3)), "in_port(3)");
}

TEST(PacketMatch, IsAMatchThatCanBePasted) {
  for (const auto& [name, spec] : reference::NamedPackets()) {
    const Match match = PacketMatch(reference::Build(spec), 3);
    const auto again = ParseMatch(FormatMatch(match));
    ASSERT_TRUE(again) << name << ": " << FormatMatch(match) << ": " << again.error().detail;
    EXPECT_EQ(*again, match) << name << ": " << FormatMatch(match);
  }
}

// The numbers of the two enumerations are the same.
int Number(Malformed malformed) { return static_cast<int>(malformed); }
int Number(reference::Malformed malformed) { return static_cast<int>(malformed); }

TEST(Parse, SaysWhatIsMalformedAsTheReferenceDoes) {
  reference::Rng rng(8);
  std::array<int, 7> seen{};
  for (int i = 0; i < 20000; ++i) {
    const auto frame = reference::Damage(reference::Build(reference::RandomPacket(rng)), rng);
    const Parsed parsed = Parse(frame, 3);
    ASSERT_EQ(Number(parsed.malformed), Number(reference::Parse(frame).malformed)) << reference::Hex(frame);
    ++seen.at(static_cast<size_t>(parsed.malformed));
  }
  EXPECT_TRUE(std::ranges::all_of(seen, [](int count) { return count > 10; })) << testing::PrintToString(seen);
}

// Every field that is not there is 0, and the other way round what is present is what the match has.
TEST(Parse, HasZeroWhereTheFrameHasNothing) {
  reference::Rng rng(9);
  for (int i = 0; i < 5000; ++i) {
    auto frame = reference::Build(reference::RandomPacket(rng));
    if (rng.OneIn(2)) frame = reference::Damage(frame, rng);
    const Parsed parsed = Parse(frame, 3);
    const Match match = ToMatch(parsed);
    ASSERT_EQ(match.FieldBits(), parsed.present);
    ASSERT_EQ(match.KeyBytes(), parsed.key) << reference::Hex(frame);
  }
}

// In memory that ends where the frame does, so that a sanitizer sees a step behind it.
TEST(Parse, ReadsNothingBehindFramesCutAnywhere) {
  for (const auto& [name, spec] : reference::NamedPackets()) {
    const auto whole = reference::Build(spec);
    const Parsed full = Parse(whole, 3);
    for (size_t size = 0; size <= whole.size(); ++size) {
      const auto exact = std::make_unique<uint8_t[]>(size);
      std::copy_n(whole.begin(), size, exact.get());
      const Parsed parsed = Parse({exact.get(), size}, 3);
      EXPECT_EQ(parsed.present & full.present, parsed.present) << name << " cut to " << size;
      if (parsed.headers.l3 != Layer3::kNone) {
        EXPECT_LT(parsed.headers.l3_offset, size);
      }
      if (parsed.headers.l4 != Layer4::kNone) {
        EXPECT_LE(parsed.headers.l4_offset + 8U, size);
      }
    }
  }
}

TEST(Parse, FindsTheHeaders) {
  struct Case {
    const char* name;
    Layer3 l3;
    Layer4 l4;
    unsigned l3_offset, l4_offset;
    bool fragment = false, later = false;
  };
  const std::vector<Case> cases = {{"arp", Layer3::kArp, Layer4::kNone, 14, 0},
                                   {"rarp", Layer3::kArp, Layer4::kNone, 14, 0},
                                   {"tcp4", Layer3::kIpv4, Layer4::kTcp, 14, 34},
                                   {"tcp4_options", Layer3::kIpv4, Layer4::kTcp, 14, 74},
                                   {"sctp4", Layer3::kIpv4, Layer4::kSctp, 14, 34},
                                   {"icmp4", Layer3::kIpv4, Layer4::kIcmp, 14, 34},
                                   {"ip4_other", Layer3::kIpv4, Layer4::kNone, 14, 0},
                                   {"udp4_first_fragment", Layer3::kIpv4, Layer4::kUdp, 14, 34, true},
                                   {"udp4_later_fragment", Layer3::kIpv4, Layer4::kNone, 14, 0, true, true},
                                   {"icmp6", Layer3::kIpv6, Layer4::kIcmpv6, 14, 54},
                                   {"udp6_extensions", Layer3::kIpv6, Layer4::kUdp, 14, 54 + 8 + 24 + 16},
                                   {"udp6_authentication", Layer3::kIpv6, Layer4::kUdp, 14, 54 + 24},
                                   {"udp6_first_fragment", Layer3::kIpv6, Layer4::kUdp, 14, 62, true},
                                   {"udp6_later_fragment", Layer3::kIpv6, Layer4::kNone, 14, 0, true, true},
                                   {"udp6_atomic_fragment", Layer3::kIpv6, Layer4::kUdp, 14, 62},
                                   {"udp4_vlan", Layer3::kIpv4, Layer4::kUdp, 18, 38},
                                   {"udp6_qinq", Layer3::kIpv6, Layer4::kUdp, 22, 62},
                                   {"udp4_three_tags", Layer3::kNone, Layer4::kNone, 0, 0},
                                   {"other", Layer3::kNone, Layer4::kNone, 0, 0}};
  const auto named = reference::NamedPackets();
  for (const Case& wanted : cases) {
    const auto spec = std::ranges::find(named, wanted.name, [](const auto& entry) { return entry.first; });
    ASSERT_NE(spec, named.end()) << wanted.name;
    const Headers headers = Parse(reference::Build(spec->second), 3).headers;
    EXPECT_EQ(headers.l3, wanted.l3) << wanted.name;
    EXPECT_EQ(headers.l4, wanted.l4) << wanted.name;
    EXPECT_EQ(headers.l3_offset, wanted.l3_offset) << wanted.name;
    EXPECT_EQ(headers.l4_offset, wanted.l4_offset) << wanted.name;
    EXPECT_EQ(headers.fragment, wanted.fragment) << wanted.name;
    EXPECT_EQ(headers.later, wanted.later) << wanted.name;
    EXPECT_FALSE(headers.routed) << wanted.name;
  }
}

TEST(Matches, IsWhatTheMatchSays) {
  const auto named = reference::NamedPackets();
  const auto packet = [&](const char* name) {
    const auto spec = std::ranges::find(named, name, [](const auto& entry) { return entry.first; });
    return Parse(reference::Build(spec->second), 3);
  };
  const auto match = [](const char* text) {
    const auto parsed = ParseMatch(text);
    EXPECT_TRUE(parsed) << text;
    return parsed ? *parsed : Match{};
  };
  const Parsed udp4 = packet("udp4");
  EXPECT_TRUE(Matches(Match{}, udp4));
  EXPECT_TRUE(
      Matches(match("in_port(3),eth_type(0x0800),ipv4(src=10.0.0.0/255.255.255.0,proto=17),udp(dst=53)"), udp4));
  EXPECT_FALSE(Matches(match("in_port(4)"), udp4));
  EXPECT_FALSE(Matches(match("eth_type(0x0800),ipv4(proto=17),udp(dst=54)"), udp4));
  EXPECT_FALSE(Matches(match("eth_type(0x0800),ipv4(src=10.0.1.0/255.255.255.0)"), udp4));
  EXPECT_FALSE(Matches(match("eth_type(0x0800),ipv4(proto=17),udp(dst=53)"), packet("udp4_vlan")));
  EXPECT_FALSE(Matches(match("eth_type(0x0806),arp(tip=10.0.0.3)"), packet("arp")));
  EXPECT_TRUE(Matches(match("eth_type(0x0806),arp(tip=10.0.0.2)"), packet("arp")));
  // The last fields of the key too, which are in no packet.
  Match last;
  last.SetExact(Field::nd_tll, 1);
  EXPECT_FALSE(Matches(last, udp4));
}

TEST(Matches, NothingThatIsMalformed) {
  auto frame = reference::Build(reference::NamedPackets().front().second);
  frame.resize(13);
  EXPECT_FALSE(Matches(Match{}, Parse(frame, 3)));
}

TEST(Matches, AsTheReferenceDoes) {
  reference::Rng rng(10);
  int hits = 0;
  for (int i = 0; i < 20000; ++i) {
    const Parsed packet = Parse(reference::Build(reference::RandomPacket(rng)), 3);
    const Parsed other = Parse(reference::Build(reference::RandomPacket(rng)), 3);
    Match match = ToMatch(packet);
    ASSERT_TRUE(Matches(match, packet));
    for (const FieldInfo& field : kFields) {
      if (!rng.OneIn(4)) match.Clear(field.id);
    }
    ASSERT_EQ(Matches(match, other), reference::Matches(match, ToMatch(other))) << FormatMatch(match);
    hits += Matches(match, other) ? 1 : 0;
  }
  EXPECT_GT(hits, 100);
  EXPECT_LT(hits, 19900);
}

}  // namespace
}  // namespace sluice::soft
