// SPDX-License-Identifier: Apache-2.0
// A network namespace of one test's own, by name in /run/netns, gone with its owner.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace sluice::test {

class Netns {
 public:
  // Its name is prefix-PID-COUNT; `lo` is up. Throws std::runtime_error (no privilege, no ip command).
  explicit Netns(const std::string& prefix = "slt");
  ~Netns();
  Netns(const Netns&) = delete;
  Netns& operator=(const Netns&) = delete;

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] int fd() const { return fd_; }  // open as long as we are

  // Calls `work` in the namespace, on a thread of its own (the caller's namespace stays what it is), and waits for it.
  // What it throws is thrown here.
  void Do(const std::function<void()>& work) const;
  // `ip -n NAME words...`; throws std::runtime_error with ip's words if it fails. Returns standard output.
  std::string Ip(const std::vector<std::string>& words) const;  // NOLINT(modernize-use-nodiscard)
  // Interface index of `device` in there, 0 if there is none.
  [[nodiscard]] unsigned IfIndex(const std::string& device) const;

 private:
  std::string name_;
  int fd_ = -1;
};

// Why tests with namespaces and BPF cannot run here; empty if they can. For GTEST_SKIP.
std::string WhyNoKernelTests();

}  // namespace sluice::test
