// SPDX-License-Identifier: Apache-2.0
// What parts of the daemon ask of its loop: to be told of a file descriptor, and to run something that another thread
// hands over.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "sluice/unique_fd.h"

namespace sluice::core {

// Calls for the loop's thread from any other. Shared: a thread may outlast the loop.
class Mailbox {
 public:
  Mailbox();  // throws std::system_error without descriptors
  void Post(std::function<void()> call);
  [[nodiscard]] int fd() const { return fd_.get(); }  // readable when there is something to run
  void Run();                                         // the loop's thread

 private:
  UniqueFd fd_;
  std::mutex mutex_;
  std::vector<std::function<void()>> calls_;
};

// File descriptors that the loop watches for input; the loop's thread only.
class Watches {
 public:
  void Add(int fd, std::function<void()> readable) { calls_[fd] = std::move(readable); }
  void Remove(int fd) { calls_.erase(fd); }
  [[nodiscard]] const std::map<int, std::function<void()>>& all() const { return calls_; }

 private:
  std::map<int, std::function<void()>> calls_;
};

}  // namespace sluice::core
