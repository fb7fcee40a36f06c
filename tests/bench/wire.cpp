// SPDX-License-Identifier: Apache-2.0
#include "bench/wire.h"

#include <bpf/libbpf.h>
#include <linux/if_link.h>
#include <net/if.h>

#include <cstring>
#include <fstream>
#include <stdexcept>

#include "support/process.h"

namespace sluice::bench {

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

void Attach(const char* device, int program_fd) {
  const auto ifindex = static_cast<int>(if_nametoindex(device));
  const int failed = program_fd < 0 ? bpf_xdp_detach(ifindex, XDP_FLAGS_DRV_MODE, nullptr)
                                    : bpf_xdp_attach(ifindex, program_fd, XDP_FLAGS_DRV_MODE, nullptr);
  if (failed != 0) throw std::runtime_error(std::string("attach to ") + device + ": " + std::strerror(-failed));
}

}  // namespace sluice::bench
