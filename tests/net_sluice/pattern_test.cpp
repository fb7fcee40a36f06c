// SPDX-License-Identifier: Apache-2.0
// Which packets a pattern takes: every kind of packet there is, against what the software path says of it.
#include <functional>

#include "rig.h"
#include "soft/packet.h"

namespace sluice::netsluice {
namespace {

using soft::Layer3;
using soft::Layer4;

struct Parsed : soft::Parsed {
  Bytes frame;
};

uint64_t Value(const Parsed& packet, Field field) {
  uint64_t value = 0;
  for (size_t i = 0; i < Info(field).size; ++i) value = value << 8 | packet.key[Info(field).offset + i];
  return value;
}
bool Has(const Parsed& packet, Field field) { return (packet.present >> static_cast<size_t>(field) & 1) != 0; }

// Matches all packets of which `takes` is true and which are not malformed, and no others.
struct PatternCase {
  std::string name;
  std::function<void(RuleSpec&)> pattern;
  std::function<bool(const Parsed&)> takes;
};

void PrintTo(const PatternCase& one, std::ostream* out) { *out << one.name; }

template <typename T, typename Fill>
T Made(Fill fill) {
  T item{};
  fill(item);
  return item;
}

bool Ipv4(const Parsed& p) { return p.headers.l3 == Layer3::kIpv4; }
bool Ipv6(const Parsed& p) { return p.headers.l3 == Layer3::kIpv6; }
bool Tagged(const Parsed& p) { return Has(p, Field::vlan_tci); }

RuleSpec& TcpFlags(RuleSpec& rule, uint8_t flags, uint8_t mask) {
  rte_flow_item_tcp spec{};
  rte_flow_item_tcp bits{};
  spec.hdr.tcp_flags = flags;
  bits.hdr.tcp_flags = mask;
  return rule.Item(RTE_FLOW_ITEM_TYPE_TCP, spec, bits);
}

const std::vector<PatternCase>& Cases() {
  static const std::vector<PatternCase> kCases = {
      {"nothing", [](RuleSpec&) {}, [](const Parsed&) { return true; }},
      {"eth", [](RuleSpec& r) { r.Eth(); }, [](const Parsed&) { return true; }},
      {"void_eth", [](RuleSpec& r) { r.Item(RTE_FLOW_ITEM_TYPE_VOID).Eth(); }, [](const Parsed&) { return true; }},
      {"eth_type_ipv4", [](RuleSpec& r) { r.EthType(0x0800); },
       [](const Parsed& p) { return Value(p, Field::eth_type) == 0x0800; }},
      {"eth_type_ipv4_then_ipv4", [](RuleSpec& r) { r.EthType(0x0800).Ipv4(); },
       [](const Parsed& p) { return Value(p, Field::eth_type) == 0x0800; }},
      {"eth_type_tag", [](RuleSpec& r) { r.EthType(0x88a8); },
       [](const Parsed& p) { return Value(p, Field::eth_type) == 0x88a8; }},
      {"eth_dst_masked",
       [](RuleSpec& r) {
         r.Item(RTE_FLOW_ITEM_TYPE_ETH, Made<rte_flow_item_eth>([](auto& i) { i.dst.addr_bytes[0] = 0x02; }),
                Made<rte_flow_item_eth>([](auto& i) { i.dst.addr_bytes[0] = 0x02; }));
       },
       [](const Parsed& p) { return (Value(p, Field::eth_dst) >> 40 & 0x02) != 0; }},
      {"eth_has_vlan",
       [](RuleSpec& r) {
         r.Item(RTE_FLOW_ITEM_TYPE_ETH, Made<rte_flow_item_eth>([](auto& i) { i.has_vlan = 1; }),
                Made<rte_flow_item_eth>([](auto& i) { i.has_vlan = 1; }));
       },
       Tagged},
      {"eth_has_no_vlan",
       [](RuleSpec& r) {
         r.Item(RTE_FLOW_ITEM_TYPE_ETH, Made<rte_flow_item_eth>([](auto&) {}),
                Made<rte_flow_item_eth>([](auto& i) { i.has_vlan = 1; }));
       },
       [](const Parsed& p) { return !Tagged(p); }},
      {"vlan", [](RuleSpec& r) { r.Eth().Item(RTE_FLOW_ITEM_TYPE_VLAN); }, Tagged},
      {"vlan_first", [](RuleSpec& r) { r.Vid(5); },
       [](const Parsed& p) { return Tagged(p) && (Value(p, Field::vlan_tci) & 0xfff) == 5; }},
      {"vlan_type_ipv4",
       [](RuleSpec& r) {
         r.Eth().Item(RTE_FLOW_ITEM_TYPE_VLAN,
                      Made<rte_flow_item_vlan>([](auto& i) { i.inner_type = RTE_BE16(0x0800); }),
                      Made<rte_flow_item_vlan>([](auto& i) { i.inner_type = 0xffff; }));
       },
       [](const Parsed& p) { return Value(p, Field::vlan_eth_type) == 0x0800; }},
      {"vlan_default_mask",  // the VID alone
       [](RuleSpec& r) {
         r.Eth().Item(RTE_FLOW_ITEM_TYPE_VLAN, Made<rte_flow_item_vlan>([](auto& i) { i.tci = RTE_BE16(5); }));
       },
       [](const Parsed& p) { return Tagged(p) && (Value(p, Field::vlan_tci) & 0xfff) == 5; }},
      {"vlan_drop_eligible",
       [](RuleSpec& r) {
         r.Eth().Item(RTE_FLOW_ITEM_TYPE_VLAN, Made<rte_flow_item_vlan>([](auto& i) { i.tci = RTE_BE16(0x7005); }),
                      Made<rte_flow_item_vlan>([](auto& i) { i.tci = 0xffff; }));
       },
       [](const Parsed& p) { return Tagged(p) && p.frame[14] == 0x70 && p.frame[15] == 0x05; }},
      {"vlan_has_more",
       [](RuleSpec& r) {
         r.Eth().Item(RTE_FLOW_ITEM_TYPE_VLAN, Made<rte_flow_item_vlan>([](auto& i) { i.has_more_vlan = 1; }),
                      Made<rte_flow_item_vlan>([](auto& i) { i.has_more_vlan = 1; }));
       },
       [](const Parsed& p) { return Has(p, Field::cvlan_tci); }},
      {"vlan_has_no_more",
       [](RuleSpec& r) {
         r.Eth().Item(RTE_FLOW_ITEM_TYPE_VLAN, Made<rte_flow_item_vlan>([](auto&) {}),
                      Made<rte_flow_item_vlan>([](auto& i) { i.has_more_vlan = 1; }));
       },
       [](const Parsed& p) { return Tagged(p) && !Has(p, Field::cvlan_tci); }},
      {"two_vlans", [](RuleSpec& r) { r.Eth().Vid(100).Vid(5).Ipv4(); },
       [](const Parsed& p) {
         return Ipv4(p) && (Value(p, Field::vlan_tci) & 0xfff) == 100 && (Value(p, Field::cvlan_tci) & 0xfff) == 5;
       }},
      {"ipv4_any_tags", [](RuleSpec& r) { r.Eth().Ipv4(); }, Ipv4},
      {"ipv4_alone", [](RuleSpec& r) { r.Ipv4(); }, Ipv4},
      {"ipv4_default_mask",  // addresses
       [](RuleSpec& r) {
         r.Eth().Item(RTE_FLOW_ITEM_TYPE_IPV4, Made<rte_flow_item_ipv4>([](auto& i) {
                        i.hdr.src_addr = RTE_BE32(0x0a000001);
                        i.hdr.dst_addr = RTE_BE32(0x0a000002);
                        i.hdr.time_to_live = 3;  // not in the mask
                      }));
       },
       [](const Parsed& p) {
         return Ipv4(p) && Value(p, Field::ipv4_src) == 0x0a000001 && Value(p, Field::ipv4_dst) == 0x0a000002;
       }},
      {"ipv4_proto",
       [](RuleSpec& r) {
         r.Eth().Item(RTE_FLOW_ITEM_TYPE_IPV4, Made<rte_flow_item_ipv4>([](auto& i) { i.hdr.next_proto_id = 17; }),
                      Made<rte_flow_item_ipv4>([](auto& i) { i.hdr.next_proto_id = 0xff; }));
       },
       [](const Parsed& p) { return Ipv4(p) && Value(p, Field::ipv4_proto) == 17; }},
      {"ipv4_not_a_fragment",
       [](RuleSpec& r) {
         r.Eth().Item(RTE_FLOW_ITEM_TYPE_IPV4, Made<rte_flow_item_ipv4>([](auto&) {}),
                      Made<rte_flow_item_ipv4>([](auto& i) { i.hdr.fragment_offset = RTE_BE16(0x3fff); }));
       },
       [](const Parsed& p) { return Ipv4(p) && Value(p, Field::ipv4_frag) == 0; }},
      {"ipv4_first_fragment",
       [](RuleSpec& r) {
         r.Eth().Item(RTE_FLOW_ITEM_TYPE_IPV4,
                      Made<rte_flow_item_ipv4>([](auto& i) { i.hdr.fragment_offset = RTE_BE16(0x2000); }),
                      Made<rte_flow_item_ipv4>([](auto& i) { i.hdr.fragment_offset = RTE_BE16(0x3fff); }));
       },
       [](const Parsed& p) { return Ipv4(p) && Value(p, Field::ipv4_frag) == 1; }},
      {"ipv6", [](RuleSpec& r) { r.Eth().Ipv6(); }, Ipv6},
      {"ipv6_proto_behind_extensions",
       [](RuleSpec& r) {
         r.Eth().Item(RTE_FLOW_ITEM_TYPE_IPV6, Made<rte_flow_item_ipv6>([](auto& i) { i.hdr.proto = 17; }),
                      Made<rte_flow_item_ipv6>([](auto& i) { i.hdr.proto = 0xff; }));
       },
       [](const Parsed& p) { return Ipv6(p) && Value(p, Field::ipv6_proto) == 17; }},
      {"ipv6_has_no_fragment_header",
       [](RuleSpec& r) {
         r.Eth().Item(RTE_FLOW_ITEM_TYPE_IPV6, Made<rte_flow_item_ipv6>([](auto&) {}),
                      Made<rte_flow_item_ipv6>([](auto& i) { i.has_frag_ext = 1; }));
       },
       [](const Parsed& p) { return Ipv6(p) && p.frame[p.headers.l3_offset + 6] != 44; }},
      {"ipv6_first_fragment",
       [](RuleSpec& r) {
         r.Eth().Ipv6().Item(RTE_FLOW_ITEM_TYPE_IPV6_FRAG_EXT,
                             Made<rte_flow_item_ipv6_frag_ext>([](auto& i) { i.hdr.frag_data = RTE_BE16(1); }),
                             Made<rte_flow_item_ipv6_frag_ext>([](auto& i) { i.hdr.frag_data = RTE_BE16(0xfff9); }));
       },
       [](const Parsed& p) { return Ipv6(p) && Value(p, Field::ipv6_frag) == 1; }},
      {"tcp", [](RuleSpec& r) { r.Eth().Ipv4().Tcp(); },
       [](const Parsed& p) { return Ipv4(p) && p.headers.l4 == Layer4::kTcp; }},
      {"tcp_over_anything", [](RuleSpec& r) { r.Tcp(); }, [](const Parsed& p) { return p.headers.l4 == Layer4::kTcp; }},
      {"tcp_flags", [](RuleSpec& r) { TcpFlags(r.Eth().Ipv4(), 0x02, 0x12); },
       [](const Parsed& p) {
         return Ipv4(p) && p.headers.l4 == Layer4::kTcp && (Value(p, Field::tcp_flags) & 0x12) == 0x02;
       }},
      {"udp", [](RuleSpec& r) { r.Eth().Ipv6().Udp(); },
       [](const Parsed& p) { return Ipv6(p) && p.headers.l4 == Layer4::kUdp; }},
      {"udp_dst", [](RuleSpec& r) { r.Eth().Ipv4().UdpDst(53); },
       [](const Parsed& p) { return Ipv4(p) && Value(p, Field::udp_dst) == 53; }},
      {"udp_dst_of_another", [](RuleSpec& r) { r.Eth().Ipv4().UdpDst(54); }, [](const Parsed&) { return false; }},
      {"sctp",
       [](RuleSpec& r) {
         r.Eth().Ipv4().Item(RTE_FLOW_ITEM_TYPE_SCTP,
                             Made<rte_flow_item_sctp>([](auto& i) { i.hdr.dst_port = RTE_BE16(2000); }),
                             Made<rte_flow_item_sctp>([](auto& i) { i.hdr.dst_port = 0xffff; }));
       },
       [](const Parsed& p) { return Ipv4(p) && Value(p, Field::sctp_dst) == 2000; }},
      {"icmp",
       [](RuleSpec& r) {
         r.Eth().Ipv4().Item(RTE_FLOW_ITEM_TYPE_ICMP, Made<rte_flow_item_icmp>([](auto& i) { i.hdr.icmp_type = 8; }));
       },
       [](const Parsed& p) { return p.headers.l4 == Layer4::kIcmp && Value(p, Field::icmp_type) == 8; }},
      {"icmp6",
       [](RuleSpec& r) {
         r.Eth().Ipv6().Item(RTE_FLOW_ITEM_TYPE_ICMP6, Made<rte_flow_item_icmp6>([](auto& i) { i.type = 128; }));
       },
       [](const Parsed& p) { return p.headers.l4 == Layer4::kIcmpv6 && Value(p, Field::icmpv6_type) == 128; }},
      {"arp", [](RuleSpec& r) { r.Eth().Item(RTE_FLOW_ITEM_TYPE_ARP_ETH_IPV4); },
       [](const Parsed& p) { return p.headers.l3 == Layer3::kArp; }},
      {"arp_only_by_type",
       [](RuleSpec& r) {
         r.EthType(0x0806).Item(RTE_FLOW_ITEM_TYPE_ARP_ETH_IPV4,
                                Made<rte_flow_item_arp_eth_ipv4>([](auto& i) { i.tpa = RTE_BE32(0x0a000002); }),
                                Made<rte_flow_item_arp_eth_ipv4>([](auto& i) { i.tpa = 0xffffffff; }));
       },
       [](const Parsed& p) { return Value(p, Field::eth_type) == 0x0806 && Value(p, Field::arp_tip) == 0x0a000002; }},
  };
  return kCases;
}

class NetSluicePattern : public ::testing::TestWithParam<PatternCase> {};

TEST_P(NetSluicePattern, TakesTheseAndNoOthers) {
  const Wired wired;
  RuleSpec rule;
  GetParam().pattern(rule);
  ASSERT_NE(rule.Mark(77).Create(wired.nic), nullptr) << rule.message();
  size_t taken = 0;
  for (const auto& [name, spec] : reference::NamedPackets()) {
    const Bytes frame = reference::Build(spec);
    const Parsed packet{soft::Parse(frame, 0), frame};
    const bool takes = packet.malformed == soft::Malformed::kNo && GetParam().takes(packet);
    const auto received = wired.Through(frame);
    ASSERT_EQ(received.size(), 1u) << name;
    EXPECT_EQ(received[0].mark, takes ? std::optional<uint32_t>(77) : std::nullopt) << name;
    EXPECT_EQ(received[0].frame, frame) << name;
    taken += takes ? 1 : 0;
  }
  EXPECT_EQ(taken == 0, GetParam().name == "udp_dst_of_another") << "the case tests nothing";
}

INSTANTIATE_TEST_SUITE_P(All, NetSluicePattern, ::testing::ValuesIn(Cases()),
                         [](const auto& test) { return test.param.name; });

TEST(NetSluiceMalformed, NoRuleTakesAMalformedFrame) {
  const Wired wired;
  RuleSpec rule;
  ASSERT_NE(rule.Drop().Create(wired.nic), nullptr) << rule.message();
  Bytes frame = Named("udp4");
  EXPECT_TRUE(wired.Through(frame).empty());
  frame[14] = 0x4f;  // a header of 60 bytes, of which ...
  frame.resize(40);  // ... there are fewer
  const auto received = wired.Through(frame);
  ASSERT_EQ(received.size(), 1u);
  EXPECT_EQ(received[0].frame, frame);
  EXPECT_EQ(wired.nic.Xstats().at("rx_malformed"), 1u);
}

struct BadPattern {
  std::string name;
  std::function<void(RuleSpec&)> pattern;
  int code;
  rte_flow_error_type type;
  std::string says;
};

void PrintTo(const BadPattern& one, std::ostream* out) { *out << one.name; }

const rte_flow_item_ipv4 kNothing{};

const std::vector<BadPattern>& BadPatterns() {
  static const std::vector<BadPattern> kCases = {
      {"last",
       [](RuleSpec& r) {
         r.Eth().RawItem({RTE_FLOW_ITEM_TYPE_IPV4, &kNothing, &kNothing, &kNothing});
       },
       ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM_LAST, "ipv4"},
      {"mask_without_spec",
       [](RuleSpec& r) {
         r.Eth().RawItem({RTE_FLOW_ITEM_TYPE_IPV4, nullptr, nullptr, &kNothing});
       },
       EINVAL, RTE_FLOW_ERROR_TYPE_ITEM_SPEC, "ipv4"},
      {"gap", [](RuleSpec& r) { r.Eth().Tcp(); }, EINVAL, RTE_FLOW_ERROR_TYPE_ITEM, "tcp"},
      {"order", [](RuleSpec& r) { r.Ipv4().Eth(); }, EINVAL, RTE_FLOW_ERROR_TYPE_ITEM, "eth"},
      {"vlan_after_ip", [](RuleSpec& r) { r.Eth().Ipv4().Vid(1); }, EINVAL, RTE_FLOW_ERROR_TYPE_ITEM, "vlan"},
      {"three_vlans", [](RuleSpec& r) { r.Eth().Vid(1).Vid(2).Vid(3); }, ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM, "vlan"},
      {"unknown_item", [](RuleSpec& r) { r.Eth().Item(RTE_FLOW_ITEM_TYPE_MPLS); }, ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM,
       "mpls"},
      {"vxlan_after_tcp", [](RuleSpec& r) { r.Eth().Ipv4().Tcp().Item(RTE_FLOW_ITEM_TYPE_VXLAN); }, EINVAL,
       RTE_FLOW_ERROR_TYPE_ITEM, "vxlan"},
      {"fragment_header_of_ipv4", [](RuleSpec& r) { r.Eth().Ipv4().Item(RTE_FLOW_ITEM_TYPE_IPV6_FRAG_EXT); }, EINVAL,
       RTE_FLOW_ERROR_TYPE_ITEM, "ipv6_frag_ext"},
      {"other_ipv6_extensions",
       [](RuleSpec& r) {
         r.Eth().Item(RTE_FLOW_ITEM_TYPE_IPV6, rte_flow_item_ipv6{},
                      Made<rte_flow_item_ipv6>([](auto& i) { i.has_hop_ext = 1; }));
       },
       ENOTSUP, RTE_FLOW_ERROR_TYPE_ITEM_MASK, "ipv6"},
      {"port_of_an_ingress_rule",
       [](RuleSpec& r) { r.Item(RTE_FLOW_ITEM_TYPE_REPRESENTED_PORT, rte_flow_item_ethdev{0}).Eth(); }, EINVAL,
       RTE_FLOW_ERROR_TYPE_ITEM, "transfer"},
      {"port_of_nobody",
       [](RuleSpec& r) { r.Transfer().Item(RTE_FLOW_ITEM_TYPE_REPRESENTED_PORT, rte_flow_item_ethdev{31}); }, EINVAL,
       RTE_FLOW_ERROR_TYPE_ITEM_SPEC, "31"},
  };
  return kCases;
}

class NetSluiceBadPattern : public ::testing::TestWithParam<BadPattern> {};

TEST_P(NetSluiceBadPattern, IsRefusedByName) {
  const Wired wired;
  RuleSpec rule;
  GetParam().pattern(rule);
  rule.Mark(1);
  EXPECT_EQ(rule.Validate(wired.nic), -GetParam().code);
  EXPECT_EQ(rule.Create(wired.nic), nullptr);
  EXPECT_EQ(rule.error().type, GetParam().type);
  EXPECT_NE(rule.message().find(GetParam().says), std::string::npos) << rule.message();
  EXPECT_EQ(wired.nic.Xstats().at("flow_rules"), 0u);
}

INSTANTIATE_TEST_SUITE_P(All, NetSluiceBadPattern, ::testing::ValuesIn(BadPatterns()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace sluice::netsluice
