// SPDX-License-Identifier: Apache-2.0
#include "capabilities.h"

#include <linux/capability.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace sluice::test {

std::string WithCapabilities(uint32_t kept, const std::function<std::string()>& work) {
  int ends[2];
  if (pipe(ends) != 0) return "pipe";
  const pid_t child = fork();
  if (child == 0) {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct sets[2]{};
    sets[0].effective = sets[0].permitted = kept;
    std::string said = syscall(SYS_capset, &header, sets) == 0 ? work() : "capset";
    (void)!write(ends[1], said.data(), said.size());
    _exit(0);
  }
  close(ends[1]);
  std::string said(1024, '\0');
  const ssize_t size = read(ends[0], said.data(), said.size());
  close(ends[0]);
  waitpid(child, nullptr, 0);
  said.resize(size < 0 ? 0 : static_cast<size_t>(size));
  return said;
}

}  // namespace sluice::test
