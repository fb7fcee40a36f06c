// SPDX-License-Identifier: Apache-2.0
#include "sluice/match.h"

#include <gtest/gtest.h>

#include "random_flow.h"

namespace sluice {
namespace {

std::string Hex(std::string_view bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const char c : bytes) {
    out += kDigits[static_cast<unsigned char>(c) >> 4];
    out += kDigits[c & 0xf];
  }
  return out;
}

TEST(Match, ClearsValueBitsOutsideTheMask) {
  for (const FieldInfo& info : kFields) {
    const std::vector<uint8_t> ones(info.size, 0xff);
    std::vector<uint8_t> mask(info.size, 0x55);
    Match match;
    match.Set(info.id, ones, mask);
    for (size_t i = 0; i < info.size; ++i) EXPECT_EQ(match.Value(info.id)[i], match.Mask(info.id)[i]) << info.name;
    EXPECT_TRUE(match.Has(info.id));
    EXPECT_FALSE(match.IsExact(info.id));
  }
}

TEST(Match, MaskHasSignificantBitsOnly) {
  for (const FieldInfo& info : kFields) {
    const std::vector<uint8_t> ones(info.size, 0xff);
    Match match;
    match.Set(info.id, ones, ones);
    EXPECT_TRUE(match.IsExact(info.id)) << info.name;
    if (info.size <= 8) {
      const uint64_t all = info.bits == 64 ? ~uint64_t{0} : (uint64_t{1} << info.bits) - 1;
      EXPECT_EQ(match.MaskOf(info.id), all) << info.name;
      Match same;
      same.SetExact(info.id, ~uint64_t{0});
      EXPECT_EQ(same, match) << info.name;
    }
  }
}

TEST(Match, StoresNetworkOrder) {
  Match match;
  match.SetExact(Field::ipv4_dst, 0x0a000001);
  EXPECT_EQ(match.Value(Field::ipv4_dst)[0], 10);
  EXPECT_EQ(match.Value(Field::ipv4_dst)[3], 1);
  EXPECT_EQ(match.ValueOf(Field::ipv4_dst), 0x0a000001u);
}

TEST(Match, ForgetsWhatIsCleared) {
  FlowRng rng(FlowSeed());
  for (int i = 0; i < 100; ++i) {
    Match match = RandomMatch(rng);
    for (const FieldInfo& info : kFields) match.Clear(info.id);
    EXPECT_EQ(match, Match());
    EXPECT_EQ(match.FieldBits(), 0u);
  }
}

TEST(Match, AZeroMaskIsNoField) {
  Match match;
  match.SetExact(Field::in_port, 5);
  match.SetMasked(Field::in_port, 5, 0);
  EXPECT_EQ(match, Match());
  match.SetExact(Field::ct_label, 5);  // too large for a number: no effect
  EXPECT_EQ(match, Match());
}

TEST(Match, PacksAndUnpacks) {
  FlowRng rng(FlowSeed());
  for (int i = 0; i < 2000; ++i) {
    const Match match = RandomMatch(rng);
    const std::string packed = match.Pack();
    const Result<Match> back = Match::Unpack(packed);
    ASSERT_TRUE(back) << back.error().detail;
    EXPECT_EQ(*back, match) << FormatMatch(match);
    EXPECT_EQ(back->FieldBits(), match.FieldBits());
    EXPECT_EQ(back->Pack(), packed);
  }
}

TEST(Match, PackedFormIsAsDocumented) {
  const Result<Match> match = ParseMatch("in_port(3),eth_type(0x0800),ipv4(dst=10.0.0.0/8)");
  ASSERT_TRUE(match);
  EXPECT_EQ(Hex(match->Pack()),
            "120400000003ffffffff"
            "15020800ffff"
            "1b040a000000ff000000");
}

TEST(Match, UnpacksInAnyOrder) {
  const Result<Match> match = ParseMatch("in_port(3),eth_type(0x0800)");
  const std::string packed = match->Pack();
  const Result<Match> back = Match::Unpack(packed.substr(10) + packed.substr(0, 10));
  ASSERT_TRUE(back);
  EXPECT_EQ(*back, *match);
}

TEST(Match, UnpackClearsBitsOutsideTheMask) {
  const Result<Match> match = Match::Unpack(std::string("\x15\x02\xff\xff\xff\x00", 6));
  ASSERT_TRUE(match);
  EXPECT_EQ(match->ValueOf(Field::eth_type), 0xff00u);
}

TEST(Match, RefusesBrokenPackedForms) {
  struct Case {
    std::string packed;
    const char* detail;
  };
  const std::string in_port("\x12\x04\0\0\0\x01\xff\xff\xff\xff", 10);
  for (const Case& c :
       std::initializer_list<Case>{{"\x12", "cut off within a field"},
                                   {in_port.substr(0, 9), "cut off within in_port"},
                                   {in_port + "\x12", "cut off within a field"},
                                   {in_port + in_port, "in_port appears twice"},
                                   {std::string("\xff\x01\x01\x01", 4), "there is no field 255"},
                                   {std::string("\x3a\x01\x01\x01", 4), "there is no field 58"},
                                   {std::string("\x12\x02\0\0\0\0", 6), "in_port has 4 bytes, not 2"}}) {
    const Result<Match> match = Match::Unpack(c.packed);
    ASSERT_FALSE(match) << Hex(c.packed);
    EXPECT_EQ(match.error().reason, "bad_match");
    EXPECT_NE(match.error().detail.find(c.detail), std::string::npos) << match.error().detail;
    EXPECT_EQ(match.error().line, 0u);
  }
}

TEST(Match, UnpacksNoiseWithoutHarm) {
  FlowRng rng(FlowSeed());
  for (int i = 0; i < 20000; ++i) {
    std::string noise = RandomMatch(rng).Pack();
    for (uint64_t n = rng() % 4; n > 0 && !noise.empty(); --n) noise[rng() % noise.size()] = static_cast<char>(rng());
    noise.resize(rng() % (noise.size() + 3));
    const Result<Match> match = Match::Unpack(noise);
    if (!match) continue;
    EXPECT_EQ(*Match::Unpack(match->Pack()), *match);
  }
}

// From xxhsum -H2 (xxHash 0.8.1) over the packed bytes. A ufid names a flow across machines and versions: these stay.
TEST(Match, UfidIsTheSameEverywhere) {
  struct Case {
    const char* match;
    const char* ufid;
  };
  for (const Case& c : std::initializer_list<Case>{
           {"", "99aa06d3-0147-98d8-6001-c324468d497f"},
           {"in_port(1)", "bcab7063-c0db-974c-dce1-dfa50aa8f911"},
           {"in_port(3),eth_type(0x0800),ipv4(dst=10.0.0.0/8)", "8ea962c9-33bf-cf39-cbe1-184cadcce307"},
           {"recirc_id(0),in_port(2),eth(src=52:54:00:aa:bb:01,dst=52:54:00:aa:bb:02),eth_type(0x0800),ipv4(src=10.1.0."
            "0/16,dst=10.2.0.9,proto=6,frag=no),tcp(dst=443)",
            "f806f863-b823-f327-6188-28e38c9a1127"},
           {"eth_type(0x86dd),ipv6(src=2001:db8::/"
            "32,dst=fe80::1,label=0x12345,proto=58),icmpv6(type=135),nd(target=fe80::2,sll=02:00:00:00:00:01)",
            "b3fece2c-185f-a233-aa04-7a42610a1d99"},
           {"tunnel(tun_id=0x7b,src=192.168.7.1,dst=192.168.7.2,flags(key)),ct_state(+trk+est),ct_label(0x1/"
            "0xff),in_port(9)",
            "be937041-d047-6d0c-5b5f-052cb0298a9f"}}) {
    const Result<Match> match = ParseMatch(c.match);
    ASSERT_TRUE(match) << c.match;
    EXPECT_EQ(match->DeriveUfid().ToString(), c.ufid) << c.match << " packed " << Hex(match->Pack());
  }
}

TEST(Match, UfidFollowsTheMatchNotTheText) {
  const auto one = ParseMatch("eth_type(0x0800),ipv4(dst=10.1.2.3/8),in_port(1)");
  const auto other = ParseMatch("in_port(1), eth_type(2048), ipv4(dst=10.0.0.0/255.0.0.0), ct_state(0/0)");
  ASSERT_TRUE(one && other);
  EXPECT_EQ(one->DeriveUfid(), other->DeriveUfid());
  Match changed = *one;
  changed.SetExact(Field::in_port, 2);
  EXPECT_NE(changed.DeriveUfid(), one->DeriveUfid());
}

TEST(Ufid, TextBothWays) {
  const char* text = "6f0e1234-89ab-cdef-0123-456789abcdef";
  const std::optional<Ufid> ufid = Ufid::Parse(text);
  ASSERT_TRUE(ufid);
  EXPECT_EQ(ufid->ToString(), text);
  EXPECT_EQ(Ufid::Parse("ufid:6f0e1234-89ab-cdef-0123-456789abcdef"), ufid);
  EXPECT_EQ(Ufid::Parse("6F0E123489ABCDEF0123456789ABCDEF"), ufid);
  EXPECT_EQ(Ufid::FromBytes(ufid->AsBytes()), ufid);
  for (const char* bad : {"", "6f0e", "6f0e1234-89ab-cdef-0123-456789abcdeg", "6f0e1234+89ab-cdef-0123-456789abcdef",
                          "6f0e123489ab-cdef-0123-456789abcdef-", "6f0e1234-89ab-cdef-0123-456789abcdef0"}) {
    EXPECT_FALSE(Ufid::Parse(bad)) << bad;
  }
  EXPECT_FALSE(Ufid::FromBytes("short"));
}

}  // namespace
}  // namespace sluice
