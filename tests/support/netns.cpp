// SPDX-License-Identifier: Apache-2.0
#include "support/netns.h"

#include <fcntl.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <system_error>
#include <thread>

#include "support/process.h"

namespace sluice::test {

Netns::Netns(const std::string& prefix) {
  static std::atomic<unsigned> count{0};
  name_ = prefix + "-" + std::to_string(getpid()) + "-" + std::to_string(++count);
  RunOrThrow({"ip", "netns", "add", name_});
  fd_ = open(("/run/netns/" + name_).c_str(), O_RDONLY | O_CLOEXEC);
  if (fd_ < 0) throw std::system_error(errno, std::generic_category(), name_);
  Ip({"link", "set", "lo", "up"});
}

Netns::~Netns() {
  close(fd_);
  try {
    RunCommand({"ip", "netns", "del", name_});
  } catch (const std::exception&) {  // nothing left to do about it in a destructor
  }
}

void Netns::Do(const std::function<void()>& work) const {
  std::exception_ptr failure;
  std::thread thread([&] {
    try {
      if (setns(fd_, CLONE_NEWNET) != 0) throw std::system_error(errno, std::generic_category(), "setns " + name_);
      work();
    } catch (...) {
      failure = std::current_exception();
    }
  });
  thread.join();
  if (failure) std::rethrow_exception(failure);
}

std::string Netns::Ip(const std::vector<std::string>& words) const {
  std::vector<std::string> argv{"ip", "-n", name_};
  argv.insert(argv.end(), words.begin(), words.end());
  return RunOrThrow(argv);
}

unsigned Netns::IfIndex(const std::string& device) const {
  unsigned index = 0;
  Do([&] { index = if_nametoindex(device.c_str()); });
  return index;
}

std::string WhyNoKernelTests() {
  if (geteuid() != 0) return "needs root";
  bpf_attr attr{};
  attr.map_type = BPF_MAP_TYPE_ARRAY;
  attr.key_size = 4;
  attr.value_size = 4;
  attr.max_entries = 1;
  auto fd = static_cast<int>(syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof attr));
  if (fd < 0) return std::string("cannot make a BPF map: ") + std::strerror(errno);
  close(fd);
  try {
    const Netns probe;
  } catch (const std::exception& error) {
    return std::string("cannot make a network namespace: ") + error.what();
  }
  return "";
}

}  // namespace sluice::test
