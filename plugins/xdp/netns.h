// SPDX-License-Identifier: Apache-2.0
// Other network namespaces: finding the one a veth's peer lives in, and doing something there.
#pragma once

#include <functional>
#include <string>

#include "sluice/error.h"
#include "sluice/unique_fd.h"

namespace sluice::xdp {

struct Netns {
  std::string name;  // for people: "netns h1", "the netns of process 812 (qemu)"
  // Keeps the namespace alive while open: do not hold on to it, or `ip netns del` takes no effect.
  UniqueFd fd;
};

// The namespace that the calling thread's namespace calls `nsid` (netlink's NETNSID). Looks at the named ones
// (/run/netns, Docker's) first, then at those of all processes. Reason "no_such_netns" where none of them is it.
Result<Netns> FindNetns(int nsid);

// Runs `work` in the network namespace, on a thread of its own that ends with it, so that the caller's namespace, and
// its /sys mount, stay as they are. Needs CAP_SYS_ADMIN.
Result<void> RunInNetns(int netns_fd, const std::function<void()>& work);

}  // namespace sluice::xdp
