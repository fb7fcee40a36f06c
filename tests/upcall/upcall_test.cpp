// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <cstring>
#include <map>
#include <memory>
#include <thread>

#include "controller.h"
#include "packet_socket.h"
#include "reference/packet.h"
#include "sluice/control_client.h"
#include "sluice/wire.h"
#include "support/daemon.h"
#include "support/veth.h"

namespace sluice::test {
namespace {

constexpr auto kPatience = std::chrono::seconds(20);
constexpr unsigned kFlows = 8;

// Packet `number` of `flow`: the flow is the UDP source port, the number the payload's first bytes.
reference::Bytes Numbered(unsigned flow, uint32_t number) {
  reference::PacketSpec spec;
  spec.dst = {2, 0, 0, 0, 0, 2};
  spec.src = {2, 0, 0, 0, 0, 1};
  reference::Ipv4Spec ip;
  ip.src = 0x0a000001;
  ip.dst = 0x0a000002;
  spec.l3 = ip;
  spec.l4 = reference::UdpSpec{static_cast<uint16_t>(1000 + flow), 53};
  spec.payload = 26;
  reference::Bytes frame = reference::Build(spec);
  std::memcpy(frame.data() + 42, &number, sizeof(number));
  return frame;
}

struct Read {
  unsigned flow;
  uint32_t number;
};
Read ReadNumbered(const reference::Bytes& frame) {
  Read read{static_cast<unsigned>(frame[34] << 8 | frame[35]) - 1000, 0};
  std::memcpy(&read.number, frame.data() + 42, sizeof(read.number));
  return read;
}

void PinTo(unsigned cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  sched_setaffinity(0, sizeof(set), &set);
}

// A switch of p0 and p1, and a host at each.
class Upcalls : public testing::Test {
 protected:
  void SetUp() override {
    if (const auto why = WhyNoKernelTests(); !why.empty()) GTEST_SKIP() << why;
    here_ = std::make_unique<Netns>("slu");
    hosts_ = std::make_unique<Netns>("slu");
  }
  void Start(unsigned queues) {
    for (const char* port : {"0", "1"}) {
      veths_.push_back(std::make_unique<Veth>(VethEnd{here_.get(), std::string("p") + port},
                                              VethEnd{hosts_.get(), std::string("h") + port}, queues));
    }
    in_ = std::make_unique<PacketSocket>(*hosts_, "h0");
    out_ = std::make_unique<PacketSocket>(*hosts_, "h1");
    const std::string options = "=xdp:upcall_rate=0,upcall_match=no";
    daemon_ = std::make_unique<Daemon>(
        std::vector<std::string>{"--plugin", "xdp", "--port", "p0" + options, "--port", "p1" + options}, here_.get());
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (Port("p0").state() != "up" || Port("p1").state() != "up") {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << daemon_->process().Err();
    }
  }
  [[nodiscard]] v1::Status Status() const {
    v1::Request request;
    request.mutable_status();
    return daemon_->Ask(request).status();
  }
  [[nodiscard]] v1::Port Port(const std::string& name) const {
    const v1::Status status = Status();
    for (const auto& port : status.ports()) {
      if (port.name() == name) return port;
    }
    return {};
  }
  [[nodiscard]] Controller::Settings ControllerSettings() const {
    Controller::Settings settings;
    settings.endpoints = EndpointsIn(daemon_->run_dir());
    settings.actions = "p1";
    return settings;
  }
  // `rounds` times some packets of each flow go in and come out again, as many as may be under way at a time; packets
  // of a flow come by the queue that has the number of its CPU.
  void SendAndCheck(unsigned queues, unsigned rounds, size_t each) {
    std::map<unsigned, uint32_t> next;  // by flow
    for (unsigned round = 0; round < rounds; ++round) {
      std::vector<std::thread> senders;
      for (unsigned queue = 0; queue < queues; ++queue) {
        senders.emplace_back([&, queue] {
          PinTo(queue);
          for (size_t i = 0; i < each; ++i) {
            for (unsigned flow = queue; flow < kFlows; flow += queues) {
              in_->Send(Numbered(flow, static_cast<uint32_t>(round * each + i)));
            }
          }
        });
      }
      for (auto& sender : senders) sender.join();
      for (size_t i = 0; i < each * kFlows; ++i) {
        const auto frame = out_->Receive(kPatience);
        ASSERT_TRUE(frame) << "of " << each * kFlows << " packets of round " << round << " only " << i << " came";
        const Read read = ReadNumbered(*frame);
        ASSERT_EQ(*frame, Numbered(read.flow, read.number));
        ASSERT_EQ(read.number, next[read.flow]) << "flow " << read.flow << ", round " << round;
        ++next[read.flow];
      }
    }
    EXPECT_FALSE(out_->Receive(std::chrono::milliseconds(100))) << "more came than was sent";
  }

  std::unique_ptr<Netns> here_, hosts_;
  std::vector<std::unique_ptr<Veth>> veths_;
  std::unique_ptr<PacketSocket> in_, out_;
  std::unique_ptr<Daemon> daemon_;
};

class ExactlyOnce : public Upcalls, public testing::WithParamInterface<unsigned> {};

TEST_P(ExactlyOnce, AnsweredPacketsGoOutOnceAndInOrder) {
  Start(GetParam());
  const Controller controller(ControllerSettings());
  SendAndCheck(GetParam(), 40, 64);
  EXPECT_EQ(controller.heard(), 40U * 64 * kFlows);
}

TEST_P(ExactlyOnce, SoDoPacketsThatTheControllerHolds) {
  Start(GetParam());
  auto settings = ControllerSettings();
  settings.hold = size_t{64} * kFlows;
  const Controller controller(settings);
  SendAndCheck(GetParam(), 10, 64);
  EXPECT_EQ(controller.heard(), 10U * 64 * kFlows);
}

INSTANTIATE_TEST_SUITE_P(Queues, ExactlyOnce, testing::Values(1, 2),
                         [](const auto& queues) { return std::to_string(queues.param); });

class Storm : public Upcalls {};

// The controller is made slow: it prints each event. More comes up than it can take by far.
TEST_F(Storm, FlowsAreInstalledAndCountedWhileItRages) {
  Start(1);
  auto settings = ControllerSettings();
  settings.high_water_mark = 16;
  settings.look = [](const v1::Event& event) {
    for (int i = 0; i < 4; ++i) EXPECT_FALSE(Encode(event, Encoding::json).empty());
  };
  const Controller controller(settings);
  std::atomic<bool> stop = false;
  std::atomic<uint64_t> sent = 0;
  std::thread generator([&] {
    const PacketSocket storm(*hosts_, "h0");
    const auto frame = Numbered(0, 0);
    for (; !stop; ++sent) storm.Send(frame);
  });
  auto control = ControlClient::Connect({.endpoint = EndpointsIn(daemon_->run_dir()).control});
  ASSERT_TRUE(control);
  const auto ask = [&](const v1::Request& request) {
    const auto reply = control->Call(request);
    EXPECT_TRUE(reply && reply->ok());
    return reply ? *reply : v1::Reply();
  };
  constexpr int kPuts = 100;
  std::string last;
  for (int i = 0; i < kPuts; ++i) {
    v1::Request put;
    auto& flow = *put.mutable_flow_put()->add_flows();
    flow.set_match("in_port(p1),eth_type(0x0800),ipv4(proto=17,frag=no),udp(dst=" + std::to_string(7000 + i) + ")");
    flow.set_actions("p0");
    last = ask(put).ufids(0);
    v1::Request get;
    get.mutable_flow_get()->set_ufid(last);
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    for (;;) {
      const auto reply = ask(get);
      ASSERT_EQ(reply.flows_size(), 1);
      if (reply.flows(0).offload_size() == 1 && reply.flows(0).offload(0).state() == v1::INSTALLED) break;
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "put " << i << " has no verdict";
    }
  }
  // The last of them takes a packet, and that is told while it goes on.
  auto hit = Numbered(0, 0);
  hit[36] = (7000 + kPuts - 1) >> 8;
  hit[37] = (7000 + kPuts - 1) & 0xff;
  out_->Send(hit);
  v1::Request get;
  get.mutable_flow_get()->set_ufid(last);
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (ask(get).flows(0).packets() != 1) ASSERT_LT(std::chrono::steady_clock::now(), deadline);
  stop = true;
  generator.join();
  EXPECT_GT(controller.heard(), 0U);
  EXPECT_LT(controller.heard() * 10, sent) << "that was no storm";
}

}  // namespace
}  // namespace sluice::test
