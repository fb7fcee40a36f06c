// SPDX-License-Identifier: Apache-2.0
// Ports that come, go, are full, or have several queues; and how the loop starts and ends.
#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "rig.h"

namespace sluice::rteflow {
namespace {

class PortsTest : public DatapathTest {
 protected:
  const Bytes frame_ = NamedFrame("udp4");
};

TEST_F(PortsTest, AnUnknownPortHasZeros) {
  EXPECT_EQ(datapath_->Counters(5).rx_packets, 0u);
  AddPort(5);
  Inject(5, frame_);
  Drain();
  EXPECT_EQ(datapath_->Counters(5).rx_packets, 1u);
  RemovePort(5);
  EXPECT_EQ(datapath_->Counters(5).rx_packets, 0u);
  AddPort(5);
  EXPECT_EQ(datapath_->Counters(5).rx_packets, 0u);
}

TEST_F(PortsTest, AllQueuesAreReceivedFrom) {
  AddPort(1, {.rx_queues = 4});
  AddPort(2);
  Put("in_port(1)", "2");
  for (unsigned queue = 0; queue < 4; ++queue) ASSERT_TRUE(Device(1).Inject(pool_.Make(frame_), queue));
  Drain();
  EXPECT_EQ(Collect(2).size(), 4u);
}

TEST_F(PortsTest, NumbersMayBeLarge) {
  AddPort(4095);
  AddPort(4096);
  AddPort(UINT32_MAX);
  for (const uint32_t port : {4095U, 4096U, UINT32_MAX}) {
    DatapathFlow& flow = Put(MatchOf("in_port(4095)"), {Output{port}}, 0, 3);
    Inject(4095, frame_, 3);
    Drain();
    EXPECT_EQ(Collect(port).size(), 1u) << port;
    Delete(flow);
  }
  RemovePort(4096);
  Put(MatchOf("in_port(4095)"), {Output{4096}});
  Inject(4095, frame_);
  Drain();
  EXPECT_EQ(datapath_->Counters(4095).no_port, 1u);
}

TEST_F(PortsTest, WhatAFullPortDoesNotTakeIsCounted) {
  AddPort(1);
  AddPort(2, {}, 128);  // a ring of 128 holds 127
  AddPort(3);
  Put("in_port(1)", "2", 0, 1);
  Put("in_port(3)", "2", 0, 2);
  for (int i = 0; i < 100; ++i) Inject(1, frame_, 1);
  Drain();
  for (int i = 0; i < 100; ++i) Inject(3, frame_, 2);
  Drain();
  EXPECT_EQ(Collect(2).size(), 127u);
  EXPECT_EQ(datapath_->Counters(2).tx_packets, 127u);
  EXPECT_EQ(datapath_->Counters(2).tx_bytes, 127u * frame_.size());
  EXPECT_EQ(datapath_->Counters(2).tx_full, 73u);
  EXPECT_EQ(datapath_->Counters(1).forwarded, 100u);
  EXPECT_EQ(datapath_->Counters(3).forwarded, 27u);
  for (int i = 0; i < 10; ++i) Inject(1, frame_, 1);
  Drain();
  EXPECT_EQ(Collect(2).size(), 10u);
}

TEST_F(PortsTest, SettingsChangeAndCountersStay) {
  RingDevice& device = AddPort(1);
  Inject(1, frame_);
  Drain();
  datapath_->AddPort({.number = 1, .ethdev = device.ethdev(), .miss = MissPolicy::kDrop});
  Inject(1, frame_);
  Drain();
  EXPECT_EQ(datapath_->Counters(1).rx_packets, 2u);
  EXPECT_EQ(datapath_->Counters(1).upcall, 1u);
}

// The device is stopped and freed with packets still in it, while another port sends to it.
TEST_F(PortsTest, APortGoesWhilePacketsFlow) {
  AddPort(1);
  AddPort(2);
  Put("in_port(1)", "2", 0, 1);
  Put("in_port(2)", "1", 0, 2);
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> injected{0};
  std::thread traffic([&] {
    while (!stop) {
      if (Device(1).waiting() < 1000 && Device(1).Inject(pool_.Make(frame_, 1))) ++injected;
    }
  });
  for (int round = 0; round < 50; ++round) {
    const uint64_t before = datapath_->Counters(2).tx_packets;
    while (datapath_->Counters(2).tx_packets < before + 100) Collect(2);
    for (int i = 0; i < 10; ++i) Inject(2, frame_, 2);
    datapath_->RemovePort(2);
    datapath_->WaitFor(datapath_->Fence());
    devices_[2].reset();
    const uint64_t lost = datapath_->Counters(1).no_port;
    while (datapath_->Counters(1).no_port == lost) std::this_thread::yield();
    AddPort(2);
    Collect(1);
  }
  stop = true;
  traffic.join();
  Drain();
  ExpectAllAccountedFor(1, injected);
}

TEST_F(PortsTest, TheLoopHasItsNameAndTakesNoSignals) {
  bool found = false;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string name;
    std::ifstream(task.path() / "comm") >> name;
    if (name != "sluice-poll") continue;
    found = true;
    std::ifstream status(task.path() / "status");
    for (std::string line; std::getline(status, line);) {
      if (!line.starts_with("SigBlk:")) continue;
      const uint64_t blocked = std::stoull(line.substr(7), nullptr, 16);
      for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGCHLD}) {
        EXPECT_NE(blocked & uint64_t{1} << (signal - 1), 0u) << signal;
      }
    }
  }
  EXPECT_TRUE(found);
  sigset_t mine;
  pthread_sigmask(SIG_SETMASK, nullptr, &mine);
  EXPECT_EQ(sigismember(&mine, SIGTERM), 0);
}

TEST_F(PortsTest, LoadTellsBusyRounds) {
  AddPort(1, {.miss = MissPolicy::kDrop});
  const DatapathLoad before = datapath_->Load();
  for (int i = 0; i < 100; ++i) Inject(1, frame_);
  Drain();
  const DatapathLoad after = datapath_->Load();
  EXPECT_EQ(after.packets - before.packets, 100u);
  EXPECT_GT(after.busy_cycles, before.busy_cycles);
  EXPECT_GT(after.rounds, before.rounds);
}

TEST(DatapathStart, RefusesACpuThatIsNotThere) {
  for (const int cpu : {4000, 100000}) {
    const auto started = Datapath::Start({.cpu = cpu, .copies = 63});
    ASSERT_FALSE(started);
    EXPECT_EQ(started.error().reason, "no_thread");
    EXPECT_NE(started.error().detail.find(std::to_string(cpu)), std::string::npos);
  }
}

TEST(DatapathStart, RefusesBuffersThatItCannotHave) {
  const auto started = Datapath::Start({.copies = 1000000});
  ASSERT_FALSE(started);
  EXPECT_EQ(started.error().reason, "no_memory");
  EXPECT_EQ(Datapath::Start({.copies = 63, .copy_bytes = 65535}).error().reason, "no_memory");
}

TEST(DatapathStart, StartsAndEndsAgainAndAgain) {
  for (int i = 0; i < 20; ++i) {
    const auto started = Datapath::Start({.cpu = 0, .idle_us = i % 2 == 0 ? 1000000U : 0U, .copies = 255});
    ASSERT_TRUE(started) << started.error().detail;
    (*started)->WaitFor((*started)->Fence());
  }
}

}  // namespace
}  // namespace sluice::rteflow
