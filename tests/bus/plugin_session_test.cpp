// SPDX-License-Identifier: Apache-2.0
#include "sluice/plugin_session.h"

#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include <atomic>
#include <csignal>
#include <stdexcept>

#include "fake_core.h"

namespace sluice {
namespace {

using test::FakePluginPath;

// Answers as it is told; members that are not atomic are set before the session starts.
class Probe : public PluginSession::Handler {
 public:
  void OnBatch(const v1::ToPlugin& batch, v1::FromPlugin& reply) override {
    if (throw_in_batch) throw std::runtime_error("the device caught fire");
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    signals_blocked = sigismember(&mask, SIGTERM) == 1 && sigismember(&mask, SIGUSR1) == 1;
    for (const auto& change : batch.changes()) {
      auto& verdict = *reply.add_verdicts();
      verdict.set_seq(change.seq());
      verdict.set_state(v1::INSTALLED);
    }
    synced = synced || batch.synced();
  }
  void OnTick(v1::FromPlugin& out) override {
    ++ticks;
    out.add_stats()->set_packets(7);
  }
  std::vector<int> Fds() override { return fd < 0 ? std::vector<int>() : std::vector<int>{fd}; }
  void OnReadable(int readable, v1::FromPlugin& out) override {
    eventfd_t count = 0;
    eventfd_read(readable, &count);
    out.add_upcalls()->set_length(static_cast<uint32_t>(count));
  }
  void OnWake(v1::FromPlugin& out) override {
    if (PluginSession* session = is_busy_when_woken) session->Busy(1'234);
    if (asks_when_woken) return out.set_resync(true);
    out.add_verdicts()->set_detail("woken");
  }
  void OnStop(bool keep, v1::FromPlugin& last) override {
    last.add_stats()->set_packets(keep ? 1 : 2);
    if (PluginSession* session = wakes_at_stop) session->Wake();
  }
  void OnResync() override { ++resyncs; }

  std::atomic<PluginSession*> wakes_at_stop = nullptr;
  std::atomic<PluginSession*> is_busy_when_woken = nullptr;
  bool asks_when_woken = false;
  bool throw_in_batch = false;
  int fd = -1;
  std::atomic<bool> signals_blocked = false;
  std::atomic<bool> synced = false;
  std::atomic<int> ticks = 0;
  std::atomic<int> resyncs = 0;
};

PluginSession::Settings SettingsFor(const FakePluginPath& path) {
  PluginSession::Settings settings;
  settings.name = "probe";
  settings.version = "1.2";
  settings.endpoint = path.endpoint();
  settings.token = "secret";
  settings.zmq_context = path.context();
  settings.capabilities.add_fields("in_port");
  return settings;
}

v1::ToPlugin Batch(uint64_t number, int changes, const std::string& epoch = "e1") {
  v1::ToPlugin batch;
  batch.set_batch(number);
  batch.set_epoch(epoch);
  for (int i = 0; i < changes; ++i) batch.add_changes()->set_seq(static_cast<uint64_t>(i) + 1);
  return batch;
}

class PluginSessionTest : public testing::Test {
 protected:
  void Start() {
    session_ = std::make_unique<PluginSession>(SettingsFor(path_), probe_);
    const auto hello = path_.Next();
    ASSERT_TRUE(hello && hello->has_hello());
  }
  v1::FromPlugin Next() {
    auto message = path_.Next();
    EXPECT_TRUE(message) << "nothing came";
    return message ? std::move(*message) : v1::FromPlugin();
  }
  // Skips ticks.
  v1::FromPlugin NextAnswer() {
    for (;;) {
      auto message = Next();
      if (message.stats_size() == 0 || message.bye()) return message;
    }
  }

  FakePluginPath path_;
  Probe probe_;
  std::unique_ptr<PluginSession> session_;
};

TEST_F(PluginSessionTest, SaysHelloFirst) {
  session_ = std::make_unique<PluginSession>(SettingsFor(path_), probe_);
  const auto first = path_.NextOfAnyKind();
  ASSERT_TRUE(first);
  EXPECT_EQ(first->hello().name(), "probe");
  EXPECT_EQ(first->hello().version(), "1.2");
  EXPECT_EQ(first->hello().token(), "secret");
  EXPECT_EQ(first->hello().capabilities().fields(0), "in_port");
}

TEST_F(PluginSessionTest, AcknowledgesBatchesWithTheirVerdicts) {
  Start();
  for (uint64_t number = 1; number <= 20; ++number) path_.Send(Batch(number, static_cast<int>(number)));
  for (uint64_t number = 1; number <= 20; ++number) {
    const auto answer = NextAnswer();
    EXPECT_EQ(answer.ack(), number);
    EXPECT_EQ(answer.verdicts_size(), static_cast<int>(number));
  }
  EXPECT_TRUE(probe_.signals_blocked);
  EXPECT_EQ(probe_.resyncs, 0);
}

TEST_F(PluginSessionTest, WorksOverIpcWithAContextOfItsOwn) {
  const test::TempDir dir;
  FakePluginPath path("ipc://" + dir.path() + "/plugins");
  auto settings = SettingsFor(path);
  settings.zmq_context = nullptr;
  const PluginSession session(settings, probe_);
  ASSERT_TRUE(path.Next());
  path.Send(Batch(1, 3));
  const auto answer = path.Next();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->verdicts_size(), 3);
}

TEST_F(PluginSessionTest, BeatsAndTicks) {
  Start();
  bool beat = false;
  bool tick = false;
  EXPECT_TRUE(test::Eventually([&] {
    const auto message = path_.NextOfAnyKind();
    beat = beat || (message && message->heartbeat());
    tick = tick || (message && message->stats_size() == 1 && message->stats(0).packets() == 7);
    return beat && tick;
  }));
}

TEST_F(PluginSessionTest, WakesUpFromAnyThread) {
  Start();
  std::thread([&] { session_->Wake(); }).join();
  EXPECT_EQ(NextAnswer().verdicts(0).detail(), "woken");
}

TEST_F(PluginSessionTest, AsksToBeToldEverythingAnew) {
  probe_.asks_when_woken = true;
  Start();
  session_->Wake();
  EXPECT_TRUE(NextAnswer().resync());
  auto batch = Batch(1, 0);
  batch.set_resync(true);
  path_.Send(batch);
  EXPECT_EQ(NextAnswer().ack(), 1U);
  EXPECT_EQ(probe_.resyncs, 1);
}

TEST_F(PluginSessionTest, WaitsForDescriptors) {
  const UniqueFd fd(eventfd(0, EFD_NONBLOCK));
  probe_.fd = fd.get();
  Start();
  eventfd_write(fd.get(), 5);
  EXPECT_EQ(NextAnswer().upcalls(0).length(), 5U);
  session_.reset();  // before the descriptor
}

TEST_F(PluginSessionTest, StopsWithLastStatisticsThenBye) {
  for (const bool keep : {false, true}) {
    Start();
    auto stop = Batch(1, 2);
    stop.set_stop(true);
    stop.set_keep(keep);
    path_.Send(stop);
    EXPECT_EQ(NextAnswer().ack(), 1U);
    EXPECT_EQ(Next().stats(0).packets(), keep ? 1U : 2U);
    const auto last = Next();
    EXPECT_TRUE(last.bye());
    EXPECT_EQ(last.error(), "");
    session_.reset();
    EXPECT_FALSE(path_.NextOfAnyKind(std::chrono::milliseconds(0)));
  }
}

TEST_F(PluginSessionTest, AStoppedPluginThatHasMoreToSaySaysItBeforeTheBye) {
  Start();
  probe_.wakes_at_stop = session_.get();
  auto stop = Batch(1, 0);
  stop.set_stop(true);
  path_.Send(stop);
  EXPECT_EQ(NextAnswer().ack(), 1U);
  EXPECT_EQ(Next().stats(0).packets(), 2U);
  EXPECT_EQ(Next().verdicts(0).detail(), "woken");
  EXPECT_TRUE(Next().bye());
}

TEST_F(PluginSessionTest, SaysByeWhenItIsDestroyed) {
  Start();
  session_.reset();
  EXPECT_TRUE(NextAnswer().bye());
}

TEST_F(PluginSessionTest, AnExceptionEndsItWithBye) {
  probe_.throw_in_batch = true;
  Start();
  path_.Send(Batch(1, 1));
  const auto last = NextAnswer();
  EXPECT_TRUE(last.bye());
  EXPECT_EQ(last.ack(), 0U);
  EXPECT_EQ(last.error(), "the device caught fire");
}

TEST_F(PluginSessionTest, WhatCannotBeReadEndsItWithBye) {
  Start();
  path_.SendRaw("\xff\xff\xff");
  const auto last = NextAnswer();
  EXPECT_TRUE(last.bye());
  EXPECT_NE(last.error().find("ToPlugin"), std::string::npos);
}

TEST_F(PluginSessionTest, AnotherCoreGetsAHelloOfItsOwn) {
  Start();
  path_.Send(Batch(7, 1));
  EXPECT_EQ(NextAnswer().ack(), 7U);
  path_.Send(Batch(0, 0, "e2"));
  EXPECT_EQ(NextAnswer().hello().token(), "secret");
  EXPECT_EQ(probe_.resyncs, 1);
  path_.Send(Batch(1, 2, "e2"));
  EXPECT_EQ(NextAnswer().ack(), 1U);
  EXPECT_EQ(probe_.resyncs, 1);
}

TEST_F(PluginSessionTest, IsResyncedByItsOwnCoreWithoutHello) {
  Start();
  path_.Send(Batch(1, 1));
  EXPECT_EQ(NextAnswer().ack(), 1U);
  auto again = Batch(2, 1);
  again.set_resync(true);
  again.set_synced(true);
  path_.Send(again);
  EXPECT_EQ(NextAnswer().ack(), 2U);
  EXPECT_EQ(probe_.resyncs, 1);
  EXPECT_TRUE(probe_.synced);
}

TEST_F(PluginSessionTest, SaysHelloWhenItIsAsked) {
  Start();
  path_.Send(Batch(1, 1));
  EXPECT_EQ(NextAnswer().ack(), 1U);
  auto who = Batch(0, 0);
  who.set_introduce(true);
  path_.Send(who);
  EXPECT_EQ(NextAnswer().hello().token(), "secret");
  EXPECT_EQ(probe_.resyncs, 0);  // the core will say that it starts over
  auto other = Batch(0, 0, "e2");
  other.set_introduce(true);
  path_.Send(other);
  EXPECT_EQ(NextAnswer().hello().token(), "secret");  // once
  path_.Send(Batch(1, 1, "e2"));
  EXPECT_EQ(NextAnswer().ack(), 1U);
  EXPECT_EQ(probe_.resyncs, 1);
}

TEST_F(PluginSessionTest, SaysHelloAgainWhenABatchIsMissing) {
  Start();
  path_.Send(Batch(7, 1));
  EXPECT_EQ(NextAnswer().ack(), 7U);
  path_.Send(Batch(8, 1));
  EXPECT_EQ(NextAnswer().ack(), 8U);
  path_.Send(Batch(10, 1));
  EXPECT_EQ(NextAnswer().hello().token(), "secret");
  EXPECT_EQ(NextAnswer().ack(), 10U);
  // A resync makes up for whatever was lost before it.
  auto again = Batch(13, 1);
  again.set_resync(true);
  path_.Send(again);
  EXPECT_EQ(NextAnswer().ack(), 13U);
  EXPECT_EQ(probe_.resyncs, 1);
}

TEST_F(PluginSessionTest, AsksForTimeBeforeItTouchesDevices) {
  Start();
  const auto asked_ms = [&] {
    for (;;) {
      const auto message = path_.NextOfAnyKind();
      if (!message || message->ack() != 0) return 0U;
      if (message->busy_ms() != 0) return message->busy_ms();
    }
  };
  path_.Send(Batch(1, 1));
  EXPECT_EQ(asked_ms(), 0U);
  auto port = Batch(2, 1);
  port.mutable_changes(0)->mutable_port_put()->set_name("p0");
  path_.Send(port);
  EXPECT_EQ(asked_ms(), 5'000U);
  EXPECT_EQ(NextAnswer().ack(), 2U);
  probe_.is_busy_when_woken = session_.get();
  session_->Wake();
  EXPECT_EQ(asked_ms(), 1'234U);
}

TEST(PluginSession, RefusesWhatIsNoEndpoint) {
  Probe probe;
  PluginSession::Settings settings;
  settings.endpoint = "nonsense";
  EXPECT_THROW(PluginSession(settings, probe), std::exception);
}

}  // namespace
}  // namespace sluice
