// SPDX-License-Identifier: Apache-2.0
#include "support/veth.h"

#include <exception>
#include <fstream>
#include <utility>

#include "support/process.h"

namespace sluice::test {

Veth::Veth(VethEnd a, VethEnd b, unsigned queues) : a_(std::move(a)), b_(std::move(b)) {
  const std::string n = std::to_string(queues);
  a_.netns->Ip({"link", "add", a_.device, "numtxqueues", n, "numrxqueues", n, "type", "veth", "peer", "name", b_.device,
                "numtxqueues", n, "numrxqueues", n, "netns", b_.netns->name()});
  for (const VethEnd* end : {&a_, &b_}) {
    end->netns->Do([&] { std::ofstream("/proc/sys/net/ipv6/conf/" + end->device + "/disable_ipv6") << "1"; });
    end->netns->Ip({"link", "set", end->device, "up"});
  }
}

Veth::~Veth() {
  try {
    RunCommand({"ip", "-n", a_.netns->name(), "link", "del", a_.device});
  } catch (const std::exception&) {  // nothing left to do about it in a destructor
  }
}

void SetFeature(const VethEnd& end, const std::string& feature, bool on) {
  RunOrThrow({"ethtool", "-K", end.device, feature, on ? "on" : "off"}, {.netns = end.netns});
}

}  // namespace sluice::test
