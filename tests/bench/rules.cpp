// SPDX-License-Identifier: Apache-2.0
// Flows a second into net_sluice: from a publisher through the core and the plugin's process, and by a bare loop of
// rte_flow_create in this process, which has the same rules ready.
#include <atomic>
#include <cstdio>
#include <deque>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "bench/bench_flows.h"
#include "bench/benches.h"
#include "bench/datapath.h"
#include "bench/loop_rig.h"
#include "bench/samples.h"
#include "eal.h"
#include "offload/pattern.h"
#include "sluice/endpoints.h"
#include "sluice/publisher.h"
#include "support/daemon.h"
#include "support/temp_dir.h"

namespace sluice::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint32_t kBatch = 256;  // flows in a message
constexpr auto kPatience = std::chrono::seconds(120);

double SecondsSince(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

Match MatchOf(uint32_t number, uint32_t masks) {
  Match match = BenchMatch(number, number % masks);
  match.SetExact(Field::in_port, 1);
  return match;
}

// Two devices of this process, and the flows' rules ready to be created.
class Bare {
 public:
  explicit Bare(const RulesOptions& options)
      : from_(OpenDevice("net_sluice_bare0,ring=bare0")), to_(OpenDevice("net_sluice_bare1,ring=bare1")) {
    for (uint32_t number = 0; number < options.flows; ++number) {
      OrThrow(patterns_.emplace_back().Build(MatchOf(number, options.masks), rteflow::PortItem::kNone, from_->id()));
    }
  }

  double FlowsPerSecond() {
    rte_flow_action_ethdev port{};
    port.port_id = to_->id();
    const rte_flow_action actions[] = {{RTE_FLOW_ACTION_TYPE_COUNT, nullptr},
                                       {RTE_FLOW_ACTION_TYPE_REPRESENTED_PORT, &port},
                                       {RTE_FLOW_ACTION_TYPE_END, nullptr}};
    rte_flow_attr attr{};
    attr.transfer = 1;
    rte_flow_error error{};
    const auto start = Clock::now();
    for (const rteflow::Pattern& pattern : patterns_) {
      if (rte_flow_create(from_->id(), &attr, pattern.Items(true), actions, &error) == nullptr) {
        throw std::runtime_error(error.message != nullptr ? error.message : "a rule was refused");
      }
    }
    const double seconds = SecondsSince(start);
    rte_flow_flush(from_->id(), &error);
    return static_cast<double>(patterns_.size()) / seconds;
  }

 private:
  std::unique_ptr<rteflow::EthDevice> from_, to_;
  std::deque<rteflow::Pattern> patterns_;
};

// The core, and the plugin in its process with two ports.
class Service {
 public:
  explicit Service(const RulesOptions& options)
      : daemon_({"--config", Config()}), endpoints_(EndpointsIn(daemon_.run_dir())) {
    for (uint32_t number = 0; number < options.flows; ++number) {
      v1::Flow& flow = flows_.emplace_back();
      flow.set_packed_match(MatchOf(number, options.masks).Pack());
      flow.set_actions("nic1");
    }
    WaitInstalled(0);
  }

  double FlowsPerSecond() {
    Publisher::Settings settings;
    settings.endpoint = endpoints_.ingress;
    settings.name = "bench";
    settings.batch = kBatch;
    settings.block = kPatience;
    Publisher publisher = OrThrow(Publisher::Connect(settings));
    OrThrow(publisher.WaitReady());
    const auto start = Clock::now();
    for (const v1::Flow& flow : flows_) OrThrow(publisher.Put(flow));
    OrThrow(publisher.Flush());
    WaitInstalled(flows_.size());
    const double seconds = SecondsSince(start);
    v1::Request flush;
    flush.mutable_flow_flush();
    (void)daemon_.Ask(flush);
    WaitInstalled(0);
    return static_cast<double>(flows_.size()) / seconds;
  }

 private:
  void WaitInstalled(uint64_t flows) const {
    v1::Request request;
    request.mutable_plugin_list();
    for (const auto deadline = Clock::now() + kPatience;;) {
      const v1::Reply reply = daemon_.Ask(request);
      const v1::Plugin& plugin = reply.plugins(0);
      if (plugin.state() == "running" && plugin.installed() == flows && plugin.pending() == 0 && plugin.lag() == 0)
        return;
      if (Clock::now() > deadline || plugin.refused() + plugin.failed() + plugin.software() != 0) {
        throw std::runtime_error("not installed: " + plugin.ShortDebugString());
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
  std::string Config() {
    const std::string path = dir_.path() + "/sluiced.toml";
    std::ofstream(path)
        << "[[plugin]]\nname = \"rte_flow\"\n"
           "[[port]]\nname = \"nic0\"\nplugin = \"rte_flow\"\noptions = {devargs = \"net_sluice0,ring=a\"}\n"
           "[[port]]\nname = \"nic1\"\nplugin = \"rte_flow\"\noptions = {devargs = \"net_sluice1,ring=b\"}\n";
    return path;
  }

  test::TempDir dir_;
  test::Daemon daemon_;
  Endpoints endpoints_;
  std::vector<v1::Flow> flows_;
};

}  // namespace

void Rules(const RulesOptions& options) {
  StartDpdk();
  OrThrow(rteflow::LoadDriver(SLUICE_NET_SLUICE));
  Bare bare(options);
  Service service(options);
  std::vector<Case> cases;
  cases.push_back({"rte_flow_create in a loop, rules ready", [&] { return bare.FlowsPerSecond(); }, {}});
  cases.push_back({"publisher to net_sluice, installed in full", [&] { return service.FlowsPerSecond(); }, {}});
  RunInterleaved(cases, options.rounds);
  std::printf("rules: %u flows under %u masks, %u rounds: median, least, most flows a second\n", options.flows,
              options.masks, options.rounds);
  for (const Case& one : cases) {
    std::printf("  %-60s %10.0f %10.0f %10.0f\n", one.name.c_str(), Median(one), Quantile(one.samples, 0),
                Quantile(one.samples, 1));
  }
  std::printf("  %-60s %10.2f\n", "ratio, publisher over bare", MedianRatio(cases[1], cases[0]));
}

}  // namespace sluice::bench
