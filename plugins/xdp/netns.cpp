// SPDX-License-Identifier: Apache-2.0
#include "netns.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <sys/stat.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <exception>
#include <fstream>
#include <memory>
#include <set>
#include <thread>
#include <vector>

#include "netlink.h"
#include "system.h"

namespace sluice::xdp {
namespace {

std::vector<std::string> Entries(const std::string& directory) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir(directory.c_str()), closedir);
  if (dir == nullptr) return names;
  while (const dirent* entry = readdir(dir.get())) {  // NOLINT(concurrency-mt-unsafe): a DIR of our own
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

// The id of the namespace open at `fd` as the socket's namespace has it; -1: none.
int IdOf(NetlinkSocket& socket, int fd) {
  NetlinkRequest request(RTM_GETNSID, 0);
  request.Header(rtgenmsg{});
  request.Attribute(NETNSA_FD, static_cast<uint32_t>(fd));
  int id = -1;
  socket.Talk(std::move(request), [&](const nlmsghdr& message) {
    const auto number = NetlinkAttributes(message, sizeof(rtgenmsg)).Number(NETNSA_NSID);
    if (number) id = static_cast<int>(static_cast<uint32_t>(*number));
  });
  return id;
}

class Search {
 public:
  Search(NetlinkSocket& socket, int nsid) : socket_(socket), nsid_(nsid) {}

  // Is the namespace at `path` the one? Each is asked about once.
  UniqueFd Try(const std::string& path) {
    struct stat status {};
    if (stat(path.c_str(), &status) != 0 || !seen_.insert(status.st_ino).second) return {};
    UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd || IdOf(socket_, fd.get()) != nsid_) return {};
    return fd;
  }

 private:
  NetlinkSocket& socket_;
  int nsid_;
  std::set<ino_t> seen_;
};

std::string ProcessName(const std::string& pid) {
  std::string name;
  std::getline(std::ifstream("/proc/" + pid + "/comm"), name);
  return name;
}

}  // namespace

Result<Netns> FindNetns(int nsid) {
  auto socket = NetlinkSocket::Open(NETLINK_ROUTE);
  if (!socket) return socket.error();
  Search search(*socket, nsid);
  for (const char* directory : {"/run/netns", "/run/docker/netns"}) {
    for (const auto& name : Entries(directory)) {
      auto fd = search.Try(std::string(directory) + "/" + name);
      if (fd) return Netns{"netns " + name, std::move(fd)};
    }
  }
  for (const auto& pid : Entries("/proc")) {
    if (std::isdigit(static_cast<unsigned char>(pid[0])) == 0) continue;
    auto fd = search.Try("/proc/" + pid + "/ns/net");
    if (fd) return Netns{"the netns of process " + pid + " (" + ProcessName(pid) + ")", std::move(fd)};
  }
  return Error{"no_such_netns",
               "no name in /run/netns and no process that may be looked at has the network namespace with id " +
                   std::to_string(nsid)};
}

Result<void> RunInNetns(int netns_fd, const std::function<void()>& work) {
  int error = 0;
  std::exception_ptr thrown;
  std::thread inside([&] {
    if (setns(netns_fd, CLONE_NEWNET) != 0) {
      error = errno;
      return;
    }
    try {
      work();
    } catch (...) {
      thrown = std::current_exception();
    }
  });
  inside.join();
  if (thrown) std::rethrow_exception(thrown);
  if (error != 0) return SystemErrorNeeding("entering the network namespace", error, {kCapSysAdmin});
  return {};
}

}  // namespace sluice::xdp
