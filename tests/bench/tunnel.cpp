// SPDX-License-Identifier: Apache-2.0
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <net/if.h>
#include <sched.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "bench/benches.h"
#include "bench/datapath.h"
#include "bench/samples.h"
#include "bench/wire.h"
#include "passes/frames.h"
#include "passes/pass_rig.h"
#include "support/process.h"

namespace sluice::bench {
namespace {

// "source" sends to "port1", whose packets come out of "port2" into "sink". Over "port1" a vxlan device, in a bridge
// with "port2".
struct Wire {
  Wire() {
    if (unshare(CLONE_NEWNET) != 0) throw std::runtime_error("cannot make a network namespace");
    MakeVeth("source", "port1");
    MakeVeth("port2", "sink");
    Ip({"link", "set", "port1", "address", "02:00:00:00:01:02"});
    Ip({"address", "add", "192.168.0.2/24", "dev", "port1"});
    // So that what is redirected arrives where there is no program.
    test::RunOrThrow({"ethtool", "-K", "port1", "gro", "on"});
    Ip({"link", "add", "vx", "type", "vxlan", "id", "1193046", "local", "192.168.0.2", "dstport", "4789",
        "nolearning"});
    Ip({"link", "add", "name", "bridge0", "type", "bridge"});
    for (const char* device : {"vx", "port2"}) Ip({"link", "set", device, "master", "bridge0"});
    for (const char* device : {"bridge0", "vx"}) {
      std::ofstream(std::string("/proc/sys/net/ipv6/conf/") + device + "/disable_ipv6") << "1";
      Ip({"link", "set", device, "up"});
    }
    std::ofstream("/proc/sys/net/bridge/bridge-nf-call-iptables") << "0";  // where that is built in
    test::RunOrThrow({"bridge", "fdb", "add", "02:00:00:00:00:01", "dev", "port2", "master", "static"});
  }
};

}  // namespace

void Tunnel(const TunnelOptions& options) {
  PinToOneCpu();
  const Wire wire;
  const Baseline sender(if_nametoindex("source"));
  const Baseline forwarder(if_nametoindex("port2"));
  Attach("sink", sender.ProgramFd("bench_receive"));
  xdp::PassRig rig;
  if (auto set = rig.groups->SetPort(2, if_nametoindex("port2")); !set) Throw(set.error());
  xdp::Outer outer;
  sluice_step pop = xdp::MakeStep(SLUICE_STEP_CSUM_VERIFY, SLUICE_ACTION_RECIRC, 0);
  pop.tunnel_type = SLUICE_TUNNEL_VXLAN;
  pop.tp_dst = outer.tp_dst;
  pop.tunnel_port = 9;
  rig.First("eth_type(0x0800),ipv4(proto=17,frag=no),udp(dst=4789)", {SLUICE_ACTION_TNL_POP, rig.Step(pop)});
  rig.Later("in_port(9),recirc_id(0),tunnel(tun_id=0x123456,src=192.168.0.1)", {SLUICE_ACTION_OUTPUT, 2});
  reference::PacketSpec inner;
  inner.dst = {2, 0, 0, 0, 0, 1};  // whom the bridge knows
  inner.src = {2, 0, 0, 0, 0, 2};
  inner.l3 = reference::Ipv4Spec{};
  inner.l4 = reference::UdpSpec{1000, 2000, true};
  const xdp::Bytes frame = xdp::Encapsulate(reference::Build(inner), outer);

  // ns a packet that came out at the far end.
  const auto sample = [&](int program_fd) {
    Attach("port1", program_fd);
    LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame.data(), .data_size_in = static_cast<uint32_t>(frame.size()),
                .repeat = static_cast<int>(options.packets), .flags = BPF_F_TEST_XDP_LIVE_FRAMES, .batch_size = 64);
    const uint64_t before = sender.Received();
    const auto start = std::chrono::steady_clock::now();
    if (bpf_prog_test_run_opts(sender.ProgramFd("bench_forward"), &run) != 0) {
      throw std::runtime_error(std::string("live BPF_PROG_TEST_RUN: ") + std::strerror(errno));
    }
    const std::chrono::duration<double, std::nano> elapsed = std::chrono::steady_clock::now() - start;
    const uint64_t received = sender.Received() - before;
    if (received == 0) throw std::runtime_error("nothing arrived");
    return elapsed.count() / static_cast<double>(received);
  };
  const int bare = forwarder.ProgramFd("bench_forward");
  std::vector<Case> cases;
  cases.push_back({"bare redirect", [&] { return sample(bare); }, {}});
  cases.push_back({"sluice: tnl_pop, pass, output", [&] { return sample(rig.port->program_fd()); }, {}});
  cases.push_back({"kernel: vxlan device, bridge", [&] { return sample(-1); }, {}});
  RunInterleaved(cases, options.rounds);

  std::printf(
      "tunnel: VXLAN from veth to veth, ns a packet, %u rounds of %u packets; generator, forwarder and receiver share "
      "a\n"
      "CPU, and all three pay for them\n",
      options.rounds, options.packets);
  std::printf("%-30s %8s %8s %8s %14s\n", "", "median", "least", "most", "of the kernel");
  for (const Case& one : cases) {
    std::printf("%-30s %8.0f %8.0f %8.0f %14.2f\n", one.name.c_str(), Median(one), Quantile(one.samples, 0),
                Quantile(one.samples, 1), MedianRatio(one, cases[2]));
  }
  if (rig.passes->ReadCounters(xdp::kPassSlot)[SLUICE_COUNT_output] != rig.port->ReadCounters().rx_packets()) {
    std::printf("not all packets were forwarded\n");
  }
}

}  // namespace sluice::bench
