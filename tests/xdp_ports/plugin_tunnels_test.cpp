// SPDX-License-Identifier: Apache-2.0
// Tunnel ports and connection tracking through the plugin: `b` is the far end of a tunnel, by the kernel's own device.
#include <string>

#include "passes_rig.h"
#include "support/process.h"

namespace sluice::test {
namespace {

constexpr auto kNothing = std::chrono::milliseconds(200);

bool Contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

class PluginTunnelsTest : public Passes {
 protected:
  static constexpr uint32_t kTunnel = 3;

  // Addresses for the underlay between here and b, and for the hosts a and b in the overlay.
  void SetUp() override {
    Passes::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    here_->Ip({"addr", "add", "192.0.2.1/24", "dev", "p1"});
    b_->Ip({"addr", "add", "192.0.2.2/24", "dev", "eth0"});
    a_->Ip({"addr", "add", "10.9.0.1/24", "dev", "eth0"});
    SetForwarding(true);
  }
  void SetForwarding(bool on) const {
    RunOrThrow({"sysctl", "-q", "-w", std::string("net.ipv4.conf.p1.forwarding=") + (on ? "1" : "0")},
               {.env = {}, .netns = here_.get(), .input = ""});
  }
  void AddVxlanAtB() const {
    b_->Ip({"link", "add", "vx0", "type", "vxlan", "id", "42", "local", "192.0.2.2", "remote", "192.0.2.1", "dstport",
            "4789", "dev", "eth0"});
    b_->Ip({"addr", "add", "10.9.0.2/24", "dev", "vx0"});
    b_->Ip({"link", "set", "vx0", "up"});
  }
  void AddTunnel(PortOptions options = {}) {
    options.try_emplace("tunnel", "vxlan");
    options.try_emplace("underlay", "p1");
    const auto port = rig_->AddPort("vx", kTunnel, options);
    ASSERT_EQ(port.state(), "up") << port.detail();
  }
  bool PingFromA(const std::string& address, int count = 3) const {
    const auto ping = RunCommand({"ping", "-c", std::to_string(count), "-i", "0.05", "-W", "2", address},
                                 {.env = {}, .netns = a_.get(), .input = ""});
    return Contains(ping.out, std::to_string(count) + " received");
  }
};

TEST_F(PluginTunnelsTest, VxlanToTheKernelAndBack) {
  AddVxlanAtB();
  AddPorts({{"miss", "pass"}});
  AddTunnel();
  const std::string out = "in_port(p0)";
  const std::string in = "in_port(p1),eth_type(0x0800),ipv4(dst=192.0.2.1,proto=17,frag=no),udp(dst=4789)";
  const std::string inner = "tunnel(tun_id=0x2a,src=192.0.2.2,dst=192.0.2.1),in_port(vx)";
  MustPut(out, "set(tunnel(tun_id=0x2a,dst=192.0.2.2,ttl=64,flags(df|key))),vx");
  MustPut(in, "tnl_pop(vx)");
  MustPut(inner, "p0");
  // The first may be lost while the kernel looks for the far end.
  (void)PingFromA("10.9.0.2", 2);
  ASSERT_TRUE(PingFromA("10.9.0.2", 5)) << b_->Ip({"neigh"}) << here_->Ip({"neigh"});
  EXPECT_GE(rig_->WaitForStats(inner, 5).packets(), 5U);
  auto counters = Counters("p1", "tnl_popped", 5);
  EXPECT_GE(counters["tnl_popped"], 5U);
  EXPECT_EQ(counters["missed_tail_call"], 0U);
  EXPECT_GE(Counters("p0", "tnl_pushed", 5)["tnl_pushed"], 5U);
}

TEST_F(PluginTunnelsTest, WhatComesOutOfATunnelMayMissAndGoUp) {
  AddVxlanAtB();
  AddPorts({{"miss", "upcall"}});
  AddTunnel();
  // b need not ask who is here.
  b_->Ip({"neigh", "replace", "192.0.2.1", "lladdr", "02:00:00:00:00:99", "dev", "eth0"});
  b_->Ip({"neigh", "replace", "10.9.0.1", "lladdr", "02:00:00:00:00:01", "dev", "vx0"});
  MustPut("in_port(p1),eth_type(0x0800),ipv4(proto=17),udp(dst=4789)", "tnl_pop(vx)");
  (void)RunCommand({"ping", "-c", "1", "-W", "1", "10.9.0.1"}, {.env = {}, .netns = b_.get(), .input = ""});
  std::optional<v1::Upcall> upcall;
  do {
    upcall = rig_->NextUpcall();
    ASSERT_TRUE(upcall);
  } while (!Contains(upcall->match(), "icmp("));  // an IPv6 device greets its routers
  EXPECT_EQ(upcall->in_port(), "vx");
  EXPECT_TRUE(Contains(upcall->match(), "recirc_id(0),tunnel(tun_id=0x2a,src=192.0.2.2,dst=192.0.2.1,tos=0,ttl=64,"))
      << upcall->match();
  EXPECT_TRUE(Contains(upcall->match(), "in_port(vx),eth(")) << upcall->match();
  EXPECT_EQ(upcall->data().size(), 98U);
  MustPut(upcall->match(), "p0");
  (void)RunCommand({"ping", "-c", "1", "-W", "1", "10.9.0.1"}, {.env = {}, .netns = b_.get(), .input = ""});
  EXPECT_GE(rig_->WaitForStats(upcall->match(), 1).packets(), 1U);
}

TEST_F(PluginTunnelsTest, PacketsOutAsIfFromATunnel) {
  AddPorts();
  AddTunnel();
  const auto frame = Udp(1000);
  rig_->PacketOut("vx", Text(frame), "upcall,p0");
  EXPECT_TRUE(at_a_->Expect(frame));
  const auto upcall = rig_->NextUpcall();
  ASSERT_TRUE(upcall);
  EXPECT_EQ(upcall->in_port(), "vx");
  EXPECT_TRUE(upcall->match().starts_with("recirc_id(0),in_port(vx),eth(")) << upcall->match();
  rig_->PacketOut("vx", Text(frame));
  EXPECT_TRUE(Contains(rig_->log(), "packet out on vx: packets out on a tunnel port need actions")) << rig_->log();
}

TEST_F(PluginTunnelsTest, ATunnelPortFollowsItsUnderlay) {
  const auto without = rig_->AddPort("vx", kTunnel, {{"tunnel", "geneve"}, {"underlay", "p1"}});
  EXPECT_EQ(without.state(), "failed");
  EXPECT_TRUE(Contains(without.detail(), "underlay p1")) << without.detail();
  AddPorts({{"miss", "pass"}});
  const auto port = rig_->WaitForState("vx", "up");
  EXPECT_EQ(port.info().at("tunnel"), "geneve");
  EXPECT_EQ(port.info().at("dst_port"), "6081");
  EXPECT_EQ(port.info().at("csum"), "verify");
  const std::string out = "in_port(p0)";
  const std::string set = "set(tunnel(tun_id=0x2a,dst=192.0.2.2)),vx";
  rig_->Synced();
  MustPut(out, set);
  // Another MTU is another step: flows are asked for anew.
  here_->Ip({"link", "set", "p1", "mtu", "1400"});
  EXPECT_TRUE(rig_->AsksForResync());
  rig_->DeletePort("p1");
  rig_->WaitForState("vx", "failed");
  const auto gone = rig_->Put(out, set);
  EXPECT_EQ(gone.state(), v1::REFUSED);
  EXPECT_EQ(gone.reason(), "no_such_port") << gone.detail();
}

TEST_F(PluginTunnelsTest, WhatATunnelCannotSayIsRefused) {
  AddPorts();
  AddTunnel();
  for (const auto& [actions, said] : std::initializer_list<std::pair<const char*, const char*>>{
           {"vx", "without set(tunnel())"},
           {"set(tunnel(tun_id=0x1)),vx", "no dst"},
           {"set(tunnel(tun_id=0x1000000,dst=192.0.2.2)),vx", "tun_id"},
           {"set(tunnel(tun_id=0x1,dst=192.0.2.2)),p0,vx", "output"},
           {"set(tunnel(tun_id=0x1,dst=192.0.2.2)),vx,p0", "output"},
           {"set(tunnel(tun_id=0x1,dst=192.0.2.2,src=10.0.0.0/8)),vx", "mask"},
           {"set(tunnel(tun_id=0x1,dst=203.0.113.1)),vx", "towards 203.0.113.1"},
           {"tnl_pop(vx),p1", "tnl_pop before output"}}) {
    const auto verdict = rig_->Put("in_port(p0)", actions);
    EXPECT_EQ(verdict.state(), v1::REFUSED) << actions;
    EXPECT_TRUE(Contains(verdict.detail(), said)) << actions << ": " << verdict.detail();
  }
  SetForwarding(false);
  const auto forwarding = rig_->Put("in_port(p0)", "set(tunnel(tun_id=0x1,dst=192.0.2.2)),vx");
  EXPECT_EQ(forwarding.reason(), "no_forwarding");
  EXPECT_TRUE(Contains(forwarding.detail(), "sysctl -w net.ipv4.conf.p1.forwarding=1")) << forwarding.detail();
  for (const auto& [options, said] : std::initializer_list<std::pair<PortOptions, const char*>>{
           {{{"tunnel", "ipip"}}, "tunnel"},
           {{{"tunnel", "vxlan"}, {"dst_port", "0"}}, "dst_port"},
           {{{"tunnel", "gre"}, {"dst_port", "47"}}, "dst_port"},
           {{{"tunnel", "vxlan"}, {"miss", "drop"}}, "miss"}}) {
    const auto port = rig_->AddPort("t9", 9, options);
    EXPECT_EQ(port.state(), "failed");
    EXPECT_TRUE(Contains(port.detail(), said)) << port.detail();
  }
}

TEST_F(PluginTunnelsTest, HeadersGivenWholeGoOutAsTheyAre) {
  AddPorts();
  AddTunnel();
  MustPut("in_port(p0)",
          "tnl_push(tnl_port(vx),header(size=50,type=4,eth(dst=02:00:00:00:00:22,src=02:00:00:00:00:11,dl_type=0x0800),"
          "ipv4(src=192.0.2.1,dst=192.0.2.2,proto=17,tos=0,ttl=64,frag=0x4000),udp(src=0,dst=4789,csum=0x0),"
          "vxlan(flags=0x8000000,vni=0x2a)),out_port(p1))");
  const auto frame = Udp(1000);
  at_a_->Send(frame);
  const auto received = at_b_->Receive();
  ASSERT_TRUE(received);
  ASSERT_EQ(received->size(), frame.size() + 50);
  EXPECT_EQ(reference::Bytes(received->begin() + 50, received->end()), frame);
  EXPECT_EQ((*received)[5], 0x22);
  EXPECT_EQ((*received)[48], 0x2a);
}

TEST_F(PluginTunnelsTest, OnlyWhatWasOpenedFromInsideComesBack) {
  b_->Ip({"addr", "add", "10.9.0.2/24", "dev", "eth0"});
  AddPorts({{"miss", "drop"}});
  const std::string ip = ",eth_type(0x0800)";
  const auto probe = rig_->Put("in_port(p0)" + ip, "ct,recirc(0x1)");
  if (probe.state() == v1::REFUSED && probe.reason() == "unsupported_action") GTEST_SKIP() << probe.detail();
  ASSERT_EQ(probe.state(), v1::INSTALLED) << probe.detail();
  MustPut("in_port(p0),eth_type(0x0806)", "p1");
  MustPut("in_port(p1),eth_type(0x0806)", "p0");
  MustPut("in_port(p1)" + ip, "ct,recirc(0x1)");
  MustPut("recirc_id(0x1),ct_state(+trk+new-inv),in_port(p0)" + ip, "ct(commit,mark=0x7),p1");
  MustPut("recirc_id(0x1),ct_state(+trk+est-inv)" + ip + ",in_port(p0)", "p1");
  MustPut("recirc_id(0x1),ct_state(+trk+est+rpl-inv),ct_mark(0x7),in_port(p1)" + ip, "p0");
  ASSERT_TRUE(PingFromA("10.9.0.2", 5));
  const auto refused =
      RunCommand({"ping", "-c", "1", "-W", "1", "10.9.0.1"}, {.env = {}, .netns = b_.get(), .input = ""});
  EXPECT_TRUE(Contains(refused.out, " 0 received")) << refused.out;
  auto counters = Counters("p0", "ct_committed", 1);
  EXPECT_EQ(counters["ct_committed"], 1U);
  const auto edit = rig_->Put("in_port(p0),eth_type(0x0800),ipv4(proto=6)", "ct,set(ipv4(ttl=1)),recirc(0x2)");
  EXPECT_TRUE(Contains(edit.detail(), "set(ipv4) after ct: put it behind a recirc")) << edit.detail();
  const auto label = rig_->Put("in_port(p0),eth_type(0x0800),ipv4(proto=6)", "ct(commit,label=0x1),recirc(0x2)");
  EXPECT_TRUE(Contains(label.detail(), "label")) << label.detail();
  EXPECT_FALSE(rig_->NextUpcall(kNothing));
}

}  // namespace
}  // namespace sluice::test
