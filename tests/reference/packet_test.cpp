// SPDX-License-Identifier: Apache-2.0
#include "reference/packet.h"

#include <gtest/gtest.h>

namespace sluice::reference {
namespace {

PacketSpec Named(const std::string& name) {
  for (const auto& [n, spec] : NamedPackets()) {
    if (n == name) return spec;
  }
  throw std::out_of_range(name);
}

// The bytes as scapy 2.5 makes them from the same fields.
TEST(Build, TcpOverIpv4) {
  EXPECT_EQ(Hex(Build(Named("tcp4"))).substr(0, 108),
            "020000000002020000000001"
            "0800"
            "450000421234000040065480"
            "0a0000010a000002"
            "03e80050000003e8000007d050180200ed160000");
}

TEST(Build, UdpOverIpv6InTwoTags) {
  EXPECT_EQ(Hex(Build(Named("udp6_qinq"))).substr(0, 140),
            "020000000002020000000001"
            "88a80064"
            "81000005"
            "86dd"
            "6000000000221140"
            "fd000000000000000000000000000001fd000000000000000000000000000002"
            "03e80035002264df");
}

TEST(Build, ChecksumsOfSctpAndIcmp) {
  EXPECT_EQ(Hex(Build(Named("sctp4"))).substr(68, 24), "03e807d00000000158636e6f");
  EXPECT_EQ(Hex(Build(Named("icmp4"))).substr(68, 16), "08005b5400010001");
  EXPECT_EQ(Hex(Build(Named("icmp6"))).substr(108, 16), "8000e8f200010001");
}

TEST(Build, UdpWithoutChecksumSaysZero) {
  EXPECT_EQ(Hex(Build(Named("udp4_no_checksum"))).substr(68, 16), "03e8003500220000");
  EXPECT_EQ(Hex(Build(Named("udp6_no_checksum"))).substr(108, 16), "03e8003500220000");
}

// The sum is over the final destination, fd00::9: 7 more than of what the header has.
TEST(Build, RoutingHeaderWithSegmentsLeft) {
  EXPECT_EQ(Hex(Build(Named("udp6"))).substr(108, 16), "03e80035002264df");
  EXPECT_EQ(Hex(Build(Named("udp6_routed"))).substr(108, 8), "11020101");
  EXPECT_EQ(Hex(Build(Named("udp6_routed"))).substr(156, 16), "03e80035002264d8");
}

TEST(Build, PaddingAndLengthsThatLie) {
  const Bytes plain = Build(Named("udp4"));
  Bytes padded = Build(Named("udp4_padding"));
  ASSERT_EQ(padded.size(), plain.size() + 18);
  padded.resize(plain.size());
  EXPECT_EQ(padded, plain);
  EXPECT_EQ(Hex(Build(Named("udp4_short_length"))).substr(32, 4), "0015");
  EXPECT_EQ(Hex(Build(Named("sctp6_short_length"))).substr(36, 4), "0014");
}

TEST(Build, SameSeedSameFrame) {
  Rng one(7);
  Rng other(7);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(Build(RandomPacket(one)), Build(RandomPacket(other)));
}

TEST(Damage, ChangesAndNeverGrows) {
  Rng rng(7);
  int changed = 0;
  for (int i = 0; i < 1000; ++i) {
    const Bytes frame = Build(RandomPacket(rng));
    const Bytes damaged = Damage(frame, rng);
    EXPECT_LE(damaged.size(), frame.size());
    changed += damaged != frame ? 1 : 0;
  }
  EXPECT_GT(changed, 800);
}

}  // namespace
}  // namespace sluice::reference
