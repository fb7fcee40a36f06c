// SPDX-License-Identifier: Apache-2.0
// Packets on their way up, from the loop to the one thread that takes them.
#pragma once

#include <atomic>
#include <boost/lockfree/spsc_queue.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "datapath.h"
#include "sluice/unique_fd.h"

namespace sluice::rteflow {

class UpcallQueue {
 public:
  explicit UpcallQueue(uint32_t capacity);

  // ---- the loop
  // False: full.
  bool Push(DatapathUpcall upcall);
  // Makes the descriptor readable if anything was pushed since the last call: one system call for a burst, and none
  // while it is readable.
  void Signal();

  // ---- the other thread
  std::vector<DatapathUpcall> Take(size_t most);
  [[nodiscard]] int fd() const { return event_.get(); }

 private:
  void SignalOnce();

  boost::lockfree::spsc_queue<std::shared_ptr<DatapathUpcall>> queue_;
  UniqueFd event_;
  std::atomic<bool> signalled_{false};
  bool pushed_ = false;
};

}  // namespace sluice::rteflow
