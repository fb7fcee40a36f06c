// SPDX-License-Identifier: Apache-2.0
// Monitors harm nobody, however they behave, and each can tell what it missed.
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <mutex>
#include <random>
#include <thread>

#include "daemon_rig.h"
#include "sluice/control_client.h"
#include "sluice/flow_mirror.h"
#include "sluice/monitor.h"
#include "sluice/publisher.h"
#include "sluice/wire.h"
#include "support/temp_dir.h"

namespace sluice::core::test {
namespace {

using sluice::test::TempDir;
using Clock = std::chrono::steady_clock;

// By ufid: its actions, which tell which version of it this is.
using Table = std::map<std::string, std::string>;

std::string UfidOf(uint64_t number) {
  char text[37];
  std::snprintf(text, sizeof(text), "%08lx-0000-0000-0000-%012lx", number * 2654435761 & 0xffffffff, number + 1);
  return text;
}

v1::Flow FlowOf(uint64_t number, uint64_t version) {
  v1::Flow flow;
  flow.set_ufid(UfidOf(number));
  flow.set_match("eth_type(0x0800),ipv4(dst=10." + std::to_string(number >> 16 & 255) + '.' +
                 std::to_string(number >> 8 & 255) + '.' + std::to_string(number & 255) + ")");
  flow.set_actions("push_vlan(vid=" + std::to_string(version % 4095 + 1) + ",pcp=0),pop_vlan");
  return flow;
}

Publisher Connect(const Daemon& daemon) {
  auto publisher = Publisher::Connect({.endpoint = "ipc://" + daemon.run_dir() + "/ingress",
                                       .name = "test",
                                       .block = std::chrono::seconds(20),
                                       .control = "ipc://" + daemon.run_dir() + "/control"});
  EXPECT_TRUE(publisher);
  return std::move(*publisher);
}

void PutAll(Publisher& publisher, uint64_t flows, uint64_t version) {
  for (uint64_t i = 0; i < flows; ++i) ASSERT_TRUE(publisher.Put(FlowOf(i, version)));
  const auto account = publisher.Settle(std::chrono::seconds(60));
  ASSERT_TRUE(account) << account.error().detail;
  ASSERT_EQ(account->accepted, account->sent);
}

Table Contents(const FlowMirror& mirror) {
  Table table;
  mirror.ForEach([&](const v1::Flow& flow) { table[flow.ufid()] = flow.actions(); });
  return table;
}

Table Contents(const Daemon& daemon) {
  Table table;
  auto client = ControlClient::Connect({.endpoint = "ipc://" + daemon.run_dir() + "/control"});
  auto flows = client->Flows();
  EXPECT_TRUE(flows);
  if (!flows) return table;
  for (const v1::Flow& flow : *flows) table[flow.ufid()] = flow.actions();
  return table;
}

// Equal, said without printing a hundred thousand flows.
testing::AssertionResult Same(const Table& a, const Table& b) {
  for (const auto& [ufid, actions] : a) {
    const auto it = b.find(ufid);
    if (it == b.end()) return testing::AssertionFailure() << ufid << " is only in the first";
    if (it->second != actions) {
      return testing::AssertionFailure() << ufid << " has " << actions << " in the first and " << it->second;
    }
  }
  if (a.size() == b.size()) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "there are " << a.size() << " in the first and " << b.size();
}

// A subscription to everything that nobody reads, until somebody does.
class Stuck {
 public:
  explicit Stuck(const Daemon& daemon) : socket_(context_, zmq::socket_type::sub) {
    socket_.set(zmq::sockopt::rcvhwm, 1);
    socket_.set(zmq::sockopt::linger, 0);
    socket_.set(zmq::sockopt::rcvtimeo, 5'000);
    socket_.set(zmq::sockopt::subscribe, "");
    socket_.connect("ipc://" + daemon.run_dir() + "/events");
    Read();  // the heartbeat that says that the subscription is in force
  }
  // Of all topics: how many events came, and how many its numbers and a heartbeat say that it missed.
  struct Balance {
    uint64_t received = 0;
    uint64_t missed = 0;
    uint64_t happened = 0;  // by that heartbeat, since the first
  };
  // Until a heartbeat that is newer than `seq`.
  Balance CatchUp(uint64_t seq) {
    while (newest_beat_ <= seq) Read();
    Balance balance{.received = received_};
    for (const auto& [topic, newest] : newest_) {
      if (topic == "heartbeat") continue;
      balance.missed += newest - last_[topic];
      balance.happened += newest - first_[topic];
    }
    balance.missed += missed_;
    return balance;
  }

 private:
  void Read() {
    zmq::message_t topic;
    zmq::message_t payload;
    if (!socket_.recv(topic) || !socket_.recv(payload)) throw std::runtime_error("no event came");
    v1::Events events;
    if (!Decode({static_cast<const char*>(payload.data()), payload.size()}, events)) throw std::runtime_error("bad");
    for (const v1::Event& event : events.events()) {
      if (event.has_heartbeat()) {
        newest_beat_ = event.seq();
        newest_ = {event.heartbeat().topic_seq().begin(), event.heartbeat().topic_seq().end()};
        if (first_.empty()) first_ = last_ = newest_;
        continue;
      }
      ++received_;
      missed_ += event.topic_seq() - last_[event.topic()] - 1;
      last_[event.topic()] = event.topic_seq();
    }
  }

  zmq::context_t context_;
  zmq::socket_t socket_;
  uint64_t received_ = 0;
  uint64_t missed_ = 0;
  uint64_t newest_beat_ = 0;
  std::map<std::string, uint64_t> first_;
  std::map<std::string, uint64_t> newest_;
  std::map<std::string, uint64_t> last_;
};

// A monitor with a copy of the table, which can be made to read an event a second.
class Slow {
 public:
  explicit Slow(const Daemon& daemon) : monitor_(Open(daemon)), thread_([this] { Run(); }) {}
  ~Slow() { Stop(); }
  Slow(const Slow&) = delete;
  Slow& operator=(const Slow&) = delete;

  void SetSlow(bool slow) { slow_ = slow; }
  // Its copy is the daemon's table, all that it missed made up for.
  bool Equals(const Table& table) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));  // it has more to do than to be compared
    const std::lock_guard lock(mutex_);
    return mirror_.synced() && mirror_.size() == table.size() && Same(Contents(mirror_), table);
  }
  uint64_t missed() {
    const std::lock_guard lock(mutex_);
    return told_missed_;
  }

 private:
  static Monitor Open(const Daemon& daemon) {
    auto monitor = Monitor::Open({.endpoints = EndpointsIn(daemon.run_dir()),
                                  .topics = {},
                                  .snapshot = true,
                                  .resync_interval = std::chrono::milliseconds(100),
                                  .high_water_mark = 10});
    EXPECT_TRUE(monitor);
    return std::move(*monitor);
  }
  void Run() {
    while (!stop_) {
      {
        const std::lock_guard lock(mutex_);
        for (int i = 0; i < (slow_ ? 1 : 1'000); ++i) {
          const auto item = monitor_.Next(std::chrono::milliseconds(10));
          if (!item) break;
          mirror_.Apply(*item);
          if (const auto* gap = std::get_if<GapDetected>(&*item)) told_missed_ += gap->missed;
        }
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));  // for who waits for the lock
      for (auto until = Clock::now() + std::chrono::seconds(1); slow_ && !stop_ && Clock::now() < until;) {
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
      }
    }
  }
  void Stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }

  std::mutex mutex_;
  Monitor monitor_;
  FlowMirror mirror_;
  uint64_t told_missed_ = 0;
  std::atomic<bool> slow_ = false;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

TEST(MonitorsTest, NeitherSilenceNorSlownessNorComingAndGoingHarmsAnybody) {
  constexpr uint64_t kFlows = 30'000;
  constexpr uint64_t kRounds = 6;
  constexpr int kComings = 1'000;
  const TempDir dir;
  Daemon daemon({"--config", dir.Write("c.toml", "[queues]\nevents = 50\n")});
  ASSERT_TRUE(Accepts(daemon, Load("recorder")));
  Publisher publisher = Connect(daemon);
  PutAll(publisher, kFlows, 0);
  const auto installed = [&] { return PluginOf(daemon, "recorder")["installed"] == std::to_string(kFlows); };
  ASSERT_TRUE(Eventually(installed, std::chrono::seconds(60)));

  Stuck stuck(daemon);
  Slow slow(daemon);
  ASSERT_TRUE(Eventually([&, table = Contents(daemon)] { return slow.Equals(table); }, std::chrono::seconds(30)));
  slow.SetSlow(true);
  ASSERT_TRUE(Eventually([&] { return StatusOf(daemon).connections().at("events") == 2; }));
  uint64_t settled_kib = 0;
  std::atomic<int> came = 0;
  std::thread coming_and_going([&] {
    zmq::context_t context;
    for (; came < kComings; ++came) {
      zmq::socket_t socket(context, zmq::socket_type::sub);
      socket.set(zmq::sockopt::linger, 0);
      socket.set(zmq::sockopt::rcvtimeo, 10'000);
      socket.set(zmq::sockopt::subscribe, came % 2 == 0 ? "" : "flow.");
      socket.connect("ipc://" + daemon.run_dir() + "/events");
      zmq::message_t frame;
      if (came % 10 == 0) (void)socket.recv(frame);  // most are gone before anything comes
    }
  });
  uint64_t changes = kFlows;
  for (uint64_t round = 1; round <= kRounds || came < kComings; ++round) {
    PutAll(publisher, kFlows, round);
    changes += kFlows;
    EXPECT_TRUE(Eventually(installed, std::chrono::seconds(60)));
    if (round == 2) settled_kib = ResidentKiB(daemon);
  }
  coming_and_going.join();
  // Of some 100 MB of events, and a thousand monitors.
  if (!kSanitized) {
    EXPECT_LT(ResidentKiB(daemon), settled_kib + 32 * 1024);
  }
  const v1::Status status = StatusOf(daemon);
  EXPECT_EQ(status.flows(), kFlows);
  for (const auto& [place, lost] : status.drops()) EXPECT_EQ(lost, 0U) << place;
  EXPECT_TRUE(Eventually([&] { return StatusOf(daemon).connections().at("events") == 2; }));

  // The one that never read knows what it missed, to the event.
  const Stuck::Balance balance = stuck.CatchUp(StatusOf(daemon).seq());
  EXPECT_GT(balance.missed, changes / 2);
  EXPECT_EQ(balance.received + balance.missed, balance.happened);
  EXPECT_GE(balance.happened, (changes - kFlows) * 2);  // changed, and installed

  // The slow one too, and has the table again once it reads.
  EXPECT_FALSE(slow.Equals(Contents(daemon)));
  slow.SetSlow(false);
  EXPECT_TRUE(Eventually([&] { return slow.missed() > 0; }, std::chrono::seconds(30)));
  const Table table = Contents(daemon);
  EXPECT_EQ(table.size(), kFlows);
  EXPECT_TRUE(Eventually([&] { return slow.Equals(table); }, std::chrono::seconds(30)));

  ASSERT_TRUE(Accepts(daemon, {{"plugin_unload", {{"name", "recorder"}}}}));
  EXPECT_TRUE(daemon.process().WaitForOutput("recorded " + std::to_string(kFlows) + " flows"));
}

// Everything that ever happened to flows, with its number: the table as of any of them.
class Log {
 public:
  explicit Log(const Daemon& daemon) : socket_(context_, zmq::socket_type::sub) {
    socket_.set(zmq::sockopt::rcvhwm, 0);
    socket_.set(zmq::sockopt::linger, 0);
    socket_.set(zmq::sockopt::rcvtimeo, 100);
    for (const char* topic : {"flow.add", "flow.mod", "flow.del", "heartbeat"}) {
      socket_.set(zmq::sockopt::subscribe, topic);
    }
    socket_.connect("ipc://" + daemon.run_dir() + "/events");
    while (seq_ == 0) Read();
    thread_ = std::thread([this] {
      while (!stop_) Read();
    });
  }
  ~Log() {
    stop_ = true;
    thread_.join();
  }
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  // As far as it has come.
  uint64_t seq() const { return seq_; }
  bool broken() const { return broken_; }
  Table At(uint64_t seq) {
    const std::lock_guard lock(mutex_);
    for (; next_ < entries_.size() && entries_[next_].seq <= seq; ++next_) {
      const Entry& entry = entries_[next_];
      if (entry.gone) {
        table_.erase(entry.ufid);
      } else {
        table_[entry.ufid] = entry.actions;
      }
    }
    return table_;
  }

 private:
  struct Entry {
    uint64_t seq = 0;
    bool gone = false;
    std::string ufid;
    std::string actions;
  };
  void Read() {
    zmq::message_t topic;
    zmq::message_t payload;
    if (!socket_.recv(topic) || !socket_.recv(payload)) return;
    v1::Events events;
    if (!Decode({static_cast<const char*>(payload.data()), payload.size()}, events)) broken_ = true;
    const std::lock_guard lock(mutex_);
    for (const v1::Event& event : events.events()) {
      if (event.has_flow()) {
        if (event.topic_seq() != ++numbers_[event.topic()]) broken_ = true;
        entries_.push_back({event.seq(), event.topic() == "flow.del", event.flow().ufid(), event.flow().actions()});
      }
      seq_ = event.seq();
    }
  }

  zmq::context_t context_;
  zmq::socket_t socket_;
  std::mutex mutex_;
  std::vector<Entry> entries_;
  std::map<std::string, uint64_t> numbers_;
  size_t next_ = 0;  // what is before stands in table_
  Table table_;
  std::atomic<uint64_t> seq_ = 0;
  std::atomic<bool> broken_ = false;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

TEST(MonitorsTest, ALargeSnapshotWhileThingsChangeIsTheTableAsOfItsNumber) {
  constexpr uint64_t kFlows = kSanitized ? 20'000 : 100'000;
  constexpr int kWalks = 3;
  const TempDir dir;
  Daemon daemon({"--config", dir.Write("c.toml", "[queues]\nevents = 1000000\n")});
  Log log(daemon);
  Publisher publisher = Connect(daemon);
  PutAll(publisher, kFlows, 0);
  std::atomic<bool> stop = false;
  std::thread changes([&] {
    std::mt19937 random(3);
    for (uint64_t version = 1; !stop; ++version) {
      const uint64_t number = random() % (kFlows * 11 / 10);
      if (random() % 3 == 0) {
        v1::FlowKey key;
        key.set_ufid(UfidOf(number));
        (void)publisher.Delete(key);
      } else {
        (void)publisher.Put(FlowOf(number, version));
      }
      if (version % 250 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    (void)publisher.Flush();
  });
  for (int walk = 0; walk < kWalks; ++walk) {
    auto monitor = Monitor::Open({.endpoints = EndpointsIn(daemon.run_dir()),
                                  .topics = {},
                                  .snapshot = true,
                                  .chunk = 500,
                                  .high_water_mark = 1'000'000});  // no gaps: this is not about them
    EXPECT_TRUE(monitor);
    FlowMirror mirror;
    uint64_t started = 0;
    uint64_t seq = 0;
    const auto deadline = Clock::now() + std::chrono::seconds(60);
    while (seq == 0 && Clock::now() < deadline) {
      const auto item = monitor->Next(std::chrono::seconds(5));
      if (!item) continue;
      mirror.Apply(*item);
      if (std::holds_alternative<SnapshotStarted>(*item)) started = log.seq();
      if (const auto* synced = std::get_if<Synced>(&*item)) seq = synced->seq;
    }
    ASSERT_NE(seq, 0U) << "no snapshot came to its end";
    EXPECT_GT(seq, started + 100) << "nothing changed meanwhile";
    ASSERT_TRUE(Eventually([&] { return log.seq() >= seq; }));
    ASSERT_FALSE(log.broken());
    EXPECT_TRUE(Same(Contents(mirror), log.At(seq)));
    // And on: with the events that follow it is the table as of a later number.
    uint64_t later = seq;
    while (later < seq + 1'000 && Clock::now() < deadline) {
      const auto item = monitor->Next(std::chrono::seconds(5));
      if (!item) continue;
      mirror.Apply(*item);
      if (const auto* received = std::get_if<EventReceived>(&*item)) later = received->event.seq();
    }
    ASSERT_TRUE(Eventually([&] { return log.seq() >= later; }));
    EXPECT_TRUE(Same(Contents(mirror), log.At(later)));
  }
  stop = true;
  changes.join();
}

TEST(MonitorsTest, StatusTellsWhoListensAndToWhat) {
  Daemon daemon({});
  EXPECT_EQ(StatusOf(daemon).connections().at("events"), 0U);
  {
    zmq::context_t context;
    std::vector<zmq::socket_t> sockets;
    for (const char* prefix : {"flow.", "flow.", "json:upcall", "no such topic"}) {
      zmq::socket_t& socket = sockets.emplace_back(context, zmq::socket_type::sub);
      socket.set(zmq::sockopt::linger, 0);
      socket.set(zmq::sockopt::subscribe, prefix);
      socket.connect("ipc://" + daemon.run_dir() + "/events");
      socket.set(zmq::sockopt::subscribe, prefix);  // once more, which ZeroMQ undoes once only
    }
    EXPECT_TRUE(Eventually([&] { return StatusOf(daemon).connections().at("events") == 4; }));
    const std::vector<std::string> expected = {"flow.", "json:upcall"};
    const auto subscriptions = [&] {
      const v1::Status status = StatusOf(daemon);
      return std::vector<std::string>(status.subscriptions().begin(), status.subscriptions().end());
    };
    EXPECT_TRUE(Eventually([&] { return subscriptions() == expected; }));
    sockets[0].close();
    EXPECT_TRUE(Eventually([&] { return StatusOf(daemon).connections().at("events") == 3; }));
    EXPECT_EQ(subscriptions(), expected);
  }
  EXPECT_TRUE(Eventually([&] { return StatusOf(daemon).connections().at("events") == 0; }));
  EXPECT_TRUE(Eventually([&] { return StatusOf(daemon).subscriptions().empty(); }));
  Shouter shouter(daemon);
  EXPECT_EQ(StatusOf(daemon).connections().at("ingress"), 1U);
}

}  // namespace
}  // namespace sluice::core::test
