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
#include "bench/datapath.h"
#include "bench/samples.h"
#include "ethtool.h"
#include "passes/pass_rig.h"
#include "support/process.h"

namespace sluice::bench {
namespace {

constexpr uint32_t kUnderlay = 0x0a090001;  // 10.9.0.1, of port1; the far end is 10.9.0.2
constexpr uint32_t kVni = 5;
constexpr uint16_t kVxlan = 4789;

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

}  // namespace

void Vxlan(const VxlanOptions& options) {
  PinToOneCpu();
  if (unshare(CLONE_NEWNET) != 0) throw std::runtime_error("cannot make a network namespace");
  MakeWires();
  const unsigned port2 = if_nametoindex("port2");
  const Baseline baseline(port2);
  baseline.SetTransmit(if_nametoindex("source"));
  Attach("sink", baseline.ProgramFd("bench_receive"));
  xdp::PassRig rig;
  OrThrow(rig.groups->SetPort(2, port2));
  sluice_step pop = xdp::MakeStep(SLUICE_STEP_CSUM_VERIFY, SLUICE_ACTION_RECIRC, 0);
  pop.tp_dst = kVxlan;
  pop.tunnel_type = SLUICE_TUNNEL_VXLAN;
  pop.tunnel_port = 9;
  rig.First("eth_type(0x0800),ipv4(dst=10.9.0.1,proto=17),udp(dst=4789)", {SLUICE_ACTION_TNL_POP, rig.Step(pop)});
  rig.Later("in_port(9),tunnel(tun_id=0x5),eth(dst=02:00:00:00:00:02)", {SLUICE_ACTION_OUTPUT, 2});

  const reference::Bytes frame = InVxlan();
  const auto sample = [&](int program_fd) {
    Attach("port1", program_fd);
    return Send(baseline, "bench_send_fixed", frame, options.packets);
  };
  std::vector<Case> cases;
  cases.push_back({"bare redirect", [&] { return sample(baseline.ProgramFd("bench_forward")); }, {}});
  cases.push_back({"sluice: pop, pass, output", [&] { return sample(rig.port->program_fd()); }, {}});
  cases.push_back({"kernel: vxlan, bridge", [&] { return sample(-1); }, {}});
  RunInterleaved(cases, options.rounds);

  std::printf(
      "vxlan: to the plain frame, veth to veth, generator and receiver on the same CPU, ns a frame, %u rounds of %u\n",
      options.rounds, options.packets);
  std::printf("%-26s %8s %8s %8s %14s\n", "", "median", "least", "most", "of the kernel");
  for (const Case& each : cases) {
    std::printf("%-26s %8.0f %8.0f %8.0f %14.2f\n", each.name.c_str(), Median(each), Quantile(each.samples, 0),
                Quantile(each.samples, 1), MedianRatio(each, cases[2]));
  }
  const uint64_t popped = rig.PassGrown(SLUICE_COUNT_tnl_popped);
  if (popped == 0 || rig.PassGrown(SLUICE_COUNT_output) != popped) std::printf("packets went astray\n");
}

}  // namespace sluice::bench
