// SPDX-License-Identifier: Apache-2.0
// Flow text wrong in every way: what is said, and where it points.
#include <gtest/gtest.h>

#include "sluice/flow_text.h"

namespace sluice {
namespace {

struct Wrong {
  const char* text;
  const char* reason;
  uint32_t line;
  uint32_t column;
  const char* detail;  // part of it
};

void PrintTo(const Wrong& wrong, std::ostream* os) { *os << wrong.text; }

class WrongFlow : public testing::TestWithParam<Wrong> {};

TEST_P(WrongFlow, IsRefusedWhereItIsWrong) {
  const Wrong& wrong = GetParam();
  const Result<FlowText> flow = ParseFlow(wrong.text);
  ASSERT_FALSE(flow);
  const Error& error = flow.error();
  EXPECT_EQ(error.reason, wrong.reason);
  EXPECT_EQ(error.line, wrong.line);
  EXPECT_EQ(error.column, wrong.column) << Explain(error, wrong.text);
  EXPECT_NE(error.detail.find(wrong.detail), std::string::npos) << error.detail;
}

constexpr Wrong kGroups[] = {
    {"ipv5(src=1.2.3.4)", "bad_match", 1, 1, "unknown match field 'ipv5'; did you mean 'ipv4'?"},
    {"in_port(1),ethtype(0x0800)", "bad_match", 1, 12, "unknown match field 'ethtype'; did you mean 'eth_type'?"},
    {"in_port(1)\n,foobarbaz(1)", "bad_match", 2, 2, "unknown match field 'foobarbaz'"},
    {"in_port(1),\neth_type(0x0800),\n  ipv4(srd=1.1.1.1)", "bad_match", 3, 8,
     "unknown field 'srd' of ipv4(...); did you mean 'src'?"},
    {"in_port", "bad_match", 1, 8, "expected '(', found the end of the text"},
    {"in_port 1", "bad_match", 1, 9, "expected '(', found '1'"},
    {"in_port(1", "bad_match", 1, 10, "expected ')', found the end of the text"},
    {"in_port(1)eth_type(0x0800)", "bad_match", 1, 11, "expected ',' or the end of the flow, found 'eth_type'"},
    {"in_port(1),,;", "bad_match", 1, 13, "expected a match field, found ';'"},
    {"in_port(1),)", "bad_match", 1, 12, "expected a match field, found ')'"},
    {"(1)", "bad_match", 1, 1, "expected a match field, found '('"},
    {"in_port(1),in_port(2)", "bad_match", 1, 12, "in_port(...) appears twice"},
    {"eth_type(0x0800),eth_type(0x0800)", "bad_match", 1, 18, "eth_type appears twice"},
    {"eth_type(0x0800),ipv4(src=1.1.1.1),ipv4(dst=1.1.1.1)", "bad_match", 1, 36, "ipv4(...) appears twice"},
    {"eth_type(0x0800),ipv4(src=1.1.1.1,src=1.1.1.1)", "bad_match", 1, 35, "ipv4(src) appears twice"},
    {"eth_type(0x0800),ipv4(src=1.1.1.1/0,src=1.1.1.1)", "bad_match", 1, 37, "ipv4(src) appears twice"},
    {"eth_type(0x0800),ipv4(src=1.1.1.1,)", "bad_match", 1, 35, "expected a field of ipv4(...), found ')'"},
    {"eth_type(0x0800),ipv4(src 1.1.1.1)", "bad_match", 1, 27, "expected '=', found '1.1.1.1'"},
    {"eth_type(0x0800),ipv4(src=1.1.1.1;dst=1.1.1.1)", "bad_match", 1, 27, "expected an IPv4 address"},
    {"packet_type(ns=1,id=0x800)", "bad_match", 1, 1, "only Ethernet packets"},
    {"mpls(label=5,tc=0,ttl=64,bos=1)", "bad_match", 1, 1, "mpls(...) cannot be matched"},
    {"ct_tuple4(src=10.0.0.1)", "bad_match", 1, 1, "ct_tuple4(...) cannot be matched"},
    {"tunnel(geneve({class=1,type=1,len=4,0x1}))", "bad_match", 1, 8, "unknown field 'geneve' of tunnel(...)"},
    {"tunnel(flags=df)", "bad_match", 1, 13, "expected '('"},
};
INSTANTIATE_TEST_SUITE_P(Groups, WrongFlow, testing::ValuesIn(kGroups));

constexpr Wrong kValues[] = {
    {"in_port()", "bad_match", 1, 9, "expected a port's name or number, found ')'"},
    {"in_port(p9)", "unknown_port", 1, 9, "unknown port 'p9'"},
    {"in_port(4294967296)", "bad_match", 1, 9, "port '4294967296' is too large: at most 4294967295"},
    {"in_port(p0/0xff)", "bad_match", 1, 9, "a port with a mask must be a number"},
    {"recirc_id(-1)", "bad_match", 1, 11, "expected recirc_id as a number, found '-1'"},
    {"recirc_id(0x100000000)", "bad_match", 1, 11, "recirc_id '0x100000000' is too large"},
    {"recirc_id(99999999999999999999999)", "bad_match", 1, 11, "is too large"},
    {"recirc_id(0x)", "bad_match", 1, 11, "expected recirc_id as a number, found '0x'"},
    {"recirc_id(010)", "bad_match", 1, 11, "number '010' starts with 0"},
    {"recirc_id(5/0x1ffffffff)", "bad_match", 1, 13, "mask '0x1ffffffff' is too large"},
    {"ct_zone(65536)", "bad_match", 1, 9, "ct_zone '65536' is too large: at most 65535"},
    {"ct_label(0x123456789012345678901234567890123)", "bad_match", 1, 10, "number is too large: at most 128 bits"},
    {"ct_label(0xzz)", "bad_match", 1, 10, "expected a hexadecimal number, found '0xzz'"},
    {"ct_label(0x)", "bad_match", 1, 10, "expected a hexadecimal number, found '0x'"},
    {"ct_state(+new+foo)", "bad_match", 1, 15, "unknown flag 'foo' of ct_state"},
    {"ct_state(+new-new)", "bad_match", 1, 14, "the same flag of ct_state twice"},
    {"ct_state(+)", "bad_match", 1, 11, "expected a flag of ct_state"},
    {"ct_state(trak)", "bad_match", 1, 10, "unknown flag 'trak' of ct_state; did you mean 'trk'?"},
    {"tunnel(flags(df|csun))", "bad_match", 1, 17, "unknown flag 'csun' of flags; did you mean 'csum'?"},
    {"eth(src=00:01:02:03:04)", "bad_match", 1, 9, "expected an Ethernet address such as 00:11:22:33:44:55"},
    {"eth(src=00:01:02:03:04:xx)", "bad_match", 1, 9, "expected an Ethernet address"},
    {"eth(src=00:01:02:03:04:055)", "bad_match", 1, 26, "expected ')', found '5'"},
    {"eth_type(0x10000)", "bad_match", 1, 10, "eth_type '0x10000' is too large: at most 65535"},
    {"eth_type(ipv4)", "bad_match", 1, 10, "expected eth_type as a number, found 'ipv4'"},
    {"eth_type(0x8100),vlan(vid=4096)", "bad_match", 1, 27, "vid '4096' is too large: at most 4095"},
    {"eth_type(0x8100),vlan(vid=5,pcp=8)", "bad_match", 1, 33, "pcp '8' is too large: at most 7"},
    {"eth_type(0x8100),vlan(id=5)", "bad_match", 1, 23, "expected vid=, pcp=, cfi= or tci="},
    {"eth_type(0x8100),vlan(vid=5,vid=6)", "bad_match", 1, 29, "'vid' sets bits of the tag that are already given"},
    {"eth_type(0x8100),vlan(vid=5,tci=6)", "bad_match", 1, 29, "'tci' sets bits of the tag that are already given"},
    {"eth_type(0x0800),ipv4(src=1.2.3)", "bad_match", 1, 27,
     "expected an IPv4 address such as 10.0.0.1, found '1.2.3'"},
    {"eth_type(0x0800),ipv4(src=1.2.3.256)", "bad_match", 1, 27, "expected an IPv4 address"},
    {"eth_type(0x0800),ipv4(src=1.2.3.4/33)", "bad_match", 1, 35, "prefix length '33' is too large: at most 32"},
    {"eth_type(0x0800),ipv4(src=1.2.3.4/255.255)", "bad_match", 1, 35, "expected an IPv4 address"},
    {"eth_type(0x0800),ipv4(proto=256)", "bad_match", 1, 29, "proto '256' is too large: at most 255"},
    {"eth_type(0x0800),ipv4(proto=tcp)", "bad_match", 1, 29, "expected proto as a number, found 'tcp'"},
    {"eth_type(0x0800),ipv4(frag=yes)", "bad_match", 1, 28, "expected no, first or later as frag, found 'yes'"},
    {"eth_type(0x86dd),ipv6(src=1.2.3.4)", "bad_match", 1, 27,
     "expected an IPv6 address such as fe80::1, found '1.2.3.4'"},
    {"eth_type(0x86dd),ipv6(src=fe80:::1)", "bad_match", 1, 27, "expected an IPv6 address"},
    {"eth_type(0x86dd),ipv6(src=fe80::1/129)", "bad_match", 1, 35, "prefix length '129' is too large: at most 128"},
    {"eth_type(0x86dd),ipv6(label=0x100000)", "bad_match", 1, 29, "label '0x100000' is too large: at most 1048575"},
    {"eth_type(0x0800),ipv4(proto=6),tcp(src=65536)", "bad_match", 1, 40, "src '65536' is too large: at most 65535"},
    {"eth_type(0x0800),ipv4(proto=6),tcp_flags(0x1000)", "bad_match", 1, 42,
     "tcp_flags '0x1000' is too large: at most 4095"},
    {"eth_type(0x0800),ipv4(proto=6),tcp_flags(+sin)", "bad_match", 1, 43,
     "unknown flag 'sin' of tcp_flags; did you mean"},
};
INSTANTIATE_TEST_SUITE_P(Values, WrongFlow, testing::ValuesIn(kValues));

constexpr Wrong kNesting[] = {
    {"eth_type(0x8100),encap(in_port(1))", "bad_match", 1, 24, "in_port(...) belongs outside encap(...)"},
    {"eth_type(0x8100),vlan(vid=5),encap(eth_type(0x0800)),ipv4(src=1.1.1.1)", "bad_match", 1, 54,
     "ipv4(...) belongs inside encap(...)"},
    {"eth_type(0x0800),ipv4(proto=6),encap(tcp(dst=80))", "bad_match", 1, 18, "ipv4(...) belongs inside encap(...)"},
    {"eth_type(0x8100),encap(eth_type(0x8100)),encap(vlan(vid=5))", "bad_match", 1, 42, "encap(...) appears twice"},
    {"eth_type(0x8100),encap(eth_type(0x8100),encap(vlan(vid=5)))", "bad_match", 1, 47,
     "at most two VLAN tags can be matched"},
    {"encap(encap(encap(eth_type(1))))", "bad_match", 1, 13, "encap(...) nests at most two deep"},
    {"eth_type(0x8100),encap(eth_type(0x0800)", "bad_match", 1, 40, "expected"},
    {"eth_type(0x0800),ipv4(src=1.1.1.1),tcp(src=80,dst=80)", "bad_match", 1, 40, "tcp(src) needs ipv4(proto=6)"},
    {"eth_type(0x0800),\n udp(dst=80)", "bad_match", 2, 6, "udp(dst) needs ipv4(proto=17)"},
};
INSTANTIATE_TEST_SUITE_P(Nesting, WrongFlow, testing::ValuesIn(kNesting));

constexpr Wrong kAttributes[] = {
    {"ufid:1234,in_port(1)", "bad_flow", 1, 6, "expected a ufid"},
    {"ufid:,in_port(1)", "bad_flow", 1, 6, "expected a ufid"},
    {"priority:high", "bad_flow", 1, 10, "expected a priority from 0 to 4294967295, found 'high'"},
    {"priority:4294967296", "bad_flow", 1, 10, "expected a priority"},
    {"priority:1,priority:2", "bad_flow", 1, 12, "priority: appears twice"},
    {"prioriti:1", "bad_flow", 1, 1, "unknown attribute 'prioriti'; did you mean 'priority'?"},
    {"in_port(1),idle_timeout:soon", "bad_flow", 1, 25, "expected seconds"},
};
INSTANTIATE_TEST_SUITE_P(Attributes, WrongFlow, testing::ValuesIn(kAttributes));

constexpr Wrong kActions[] = {
    {"actions:fload", "unknown_port", 1, 9, "'fload' is neither a known port nor an action; did you mean 'flood'?"},
    {"in_port(1),actions:1,foo(2)", "bad_actions", 1, 22, "unknown action 'foo'"},
    {"actions:pushvlan(vid=5)", "bad_actions", 1, 9, "unknown action 'pushvlan'; did you mean 'push_vlan'?"},
    {"actions:clone(1)", "bad_actions", 1, 9, "action 'clone' is not supported"},
    {"actions:push_mpls(label=0,tc=0,ttl=64,bos=1,eth_type=0x8847)", "bad_actions", 1, 9,
     "action 'push_mpls' is not supported"},
    {"actions:hash(l4(0)),recirc(0x1)", "bad_actions", 1, 9, "action 'hash' is not supported"},
    {"actions:1,(2)", "bad_actions", 1, 11, "expected an action, found '('"},
    {"actions:1)", "bad_actions", 1, 10, "expected ',' between actions, found ')'"},
    {"actions:pop_vlan(1)", "bad_actions", 1, 18, "expected ')', found '1'"},
    {"actions:push_vlan", "bad_actions", 1, 18, "expected '(' after push_vlan, found the end of the text"},
    {"actions:push_vlan()", "bad_actions", 1, 19, "push_vlan needs a vid"},
    {"actions:push_vlan(pcp=1)", "bad_actions", 1, 19, "push_vlan needs a vid"},
    {"actions:push_vlan(vid=5/0xff)", "bad_actions", 1, 19, "push_vlan needs a vid, without a mask"},
    {"actions:push_vlan(vid=5,pcp=1/0x1)", "bad_actions", 1, 19, "push_vlan takes no masks"},
    {"actions:push_vlan(tpid=0x9100,vid=5)", "bad_actions", 1, 19, "tpid must be 0x8100 or 0x88a8"},
    {"actions:1,drop", "bad_actions", 1, 11, "drop stands alone"},
    {"actions:drop,1", "bad_actions", 1, 9, "drop stands alone"},
    {"actions:set(in_port(1))", "bad_actions", 1, 13, "in_port cannot be set"},
    {"actions:set(eth_type(0x0800))", "bad_actions", 1, 13, "eth_type cannot be set"},
    {"actions:set(ipv4(src=1.1.1.1,proto=6))", "bad_actions", 1, 30, "ipv4(proto) cannot be set"},
    {"actions:set(ipv4(frag=no))", "bad_actions", 1, 18, "ipv4(frag) cannot be set"},
    {"actions:set(tcp_flags(syn))", "bad_actions", 1, 13, "tcp_flags cannot be set"},
    {"actions:set(ct_mark(1))", "bad_actions", 1, 13, "ct_mark cannot be set"},
    {"actions:set(encap(vlan(vid=5)))", "bad_actions", 1, 19, "encap(vlan) cannot be set"},
    {"actions:set(ipv4())", "bad_actions", 1, 13, "set(ipv4(...)) sets nothing"},
    {"actions:set(ipv4(ttl=1/0))", "bad_actions", 1, 13, "set(ipv4(...)) sets nothing"},
    {"actions:set()", "bad_actions", 1, 13, "expected a match field, found ')'"},
    {"actions:set(eth(src=00:00:00:00:00:01),ipv4(ttl=1))", "bad_actions", 1, 39, "expected ')', found ','"},
    {"actions:set(ipv4(ttl=256))", "bad_actions", 1, 22, "ttl '256' is too large"},
    {"actions:dec_ttl(1)", "bad_actions", 1, 17, "expected le_1(...) in dec_ttl(...)"},
    {"actions:dec_ttl(le_1(foo(1)))", "bad_actions", 1, 22, "unknown action 'foo'"},
    {"actions:upcall(len=1)", "bad_actions", 1, 16, "expected max_len= or cookie= in upcall(...)"},
    {"actions:upcall(max_len=1,max_len=2)", "bad_actions", 1, 26, "max_len appears twice"},
    {"actions:userspace(1)", "bad_actions", 1, 19, "unknown argument '1' of userspace(...)"},
    {"actions:userspace(pid=x)", "bad_actions", 1, 19, "expected pid=NUMBER in userspace(...)"},
    {"actions:recirc(0)", "bad_actions", 1, 16, "recirc(0) would start over"},
    {"actions:recirc(x)", "bad_actions", 1, 16, "expected recirculation id as a number, found 'x'"},
    {"actions:ct(comit)", "bad_actions", 1, 12, "unknown argument 'comit' of ct(...); did you mean 'commit'?"},
    {"actions:ct(zone=65536)", "bad_actions", 1, 17, "zone '65536' is too large"},
    {"actions:ct(mark=1)", "bad_actions", 1, 9, "ct needs commit to set a mark or label"},
    {"actions:ct(commit,mark=1/0)", "bad_actions", 1, 19, "a mark with mask 0 sets nothing"},
    {"actions:ct(commit,nat(src=1.1.1.1))", "bad_actions", 1, 19, "ct(nat) is not supported"},
    {"actions:ct(commit,helper=ftp)", "bad_actions", 1, 19, "ct(helper) is not supported"},
    {"actions:tnl_pop(p1)", "unknown_port", 1, 17, "unknown port 'p1'"},
    {"actions:trunc(13)", "bad_actions", 1, 15, "trunc leaves at least the Ethernet header: 14 bytes"},
    {"actions:99999999999", "bad_actions", 1, 9, "port '99999999999' is too large"},
};
INSTANTIATE_TEST_SUITE_P(Actions, WrongFlow, testing::ValuesIn(kActions));

#define HEADER(size, type, eth_type, proto, tunnel)                                                                  \
  "actions:tnl_push(tnl_port(4),header(size=" size ",type=" type                                                     \
  ",eth(dst=00:00:00:00:00:01,src=00:00:00:00:00:02,dl_type=" eth_type "),ipv4(src=1.1.1.1,dst=1.1.1.2,proto=" proto \
  ",tos=0,ttl=64,frag=0)," tunnel "),out_port(1))"
constexpr Wrong kTunnels[] = {
    {"actions:tnl_push(4)", "bad_actions", 1, 18, "expected tnl_port(...) in tnl_push(...)"},
    {HEADER("51", "4", "0x0800", "17", "udp(src=0,dst=4789,csum=0),vxlan(flags=0x8000000,vni=1)"), "bad_actions", 1, 37,
     "size=51, but these headers have 50 bytes"},
    {HEADER("50", "9", "0x0800", "17", "udp(src=0,dst=4789,csum=0),vxlan(flags=0x8000000,vni=1)"), "bad_actions", 1, 45,
     "tunnel type must be 3 (gre), 4 (vxlan), 5 (geneve) or 109"},
    {HEADER("50", "4", "0x0806", "17", "udp(src=0,dst=4789,csum=0),vxlan(flags=0x8000000,vni=1)"), "bad_actions", 1,
     100, "dl_type must be 0x0800 or 0x86dd"},
    {HEADER("50", "4", "0x0800", "47", "udp(src=0,dst=4789,csum=0),vxlan(flags=0x8000000,vni=1)"), "bad_actions", 1,
     145, "a tunnel of type 4 has proto=17"},
    {HEADER("50", "4", "0x0800", "17", "udp(src=0,dst=4789,csum=0),vxlan(flags=0x8000000,vni=0x1000000)"),
     "bad_actions", 1, 228, "vni '0x1000000' is too large"},
    {HEADER("50", "5", "0x0800", "17", "udp(src=0,dst=6081,csum=0),geneve(vni=1,options({class=1}))"), "bad_actions", 1,
     214, "Geneve options are not supported"},
    {HEADER("38", "3", "0x0800", "47", "gre((flags=0x4000,proto=0x6558))"), "bad_actions", 1, 180,
     "GRE flags other than"},
    {HEADER("38", "109", "0x0800", "47", "gre((flags=0,proto=0x6558))"), "bad_actions", 1, 45,
     "gre over IPv4 has type=3, over IPv6 type=109"},
    {"actions:tnl_push(tnl_port(4),header(size=1,type=4,raw=0x1),out_port(1))", "bad_actions", 1, 55,
     "expected the header's bytes as 0x and hexadecimal digits"},
};
INSTANTIATE_TEST_SUITE_P(Tunnels, WrongFlow, testing::ValuesIn(kTunnels));

TEST(Explain, PointsWithACaret) {
  const std::string text = "in_port(1),eth_type(0x0800),ipv5(src=1.2.3.4)";
  EXPECT_EQ(Explain(ParseMatch(text).error(), text),
            "line 1, column 29: unknown match field 'ipv5'; did you mean 'ipv4'?\n"
            "in_port(1),eth_type(0x0800),ipv5(src=1.2.3.4)\n"
            "                            ^");
}

TEST(Explain, ShowsTheLineThatItIsAbout) {
  const std::string text = "in_port(1),\r\n\tipv5(src=1.2.3.4),\neth_type(1)";
  EXPECT_EQ(Explain(ParseMatch(text).error(), text),
            "line 2, column 2: unknown match field 'ipv5'; did you mean 'ipv4'?\n"
            "\tipv5(src=1.2.3.4),\n"
            "\t^");
}

TEST(Explain, CutsLongLinesAroundTheColumn) {
  std::string text = "in_port(1)";
  text.append(400, ' ').append(",ipv5(src=1.2.3.4)").append(400, ' ');
  const std::string shown = Explain(ParseMatch(text).error(), text);
  const size_t line = shown.find('\n') + 1;
  const size_t caret_line = shown.find('\n', line) + 1;
  EXPECT_LT(caret_line - line, 140u);
  EXPECT_EQ(shown.find("ipv5", line) - line, shown.find('^') - caret_line) << shown;
}

TEST(Explain, CountsBytesButAlignsCharacters) {
  const std::string text = "in_port(\xc3\xa4)";  // one character, two bytes
  const Result<Match> match = ParseMatch(text);
  ASSERT_FALSE(match);
  EXPECT_EQ(match.error().detail, "unknown port '\\xc3\\xa4'");
  Error later{"bad_match", "here", 1, 11};
  EXPECT_EQ(Explain(later, text), "line 1, column 11: here\nin_port(\xc3\xa4)\n         ^");
}

TEST(Explain, WithoutAPositionOnlyTheSentence) {
  EXPECT_EQ(Explain(Error{"bad_match", "packed match: cut off", 0, 0}, ""), "packed match: cut off");
  EXPECT_EQ(Explain(Error{"bad_match", "beyond", 7, 9}, "one line"), "line 7, column 9: beyond\n\n^");
}

}  // namespace
}  // namespace sluice
