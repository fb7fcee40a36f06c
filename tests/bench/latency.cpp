// SPDX-License-Identifier: Apache-2.0
// Against a real daemon with the XDP plugin, over the bus as any publisher would.
#include <cstdio>
#include <ctime>
#include <stdexcept>
#include <string>
#include <vector>

#include "bench/bench_flows.h"
#include "bench/benches.h"
#include "bench/datapath.h"
#include "bench/samples.h"
#include "sluice/control_client.h"
#include "sluice/endpoints.h"
#include "sluice/flow_text.h"
#include "sluice/monitor.h"
#include "sluice/publisher.h"
#include "support/daemon.h"
#include "support/netns.h"
#include "support/veth.h"

namespace sluice::bench {
namespace {

constexpr auto kPatience = std::chrono::seconds(10);

int64_t NowNs(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

// A switch of two ports, and the bus.
class Bus {
 public:
  Bus()
      : port1_({&switch_, "port1"}, {&hosts_, "host1"}),
        port2_({&switch_, "port2"}, {&hosts_, "host2"}),
        daemon_({"--plugin", "xdp", "--port", "port1", "--port", "port2"}, &switch_),
        endpoints_(EndpointsIn(daemon_.run_dir())),
        publisher_(OrThrow(Publisher::Connect(PublisherSettings()))),
        monitor_(OrThrow(Monitor::Open(MonitorSettings()))),
        control_(OrThrow(ControlClient::Connect({.endpoint = endpoints_.control}))) {
    OrThrow(publisher_.WaitReady());
  }

  Publisher& publisher() { return publisher_; }
  ControlClient& control() { return control_; }

  // The next flow.offload event that says where a flow is.
  v1::Event NextOffload() {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (std::chrono::steady_clock::now() < deadline) {
      auto item = monitor_.Next(std::chrono::milliseconds(100));
      auto* received = item ? std::get_if<EventReceived>(&*item) : nullptr;
      if (received == nullptr || !received->event.has_flow()) continue;
      for (const v1::Offload& offload : received->event.flow().offload()) {
        if (offload.state() == v1::INSTALLED) return std::move(received->event);
        if (offload.state() != v1::PENDING) throw std::runtime_error("not installed: " + offload.detail());
      }
    }
    throw std::runtime_error("no flow.offload event in 10 s:\n" + daemon_.process().Err());
  }

 private:
  [[nodiscard]] Publisher::Settings PublisherSettings() const {
    Publisher::Settings settings;
    settings.endpoint = endpoints_.ingress;
    settings.name = "bench";
    settings.block = std::chrono::milliseconds(1000);
    return settings;
  }
  [[nodiscard]] Monitor::Settings MonitorSettings() const {
    Monitor::Settings settings;
    settings.endpoints = endpoints_;
    settings.topics = {"flow.offload"};
    settings.high_water_mark = 1000000;
    return settings;
  }

  test::Netns switch_, hosts_;
  test::Veth port1_, port2_;
  test::Daemon daemon_;
  Endpoints endpoints_;
  Publisher publisher_;
  Monitor monitor_;
  ControlClient control_;
};

v1::Flow FlowOf(uint32_t flow, uint32_t mask) {
  v1::Flow out;
  out.set_match(FormatMatch(BenchMatch(flow, mask)));
  out.set_actions("port2");
  return out;
}

void PrintQuantiles(const char* what, const std::vector<double>& us) {
  std::printf("%-64s %8.0f %8.0f %8.0f\n", what, Quantile(us, 0.5), Quantile(us, 0.99), Quantile(us, 1));
}

}  // namespace

void Latency(const LatencyOptions& options) {
  Bus bus;
  // The mask, and whatever is made at the first use.
  OrThrow(bus.publisher().Put(FlowOf(0, 0)));
  OrThrow(bus.publisher().Flush());
  bus.NextOffload();

  std::vector<double> verdict;
  std::vector<double> seen;
  for (uint32_t flow = 1; flow <= options.flows; ++flow) {
    const v1::Flow put = FlowOf(flow, 0);
    const int64_t start = NowNs(CLOCK_REALTIME);
    OrThrow(bus.publisher().Put(put));
    OrThrow(bus.publisher().Flush());
    const v1::Event event = bus.NextOffload();
    verdict.push_back(static_cast<double>(static_cast<int64_t>(event.time_ns()) - start) / 1e3);
    seen.push_back(static_cast<double>(NowNs(CLOCK_REALTIME) - start) / 1e3);
  }
  std::vector<double> acknowledged;
  std::vector<double> asked;
  for (uint32_t flow = options.flows + 1; flow <= 2 * options.flows; ++flow) {
    v1::Request request;
    *request.mutable_flow_put()->add_flows() = FlowOf(flow, 0);
    const int64_t start = NowNs(CLOCK_REALTIME);
    const v1::Reply reply = OrThrow(bus.control().Call(request));
    if (!reply.ok()) throw std::runtime_error(reply.detail());
    acknowledged.push_back(static_cast<double>(NowNs(CLOCK_REALTIME) - start) / 1e3);
    asked.push_back(static_cast<double>(static_cast<int64_t>(bus.NextOffload().time_ns()) - start) / 1e3);
  }
  std::printf("latency: one flow a message, existing mask, %u flows one after the other, us\n", options.flows);
  std::printf("%-64s %8s %8s %8s\n", "", "p50", "p99", "most");
  PrintQuantiles("publisher's send to installed (the core had the plugin's verdict)", verdict);
  PrintQuantiles("publisher's send to the monitor's flow.offload event", seen);
  PrintQuantiles("control request to its reply", acknowledged);
  PrintQuantiles("control request to installed", asked);
}

void Rate(const RateOptions& options) {
  Bus bus;
  for (uint32_t mask = 0; mask < options.masks; ++mask) OrThrow(bus.publisher().Put(FlowOf(mask, mask)));
  OrThrow(bus.publisher().Flush());
  for (uint32_t mask = 0; mask < options.masks; ++mask) bus.NextOffload();

  std::vector<v1::Flow> flows;
  for (uint32_t flow = options.masks; flow < options.masks + options.flows; ++flow) {
    flows.push_back(FlowOf(flow, flow % options.masks));
  }
  const int64_t start = NowNs(CLOCK_MONOTONIC);
  for (v1::Flow& flow : flows) OrThrow(bus.publisher().Put(std::move(flow)));
  OrThrow(bus.publisher().Flush());
  const int64_t sent = NowNs(CLOCK_MONOTONIC);
  for (uint32_t flow = 0; flow < options.flows; ++flow) bus.NextOffload();
  const int64_t installed = NowNs(CLOCK_MONOTONIC);
  const auto per_second = [&](int64_t end) { return options.flows * 1e9 / static_cast<double>(end - start); };
  std::printf("rate: %u flows under %u existing masks, odp text, 64 a message, flows/s\n", options.flows,
              options.masks);
  std::printf("%-30s %10.0f\n%-30s %10.0f\n", "sent by the publisher", per_second(sent), "installed in XDP",
              per_second(installed));
}

}  // namespace sluice::bench
