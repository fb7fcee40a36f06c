// SPDX-License-Identifier: Apache-2.0
// sluiced and peers that break the protocol, or take what they can get. After each kind it answers at once, what it
// did is counted, it has not grown, and another publisher's flows arrive.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <fstream>
#include <memory>
#include <random>
#include <vector>

#include "daemon_rig.h"
#include "raw_peer.h"
#include "sluice/sluice.pb.h"
#include "support/temp_dir.h"

namespace sluice::core::test {
namespace {

using sluice::test::TempDir;
using Peers = std::vector<std::unique_ptr<RawPeer>>;

constexpr size_t kMany = 300;
constexpr auto kPrompt = std::chrono::seconds(5);  // on a machine that is busy with other tests
constexpr uint64_t kMaxGrowth = uint64_t{192} << 20;

class AbuseTest : public ::testing::Test {
 protected:
  // Settings in TOML.
  void Start(const std::string& settings = "") {
    daemon_ = std::make_unique<Daemon>(std::vector<std::string>{"--config", dir_.Write("c.toml", settings)});
    publisher_ = std::make_unique<Shouter>(*daemon_);
    before_ = Memory();
  }

  [[nodiscard]] std::string Path(const std::string& endpoint) const { return daemon_->run_dir() + "/" + endpoint; }

  // Resident, in bytes.
  [[nodiscard]] uint64_t Memory() const {
    std::ifstream status("/proc/" + std::to_string(daemon_->process().pid()) + "/status");
    for (std::string word; status >> word;) {
      uint64_t kilobytes = 0;
      if (word == "VmRSS:" && status >> kilobytes) return kilobytes << 10;
    }
    return 0;
  }

  [[nodiscard]] json Status() const { return AskJson(*daemon_, {{"status", json::object()}})["status"]; }
  [[nodiscard]] uint64_t Counter(const std::string& name) const {
    const json counters = Status()["counters"];
    return counters.contains(name) ? std::stoull(counters[name].get<std::string>()) : 0;
  }
  bool WaitForCounter(const std::string& name, uint64_t least) {
    return Eventually([&] { return Counter(name) >= least; }, std::chrono::seconds(20));
  }

  // What holds whatever others have done.
  void ExpectWell() {
    const auto start = std::chrono::steady_clock::now();
    const uint64_t flows = std::stoull(Status()["flows"].get<std::string>());
    EXPECT_LT(std::chrono::steady_clock::now() - start, kPrompt);
    publisher_->Say("flow.put", R"j({"publisher":"good","flows":[{"match":"eth_type(0x)j" +
                                    std::to_string(1'000 + put_++) + R"j()"}]})j");
    EXPECT_TRUE(Eventually([&] { return std::stoull(Status()["flows"].get<std::string>()) > flows; }, kPrompt));
    if (!kSanitized) {
      EXPECT_LT(Memory(), before_ + kMaxGrowth);
    }
  }

  // `count` peers that have all said `words`, one after the other, and stay.
  Peers Crowd(const std::string& endpoint, size_t count, const std::string& socket_type, const std::string& words) {
    Peers peers;
    for (size_t i = 0; i < count; ++i) {
      peers.push_back(std::make_unique<RawPeer>(Path(endpoint)));
      EXPECT_TRUE(socket_type.empty() ? peers.back()->connected() : peers.back()->Join(socket_type)) << i;
      peers.back()->Send(words);
    }
    return peers;
  }

  TempDir dir_;
  std::unique_ptr<Daemon> daemon_;
  std::unique_ptr<Shouter> publisher_;
  uint64_t before_ = 0;
  int put_ = 0;
};

TEST_F(AbuseTest, HalfAGreetingIsGivenUpAfterAWhile) {
  Start("[times]\nhandshake_ms = 1000\n");
  for (const char* endpoint : {"ingress", "control", "events", "plugins"}) {
    SCOPED_TRACE(endpoint);
    const uint64_t failed = Counter("handshakes_failed");
    Peers half = Crowd(endpoint, kMany / 3, "", RawPeer::Greeting().substr(0, 12));
    Peers silent = Crowd(endpoint, kMany / 3, "", "");
    Peers greeted = Crowd(endpoint, kMany / 3, "", RawPeer::Greeting());
    ExpectWell();
    EXPECT_TRUE(WaitForCounter("handshakes_failed", failed + kMany));
    for (Peers* peers : {&half, &silent, &greeted}) EXPECT_TRUE(peers->front()->WaitForEnd());
  }
}

TEST_F(AbuseTest, NoiseInsteadOfAGreeting) {
  Start();
  std::mt19937_64 random(1);
  for (const char* endpoint : {"ingress", "control", "events", "plugins"}) {
    for (size_t i = 0; i < kMany / 4; ++i) {
      RawPeer peer(Path(endpoint));
      std::string noise(random() % 400, '\0');
      for (char& c : noise) c = static_cast<char>(random());
      peer.Send(noise);
      if (i % 2 == 0) peer.Send("GET / HTTP/1.1\r\n\r\n");
    }
  }
  EXPECT_TRUE(WaitForCounter("connections_ended", kMany / 4 * 4));
  EXPECT_GT(Counter("handshakes_failed"), 0U);
  ExpectWell();
}

TEST_F(AbuseTest, HalfAMessageDelaysNobody) {
  Start();
  const std::string flow_put = R"j({"flows":[{"match":"eth_type(0x0800)"}]})j";
  // A large message of which little comes; a small one without its last byte; a topic without a payload.
  const std::string halves[] = {
      RawPeer::Frame("flow.put", true) + RawPeer::Header(4 << 20, false) + std::string(10'000, ' '),
      RawPeer::Frame("flow.put", true) + RawPeer::Header(flow_put.size(), false) +
          flow_put.substr(0, flow_put.size() - 1),
      RawPeer::Frame("flow.put", true)};
  Peers peers;
  for (const std::string& half : halves) {
    for (auto& peer : Crowd("ingress", kMany / 3, "PUB", half)) peers.push_back(std::move(peer));
    for (auto& peer : Crowd("control", kMany / 3, "DEALER", half)) peers.push_back(std::move(peer));
    for (auto& peer : Crowd("plugins", kMany / 10, "DEALER", half)) peers.push_back(std::move(peer));
    ExpectWell();
  }
  EXPECT_EQ(Counter("ingress_messages"), 3U);  // those of ExpectWell
  // One of them goes on after all.
  EXPECT_TRUE(peers[2 * (kMany / 3) + kMany / 10]->Send("}"));
  EXPECT_TRUE(WaitForCounter("ingress_messages", 4));
  peers.clear();
  ExpectWell();
}

TEST_F(AbuseTest, AGigabyteIsNotEvenBegun) {
  Start();
  const struct {
    const char* endpoint;
    const char* type;
  } kinds[] = {{"ingress", "PUB"}, {"control", "DEALER"}, {"events", "SUB"}, {"plugins", "DEALER"}};
  for (const auto& [endpoint, type] : kinds) {
    for (const uint64_t size : {uint64_t{1} << 30, uint64_t{1} << 62, ~uint64_t{0}}) {
      SCOPED_TRACE(std::string(endpoint) + " " + std::to_string(size));
      RawPeer peer(Path(endpoint));
      ASSERT_TRUE(peer.Join(type));
      peer.Send(RawPeer::Header(size, false) + std::string(1'000, 'x'));
      EXPECT_TRUE(peer.WaitForEnd());
    }
  }
  EXPECT_TRUE(WaitForCounter("connections_ended", 12));
  ExpectWell();
}

TEST_F(AbuseTest, WhatIsALittleTooLargeIsRefusedByName) {
  Start("[limits]\nmax_message = 65536\n");
  Listener listener(*daemon_);
  publisher_->Say("flow.put", std::string(70'000, ' '));
  const json event = listener.Await("refused");
  EXPECT_EQ(event["refused"]["refused"][0]["reason"], "too_large");
  EXPECT_EQ(event["refused"]["refused"][0]["detail"], "a message of 70000 bytes; the limit is 65536");
  EXPECT_EQ(Counter("refused.too_large"), 1U);
  RawPeer peer(Path("control"));
  ASSERT_TRUE(peer.Join("DEALER"));
  peer.Send(RawPeer::Header(140'000, false));
  EXPECT_TRUE(peer.WaitForEnd());
  ExpectWell();
}

TEST_F(AbuseTest, OddMessagesAreCounted) {
  Start();
  Peers one = Crowd("ingress", 1, "PUB", RawPeer::Frame("flow.put") + RawPeer::Frame(""));
  std::string many = RawPeer::Frame("flow.put", true);
  for (int i = 0; i < 1'000; ++i) many += RawPeer::Frame("{}", true);
  many += RawPeer::Frame("{}");
  Peers of_many = Crowd("ingress", 1, "PUB", many);
  EXPECT_TRUE(WaitForCounter("refused.unknown_topic", 2));  // the empty one and the one of many frames
  Peers asking = Crowd("control", 1, "DEALER", many + RawPeer::Frame("") + RawPeer::Frame("\xff\xff"));
  EXPECT_TRUE(WaitForCounter("refused.bad_request", 3));
  Peers plugin = Crowd("plugins", 1, "DEALER", many + RawPeer::Frame("") + RawPeer::Frame("\xff\xff"));
  EXPECT_TRUE(WaitForCounter("plugin_messages_bad", 1));
  std::string subscriptions;
  for (int i = 0; i < 10'000; ++i) subscriptions += RawPeer::Frame("\x01nothing" + std::to_string(i));
  Peers listening = Crowd("events", 1, "SUB", subscriptions);
  EXPECT_TRUE(WaitForCounter("subscriptions_unknown", 10'000));
  ExpectWell();
}

TEST_F(AbuseTest, ThousandsOfConnections) {
  constexpr size_t kMost = 1'000;
  Start("[limits]\nmax_connections = " + std::to_string(kMost) + "\n");
  Peers peers;
  for (const char* endpoint : {"ingress", "events"}) {
    for (size_t i = 0; i < 3 * kMost; ++i) {
      peers.push_back(std::make_unique<RawPeer>(Path(endpoint)));
      if (peers.back()->connected()) peers.back()->Send(RawPeer::Greeting());
    }
    EXPECT_TRUE(WaitForCounter("connections_refused", 2 * kMost)) << endpoint;
    ExpectWell();
  }
  EXPECT_NE(daemon_->process().Err().find("connections are refused"), std::string::npos);
  const uint64_t ended = Counter("connections_ended");
  peers.clear();
  EXPECT_TRUE(WaitForCounter("connections_ended", ended + kMost));
  // There is room again.
  publisher_ = std::make_unique<Shouter>(*daemon_);
  ExpectWell();
}

// UBSan looks at objects by way of a pipe: it takes those for broken that it has no descriptor to look at with.
#ifndef SLUICE_SANITIZED
TEST_F(AbuseTest, NoDescriptorIsLeft) {
  Start();
  const Listener listener(*daemon_);
  zmq::context_t context;
  zmq::socket_t control(context, zmq::socket_type::req);
  control.set(zmq::sockopt::linger, 0);
  control.set(zmq::sockopt::rcvtimeo, 10'000);
  control.connect("ipc://" + Path("control"));
  const auto ask = [&] {
    zmq::message_t answer;
    control.send(zmq::str_buffer(R"({"status":{}})"), zmq::send_flags::none);
    return control.recv(answer) ? json::parse(answer.to_string())["status"] : json();
  };
  ASSERT_FALSE(ask().is_null());
  const rlimit few{100, 100};
  ASSERT_EQ(prlimit(daemon_->process().pid(), RLIMIT_NOFILE, &few, nullptr), 0);
  Peers peers;
  for (int i = 0; i < 500; ++i) {
    peers.push_back(std::make_unique<RawPeer>(Path(i % 2 == 0 ? "ingress" : "control")));
    if (peers.back()->connected()) peers.back()->Send(RawPeer::Greeting());
  }
  // Who is connected already is served as before.
  EXPECT_TRUE(Eventually([&] { return ask()["counters"].value("connections_refused", "0") != "0"; }));
  publisher_->Say("flow.put", R"j({"flows":[{"match":"eth_type(0x0800)"}]})j");
  EXPECT_TRUE(Eventually([&] { return ask()["flows"] == "1"; }));
  peers.clear();
  ExpectWell();
}
#endif

TEST_F(AbuseTest, APublisherThatFloodsLeavesRoomAndTurnsToOthers) {
  Start("[limits]\nmax_flows_per_publisher = 1000\n");
  Listener listener(*daemon_);
  Shouter flood(*daemon_);
  for (uint32_t i = 0; i < 4'000; ++i) {
    v1::FlowPut put;
    put.set_publisher("flood");
    for (uint32_t j = 0; j < 64; ++j) {
      put.add_flows()->set_match("eth_type(0x0800),ipv4(dst=" + std::to_string(i >> 8) + "." + std::to_string(i & 255) +
                                 ".0." + std::to_string(j) + ")");
    }
    flood.Say("flow.put", put.SerializeAsString());
  }
  // In the midst of it.
  ExpectWell();
  for (;;) {
    const json event = listener.Await("refused");
    ASSERT_FALSE(event.is_null());
    EXPECT_EQ(event["refused"]["publisher"], "flood");
    EXPECT_EQ(event["refused"]["refused"][0]["reason"], "publisher_limit");
    EXPECT_EQ(event["refused"]["refused"][0]["detail"], "publisher 'flood' has its limit of 1000 flows");
    if (Counter("refused.publisher_limit") == 4'000 * 64 - 1'000) break;
  }
  ExpectWell();
  EXPECT_EQ(Status()["flows"], "1002");
}

}  // namespace
}  // namespace sluice::core::test
