// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "random_flow.h"

namespace sluice {
namespace {

// What the needed thing is called in a Match; several where either will do.
std::vector<Field> NeededFields(Need what) {
  switch (what) {
    case Need::nothing:
      break;
    case Need::eth_type:
    case Need::inner_eth_type:
      return {Field::eth_type};
    case Need::vlan_eth_type:
      return {Field::vlan_eth_type};
    case Need::ip_proto:
      return {Field::ipv4_proto, Field::ipv6_proto};
    case Need::ipv4_proto:
      return {Field::ipv4_proto};
    case Need::ipv6_proto:
      return {Field::ipv6_proto};
    case Need::icmpv6_type:
      return {Field::icmpv6_type};
  }
  return {};
}

// Gives `field` what it needs, and that what it needs.
void Satisfy(Match& match, Field field, bool other) {
  const FieldNeed& need = NeedOf(field);
  for (const Field needed : NeededFields(need.what)) {
    if (need.what == Need::ip_proto && (needed == Field::ipv6_proto) != other) continue;
    match.SetExact(needed, other ? need.other : need.one);
    Satisfy(match, needed, other);
  }
}

Match With(Field field) {
  Match match;
  const std::vector<uint8_t> mask(Info(field).size, 0xff);
  std::vector<uint8_t> value(Info(field).size, 0);
  if (field == Field::vlan_tci || field == Field::cvlan_tci) value[0] = 0x10;
  match.Set(field, value, mask);
  return match;
}

std::string NameInText(const FieldInfo& info) {
  if (info.id == Field::cvlan_eth_type) return "encap(encap(eth_type))";
  return std::string(info.group) + (info.sub.empty() ? "" : "(" + std::string(info.sub) + ")");
}

class Prerequisite : public testing::TestWithParam<FieldInfo> {};

TEST_P(Prerequisite, IsEnoughAndWanted) {
  const FieldInfo& info = GetParam();
  const FieldNeed& need = NeedOf(info.id);
  const Match alone = With(info.id);
  if (need.what == Need::nothing) {
    EXPECT_TRUE(alone.Validate()) << alone.Validate().error().detail;
    return;
  }
  const Result<void> refused = alone.Validate();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, "bad_match");
  EXPECT_TRUE(refused.error().detail.starts_with(NameInText(info) + " needs ")) << refused.error().detail;
  for (const bool other : {false, true}) {
    Match good = alone;
    Satisfy(good, info.id, other);
    EXPECT_TRUE(good.Validate()) << FormatMatch(good) << ": " << good.Validate().error().detail;
    for (const Field needed : NeededFields(need.what)) {
      if (!good.Has(needed)) continue;
      Match wrong_value = good;
      wrong_value.SetExact(needed, 0x4d);
      EXPECT_FALSE(wrong_value.Validate()) << FormatMatch(wrong_value);
      Match not_exact = good;
      not_exact.SetMasked(needed, good.ValueOf(needed), good.MaskOf(needed) & ~uint64_t{1});
      EXPECT_FALSE(not_exact.Validate()) << FormatMatch(not_exact);
      Match without = good;
      without.Clear(needed);
      EXPECT_FALSE(without.Validate()) << FormatMatch(without);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Fields, Prerequisite, testing::ValuesIn(kFields),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(Validate, SaysWhatIsMissing) {
  struct Case {
    const char* match;
    const char* detail;
  };
  for (const Case& c : std::initializer_list<Case>{
           {"vlan(vid=5)", "vlan needs eth_type(0x8100) or eth_type(0x88a8), matched exactly"},
           {"eth_type(0x8100/0xff00),vlan(vid=5)", "vlan needs eth_type(0x8100)"},
           {"eth_type(0x0800),vlan(vid=5)", "vlan needs eth_type(0x8100)"},
           {"eth_type(0x8100),encap(vlan(vid=5))",
            "encap(vlan) needs encap(eth_type(0x8100)) or encap(eth_type(0x88a8))"},
           {"ipv4(src=1.2.3.4)", "ipv4(src) needs eth_type(0x0800), matched exactly"},
           {"eth_type(0x8100),vlan(vid=5),ipv4(src=1.2.3.4)",
            "ipv4(src) needs eth_type(0x0800), matched exactly, inside encap(...)"},
           {"eth_type(0x86dd),ipv4(src=1.2.3.4)", "ipv4(src) needs eth_type(0x0800)"},
           {"eth_type(0x0800),tcp(dst=80)", "tcp(dst) needs ipv4(proto=6) or ipv6(proto=6), matched exactly"},
           {"eth_type(0x0800),ipv4(proto=17),tcp(dst=80)", "tcp(dst) needs ipv4(proto=6)"},
           {"eth_type(0x0800),ipv4(proto=6),tcp(dst=80),udp(dst=80)", "udp(dst) needs ipv4(proto=17)"},
           {"eth_type(0x0800),ipv4(proto=17),tcp_flags(syn)", "tcp_flags needs ipv4(proto=6)"},
           {"eth_type(0x86dd),ipv6(proto=1),icmp(type=8)", "icmp(type) needs ipv4(proto=1)"},
           {"eth_type(0x0800),ipv4(proto=58),icmpv6(type=1)", "icmpv6(type) needs ipv6(proto=58)"},
           {"eth_type(0x86dd),ipv6(proto=58),icmpv6(type=128),nd(target=::1)",
            "nd(target) needs icmpv6(type=135) or icmpv6(type=136)"},
           {"eth_type(0x0800),arp(op=1)", "arp(op) needs eth_type(0x0806) or eth_type(0x8035)"},
           {"eth_type(0x0800),ipv4(proto=6,frag=later),tcp(dst=80)", "tcp(dst) is not in later fragments (frag=later)"},
           {"eth_type(0x86dd),ipv6(proto=58,frag=later),icmpv6(type=1)", "icmpv6(type) is not in later fragments"},
           {"eth_type(0x0800),ipv4(frag=3)", "ipv4(frag) can only be no, first or later"},
           {"eth_type(0x8100),vlan(vid=5,cfi=0)", "vlan with cfi=0 matches no tagged frame"},
           {"eth_type(0x8100),encap(eth_type(0x8100),vlan(cfi=0))", "encap(vlan) with cfi=0 matches no tagged frame"},
           {"ct_state(-trk+new)", "ct_state of an untracked packet (-trk) has no other bits"},
           {"tunnel(src=1.1.1.1,ipv6_dst=::1)",
            "tunnel(ipv6_dst) cannot be matched together with an IPv4 tunnel address"},
       }) {
    const Result<Match> match = ParseMatch(c.match);
    ASSERT_FALSE(match) << c.match;
    EXPECT_EQ(match.error().reason, "bad_match") << c.match;
    EXPECT_NE(match.error().detail.find(c.detail), std::string::npos) << c.match << ": " << match.error().detail;
    EXPECT_EQ(match.error().line, 1u) << c.match;
  }
}

TEST(Validate, AcceptsWhatPacketsAre) {
  for (const char* text : {"", "in_port(1)", "eth_type(0x1234/0xfff0)", "eth_type(0x8100),vlan(vid=5)",
                           "eth_type(0x88a8),vlan(vid=5),encap(eth_type(0x8100),vlan(vid=6),encap(eth_type(0x8100)))",
                           "eth_type(0x8035),arp(op=3)", "eth_type(0x0800),ipv4(proto=6,frag=first),tcp(dst=80)",
                           "eth_type(0x0800),ipv4(frag=later)", "ct_state(-trk)", "ct_state(+trk-new)"}) {
    const Result<Match> match = ParseMatch(text);
    EXPECT_TRUE(match) << text << ": " << match.error().detail;
  }
}

TEST(Validate, AcceptsWhatTheGeneratorMakes) {
  FlowRng rng(FlowSeed());
  uint64_t seen = 0;
  for (int i = 0; i < 5000; ++i) {
    const Match match = RandomMatch(rng);
    ASSERT_TRUE(match.Validate()) << FormatMatch(match) << ": " << match.Validate().error().detail;
    seen |= match.FieldBits();
  }
  EXPECT_EQ(seen, (uint64_t{1} << kFieldCount) - 1) << "the generator leaves fields out";
}

}  // namespace
}  // namespace sluice
