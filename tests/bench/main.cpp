// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>

#include "bench/benches.h"

namespace {

int Run(int argc, char** argv) {
  using namespace sluice::bench;
  CLI::App app{"Sluice's benchmarks. Each prints its figures with a baseline from the same run. Needs root."};
  app.require_subcommand(1);
  LookupOptions lookup;
  CLI::App* lookup_command = app.add_subcommand("lookup", "ns a packet of a hit, over 1 to 128 masks");
  lookup_command->add_option("--rounds", lookup.rounds)->capture_default_str();
  lookup_command->add_option("--repeat", lookup.repeat, "packets a sample")->capture_default_str();
  lookup_command->add_option("--flows", lookup.flows, "active flows")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  lookup_command->add_option("--cache-entries", lookup.cache_entries, "a power of two")->capture_default_str();
  PassesOptions passes;
  CLI::App* passes_command = app.add_subcommand("passes", "ns a packet of recirculation, ct and tunnels");
  passes_command->add_option("--rounds", passes.rounds)->capture_default_str();
  passes_command->add_option("--repeat", passes.repeat, "packets a sample")->capture_default_str();
  TunnelOptions tunnel;
  CLI::App* tunnel_command = app.add_subcommand("tunnel", "VXLAN off, beside the kernel's vxlan device and bridge");
  tunnel_command->add_option("--rounds", tunnel.rounds)->capture_default_str();
  tunnel_command->add_option("--packets", tunnel.packets, "a sample")->capture_default_str();
  ForwardOptions forward;
  CLI::App* forward_command = app.add_subcommand("forward", "live forwarding from veth to veth");
  forward_command->add_option("--rounds", forward.rounds)->capture_default_str();
  forward_command->add_option("--packets", forward.packets, "a sample")->capture_default_str();
  LatencyOptions latency;
  CLI::App* latency_command = app.add_subcommand("latency", "from a publisher's send until the flow is installed");
  latency_command->add_option("--flows", latency.flows)->capture_default_str();
  RateOptions rate;
  CLI::App* rate_command = app.add_subcommand("rate", "flows a second from a publisher to the device");
  rate_command->add_option("--flows", rate.flows)->check(CLI::Range(1, 60000))->capture_default_str();
  rate_command->add_option("--masks", rate.masks)->check(CLI::Range(1, 128))->capture_default_str();
  BusOptions bus;
  CLI::App* bus_command =
      app.add_subcommand("bus", "the core: flows through it, memory, snapshots, events to a monitor");
  bus_command->add_option("--rounds", bus.rounds)->capture_default_str();
  bus_command->add_option("--flows", bus.flows)->check(CLI::Range(1000, 1048576))->capture_default_str();
  bus_command->add_option("--changes", bus.changes, "a second, during snapshots")->capture_default_str();
  bus_command->add_option("--events", bus.events, "a sample")->check(CLI::Range(1000, 1048576))->capture_default_str();
  UpcallOptions upcall;
  CLI::App* upcall_command = app.add_subcommand("upcall", "packets a second up to a controller and out by its answer");
  upcall_command->add_option("--rounds", upcall.rounds)->capture_default_str();
  upcall_command->add_option("--seconds", upcall.seconds, "a sample")->capture_default_str();
  upcall_command->add_option("--rate", upcall.rate, "packets offered a second")->capture_default_str();
  upcall_command->add_option("--flows", upcall.flows, "of the packets")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  upcall_command->add_flag("--match", upcall.match, "upcalls tell their match");
  TableOptions table;
  CLI::App* table_command = app.add_subcommand("table", "flows a second into the table inside the plugin, statistics");
  table_command->add_option("--rounds", table.rounds)->capture_default_str();
  table_command->add_option("--flows", table.flows, "of the large table")
      ->check(CLI::Range(1, 1 << 24))
      ->capture_default_str();
  table_command->add_option("--masks", table.masks)->check(CLI::Range(1, 250))->capture_default_str();
#ifdef SLUICE_BENCH_LOOP
  LoopOptions loop;
  CLI::App* loop_command = app.add_subcommand("loop", "cycles a packet in the rte_flow plugin's poll-mode loop");
  loop_command->add_option("--rounds", loop.rounds)->capture_default_str();
  loop_command->add_option("--packets", loop.packets, "a sample")->capture_default_str();
  loop_command->add_option("--flows", loop.flows)->check(CLI::Range(1, 65535))->capture_default_str();
  loop_command->add_option("--in-flight", loop.in_flight, "packets that go round")
      ->check(CLI::Range(64, 65536))
      ->capture_default_str();
  loop_command->add_option("--masks", loop.masks)->check(CLI::Range(1, 128))->capture_default_str();
#endif
#ifdef SLUICE_NET_SLUICE
  NicLoopOptions nic_loop;
  CLI::App* nic_loop_command = app.add_subcommand("nic-loop", "the same on net_sluice, which marks by itself");
  nic_loop_command->add_option("--rounds", nic_loop.rounds)->capture_default_str();
  nic_loop_command->add_option("--packets", nic_loop.packets, "a sample")
      ->check(CLI::Range(64, 65535))
      ->capture_default_str();
  nic_loop_command->add_option("--flows", nic_loop.flows)->check(CLI::Range(1, 65535))->capture_default_str();
  nic_loop_command->add_option("--masks", nic_loop.masks)->check(CLI::Range(1, 128))->capture_default_str();
  RulesOptions rules;
  CLI::App* rules_command = app.add_subcommand("rules", "flows a second from a publisher into net_sluice by rte_flow");
  rules_command->add_option("--rounds", rules.rounds)->capture_default_str();
  rules_command->add_option("--flows", rules.flows)->check(CLI::Range(1, 1000000))->capture_default_str();
  rules_command->add_option("--masks", rules.masks)->check(CLI::Range(1, 128))->capture_default_str();
#endif
  CLI::App* all_command = app.add_subcommand("all", "all of them but nic-loop and rules, with their defaults");
  CLI11_PARSE(app, argc, argv);
  const bool all = all_command->parsed();
#ifdef SLUICE_BENCH_LOOP
  if (all || loop_command->parsed()) Loop(loop);
#endif
#ifdef SLUICE_NET_SLUICE
  // Each by itself: DPDK starts once in a process.
  if (nic_loop_command->parsed()) NicLoop(nic_loop);
  if (rules_command->parsed()) Rules(rules);
#endif
  // Before forward, passes and tunnel, which leave this process in a namespace of its own.
  if (all || latency_command->parsed()) Latency(latency);
  if (all || rate_command->parsed()) Rate(rate);
  if (all || bus_command->parsed()) BusBench(bus);
  if (all || upcall_command->parsed()) Upcall(upcall);
  if (all || table_command->parsed()) Table(table);
  if (all || lookup_command->parsed()) Lookup(lookup);
  if (all || passes_command->parsed()) Passes(passes);
  if (all || tunnel_command->parsed()) Tunnel(tunnel);
  if (all || forward_command->parsed()) Forward(forward);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return Run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "sluice-bench: %s\n", error.what());
    return 1;
  }
}
