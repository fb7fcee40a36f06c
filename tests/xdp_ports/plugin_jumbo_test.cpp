// SPDX-License-Identifier: Apache-2.0
// Frames of 9000 bytes: they come to the program in several buffers, leave as they came, and go up whole.
#include <sys/utsname.h>

#include <cstdio>
#include <utility>

#include "two_hosts.h"

namespace sluice::test {
namespace {

using reference::Bytes;

constexpr uint16_t kPayload = 8900;

bool Contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

bool KernelHasMultiBufferSockets() {
  utsname name{};
  int major = 0;
  int minor = 0;
  if (uname(&name) != 0 || std::sscanf(name.release, "%d.%d", &major, &minor) != 2) return false;
  return major > 6 || (major == 6 && minor >= 6);
}

class PluginJumboTest : public TwoHosts, public testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override {
    TwoHosts::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    for (const auto& [netns, device] : {std::pair{here_.get(), "p0"}, std::pair{here_.get(), "p1"},
                                        std::pair{a_.get(), "eth0"}, std::pair{b_.get(), "eth0"}}) {
      netns->Ip({"link", "set", device, "mtu", "9000"});
    }
  }
  // Its bytes are told from those of others all the way to the end.
  static Bytes Jumbo(uint16_t source, uint16_t payload = kPayload) {
    Bytes frame = Udp(source, payload);
    for (size_t i = 42; i < frame.size(); ++i) frame[i] = static_cast<uint8_t>(i * 31 + (i >> 8) * 17 + source);
    return frame;
  }
  static Bytes Tagged(const Bytes& frame, uint16_t vid) {
    Bytes tagged = frame;
    const uint8_t tag[] = {0x81, 0, static_cast<uint8_t>(vid >> 8), static_cast<uint8_t>(vid)};
    tagged.insert(tagged.begin() + 12, tag, tag + sizeof(tag));
    return tagged;
  }
};

TEST_P(PluginJumboTest, AreForwardedByteForByteAndCountedWhole) {
  AddPorts({{"mode", GetParam()}, {"miss", "drop"}});
  ASSERT_EQ(rig_->Put("in_port(p0)", "p1").state(), v1::INSTALLED);
  uint64_t bytes = 0;
  for (const uint16_t payload : {100, 1500, 3400, 3500, 3600, 4096, 7000, 8900, 8972}) {
    const auto frame = Jumbo(payload, payload);
    at_a_->Send(frame);
    bytes += frame.size();
    EXPECT_TRUE(at_b_->Expect(frame)) << payload;
  }
  const auto stats = rig_->WaitForStats("in_port(p0)", 9);
  EXPECT_EQ(stats.packets(), 9U);
  EXPECT_EQ(stats.bytes(), bytes);
  const auto port = rig_->WaitForPort("p0", [](const v1::Port& p) { return p.counters().at("output") == 9; });
  EXPECT_EQ(port.counters().at("rx_bytes"), bytes);
  EXPECT_EQ(port.info().at("frags"), "yes");
}

TEST_P(PluginJumboTest, AreEditedInFront) {
  AddPorts({{"mode", GetParam()}, {"miss", "drop"}});
  ASSERT_EQ(rig_->Put("in_port(p0),eth_type(0x0800)", "push_vlan(vid=5,pcp=0),p1").state(), v1::INSTALLED);
  ASSERT_EQ(rig_->Put("in_port(p0),eth_type(0x8100),vlan(vid=7),encap(eth_type(0x0800))", "pop_vlan,p1").state(),
            v1::INSTALLED);
  at_a_->Send(Jumbo(1));
  EXPECT_TRUE(at_b_->Expect(Tagged(Jumbo(1), 5)));
  at_a_->Send(Tagged(Jumbo(2), 7));
  EXPECT_TRUE(at_b_->Expect(Jumbo(2)));
}

// One port's program takes several buffers, the other's does not; what comes after the first pass is theirs in common.
TEST_P(PluginJumboTest, TakeSeveralPassesBesideSmallOnes) {
  here_->Ip({"link", "set", "p1", "mtu", "1500"});
  b_->Ip({"link", "set", "eth0", "mtu", "1500"});
  rig_->Extend(1);
  AddPorts({{"mode", GetParam()}});
  const auto put = [&](const std::string& match, const std::string& actions) {
    const auto verdict = rig_->Put(match, actions);
    EXPECT_EQ(verdict.state(), v1::INSTALLED) << match << ": " << verdict.detail();
  };
  put("in_port(p0)", "recirc(0x1)");
  put("in_port(p1)", "recirc(0x1)");
  put("recirc_id(0x1),eth_type(0x0800),ipv4(proto=17),udp(src=1)", "push_vlan(vid=5,pcp=0),p0");
  put("recirc_id(0x1),eth_type(0x0800),ipv4(proto=17),udp(src=2)", "p0,p1");
  at_a_->Send(Jumbo(1));
  EXPECT_TRUE(at_a_->Expect(Tagged(Jumbo(1), 5)));
  at_b_->Send(Udp(1));
  EXPECT_TRUE(at_a_->Expect(Tagged(Udp(1), 5)));
  at_a_->Send(Udp(2));
  EXPECT_TRUE(at_a_->Expect(Udp(2)));
  EXPECT_TRUE(at_b_->Expect(Udp(2)));
  at_b_->Send(Udp(3));
  auto upcall = rig_->NextUpcall();
  ASSERT_TRUE(upcall);
  EXPECT_EQ(upcall->data(), Text(Udp(3)));
  for (const auto& [port, counter] : {std::pair{"p0", "output"}, {"p1", "pass_miss"}}) {
    auto counters = rig_->WaitForCounter(port, counter, 1);
    EXPECT_GE(counters[counter], 1U) << port;
    EXPECT_EQ(counters["missed_tail_call"], 0U) << port;
  }
  if (!KernelHasMultiBufferSockets()) return;
  at_a_->Send(Jumbo(3));
  upcall = rig_->NextUpcall();
  ASSERT_TRUE(upcall);
  EXPECT_EQ(upcall->data(), Text(Jumbo(3)));
  EXPECT_TRUE(upcall->match().starts_with("recirc_id(0x1),in_port(p0),")) << upcall->match();
}

// In bursts, so that the ring is emptied in the middle of a packet, too.
TEST_P(PluginJumboTest, GoUpWholeAmongSmallOnes) {
  AddPorts({{"mode", GetParam()}, {"upcall_rate", "0"}});
  if (!KernelHasMultiBufferSockets()) GTEST_SKIP() << "AF_XDP takes packets of several buffers since Linux 6.6";
  constexpr uint16_t kBurst = 150;  // 100 of them in three frames each: 350 of 1024
  const auto nth = [](uint16_t i) { return i % 3 == 1 ? Udp(i) : Jumbo(i); };
  for (uint16_t i = 0; i < kBurst; ++i) at_a_->Send(nth(i));
  for (uint16_t i = 0; i < kBurst; ++i) {
    const auto upcall = rig_->NextUpcall();
    ASSERT_TRUE(upcall) << i;
    ASSERT_EQ(upcall->data(), Text(nth(i))) << i;
    EXPECT_EQ(upcall->length(), nth(i).size());
    EXPECT_EQ(upcall->reason(), "miss");
    EXPECT_TRUE(Contains(upcall->match(), "udp(src=" + std::to_string(i) + ",dst=53)")) << upcall->match();
  }
  const auto counted =
      rig_->WaitForPort("p0", [](const v1::Port& p) { return p.counters().at("upcall_received") == kBurst; });
  EXPECT_EQ(counted.counters().at("upcall_dropped"), 0U);
}

TEST_P(PluginJumboTest, AHeaderBehindTheFirstBufferIsMalformed) {
  AddPorts({{"mode", GetParam()}});
  reference::PacketSpec spec;
  reference::Ipv6Spec ip;
  ip.extensions = {{.type = 60, .words = 255}, {.type = 60, .words = 255}};  // 2 KB each
  spec.l3 = ip;
  spec.l4 = reference::UdpSpec{1, 53};
  const auto frame = reference::Build(spec);
  ASSERT_GT(frame.size(), 4096U);
  at_a_->Send(frame);
  const auto upcall = rig_->NextUpcall();
  ASSERT_TRUE(upcall);
  EXPECT_EQ(upcall->reason(), "malformed");
  EXPECT_EQ(upcall->data(), Text(frame));
  rig_->WaitForPort("p0", [](const v1::Port& p) { return p.counters().at("malformed_ipv6") == 1; });
}

INSTANTIATE_TEST_SUITE_P(Modes, PluginJumboTest, testing::Values("native", "generic"),
                         [](const auto& mode) { return std::string(mode.param); });

// What the output's MTU does not take.
class PluginMtuTest : public TwoHosts {};

TEST_F(PluginMtuTest, FramesTooLargeForTheOutputAreCounted) {
  here_->Ip({"link", "set", "p1", "mtu", "1000"});
  AddPorts({{"miss", "drop"}});
  ASSERT_EQ(rig_->Put("in_port(p0)", "p1").state(), v1::INSTALLED);
  constexpr uint64_t kLarge = 7;
  for (uint16_t i = 0; i < kLarge; ++i) at_a_->Send(Udp(i, 1400));
  at_a_->Send(Udp(100));
  EXPECT_TRUE(at_b_->Expect(Udp(100)));
  EXPECT_FALSE(at_b_->Receive(std::chrono::milliseconds(100)));
  const auto port = rig_->WaitForPort("p0", [](const v1::Port& p) {
    return p.counters().at("output") == kLarge + 1 && p.counters().at("device_dropped") == kLarge;
  });
  EXPECT_EQ(port.info().at("frags"), "no");
}

}  // namespace
}  // namespace sluice::test
