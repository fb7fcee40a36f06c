// SPDX-License-Identifier: Apache-2.0
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <sched.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <vector>

#include "bench/bench_flows.h"
#include "bench/benches.h"
#include "bench/pass_rig.h"
#include "bench/samples.h"
#include "ethtool.h"
#include "support/process.h"

namespace sluice::bench {
namespace {

constexpr uint32_t kUnderlay = 0x0a090001;  // 10.9.0.1, of port1; the far end is 10.9.0.2
constexpr uint32_t kVni = 5;
constexpr uint16_t kVxlan = 4789;
constexpr uint32_t kTunnelPort = 3;

void Ip(std::vector<std::string> words) {
  words.insert(words.begin(), "ip");
  test::RunOrThrow(words);
}

void MakeVeth(const std::string& a, const std::string& b) {
  Ip({"link", "add", a, "type", "veth", "peer", "name", b});
  for (const auto& end : {a, b}) {
    std::ofstream("/proc/sys/net/ipv6/conf/" + end + "/disable_ipv6") << "1";
    Ip({"link", "set", end, "up"});
  }
}

// ns a packet, as the kernel measures it.
double TestRun(int program_fd, reference::Bytes frame, uint32_t repeat) {
  LIBBPF_OPTS(bpf_test_run_opts, run);
  run.data_in = frame.data();
  run.data_size_in = static_cast<uint32_t>(frame.size());
  run.repeat = static_cast<int>(repeat);
  if (int failed = bpf_prog_test_run_opts(program_fd, &run); failed != 0) {
    throw std::runtime_error(std::string("BPF_PROG_TEST_RUN: ") + std::strerror(-failed));
  }
  return run.duration;
}

// The flow of BenchFrame(), and, with `back`, of its answer.
Match Connection(bool back = false) {
  Match match;
  match.SetExact(Field::eth_type, 0x0800);
  match.SetExact(Field::ipv4_src, back ? 0x0b000000 : 0x0a000000);
  match.SetExact(Field::ipv4_dst, back ? 0x0a000000 : 0x0b000000);
  match.SetExact(Field::ipv4_proto, 17);
  match.SetExact(back ? Field::udp_dst : Field::udp_src, 1000);
  return match;
}

Match Recirculated(Match match, uint32_t id) {
  match.SetExact(Field::recirc_id, id);
  return match;
}

reference::Bytes Answer() {
  reference::PacketSpec spec;
  spec.dst = {2, 0, 0, 0, 0, 1};
  spec.src = {2, 0, 0, 0, 0, 2};
  reference::Ipv4Spec ip;
  ip.src = 0x0b000000;
  ip.dst = 0x0a000000;
  spec.l3 = ip;
  spec.l4 = reference::UdpSpec{0, 1000};
  spec.payload = 18;
  return reference::Build(spec);
}

xdp::Terminal Out() { return {SLUICE_ACTION_OUTPUT, PassRig::kOut}; }

// ---------------------------------------------------------------- by test run

void Passes(const PassesOptions& options) {
  const unsigned lo = if_nametoindex("lo");  // nothing is sent in a test run
  PassRig one(lo);
  one.AddFirst(Connection(), Out());
  PassRig two(lo);
  two.AddFirst(Connection(), {SLUICE_ACTION_RECIRC, 1});
  two.AddLater(Recirculated(Connection(), 1), Out());
  PassRig three(lo);
  three.AddFirst(Connection(), {SLUICE_ACTION_RECIRC, 1});
  three.AddLater(Recirculated(Connection(), 1), {SLUICE_ACTION_RECIRC, 2});
  three.AddLater(Recirculated(Connection(), 2), Out());
  PassRig tracked(lo);
  sluice_step ct{};
  ct.terminal = SLUICE_ACTION_RECIRC;
  ct.terminal_arg = 1;
  Match established = Recirculated(Connection(), 1);
  established.SetExact(Field::ct_state, SLUICE_CT_TRK | SLUICE_CT_EST);
  tracked.AddFirst(Connection(), {SLUICE_ACTION_CT, tracked.AddStep(ct)});
  tracked.AddLater(established, Out());
  PassRig committing(lo);  // the connection, both ways
  ct.flags = SLUICE_STEP_COMMIT;
  ct.terminal = SLUICE_ACTION_OUTPUT;
  ct.terminal_arg = PassRig::kOut;
  const uint32_t commit = committing.AddStep(ct);
  committing.AddFirst(Connection(), {SLUICE_ACTION_CT, commit});
  committing.AddFirst(Connection(true), {SLUICE_ACTION_CT, commit});
  TestRun(committing.program_fd(), BenchFrame(), 1);
  TestRun(committing.program_fd(), Answer(), 1);

  std::vector<Case> cases;
  const auto add = [&](const char* name, const PassRig& rig) {
    cases.push_back({name, [&rig, &options] { return TestRun(rig.program_fd(), BenchFrame(), options.repeat); }, {}});
  };
  add("one pass", one);
  add("two passes: recirc", two);
  add("three passes", three);
  add("two passes, ct between", tracked);
  RunInterleaved(cases, options.rounds);

  std::printf("passes: BPF_PROG_TEST_RUN, one flow, found in the caches, ns a packet, %u rounds of %u packets\n",
              options.rounds, options.repeat);
  std::printf("%-26s %8s %8s %8s\n", "", "median", "least", "most");
  for (const Case& each : cases) {
    std::printf("%-26s %8.0f %8.0f %8.0f\n", each.name.c_str(), Median(each), Quantile(each.samples, 0),
                Quantile(each.samples, 1));
  }
  std::printf("a recirculation: %+.0f; the second: %+.0f; ct on an established connection: %+.0f\n",
              Median(cases[1]) - Median(cases[0]), Median(cases[2]) - Median(cases[1]),
              Median(cases[3]) - Median(cases[1]));
  for (const PassRig* rig : {&one, &two, &three, &tracked}) {
    if (rig->Counted(SLUICE_COUNT_output) + rig->Counted(SLUICE_COUNT_no_port) == 0 ||
        rig->Counted(SLUICE_COUNT_miss) != 0 || rig->Counted(SLUICE_COUNT_missed_tail_call) != 0) {
      std::printf("packets did not go the way that is measured\n");
    }
  }
}

// ---------------------------------------------------------------- VXLAN, live

// BenchFrame() as it comes out of the far end of the tunnel, to port1.
reference::Bytes InVxlan() {
  const reference::Bytes inner = BenchFrame();
  reference::PacketSpec spec;
  spec.dst = {2, 0, 0, 0, 9, 1};
  spec.src = {2, 0, 0, 0, 9, 2};
  reference::Ipv4Spec ip;
  ip.src = kUnderlay + 1;
  ip.dst = kUnderlay;
  spec.l3 = ip;
  spec.l4 = reference::UdpSpec{50000, kVxlan, /*checksum=*/false};
  spec.payload = static_cast<uint16_t>(8 + inner.size());
  reference::Bytes frame = reference::Build(spec);
  const size_t vxlan = frame.size() - spec.payload;
  const uint8_t header[8] = {8, 0, 0, 0, 0, 0, kVni, 0};
  std::copy_n(header, sizeof header, frame.begin() + static_cast<ptrdiff_t>(vxlan));
  std::copy(inner.begin(), inner.end(), frame.begin() + static_cast<ptrdiff_t>(vxlan + sizeof header));
  return frame;
}

void Attach(const char* device, int program_fd) {
  const int failed = bpf_xdp_attach(static_cast<int>(if_nametoindex(device)), program_fd, XDP_FLAGS_DRV_MODE, nullptr);
  if (failed != 0) throw std::runtime_error(std::string("attach to ") + device + ": " + std::strerror(-failed));
}

// ns for each frame that came out at the far end.
double Send(const Baseline& baseline, const char* generator, reference::Bytes frame, uint32_t packets) {
  LIBBPF_OPTS(bpf_test_run_opts, run);
  run.data_in = frame.data();
  run.data_size_in = static_cast<uint32_t>(frame.size());
  run.repeat = static_cast<int>(packets);
  run.flags = BPF_F_TEST_XDP_LIVE_FRAMES;
  run.batch_size = 64;
  const uint64_t before = baseline.Received();
  const auto start = std::chrono::steady_clock::now();
  if (int failed = bpf_prog_test_run_opts(baseline.ProgramFd(generator), &run); failed != 0) {
    throw std::runtime_error(std::string("live BPF_PROG_TEST_RUN: ") + std::strerror(-failed));
  }
  const std::chrono::duration<double, std::nano> elapsed = std::chrono::steady_clock::now() - start;
  const uint64_t received = baseline.Received() - before;
  if (received < packets / 2) throw std::runtime_error("the far end got " + std::to_string(received) + " frames only");
  return elapsed.count() / static_cast<double>(received);
}

// source -> port1, and port2 -> sink. The kernel has a VXLAN device on port1, and a bridge of that and port2.
void MakeWires() {
  MakeVeth("source", "port1");
  MakeVeth("port2", "sink");
  Ip({"link", "set", "port1", "address", "02:00:00:00:09:01"});
  Ip({"addr", "add", "10.9.0.1/24", "dev", "port1"});
  Ip({"link", "add", "vx0", "type", "vxlan", "id", std::to_string(kVni), "local", "10.9.0.1", "remote", "10.9.0.2",
      "dstport", std::to_string(kVxlan), "noudpcsum"});
  Ip({"link", "add", "br0", "type", "bridge"});
  std::ofstream("/proc/sys/net/ipv6/conf/br0/disable_ipv6") << "1";
  std::ofstream("/proc/sys/net/ipv6/conf/vx0/disable_ipv6") << "1";
  for (const char* port : {"vx0", "port2"}) {
    Ip({"link", "set", port, "master", "br0"});
    Ip({"link", "set", port, "up"});
  }
  Ip({"link", "set", "br0", "up"});
  test::RunOrThrow({"bridge", "fdb", "add", "02:00:00:00:00:02", "dev", "port2", "master", "static"});
  // Or frames sent to a veth without XDP are lost.
  OrThrow(xdp::SetFeatures("port1", {{"rx-gro", true}}));
}

void Vxlan(const PassesOptions& options) {
  MakeWires();
  const unsigned port2 = if_nametoindex("port2");
  const Baseline baseline(port2);
  baseline.SetTransmit(if_nametoindex("source"));
  Attach("sink", baseline.ProgramFd("bench_receive"));
  PassRig rig(port2);
  sluice_step pop{};
  pop.flags = SLUICE_STEP_CSUM_VERIFY;
  pop.terminal = SLUICE_ACTION_RECIRC;
  pop.tp_dst = kVxlan;
  pop.tunnel_type = SLUICE_TUNNEL_VXLAN;
  pop.tunnel_port = kTunnelPort;
  Match outer;
  outer.SetExact(Field::eth_type, 0x0800);
  outer.SetExact(Field::ipv4_dst, kUnderlay);
  outer.SetExact(Field::ipv4_proto, 17);
  outer.SetExact(Field::udp_dst, kVxlan);
  rig.AddFirst(outer, {SLUICE_ACTION_TNL_POP, rig.AddStep(pop)});
  Match inner;
  inner.SetExact(Field::in_port, kTunnelPort);
  inner.SetExact(Field::tun_id, kVni);
  inner.SetExact(Field::eth_dst, 0x020000000002);
  rig.AddLater(inner, Out());

  const reference::Bytes frame = InVxlan();
  const auto sample = [&](int program_fd) {
    Attach("port1", program_fd);
    return Send(baseline, "bench_send_fixed", frame, options.packets);
  };
  std::vector<Case> cases;
  cases.push_back({"bare redirect", [&] { return sample(baseline.ProgramFd("bench_forward")); }, {}});
  cases.push_back({"sluice: pop, pass, output", [&] { return sample(rig.program_fd()); }, {}});
  cases.push_back({"kernel: vxlan, bridge", [&] { return sample(-1); }, {}});
  RunInterleaved(cases, options.rounds);

  std::printf(
      "\nVXLAN to the plain frame, veth to veth, generator and receiver on the same CPU, ns a frame, %u rounds of %u\n",
      options.rounds, options.packets);
  std::printf("%-26s %8s %8s %8s %14s\n", "", "median", "least", "most", "of the kernel");
  for (const Case& each : cases) {
    std::printf("%-26s %8.0f %8.0f %8.0f %14.2f\n", each.name.c_str(), Median(each), Quantile(each.samples, 0),
                Quantile(each.samples, 1), MedianRatio(each, cases[2]));
  }
  if (rig.Counted(SLUICE_COUNT_tnl_popped) == 0 || rig.Counted(SLUICE_COUNT_miss) != 0 ||
      rig.Counted(SLUICE_COUNT_missed_tail_call) != 0) {
    std::printf("packets did not go the way that is measured\n");
  }
}

}  // namespace

void PassesBench(const PassesOptions& options) {
  PinToOneCpu();
  if (unshare(CLONE_NEWNET) != 0) throw std::runtime_error("cannot make a network namespace");
  Ip({"link", "set", "lo", "up"});
  Passes(options);
  Vxlan(options);
}

}  // namespace sluice::bench
