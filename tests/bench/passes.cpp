// SPDX-License-Identifier: Apache-2.0
#include <bpf/bpf.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <stdexcept>
#include <vector>

#include "bench/benches.h"
#include "bench/samples.h"
#include "passes/frames.h"
#include "passes/pass_rig.h"

namespace sluice::bench {
namespace {

using xdp::Do;
using xdp::MakeStep;
using xdp::PassRig;

// From the first flow's actions to the last output, by what they put in between.
struct Way {
  const char* name;
  std::function<Do(PassRig& rig)> make;
};

Do PushAndPop(PassRig& rig, uint32_t flags) {
  xdp::Outer outer;
  outer.df = true;
  const xdp::Bytes header = xdp::HeaderOf(outer);
  sluice_step push = MakeStep(flags & SLUICE_STEP_CSUM, SLUICE_ACTION_TNL_POP, 1);
  push.header_length = static_cast<uint32_t>(header.size());
  std::copy(header.begin(), header.end(), push.header);
  const uint32_t first = rig.Step(push);
  sluice_step pop = MakeStep(flags & SLUICE_STEP_CSUM_VERIFY, SLUICE_ACTION_RECIRC, 0);
  pop.tunnel_type = SLUICE_TUNNEL_VXLAN;
  pop.tp_dst = outer.tp_dst;
  pop.tunnel_port = 9;
  rig.Step(pop);
  rig.Later("in_port(9),recirc_id(0),eth_type(0x0800)", {SLUICE_ACTION_OUTPUT, 2});
  return {SLUICE_ACTION_TNL_PUSH, first};
}

Do Track(PassRig& rig, uint32_t state) {
  rig.Later("recirc_id(0x1),ct_state(" + std::to_string(state) + ")", {SLUICE_ACTION_OUTPUT, 2});
  return {SLUICE_ACTION_CT, rig.Step(MakeStep(state == 0 ? SLUICE_STEP_CT_CLEAR : 0, SLUICE_ACTION_RECIRC, 1))};
}

// Two hosts have spoken to each other.
void Establish(PassRig& rig) {
  const uint32_t step = rig.Step(MakeStep(SLUICE_STEP_COMMIT, SLUICE_ACTION_DROP, 0));
  rig.First("", {SLUICE_ACTION_CT, step});
  for (const bool back : {false, true, false}) {
    xdp::Bytes frame = xdp::UdpFrame(0x0a000002);
    if (back) {
      std::swap_ranges(frame.begin() + 26, frame.begin() + 30, frame.begin() + 30);
      std::swap_ranges(frame.begin() + 34, frame.begin() + 36, frame.begin() + 36);
    }
    rig.Run(frame);
  }
  rig.first->Flush();
}

}  // namespace

void Passes(const PassesOptions& options) {
  PinToOneCpu();
  if (unshare(CLONE_NEWNET) != 0) throw std::runtime_error(std::string("unshare: ") + std::strerror(errno));
  const std::vector<Way> ways = {
      {"first pass, output",
       [](PassRig&) {
         return Do{SLUICE_ACTION_OUTPUT, 2};
       }},
      {"recirc, output",
       [](PassRig& rig) {
         rig.Later("recirc_id(0x1),in_port(1),eth_type(0x0800)", {SLUICE_ACTION_OUTPUT, 2});
         return Do{SLUICE_ACTION_RECIRC, 1};
       }},
      {"two recircs, output",
       [](PassRig& rig) {
         rig.Later("recirc_id(0x1),in_port(1),eth_type(0x0800)", {SLUICE_ACTION_RECIRC, 2});
         rig.Later("recirc_id(0x2),in_port(1),eth_type(0x0800)", {SLUICE_ACTION_OUTPUT, 2});
         return Do{SLUICE_ACTION_RECIRC, 1};
       }},
      {"ct_clear, recirc", [](PassRig& rig) { return Track(rig, 0); }},
      {"ct established, recirc", [](PassRig& rig) { return Track(rig, SLUICE_CT_TRK | SLUICE_CT_EST); }},
      {"vxlan on, off, pass", [](PassRig& rig) { return PushAndPop(rig, 0); }},
      {"the same with checksums",
       [](PassRig& rig) { return PushAndPop(rig, SLUICE_STEP_CSUM | SLUICE_STEP_CSUM_VERIFY); }},
  };
  std::vector<std::unique_ptr<PassRig>> rigs;
  std::vector<Case> cases;
  for (const Way& way : ways) {
    PassRig& rig = *rigs.emplace_back(std::make_unique<PassRig>());
    if (!rig.passes->why_no_ct().empty() && std::strncmp(way.name, "ct", 2) == 0) continue;
    const bool established = std::strncmp(way.name, "ct est", 6) == 0;
    if (established) Establish(rig);
    rig.First("eth_type(0x0800)", way.make(rig));
    const auto sample = [&rig, &options] {
      double ns = 0;
      const auto ran = xdp::RunProgram(rig.port->program_fd(), xdp::UdpFrame(0x0a000002), options.repeat, &ns);
      if (ran.verdict != XDP_REDIRECT) throw std::runtime_error("a packet went astray");
      return ns;
    };
    cases.push_back({way.name, sample, {}});
  }
  RunInterleaved(cases, options.rounds);
  std::printf("passes: by BPF_PROG_TEST_RUN, ns a packet, %u rounds of %u packets\n", options.rounds, options.repeat);
  std::printf("%-26s %8s %8s %8s %22s\n", "", "median", "least", "most", "over the first pass");
  for (const Case& one : cases) {
    std::printf("%-26s %8.0f %8.0f %8.0f %+22.0f\n", one.name.c_str(), Median(one), Quantile(one.samples, 0),
                Quantile(one.samples, 1), Median(one) - Median(cases[0]));
  }
}

}  // namespace sluice::bench
