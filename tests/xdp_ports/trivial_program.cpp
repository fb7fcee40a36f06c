// SPDX-License-Identifier: Apache-2.0
#include "trivial_program.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>

#include <cerrno>
#include <system_error>

namespace sluice::test {

UniqueFd LoadTrivialProgram(const char* name, xdp_action verdict) {
  bpf_insn program[2]{};
  program[0].code = BPF_ALU64 | BPF_MOV | BPF_K;  // r0 = verdict
  program[0].imm = verdict;
  program[1].code = BPF_JMP | BPF_EXIT;
  UniqueFd fd(bpf_prog_load(BPF_PROG_TYPE_XDP, name, "GPL", program, 2, nullptr));
  if (!fd) throw std::system_error(errno, std::generic_category(), name);
  return fd;
}

void AttachByNetlink(int ifindex, int program_fd) {
  const int error = bpf_xdp_attach(ifindex, program_fd, XDP_FLAGS_DRV_MODE, nullptr);
  if (error != 0) throw std::system_error(-error, std::generic_category(), "bpf_xdp_attach");
}

}  // namespace sluice::test
