// SPDX-License-Identifier: Apache-2.0
#include "bench/upcall_rig.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>
#include <poll.h>

#include <cstring>
#include <ctime>
#include <exception>
#include <stdexcept>
#include <thread>

#include "af_xdp.h"
#include "bench/bench_flows.h"
#include "object.h"
#include "packet_sender.h"
#include "sluice/flow_text.h"

namespace sluice::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kPatience = std::chrono::seconds(10);
constexpr uint32_t kBurst = 128;        // of a paced generator
constexpr double kFloodRate = 1000000;  // packets a second that a sample of seconds is made of

std::string PortArgument(const std::string& name, const UpcallOptions& options) {
  return name + "=xdp:upcall_rate=0,upcall_match=" + (options.match ? "yes" : "no");
}

void Attach(unsigned ifindex, int program_fd) {
  const int failed = bpf_xdp_attach(static_cast<int>(ifindex), program_fd, XDP_FLAGS_DRV_MODE, nullptr);
  if (failed != 0) throw std::runtime_error(std::string("attaching XDP: ") + std::strerror(-failed));
}

void SendRun(int program_fd, uint32_t packets) {
  reference::Bytes frame = BenchFrame();
  LIBBPF_OPTS(bpf_test_run_opts, run);
  run.data_in = frame.data();
  run.data_size_in = static_cast<uint32_t>(frame.size());
  run.repeat = static_cast<int>(packets);
  run.flags = BPF_F_TEST_XDP_LIVE_FRAMES;
  run.batch_size = 64;
  if (const int failed = bpf_prog_test_run_opts(program_fd, &run); failed != 0) {
    throw std::runtime_error(std::string("live BPF_PROG_TEST_RUN: ") + std::strerror(-failed));
  }
}

// Runs in a thread; what it throws is thrown by Join.
class Task {
 public:
  explicit Task(std::function<void()> work)
      : thread_([this, work = std::move(work)] {
          try {
            work();
          } catch (...) {
            failure_ = std::current_exception();
          }
        }) {}
  ~Task() {
    if (thread_.joinable()) thread_.join();
  }
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;
  void Join() {
    thread_.join();
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  std::exception_ptr failure_;
  std::thread thread_;
};

int64_t RealtimeNs() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

}  // namespace

// Sends every packet that comes up out of port2.
class UpcallRig::Controller {
 public:
  explicit Controller(const Endpoints& endpoints)
      : monitor_(OrThrow(Monitor::Open(MonitorSettings(endpoints)))),
        publisher_(OrThrow(Publisher::Connect(PublisherSettings(endpoints)))) {
    OrThrow(publisher_.WaitReady());
    // The first heartbeat is the sign that the subscription is in force.
    const auto deadline = Clock::now() + kPatience;
    while (!monitor_.Next(std::chrono::milliseconds(100))) {
      if (Clock::now() > deadline) throw std::runtime_error("no heartbeat in 10 s");
    }
    task_ = std::make_unique<Task>([this] { Work(); });
  }
  ~Controller() { stop_ = true; }
  Controller(const Controller&) = delete;
  Controller& operator=(const Controller&) = delete;

  [[nodiscard]] uint64_t heard() const { return heard_; }
  [[nodiscard]] uint64_t missed() const { return missed_; }
  [[nodiscard]] uint64_t answered() const { return answered_; }

 private:
  static Monitor::Settings MonitorSettings(const Endpoints& endpoints) {
    Monitor::Settings settings;
    settings.endpoints = endpoints;
    settings.topics = {"upcall", "heartbeat"};
    settings.whole_upcalls = true;
    settings.high_water_mark = 64;  // what has waited for long need not be answered
    return settings;
  }
  static Publisher::Settings PublisherSettings(const Endpoints& endpoints) {
    Publisher::Settings settings;
    settings.endpoint = endpoints.ingress;
    settings.name = "controller";
    settings.batch = 256;
    settings.block = std::chrono::milliseconds(1000);
    return settings;
  }

  void Work() {
    while (!stop_) {
      auto item = monitor_.Next(std::chrono::milliseconds(100));
      if (!item) continue;
      if (const auto* gap = std::get_if<GapDetected>(&*item)) missed_ += gap->missed;
      if (const auto* upcalls = std::get_if<UpcallsReceived>(&*item)) Answer(*upcalls->message);
    }
  }

  void Answer(v1::Events& message) {
    heard_ += static_cast<uint64_t>(message.events_size());
    for (v1::Event& event : *message.mutable_events()) {
      v1::PacketOut packet;
      packet.set_in_port(event.upcall().in_port());
      packet.set_data(std::move(*event.mutable_upcall()->mutable_data()));
      packet.set_actions("port2");
      OrThrow(publisher_.PacketOut(std::move(packet)));
    }
    OrThrow(publisher_.Flush());
    answered_ = publisher_.counters().packets;
  }

  Monitor monitor_;
  Publisher publisher_;
  std::atomic<bool> stop_ = false;
  std::atomic<uint64_t> heard_ = 0, missed_ = 0, answered_ = 0;
  std::unique_ptr<Task> task_;
};

UpcallRig::UpcallRig(const UpcallOptions& options)
    : options_(options),
      port1_({&switch_, "port1"}, {&hosts_, "host1"}),
      port2_({&switch_, "port2"}, {&hosts_, "host2"}),
      port3_({&switch_, "port3"}, {&hosts_, "host3"}),
      daemon_({"--plugin", "xdp", "--port", PortArgument("port1", options), "--port", PortArgument("port2", options)},
              &switch_),
      endpoints_(EndpointsIn(daemon_.run_dir())) {
  hosts_.Do([&] {
    const auto make = [&](const char* out) {
      auto made = std::make_unique<Baseline>(hosts_.IfIndex(out));
      made->SetTransmit(hosts_.IfIndex(out));
      made->SetFlows(options_.flows);
      return made;
    };
    source_ = make("host1");
    alone_ = make("host3");
    Attach(hosts_.IfIndex("host2"), source_->ProgramFd("bench_receive"));
  });
  controller_ = std::make_unique<Controller>(endpoints_);
}

UpcallRig::~UpcallRig() = default;

// All that the kernel makes, in one test run: each run waits for the pages of the one before, so that a paced generator
// of many short ones would make little.
uint64_t UpcallRig::Flood(const Baseline& generator, double* seconds) const {
  const auto packets = static_cast<uint32_t>(options_.seconds * kFloodRate);
  const auto start = Clock::now();
  SendRun(generator.ProgramFd("bench_send"), packets);
  *seconds = std::chrono::duration<double>(Clock::now() - start).count();
  return packets;
}

// By a packet socket, which costs some more a packet, and keeps a rate.
uint64_t UpcallRig::Pace(unsigned ifindex, double* seconds) const {
  auto sender = OrThrow(xdp::PacketSender::Open());
  reference::Bytes frame = BenchFrame();
  const auto start = Clock::now();
  const auto end = start + std::chrono::duration<double>(options_.seconds);
  uint64_t sent = 0;
  auto now = start;
  for (; now < end; now = Clock::now()) {
    for (uint32_t i = 0; i < kBurst; ++i) {
      const auto flow = static_cast<uint16_t>((sent + i) % options_.flows);
      std::memcpy(frame.data() + 34, &flow, sizeof(flow));  // the UDP source port
      sender.Queue(static_cast<int>(ifindex), frame);
    }
    const auto outcome = sender.Flush();
    if (outcome.sent == 0) throw std::runtime_error(std::string("sending frames: ") + std::strerror(outcome.error));
    sent += outcome.sent;
    std::this_thread::sleep_until(start + std::chrono::duration<double>(static_cast<double>(sent) / options_.rate));
  }
  *seconds = std::chrono::duration<double>(now - start).count();
  return sent;
}

UpcallCounts UpcallRig::Read() const {
  v1::Request request;
  request.mutable_status();
  const v1::Reply reply = daemon_.Ask(request);
  const auto of = [](const auto& counters, const char* name) -> uint64_t {
    const auto found = counters.find(name);
    return found == counters.end() ? 0 : found->second;
  };
  UpcallCounts counts;
  for (const v1::Port& port : reply.status().ports()) {
    if (port.name() != "port1") continue;
    counts.met = of(port.counters(), "rx_packets");
    counts.limited = of(port.counters(), "upcall_limited");
    counts.failed = of(port.counters(), "upcall_failed");
    counts.handed = of(port.counters(), "upcall");
    counts.ring_full = of(port.counters(), "upcall_dropped");
    counts.taken = of(port.counters(), "upcall_received");
    counts.out = of(port.counters(), "packet_out");
    counts.out_failed = of(port.counters(), "packet_out_failed");
  }
  const auto& status = reply.status().counters();
  counts.core = of(status, "upcalls");
  counts.events_dropped = of(status, "events_dropped");
  counts.refused = of(status, "packet_out_dropped");
  counts.heard = controller_->heard();
  counts.missed = controller_->missed();
  counts.answered = controller_->answered();
  counts.arrived = source_->Received();
  return counts;
}

// The difference to `before`, when nothing has changed for longer than the plugin's counters are old.
UpcallCounts UpcallRig::Settled(const UpcallCounts& before) const {
  UpcallCounts now = Read();
  UpcallCounts last;
  Monitor beats = OrThrow(Monitor::Open({.endpoints = endpoints_, .topics = {"heartbeat"}}));
  do {
    last = now;
    for (int beat = 0; beat < 3;) beat += beats.Next(kPatience) ? 1 : 0;  // the first comes at once, others each second
    now = Read();
  } while (now != last);
  UpcallCounts out;
  for (const auto count :
       {&UpcallCounts::met, &UpcallCounts::limited, &UpcallCounts::failed, &UpcallCounts::handed,
        &UpcallCounts::ring_full, &UpcallCounts::taken, &UpcallCounts::core, &UpcallCounts::events_dropped,
        &UpcallCounts::missed, &UpcallCounts::heard, &UpcallCounts::answered, &UpcallCounts::refused,
        &UpcallCounts::out, &UpcallCounts::out_failed, &UpcallCounts::arrived}) {
    out.*count = now.*count - before.*count;
  }
  return out;
}

UpcallCounts UpcallRig::Run(std::vector<double>* latencies) {
  const UpcallCounts before = Read();
  uint64_t sent = 0;
  uint64_t in_time = 0;
  double seconds = 0;
  std::atomic<bool> stop = false;
  std::unique_ptr<Task> puts;
  if (latencies != nullptr) puts = std::make_unique<Task>([&] { PutFlows(stop, *latencies); });
  hosts_.Do([&] {
    const uint64_t start = source_->Received();
    sent = latencies != nullptr ? Flood(*source_, &seconds) : Pace(hosts_.IfIndex("host1"), &seconds);
    in_time = source_->Received() - start;
  });
  stop = true;
  if (puts) puts->Join();
  UpcallCounts counts = Settled(before);
  counts.sent = sent;
  counts.seconds = seconds;
  counts.arrived_in_time = in_time;
  return counts;
}

void UpcallRig::PutFlows(const std::atomic<bool>& stop, std::vector<double>& latencies) {
  Publisher::Settings settings;
  settings.endpoint = endpoints_.ingress;
  settings.name = "flows";
  Publisher publisher = OrThrow(Publisher::Connect(settings));
  Monitor monitor = OrThrow(Monitor::Open({.endpoints = endpoints_, .topics = {"flow.offload", "heartbeat"}}));
  OrThrow(publisher.WaitReady());
  if (!monitor.Next(kPatience)) throw std::runtime_error("no heartbeat in 10 s");
  const auto installed = [&]() -> int64_t {
    const auto deadline = Clock::now() + kPatience;
    while (Clock::now() < deadline) {
      auto item = monitor.Next(std::chrono::milliseconds(100));
      const auto* received = item ? std::get_if<EventReceived>(&*item) : nullptr;
      if (received == nullptr || !received->event.has_flow()) continue;
      for (const v1::Offload& offload : received->event.flow().offload()) {
        if (offload.state() == v1::INSTALLED) return static_cast<int64_t>(received->event.time_ns());
      }
    }
    throw std::runtime_error("a flow was not installed within 10 s of upcalls");
  };
  while (!stop) {
    // Of packets that the generator does not make.
    v1::Flow flow;
    flow.set_match("in_port(port2)," + FormatMatch(BenchMatch(next_flow_++ % 50000, 0)));
    flow.set_actions("drop");
    const int64_t start = RealtimeNs();
    OrThrow(publisher.Put(flow));
    OrThrow(publisher.Flush());
    latencies.push_back(static_cast<double>(installed() - start) / 1e3);
  }
}

double UpcallRig::ReceiveAlone() {
  std::unique_ptr<xdp::XskSocket> socket;
  std::unique_ptr<xdp::Object> object;
  switch_.Do([&] {
    xdp::ObjectOptions options;
    options.path = SLUICE_BPF_DIR "/" + std::string(xdp::kDefaultObject);
    options.upcall_rate = 0;
    object = OrThrow(xdp::Object::Load(options));
    socket = OrThrow(xdp::XskSocket::Open("port3", 0, xdp::XskSocket::kMostFrames));
    OrThrow(socket->Register(object->xsks_fd()));
    Attach(switch_.IfIndex("port3"), object->program_fd());
  });
  std::atomic<bool> stop = false;
  uint64_t received = 0;
  Task receiver([&] {
    while (!stop) {
      pollfd wait{socket->fd(), POLLIN, 0};
      poll(&wait, 1, 100);
      received += socket->Receive(256, [](std::span<const uint8_t>, const uint8_t*) {});
    }
  });
  double seconds = 0;
  hosts_.Do([&] { Flood(*alone_, &seconds); });
  stop = true;
  receiver.Join();
  switch_.Do([&] { Attach(switch_.IfIndex("port3"), -1); });
  return static_cast<double>(received) / seconds;
}

}  // namespace sluice::bench
