// SPDX-License-Identifier: Apache-2.0
#include "jiffies_clock.h"

#include <bpf/bpf.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>

#include "system.h"

namespace sluice::xdp {
namespace {

uint64_t Ns(const timespec& time) { return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec; }

}  // namespace

Result<JiffiesClock> JiffiesClock::Make() {
  const std::array<bpf_insn, 2> code = {{
      {BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_jiffies64},
      {BPF_JMP | BPF_EXIT, 0, 0, 0, 0},
  }};
  UniqueFd program(bpf_prog_load(BPF_PROG_TYPE_XDP, "sluice_clock", "GPL", code.data(), code.size(), nullptr));
  if (!program) return SystemErrorNeeding("loading a BPF program for the time", errno, {kCapBpf, kCapNetAdmin});
  return JiffiesClock(std::move(program));
}

JiffiesClock::JiffiesClock(UniqueFd program) : program_(std::move(program)) {
  // The coarse clocks advance once a tick.
  timespec tick{};
  clock_getres(CLOCK_MONOTONIC_COARSE, &tick);
  tick_ns_ = std::max<uint64_t>(Ns(tick), 1);
}

void JiffiesClock::Update() {
  std::array<uint8_t, 64> frame{};  // BPF_PROG_TEST_RUN wants one
  LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame.data(), .data_size_in = frame.size(), .repeat = 1);
  if (bpf_prog_test_run_opts(program_.get(), &run) != 0) return;
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  now_ns_ = Ns(now);
  now_ = run.retval;
}

uint64_t JiffiesClock::ToNs(uint64_t jiffies) const {
  if (jiffies == 0) return 0;
  // A packet may have come since Update().
  const auto age = static_cast<int32_t>(now_ - static_cast<uint32_t>(jiffies));
  const auto age_ns = static_cast<int64_t>(tick_ns_) * age;
  return now_ns_ - std::min<int64_t>(age_ns, static_cast<int64_t>(now_ns_) - 1);
}

}  // namespace sluice::xdp
