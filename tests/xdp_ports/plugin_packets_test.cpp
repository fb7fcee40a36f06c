// SPDX-License-Identifier: Apache-2.0
// Packets through the plugin: up, out, and forwarded, between hosts in namespaces.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <thread>

#include "support/process.h"
#include "two_hosts.h"

namespace sluice::test {
namespace {

constexpr auto kNothing = std::chrono::milliseconds(200);

bool Contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

class PluginPacketsTest : public TwoHosts, public testing::WithParamInterface<const char*> {};

TEST_P(PluginPacketsTest, APacketGoesUpAndComesBackAsAFlow) {
  AddPorts({{"mode", GetParam()}});
  const auto frame = Udp(1000);
  at_a_->Send(frame);
  const auto upcall = rig_->NextUpcall();
  ASSERT_TRUE(upcall);
  EXPECT_EQ(upcall->in_port(), "p0");
  EXPECT_EQ(upcall->reason(), "miss");
  EXPECT_EQ(upcall->data(), Text(frame));
  EXPECT_EQ(upcall->length(), frame.size());
  EXPECT_EQ(upcall->match(),
            "in_port(p0),eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02),eth_type(0x0800),"
            "ipv4(src=10.0.0.1,dst=10.0.0.2,proto=17,tos=0,ttl=64,frag=no),udp(src=1000,dst=53)");

  const auto verdict = rig_->Put(upcall->match(), "p1");
  ASSERT_EQ(verdict.state(), v1::INSTALLED) << verdict.detail();
  EXPECT_NE(verdict.time_ns(), 0U);
  rig_->PacketOut("p0", upcall->data());
  EXPECT_TRUE(at_b_->Expect(frame));
  for (int i = 0; i < 9; ++i) at_a_->Send(frame);
  for (int i = 0; i < 9; ++i) EXPECT_TRUE(at_b_->Expect(frame));
  EXPECT_FALSE(rig_->NextUpcall(kNothing));

  const auto stats = rig_->WaitForStats(upcall->match(), 10);
  EXPECT_EQ(stats.packets(), 10U);
  EXPECT_EQ(stats.bytes(), 10 * frame.size());
  EXPECT_NE(stats.used_ns(), 0U);
  rig_->WaitForPort("p0", [&](const v1::Port& port) {
    const auto& counters = port.counters();
    return counters.at("output") == 10 && counters.at("upcall") == 1 && counters.at("upcall_received") == 1 &&
           counters.at("packet_out") == 1 && counters.at("rx_packets") == 11 && counters.at("flows") == 1;
  });
  rig_->Delete(upcall->match());
  at_a_->Send(frame);
  EXPECT_TRUE(rig_->NextUpcall());
}

TEST_P(PluginPacketsTest, RealSocketsTalkThroughIt) {
  AddPorts({{"mode", GetParam()}});
  ASSERT_EQ(rig_->Put("in_port(p0)", "p1").state(), v1::INSTALLED);
  ASSERT_EQ(rig_->Put("in_port(p1)", "p0").state(), v1::INSTALLED);
  a_->Ip({"addr", "add", "10.1.0.1/24", "dev", "eth0"});
  b_->Ip({"addr", "add", "10.1.0.2/24", "dev", "eth0"});
  UniqueFd listener;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(7777);
  inet_pton(AF_INET, "10.1.0.2", &address.sin_addr);
  b_->Do([&] {
    listener = UniqueFd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    ASSERT_EQ(listen(listener.get(), 1), 0);
  });
  constexpr size_t kSize = 3 << 20;
  std::thread sender([&] {
    a_->Do([&] {
      const UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) return;
      const std::string data(kSize, 'x');
      for (size_t sent = 0; sent < kSize;) {
        const ssize_t n = send(fd.get(), data.data() + sent, kSize - sent, MSG_NOSIGNAL);
        if (n <= 0) return;
        sent += static_cast<size_t>(n);
      }
    });
  });
  const timeval patience{20, 0};
  setsockopt(listener.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  const UniqueFd connection(accept(listener.get(), nullptr, nullptr));
  EXPECT_TRUE(connection);
  if (!connection) shutdown(listener.get(), SHUT_RDWR);
  setsockopt(connection.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  size_t received = 0;
  std::string buffer(1 << 16, '\0');
  for (ssize_t n = 1; n > 0;) {
    n = recv(connection.get(), buffer.data(), buffer.size(), 0);
    if (n > 0) received += static_cast<size_t>(n);
  }
  EXPECT_EQ(received, kSize);
  sender.join();
}

INSTANTIATE_TEST_SUITE_P(Modes, PluginPacketsTest, testing::Values("native", "generic"),
                         [](const auto& mode) { return std::string(mode.param); });

class PluginPacketsDetailTest : public TwoHosts {};

TEST_F(PluginPacketsDetailTest, ActionsSendUpWithTheFlowsName) {
  AddPorts({{"miss", "drop"}});
  ASSERT_EQ(rig_->Put("in_port(p0)", "upcall").state(), v1::INSTALLED);
  at_a_->Send(Udp(1));
  const auto upcall = rig_->NextUpcall();
  ASSERT_TRUE(upcall);
  EXPECT_EQ(upcall->reason(), "action");
  EXPECT_EQ(upcall->ufid(), ParseMatch("in_port(1)")->DeriveUfid().ToString());
}

TEST_F(PluginPacketsDetailTest, ActionsSendUpNoMoreThanAsked) {
  AddPorts({{"miss", "drop"}});
  ASSERT_EQ(rig_->Put("in_port(p0)", "upcall(max_len=20)").state(), v1::INSTALLED);
  const auto frame = Udp(1);
  at_a_->Send(frame);
  const auto upcall = rig_->NextUpcall();
  ASSERT_TRUE(upcall);
  EXPECT_EQ(upcall->data(), Text(frame).substr(0, 20));
  EXPECT_EQ(upcall->length(), frame.size());
}

TEST_F(PluginPacketsDetailTest, MalformedPacketsGoUpAsSuch) {
  AddPorts();
  auto frame = Udp(1);
  frame.resize(14 + 20 + 3);  // ends inside the UDP header
  at_a_->Send(frame);
  const auto upcall = rig_->NextUpcall();
  ASSERT_TRUE(upcall);
  EXPECT_EQ(upcall->reason(), "malformed");
  EXPECT_EQ(upcall->data(), Text(frame));
  EXPECT_TRUE(Contains(upcall->match(), "proto=17")) << upcall->match();
}

TEST_F(PluginPacketsDetailTest, MissPoliciesPassAndDrop) {
  ASSERT_EQ(rig_->AddPort("p0", 1, {{"miss", "pass"}}).state(), "up");
  ASSERT_EQ(rig_->AddPort("p1", 2, {{"miss", "drop"}}).state(), "up");
  const PacketSocket host(*here_, "p0");
  at_a_->Send(Udp(1));
  EXPECT_TRUE(host.Expect(Udp(1)));
  at_b_->Send(Udp(2));
  rig_->WaitForPort("p1", [](const v1::Port& port) { return port.counters().at("miss_drop") == 1; });
  EXPECT_FALSE(rig_->NextUpcall(kNothing));
}

TEST_F(PluginPacketsDetailTest, APacketOutWithActionsNeedsNoFlow) {
  AddPorts();
  rig_->PacketOut("p0", Text(Udp(1)), "p1");
  EXPECT_TRUE(at_b_->Expect(Udp(1)));
  rig_->PacketOut("p0", Text(Udp(2)), "push_vlan(vid=5,pcp=0),p1");
  const auto tagged = at_b_->Receive();
  ASSERT_TRUE(tagged);
  ASSERT_EQ(tagged->size(), Udp(2).size() + 4);
  EXPECT_EQ((reference::Bytes{tagged->begin() + 12, tagged->begin() + 16}), (reference::Bytes{0x81, 0, 0, 5}));
  rig_->PacketOut("p0", Text(Udp(3)), "p0");  // back where it came from
  EXPECT_TRUE(at_a_->Expect(Udp(3)));
  EXPECT_FALSE(rig_->NextUpcall(kNothing));
  rig_->PacketOut("p0", Text(Udp(4)));  // no flow has it: up again
  EXPECT_TRUE(rig_->NextUpcall());
}

TEST_F(PluginPacketsDetailTest, PacketsOutThatCannotBeAreCountedAndLogged) {
  AddPorts();
  rig_->PacketOut("p0", "short");
  rig_->PacketOut("p0", Text(Udp(1)), "recirc(3)");
  const auto port =
      rig_->WaitForPort("p0", [](const v1::Port& p) { return p.counters().at("packet_out_failed") == 2; });
  EXPECT_TRUE(Contains(rig_->log(), "packet out on p0: a packet of 5 bytes has no Ethernet header")) << rig_->log();
  rig_->PacketOut("p0", Text(Udp(2)), "p1");  // and go on
  EXPECT_TRUE(at_b_->Expect(Udp(2)));
}

TEST_F(PluginPacketsDetailTest, UpcallsAreLimited) {
  AddPorts({{"upcall_rate", "100"}});
  for (uint16_t i = 0; i < 1000; ++i) at_a_->Send(Udp(i));
  const auto port = rig_->WaitForPort("p0", [](const v1::Port& p) { return p.counters().at("miss") == 1000; });
  const auto& counters = port.counters();
  EXPECT_GT(counters.at("upcall_limited"), 500U);
  EXPECT_EQ(counters.at("upcall") + counters.at("upcall_limited") + counters.at("upcall_failed"), 1000U);
}

TEST_F(PluginPacketsDetailTest, NoUpcallIsLostUnseenInABurst) {
  AddPorts({{"upcall_rate", "0"}});
  constexpr uint64_t kBurst = 5000;
  for (uint64_t i = 0; i < kBurst; ++i) at_a_->Send(Udp(static_cast<uint16_t>(i)));
  uint64_t received = 0;
  while (rig_->NextUpcall(std::chrono::milliseconds(500))) ++received;
  const auto port = rig_->WaitForPort("p0", [](const v1::Port& p) { return p.counters().at("miss") == kBurst; });
  const auto& counters = port.counters();
  EXPECT_EQ(received, counters.at("upcall_received"));
  EXPECT_EQ(received + counters.at("upcall_dropped"), kBurst);
}

TEST_F(PluginPacketsDetailTest, LargePacketsGoUpWhole) {
  AddPorts();
  at_a_->Send(Udp(1, 1472));
  const auto upcall = rig_->NextUpcall();
  ASSERT_TRUE(upcall);
  EXPECT_EQ(upcall->data(), Text(Udp(1, 1472)));
  ASSERT_EQ(rig_->Put("in_port(p0)", "p1").state(), v1::INSTALLED);
  rig_->PacketOut("p0", upcall->data());
  EXPECT_TRUE(at_b_->Expect(Udp(1, 1472)));
}

TEST_F(PluginPacketsDetailTest, AFlowWithoutInPortIsInEveryPort) {
  AddPorts({{"miss", "drop"}});
  const std::string match = "eth_type(0x0800),ipv4(proto=17,frag=no),udp(src=9)";
  ASSERT_EQ(rig_->Put(match, "p1").state(), v1::INSTALLED);
  at_a_->Send(Udp(9));
  EXPECT_TRUE(at_b_->Expect(Udp(9)));
  at_b_->Send(Udp(9));  // and out where it came in
  EXPECT_TRUE(at_b_->Expect(Udp(9)));
  EXPECT_EQ(rig_->WaitForStats(match, 2).packets(), 2U);
  // One port goes; the flow stays in the other.
  rig_->DeletePort("p0");
  at_b_->Send(Udp(9));
  EXPECT_TRUE(at_b_->Expect(Udp(9)));
  EXPECT_EQ(rig_->WaitForStats(match, 3).packets(), 3U);
}

TEST_F(PluginPacketsDetailTest, ChangesTakeEffectAndInstancesCountApart) {
  AddPorts({{"miss", "drop"}});
  ASSERT_EQ(rig_->Put("in_port(p0)", "p1").state(), v1::INSTALLED);
  at_a_->Send(Udp(1));
  EXPECT_TRUE(at_b_->Expect(Udp(1)));
  ASSERT_EQ(rig_->Put("in_port(p0)", "p0").state(), v1::INSTALLED);
  at_a_->Send(Udp(2));
  EXPECT_TRUE(at_a_->Expect(Udp(2)));
  EXPECT_EQ(rig_->WaitForStats("in_port(p0)", 2).packets(), 2U);
  ASSERT_EQ(rig_->Put("in_port(p0)", "drop", 0, 2).state(), v1::INSTALLED);
  at_a_->Send(Udp(3));
  rig_->WaitForPort("p0", [](const v1::Port& port) { return port.counters().at("drop") == 1; });
  // Refused now, so no longer there either.
  const auto refused = rig_->Put("in_port(p0)", "recirc(1)", 0, 2);
  EXPECT_EQ(refused.state(), v1::REFUSED);
  EXPECT_EQ(refused.reason(), "needs_recirc");
  at_a_->Send(Udp(4));
  rig_->WaitForPort("p0", [](const v1::Port& port) { return port.counters().at("miss_drop") == 1; });
}

TEST_F(PluginPacketsDetailTest, RefusalsNameTheFieldAndThePort) {
  AddPorts();
  const auto field = rig_->Put("in_port(p0),ct_mark(0x1)", "p1");
  EXPECT_EQ(field.state(), v1::REFUSED);
  EXPECT_EQ(field.reason(), "never_matches");
  EXPECT_TRUE(Contains(field.detail(), "ct_mark")) << field.detail();
  EXPECT_EQ(rig_->Put("in_port(77)", "p1").reason(), "no_such_port");
}

TEST_F(PluginPacketsDetailTest, LastStatisticsComeBeforeTheEnd) {
  AddPorts();
  ASSERT_EQ(rig_->Put("in_port(p0)", "p1").state(), v1::INSTALLED);
  for (uint16_t i = 0; i < 100; ++i) at_a_->Send(Udp(i));
  for (uint16_t i = 0; i < 100; ++i) ASSERT_TRUE(at_b_->Receive());
  rig_->Delete("in_port(p0)");
  EXPECT_EQ(rig_->WaitForStats("in_port(p0)", 0).packets(), 100U);
}

// The queue is chosen by a packet's addresses and ports: many source ports use all queues.
class SeveralQueuesTest : public TwoHosts {
 protected:
  static constexpr uint16_t kFlows = 16;

  SeveralQueuesTest() { queues_ = 2; }
  static reference::Bytes Numbered(uint16_t source, uint16_t number) {
    auto frame = Udp(source);
    std::memcpy(&frame[frame.size() - sizeof(number)], &number, sizeof(number));
    return frame;
  }
  // `each` packets of each flow, those of two threads at the same time.
  void SendAll(uint16_t each) const {
    const auto send = [&](uint16_t first) {
      for (uint16_t number = 0; number < each; ++number) {
        for (uint16_t source = first; source < kFlows; source += 2) at_a_->Send(Numbered(source, number));
      }
    };
    std::thread other(send, 1);
    send(0);
    other.join();
    const std::string counted = RunOrThrow({"ethtool", "-S", "p0"}, {.netns = here_.get()});
    for (const auto* unused : {"rx_queue_0_xdp_packets: 0\n", "rx_queue_1_xdp_packets: 0\n"}) {
      EXPECT_FALSE(Contains(counted, unused)) << counted;
    }
  }
};

TEST_F(SeveralQueuesTest, EveryQueueHasItsWayUpInOrder) {
  AddPorts({{"upcall_rate", "0"}});
  constexpr uint16_t kEach = 40;
  SendAll(kEach);
  std::array<uint16_t, kFlows> next{};
  for (int i = 0; i < kFlows * kEach; ++i) {
    const auto upcall = rig_->NextUpcall();
    ASSERT_TRUE(upcall) << i;
    const auto source = static_cast<uint8_t>(upcall->data()[35]);
    ASSERT_LT(source, kFlows);
    ASSERT_EQ(upcall->data(), Text(Numbered(source, next[source]++)));
  }
  const auto port =
      rig_->WaitForPort("p0", [](const v1::Port& p) { return p.counters().at("miss") == kFlows * kEach; });
  EXPECT_EQ(port.info().at("queues"), "2");
  EXPECT_EQ(port.counters().at("upcall_received"), kFlows * kEach);
}

TEST_F(SeveralQueuesTest, WhatTheLimitDropsIsCountedOnEveryQueue) {
  AddPorts({{"upcall_rate", "100"}});
  constexpr uint64_t kSent = 200 * kFlows;
  SendAll(200);
  uint64_t received = 0;
  while (rig_->NextUpcall(kNothing)) ++received;
  const auto port = rig_->WaitForPort("p0", [](const v1::Port& p) { return p.counters().at("miss") == kSent; });
  const auto& counters = port.counters();
  EXPECT_GT(counters.at("upcall_limited"), kSent / 2);
  EXPECT_EQ(counters.at("upcall_failed"), 0U);
  EXPECT_EQ(counters.at("upcall") + counters.at("upcall_limited"), kSent);
  EXPECT_EQ(received + counters.at("upcall_dropped"), counters.at("upcall"));
  EXPECT_EQ(counters.at("rx_packets"), kSent);
}

}  // namespace
}  // namespace sluice::test
