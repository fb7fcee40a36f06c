// SPDX-License-Identifier: Apache-2.0
// What the core costs, in a process of its own, over ipc as its users reach it: events to a monitor, a snapshot of a
// large table while it changes, and memory.
#include <atomic>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>
#include <zmq_addon.hpp>

#include "bench/bench_flows.h"
#include "bench/benches.h"
#include "bench/datapath.h"
#include "bench/samples.h"
#include "sluice/control_client.h"
#include "sluice/endpoints.h"
#include "sluice/monitor.h"
#include "sluice/publisher.h"
#include "sluice/wire.h"
#include "support/daemon.h"
#include "support/netns.h"
#include "support/temp_dir.h"
#include "support/veth.h"

namespace sluice::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint32_t kBatch = 256;  // flows in a message
constexpr uint32_t kMasks = 16;
constexpr auto kPatience = std::chrono::seconds(120);

double SecondsSince(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// The core with XDP in a process of its own and two ports.
class Bus {
 public:
  Bus()
      : port1_({&switch_, "port1"}, {&hosts_, "host1"}),
        port2_({&switch_, "port2"}, {&hosts_, "host2"}),
        daemon_({"--config", Config()}, &switch_),
        endpoints_(EndpointsIn(daemon_.run_dir())) {}

  [[nodiscard]] const Endpoints& endpoints() const { return endpoints_; }
  [[nodiscard]] test::Daemon& daemon() { return daemon_; }
  [[nodiscard]] Publisher NewPublisher() const {
    Publisher::Settings settings;
    settings.endpoint = endpoints_.ingress;
    settings.name = "bench";
    settings.batch = kBatch;
    settings.block = kPatience;
    Publisher publisher = OrThrow(Publisher::Connect(settings));
    OrThrow(publisher.WaitReady());
    return publisher;
  }
  [[nodiscard]] v1::Plugin Plugin() const {
    v1::Request request;
    request.mutable_plugin_list();
    return daemon_.Ask(request).plugins(0);
  }
  void WaitInstalled(uint64_t flows) const {
    const auto deadline = Clock::now() + kPatience;
    for (v1::Plugin plugin = Plugin(); plugin.installed() < flows || plugin.pending() != 0; plugin = Plugin()) {
      if (Clock::now() > deadline || plugin.refused() + plugin.failed() != 0) {
        throw std::runtime_error("installed: " + std::to_string(plugin.installed()) + " of " + std::to_string(flows) +
                                 ", refused: " + std::to_string(plugin.refused()));
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
  // kB
  [[nodiscard]] uint64_t CoreMemory() {
    std::ifstream status("/proc/" + std::to_string(daemon_.process().pid()) + "/status");
    for (std::string line; std::getline(status, line);) {
      if (line.starts_with("VmRSS:")) return std::stoull(line.substr(6));
    }
    throw std::runtime_error("no VmRSS");
  }

 private:
  std::string Config() {
    const std::string path = dir_.path() + "/sluiced.toml";
    std::ofstream(path) << "[limits]\nmax_flows = 2000000\n"
                           "[[plugin]]\nname = \"xdp\"\nisolation = \"process\"\noptions = {max_flows = 1100000}\n"
                           "[[port]]\nname = \"port1\"\n[[port]]\nname = \"port2\"\n";
    return path;
  }

  test::Netns switch_, hosts_;
  test::Veth port1_, port2_;
  test::TempDir dir_;
  test::Daemon daemon_;
  Endpoints endpoints_;
};

v1::Flow FlowOf(uint32_t number, const std::string& actions) {
  v1::Flow flow;
  Match match = BenchMatch(number, number % kMasks);
  match.SetExact(Field::in_port, 1);
  flow.set_packed_match(match.Pack());
  flow.set_actions(actions);
  return flow;
}

void Put(Publisher& publisher, uint32_t from, uint32_t to, const std::string& actions) {
  for (uint32_t number = from; number < to; ++number) OrThrow(publisher.Put(FlowOf(number, actions)));
  OrThrow(publisher.Flush());
}

// Events of that topic family to one monitor, while flows are modified: records a second from the first to the last.
double MonitorRate(Bus& bus, uint32_t flows, const std::string& actions, uint64_t& missed) {
  Monitor::Settings settings;
  settings.endpoints = bus.endpoints();
  settings.topics = {"flow.mod"};
  settings.high_water_mark = 1'000'000;
  Monitor monitor = OrThrow(Monitor::Open(settings));
  // A heartbeat is the sign that the subscription is in force.
  (void)monitor.Next(std::chrono::milliseconds(300));
  std::thread publishing([&] {
    Publisher publisher = bus.NewPublisher();
    Put(publisher, 0, flows, actions);
  });
  uint64_t events = 0;
  auto first = Clock::now();
  auto last = first;
  while (events + monitor.counters().missed < flows) {
    auto item = monitor.Next(std::chrono::seconds(5));
    if (!item) break;
    if (std::get_if<EventReceived>(&*item) == nullptr) continue;
    if (events++ == 0) first = Clock::now();
    last = Clock::now();
  }
  publishing.join();
  missed += monitor.counters().missed;
  return static_cast<double>(events) / std::chrono::duration<double>(last - first).count();
}

// As many records in as large messages, encoded once, over ipc to a socket that decodes them: what the core could reach
// if events cost it nothing.
double BareRate(uint32_t records) {
  const test::TempDir dir;
  const std::string endpoint = "ipc://" + dir.path() + "/bare";
  zmq::context_t context;
  zmq::socket_t in(context, zmq::socket_type::pull);
  in.set(zmq::sockopt::rcvhwm, 0);
  in.bind(endpoint);
  v1::Events events;
  for (int i = 0; i < 64; ++i) {
    v1::Event& event = *events.add_events();
    event.set_seq(1'000'000);
    event.set_topic("flow.mod");
    v1::Flow& flow = *event.mutable_flow();
    flow.set_ufid("00000000-0000-0000-0000-000000000000");
    flow.set_match(
        "in_port(port1),eth_type(0x0800),ipv4(src=10.0.0.0/255.255.255.0,dst=11.0.0.0/"
        "255.255.0.0,proto=17),udp(dst=53)");
    flow.set_actions("port2");
    v1::Offload& offload = *flow.add_offload();
    offload.set_plugin("xdp");
    offload.set_state(v1::INSTALLED);
  }
  const uint32_t messages = records / 64;
  std::thread sending([&] {
    zmq::socket_t out(context, zmq::socket_type::push);
    out.set(zmq::sockopt::sndhwm, 0);
    out.connect(endpoint);
    const std::string payload = Encode(events, Encoding::protobuf);
    for (uint32_t i = 0; i < messages; ++i) out.send(zmq::buffer(payload), zmq::send_flags::none);
  });
  const auto start = Clock::now();
  for (uint32_t i = 0; i < messages; ++i) {
    zmq::message_t frame;
    (void)in.recv(frame);
    v1::Events decoded;
    (void)Decode({static_cast<const char*>(frame.data()), frame.size()}, decoded);
  }
  const double seconds = SecondsSince(start);
  sending.join();
  return messages * 64 / seconds;
}

// Changes flows at a rate, in messages of a few, until it goes.
class Changing {
 public:
  Changing(Bus& bus, uint32_t flows, uint32_t per_second)
      : thread_([this, &bus, flows, per_second] { Run(bus, flows, per_second); }) {}
  ~Changing() {
    stop_ = true;
    thread_.join();
  }
  Changing(const Changing&) = delete;
  Changing& operator=(const Changing&) = delete;
  [[nodiscard]] uint64_t done() const { return done_; }

 private:
  void Run(Bus& bus, uint32_t flows, uint32_t per_second) {
    Publisher publisher = bus.NewPublisher();
    const auto start = Clock::now();
    uint32_t number = 0;
    while (!stop_) {
      if (static_cast<double>(done_) < SecondsSince(start) * per_second) {
        OrThrow(publisher.Put(FlowOf(number, done_ / flows % 2 == 0 ? "drop" : "port2")));
        number = (number + 7919) % flows;
        ++done_;
      } else {
        OrThrow(publisher.Flush());
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    }
    OrThrow(publisher.Flush());
  }

  std::atomic<bool> stop_ = false;
  std::atomic<uint64_t> done_ = 0;
  std::thread thread_;
};

// Seconds for the whole table, by the walk that a monitor with a snapshot does.
double SnapshotSeconds(Bus& bus, uint32_t flows) {
  auto client = OrThrow(ControlClient::Connect({.endpoint = bus.endpoints().control}));
  uint64_t got = 0;
  const auto start = Clock::now();
  OrThrow(client.Walk({}, [&](const v1::Reply& reply) {
    got += static_cast<uint64_t>(reply.flows_size());
    return true;
  }));
  const double seconds = SecondsSince(start);
  if (got < flows) throw std::runtime_error("the snapshot has " + std::to_string(got) + " flows");
  return seconds;
}

void Print(const std::vector<Case>& cases, const char* unit, int digits) {
  for (const Case& one : cases) {
    std::printf("  %-60s %10.*f %10.*f %10.*f %s\n", one.name.c_str(), digits, Median(one), digits,
                Quantile(one.samples, 0), digits, Quantile(one.samples, 1), unit);
  }
}

}  // namespace

void BusBench(const BusOptions& options) {
  Bus bus;
  Publisher publisher = bus.NewPublisher();
  const uint64_t before = bus.CoreMemory();
  // The masks first: the rest finds them there.
  Put(publisher, 0, kMasks, "port2");
  bus.WaitInstalled(kMasks);

  const uint32_t flows = options.flows;
  const auto start = Clock::now();
  Put(publisher, kMasks, flows, "port2");
  const double sent = SecondsSince(start);
  bus.WaitInstalled(flows);
  const double installed = SecondsSince(start);
  std::printf(
      "bus: %u flows under %u masks, packed, %u a message over ipc; the core and XDP in processes of their own\n",
      flows, kMasks, kBatch);
  std::printf("  %-60s %10.0f flows/s\n", "sent by the publisher", (flows - kMasks) / sent);
  std::printf("  %-60s %10.0f flows/s\n", "installed in XDP", (flows - kMasks) / installed);
  std::printf("  %-60s %10.0f bytes\n", "the core's resident memory, a flow",
              static_cast<double>(bus.CoreMemory() - before) * 1024 / flows);

  std::vector<Case> snapshots;
  uint64_t changes = 0;
  double changing = 0;
  snapshots.push_back({"snapshot of all", [&] { return SnapshotSeconds(bus, flows); }, {}});
  snapshots.push_back({"snapshot of all, " + std::to_string(options.changes) + " changes/s meanwhile",
                       [&] {
                         const Changing change(bus, flows, options.changes);
                         std::this_thread::sleep_for(std::chrono::milliseconds(200));
                         const uint64_t at = change.done();
                         const double seconds = SnapshotSeconds(bus, flows);
                         changes += change.done() - at;
                         changing += seconds;
                         return seconds;
                       },
                       {}});
  RunInterleaved(snapshots, options.rounds);
  std::printf("snapshot: %u rounds: median, least, most\n", options.rounds);
  Print(snapshots, "s", 2);
  std::printf("  %-60s %10.0f /s\n", "changes that were sent meanwhile", static_cast<double>(changes) / changing);

  // All alike: what does not change is no event.
  Put(publisher, 0, flows, "port2");
  bus.WaitInstalled(flows);
  uint64_t missed = 0;
  uint32_t round = 0;
  std::vector<Case> rates;
  rates.push_back({"the same bytes through bare sockets, decoded", [&] { return BareRate(options.events); }, {}});
  rates.push_back({"flow.mod events, publisher to monitor",
                   [&] { return MonitorRate(bus, options.events, ++round % 2 == 0 ? "port2" : "drop", missed); },
                   {}});
  RunInterleaved(rates, options.rounds);
  std::printf("monitor: %u events a sample, %u rounds: median, least, most; missed: %llu\n", options.events,
              options.rounds, static_cast<unsigned long long>(missed));
  Print(rates, "/s", 0);
}

}  // namespace sluice::bench
