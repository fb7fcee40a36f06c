// SPDX-License-Identifier: Apache-2.0
// ct: states of packets, what is entered into the kernel's table, timeouts, marks, zones.
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "frames.h"
#include "pass_rig.h"
#include "support/netns.h"

namespace sluice::xdp {
namespace {

constexpr uint32_t kNew = SLUICE_CT_TRK | SLUICE_CT_NEW;
constexpr uint32_t kEst = SLUICE_CT_TRK | SLUICE_CT_EST;
constexpr uint32_t kReply = kEst | SLUICE_CT_RPL;
constexpr uint32_t kRelated = SLUICE_CT_TRK | SLUICE_CT_REL;
constexpr uint32_t kRelatedReply = kRelated | SLUICE_CT_RPL;
constexpr uint32_t kInvalid = SLUICE_CT_TRK | SLUICE_CT_INV;

constexpr uint16_t kFin = 1, kSyn = 2, kRst = 4, kAck = 16;

// A and B, as hosts 1 and 2.
reference::PacketSpec Between(bool ipv6, int from, int to) {
  reference::PacketSpec spec;
  spec.src = {2, 0, 0, 0, 0, static_cast<uint8_t>(from)};
  spec.dst = {2, 0, 0, 0, 0, static_cast<uint8_t>(to)};
  if (ipv6) {
    reference::Ipv6Spec ip;
    ip.src[0] = ip.dst[0] = 0xfd;
    ip.src[15] = static_cast<uint8_t>(from);
    ip.dst[15] = static_cast<uint8_t>(to);
    spec.l3 = ip;
  } else {
    reference::Ipv4Spec ip;
    ip.src = 0x0a000000U + static_cast<uint32_t>(from);
    ip.dst = 0x0a000000U + static_cast<uint32_t>(to);
    spec.l3 = ip;
  }
  return spec;
}

Bytes Tcp(bool ipv6, int from, int to, uint16_t flags) {
  reference::PacketSpec spec = Between(ipv6, from, to);
  reference::TcpSpec tcp;
  tcp.src = static_cast<uint16_t>(1000 + from);
  tcp.dst = static_cast<uint16_t>(1000 + to);
  tcp.flags = flags;
  spec.l4 = tcp;
  return reference::Build(spec);
}

Bytes Udp(bool ipv6, int from, int to) {
  reference::PacketSpec spec = Between(ipv6, from, to);
  spec.l4 = reference::UdpSpec{static_cast<uint16_t>(1000 + from), static_cast<uint16_t>(1000 + to), true};
  return reference::Build(spec);
}

Bytes Icmp(bool ipv6, int from, int to, uint8_t type, uint16_t id = 7) {
  reference::PacketSpec spec = Between(ipv6, from, to);
  spec.l4 = reference::IcmpSpec{type, 0};
  Bytes frame = reference::Build(spec);
  Store16(frame, (ipv6 ? 54 : 34) + 4, id);
  return frame;
}

// An ICMP error about `about`, from host 3 to `to`.
Bytes ErrorAbout(bool ipv6, const Bytes& about, int to) {
  Bytes frame = Icmp(ipv6, 3, to, ipv6 ? 1 : 3, 0);
  frame.resize(ipv6 ? 62 : 42);
  frame.insert(frame.end(), about.begin() + 14, about.end());
  if (ipv6) {
    Store16(frame, 18, static_cast<uint16_t>(frame.size() - 54));
  } else {
    Store16(frame, 16, static_cast<uint16_t>(frame.size() - 14));
  }
  return frame;
}

class Ct : public testing::TestWithParam<bool> {
 protected:
  static bool ipv6() { return GetParam(); }

  void SetUp() override {
    if (!rig_.passes->why_no_ct().empty()) GTEST_SKIP() << rig_.passes->why_no_ct();
    for (const uint32_t state : {0U, kNew, kEst, kReply, kRelated, kRelatedReply, kInvalid}) {
      rig_.Later("recirc_id(0x1),ct_state(" + std::to_string(state) + ")", {SLUICE_ACTION_OUTPUT, 2}, 1000 + state);
    }
    Use(MakeStep(0, SLUICE_ACTION_RECIRC, 1));
  }

  // What all packets go through from now on.
  void Use(const sluice_step& step) {
    rig_.first->Flush();
    rig_.First("", {SLUICE_ACTION_CT, rig_.Step(step)});
  }
  void Commit(uint32_t flags = 0, uint32_t mark = 0, uint16_t zone = 0) {
    sluice_step step = MakeStep(SLUICE_STEP_COMMIT | flags, SLUICE_ACTION_RECIRC, 1);
    step.mark = mark;
    step.mark_mask = UINT32_MAX;
    step.zone = zone;
    Use(step);
  }
  // ct_state of a packet; nullopt where no flow takes it.
  std::optional<uint32_t> State(const Bytes& frame) {
    rig_.Taken();
    netns_.Do([&] { rig_.Run(frame); });
    const uint64_t taken = rig_.Taken();
    if (taken < 1000) return std::nullopt;
    return static_cast<uint32_t>(taken - 1000);
  }
  // The lines of the kernel's table that have `text`.
  std::vector<std::string> Listed(const std::string& text = "") {
    std::vector<std::string> lines;
    netns_.Do([&] {
      std::ifstream file("/proc/thread-self/net/nf_conntrack");
      for (std::string line; std::getline(file, line);) {
        if (line.find(text) != std::string::npos) lines.push_back(line);
      }
    });
    return lines;
  }
  // Seconds that the one listed has left.
  int Timeout() {
    const auto lines = Listed();
    EXPECT_EQ(lines.size(), 1);
    if (lines.empty()) return -1;
    std::istringstream line(lines[0]);
    std::string family, proto;
    int number = 0, left = -1;
    line >> family >> number >> proto >> number >> left;
    return left;
  }
  void ExpectTimeout(int seconds) {
    const int left = Timeout();
    EXPECT_GE(left, seconds - 3);
    EXPECT_LE(left, seconds);
  }

  test::Netns netns_;
  PassRig rig_;
};

INSTANTIATE_TEST_SUITE_P(, Ct, testing::Bool(), [](const auto& ipv6) { return ipv6.param ? "ipv6" : "ipv4"; });

TEST_P(Ct, WithoutCommitNothingIsEntered) {
  EXPECT_EQ(State(Tcp(ipv6(), 1, 2, kSyn)), kNew);
  EXPECT_EQ(State(Tcp(ipv6(), 1, 2, kSyn)), kNew);
  EXPECT_EQ(State(Udp(ipv6(), 1, 2)), kNew);
  EXPECT_TRUE(Listed().empty());
}

TEST_P(Ct, ATcpConnectionsLife) {
  Commit();
  EXPECT_EQ(State(Tcp(ipv6(), 1, 2, kSyn)), kNew);
  EXPECT_EQ(rig_.PassGrown(SLUICE_COUNT_ct_committed), 1);
  ASSERT_EQ(Listed("[UNREPLIED]").size(), 1);
  ExpectTimeout(120);
  EXPECT_EQ(State(Tcp(ipv6(), 1, 2, kSyn)), kNew) << "sent once more";
  EXPECT_EQ(State(Tcp(ipv6(), 2, 1, kSyn | kAck)), kReply);
  EXPECT_TRUE(Listed("[UNREPLIED]").empty());
  ExpectTimeout(60);
  EXPECT_EQ(State(Tcp(ipv6(), 1, 2, kAck)), kEst);
  EXPECT_EQ(Listed("[ASSURED]").size(), 1);
  ExpectTimeout(432000);
  EXPECT_EQ(State(Tcp(ipv6(), 2, 1, kAck)), kReply);
  ExpectTimeout(432000);
  EXPECT_EQ(State(Tcp(ipv6(), 1, 2, kFin | kAck)), kEst);
  ExpectTimeout(120);
  EXPECT_EQ(State(Tcp(ipv6(), 2, 1, kAck)), kReply);
  EXPECT_EQ(State(Tcp(ipv6(), 2, 1, kFin | kAck)), kReply);
  EXPECT_EQ(State(Tcp(ipv6(), 1, 2, kAck)), kEst);
  ExpectTimeout(120);
  EXPECT_EQ(State(Tcp(ipv6(), 1, 2, kSyn)), kNew) << "the same ports again";
  EXPECT_EQ(Listed("[UNREPLIED]").size(), 1);
  EXPECT_EQ(rig_.PassGrown(SLUICE_COUNT_ct_committed), 1);
}

TEST_P(Ct, AResetEndsItSoon) {
  Commit();
  State(Tcp(ipv6(), 1, 2, kSyn));
  EXPECT_EQ(State(Tcp(ipv6(), 2, 1, kRst | kAck)), kReply);
  EXPECT_EQ(State(Tcp(ipv6(), 2, 1, kAck)), kNew) << "of one that was refused nothing is left";
  State(Tcp(ipv6(), 4, 5, kSyn));
  State(Tcp(ipv6(), 5, 4, kSyn | kAck));
  State(Tcp(ipv6(), 4, 5, kAck));
  EXPECT_EQ(State(Tcp(ipv6(), 4, 5, kRst)), kEst);
  EXPECT_EQ(State(Tcp(ipv6(), 5, 4, kAck)), kReply);
  const auto lines = Listed("[ASSURED]");
  ASSERT_EQ(lines.size(), 1);
  std::istringstream line(lines[0]);
  std::string word;
  int left = -1;
  line >> word >> left >> word >> left >> left;
  EXPECT_LE(left, 10) << "packets that come late do not keep it";
}

TEST_P(Ct, WhatBeginsNoConnectionIsInvalid) {
  Commit();
  for (const uint16_t flags : {kSyn | kAck, kRst | 0, kFin | kAck, 0, kSyn | kFin, kSyn | kRst, kFin | kRst | kAck}) {
    EXPECT_EQ(State(Tcp(ipv6(), 1, 2, static_cast<uint16_t>(flags))), kInvalid) << flags;
  }
  EXPECT_EQ(rig_.PassGrown(SLUICE_COUNT_ct_invalid), 7);
  EXPECT_TRUE(Listed().empty());
  EXPECT_EQ(State(Tcp(ipv6(), 1, 2, kAck)), kNew) << "found in its midst, as with tcp_loose";
  ExpectTimeout(300);
}

TEST_P(Ct, Udp) {
  Commit();
  EXPECT_EQ(State(Udp(ipv6(), 1, 2)), kNew);
  ExpectTimeout(30);
  EXPECT_EQ(State(Udp(ipv6(), 1, 2)), kNew);
  EXPECT_EQ(State(Udp(ipv6(), 2, 1)), kReply);
  EXPECT_TRUE(Listed("[ASSURED]").empty());
  EXPECT_EQ(State(Udp(ipv6(), 1, 2)), kEst);
  EXPECT_EQ(Listed("[ASSURED]").size(), 1);
  ExpectTimeout(120);
  EXPECT_EQ(State(Udp(ipv6(), 3, 1)), kNew) << "another";
}

// A lookup by itself keeps nothing alive; a packet does.
TEST_P(Ct, PacketsKeepAConnection) {
  Commit();
  State(Udp(ipv6(), 1, 2));
  Use(MakeStep(0, SLUICE_ACTION_RECIRC, 1));
  sleep(2);
  EXPECT_LE(Timeout(), 28);
  EXPECT_EQ(State(Udp(ipv6(), 1, 2)), kNew);
  EXPECT_GE(Timeout(), 29) << "without commit, too";
}

TEST_P(Ct, Echo) {
  const uint8_t request = ipv6() ? 128 : 8, reply = ipv6() ? 129 : 0;
  EXPECT_EQ(State(Icmp(ipv6(), 1, 2, request)), kNew);
  EXPECT_EQ(State(Icmp(ipv6(), 2, 1, reply)), kInvalid) << "not committed";
  Commit(SLUICE_STEP_MARK, 5);
  EXPECT_EQ(State(Icmp(ipv6(), 1, 2, request)), kNew);
  EXPECT_EQ(State(Icmp(ipv6(), 2, 1, reply)), kReply);
  EXPECT_EQ(State(Icmp(ipv6(), 1, 2, request)), kEst);
  EXPECT_EQ(State(Icmp(ipv6(), 1, 2, reply)), kInvalid) << "the other way round";
  EXPECT_EQ(State(Icmp(ipv6(), 2, 1, reply, 8)), kInvalid) << "another id";
  EXPECT_EQ(State(Icmp(ipv6(), 1, 2, ipv6() ? 135 : 13)), kInvalid);
}

TEST_P(Ct, ErrorsAreRelated) {
  Commit();
  State(Udp(ipv6(), 1, 2));
  EXPECT_EQ(State(ErrorAbout(ipv6(), Udp(ipv6(), 1, 2), 1)), kRelatedReply);
  EXPECT_EQ(State(ErrorAbout(ipv6(), Udp(ipv6(), 2, 1), 2)), kRelated);
  EXPECT_EQ(State(ErrorAbout(ipv6(), Udp(ipv6(), 1, 2), 2)), kInvalid) << "to somebody else";
  EXPECT_EQ(State(ErrorAbout(ipv6(), Udp(ipv6(), 1, 4), 1)), kInvalid) << "about nothing known";
  EXPECT_EQ(State(ErrorAbout(ipv6(), Tcp(ipv6(), 1, 2, kAck), 1)), kInvalid);
  Bytes cut = ErrorAbout(ipv6(), Udp(ipv6(), 1, 2), 1);
  cut.resize(cut.size() - 28);
  EXPECT_EQ(State(cut), kInvalid);
  EXPECT_EQ(Listed().size(), 1) << "an error enters nothing";
  EXPECT_EQ(Listed("[UNREPLIED]").size(), 1) << "nor is it a reply";
}

TEST_P(Ct, MarksAreTheKernels) {
  Commit(SLUICE_STEP_MARK, 0x12345678);
  rig_.later->Flush();
  rig_.Later("recirc_id(0x1),ct_mark(0x12345678)", {SLUICE_ACTION_OUTPUT, 2}, 1001);
  rig_.Later("recirc_id(0x1),ct_mark(0x123456aa)", {SLUICE_ACTION_OUTPUT, 2}, 1002);
  rig_.Later("recirc_id(0x1),ct_mark(0)", {SLUICE_ACTION_OUTPUT, 2}, 1003);
  EXPECT_EQ(State(Udp(ipv6(), 1, 2)), 1);
  EXPECT_EQ(Listed("mark=" + std::to_string(0x12345678)).size(), 1);
  Use(MakeStep(0, SLUICE_ACTION_RECIRC, 1));
  EXPECT_EQ(State(Udp(ipv6(), 2, 1)), 1);
  EXPECT_EQ(State(ErrorAbout(ipv6(), Udp(ipv6(), 1, 2), 1)), 1);
  EXPECT_EQ(State(Udp(ipv6(), 2, 3)), 3);
  sluice_step step = MakeStep(SLUICE_STEP_COMMIT | SLUICE_STEP_MARK, SLUICE_ACTION_RECIRC, 1);
  step.mark = 0xaa;
  step.mark_mask = 0xff;
  Use(step);
  EXPECT_EQ(State(Udp(ipv6(), 2, 1)), 2);
  EXPECT_EQ(Listed("mark=" + std::to_string(0x123456aa)).size(), 1);
}

TEST_P(Ct, ZonesAreApart) {
  if (!rig_.passes->HasZones()) GTEST_SKIP() << "this kernel's functions know no zones";
  Commit(0, 0, 0);
  State(Udp(ipv6(), 1, 2));
  State(Udp(ipv6(), 2, 1));
  Commit(0, 0, 5);
  EXPECT_EQ(State(Udp(ipv6(), 1, 2)), kNew);
  Commit(0, 0, 65535);
  EXPECT_EQ(State(Udp(ipv6(), 2, 1)), kNew);
  EXPECT_EQ(Listed().size(), 3);
  EXPECT_EQ(Listed("zone=5 ").size(), 1);
  EXPECT_EQ(Listed("zone=65535 ").size(), 1);
  rig_.later->Flush();
  rig_.Later("recirc_id(0x1),ct_zone(0xffff)", {SLUICE_ACTION_OUTPUT, 2}, 1001);
  EXPECT_EQ(State(Udp(ipv6(), 1, 2)), 1);
}

TEST_P(Ct, ForceTurnsAConnectionRound) {
  Commit();
  State(Udp(ipv6(), 1, 2));
  Commit(SLUICE_STEP_FORCE);
  EXPECT_EQ(State(Udp(ipv6(), 1, 2)), kNew) << "this way it is";
  EXPECT_EQ(rig_.PassGrown(SLUICE_COUNT_ct_committed), 1);
  EXPECT_EQ(State(Udp(ipv6(), 2, 1)), kNew);
  EXPECT_EQ(rig_.PassGrown(SLUICE_COUNT_ct_committed), 1);
  EXPECT_EQ(State(Udp(ipv6(), 1, 2)), kNew) << "and round again";
}

TEST_P(Ct, ClearForgets) {
  Commit(SLUICE_STEP_MARK, 3);
  rig_.later->Flush();
  const uint32_t clear = rig_.Step(MakeStep(SLUICE_STEP_CT_CLEAR, SLUICE_ACTION_RECIRC, 2));
  rig_.Later("recirc_id(0x1),ct_state(0x21),ct_mark(3)", {SLUICE_ACTION_CT, clear}, 1);
  rig_.Later("recirc_id(0x2),ct_state(0),ct_mark(0),ct_zone(0)", {SLUICE_ACTION_OUTPUT, 2}, 2);
  netns_.Do([&] { EXPECT_EQ(rig_.Run(Udp(ipv6(), 1, 2)).verdict, XDP_REDIRECT); });
  EXPECT_EQ(rig_.PassGrown(SLUICE_COUNT_output), 1);
}

// Steps may end as flows do.
TEST_P(Ct, AStepsOwnTerminal) {
  Use(MakeStep(SLUICE_STEP_COMMIT, SLUICE_ACTION_OUTPUT, 3));
  netns_.Do([&] { EXPECT_EQ(rig_.Run(Udp(ipv6(), 1, 2)).verdict, XDP_REDIRECT); });
  EXPECT_EQ(rig_.PassGrown(SLUICE_COUNT_output), 1);
  Use(MakeStep(SLUICE_STEP_COMMIT, SLUICE_ACTION_DROP, 0));
  netns_.Do([&] { EXPECT_EQ(rig_.Run(Udp(ipv6(), 1, 3)).verdict, XDP_DROP); });
  EXPECT_EQ(rig_.PassGrown(SLUICE_COUNT_drop), 1);
  EXPECT_EQ(Listed().size(), 2);
}

TEST_P(Ct, WhatIsNotTracked) {
  Commit();
  reference::PacketSpec spec = Between(ipv6(), 1, 2);
  spec.l4 = reference::SctpSpec{1, 2};
  EXPECT_EQ(State(reference::Build(spec)), kInvalid);
  spec = {};
  spec.l3 = reference::ArpSpec{};
  EXPECT_EQ(State(reference::Build(spec)), 0);
  EXPECT_EQ(rig_.PassGrown(SLUICE_COUNT_ct_untracked), 1);
  spec = Between(ipv6(), 1, 2);
  spec.l4 = reference::UdpSpec{1, 2, true};
  if (ipv6()) {
    std::get<reference::Ipv6Spec>(spec.l3).extensions.emplace_back().type = 44;
    std::get<reference::Ipv6Spec>(spec.l3).extensions[0].fragment_offset = 4;
  } else {
    std::get<reference::Ipv4Spec>(spec.l3).fragment_offset = 4;
  }
  EXPECT_EQ(State(reference::Build(spec)), kInvalid) << "a later fragment";
  EXPECT_TRUE(Listed().empty());
}

// The limit is one for all namespaces of a kernel.
TEST_P(Ct, AFullTableIsCounted) {
  if (getenv("SLUICE_OWN_KERNEL") == nullptr) GTEST_SKIP() << "sets a limit of the whole kernel: only in the VM";
  const std::string limit = "/proc/sys/net/netfilter/nf_conntrack_max";
  std::string before;
  std::ifstream(limit) >> before;
  Commit();
  for (const int to : {2, 3}) {  // two that are not given up for another
    for (int i = 0; i < 2; ++i) {
      State(Udp(ipv6(), 1, to));
      State(Udp(ipv6(), to, 1));
    }
  }
  ASSERT_EQ(Listed("[ASSURED]").size(), 2);
  std::ofstream(limit) << 2;
  EXPECT_EQ(State(Udp(ipv6(), 1, 4)), kNew);
  EXPECT_EQ(rig_.PassGrown(SLUICE_COUNT_ct_table_full), 1);
  EXPECT_EQ(State(Udp(ipv6(), 2, 1)), kReply);
  std::ofstream(limit) << before;
  EXPECT_EQ(State(Udp(ipv6(), 1, 4)), kNew);
  EXPECT_EQ(Listed().size(), 3);
}

TEST_P(Ct, TaggedPackets) {
  Commit();
  reference::PacketSpec spec = Between(ipv6(), 1, 2);
  spec.tags = {{0x88a8, 3}, {0x8100, 4}};
  spec.l4 = reference::UdpSpec{1001, 1002, true};
  EXPECT_EQ(State(reference::Build(spec)), kNew);
  EXPECT_EQ(State(Udp(ipv6(), 2, 1)), kReply);
}

}  // namespace
}  // namespace sluice::xdp
