// SPDX-License-Identifier: Apache-2.0
#include "upcall_queue.h"

#include <sys/eventfd.h>

#include <utility>

namespace sluice::rteflow {

UpcallQueue::UpcallQueue(uint32_t capacity) : queue_(capacity), event_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}

bool UpcallQueue::Push(DatapathUpcall upcall) {
  if (queue_.write_available() == 0) return false;
  queue_.push(std::make_shared<DatapathUpcall>(std::move(upcall)));
  pushed_ = true;
  return true;
}

void UpcallQueue::Signal() {
  if (std::exchange(pushed_, false)) SignalOnce();
}

void UpcallQueue::SignalOnce() {
  if (!signalled_.exchange(true, std::memory_order_acq_rel)) eventfd_write(event_.get(), 1);
}

std::vector<DatapathUpcall> UpcallQueue::Take(size_t most) {
  std::vector<DatapathUpcall> taken;
  while (taken.size() < most && queue_.consume_one([&](const auto& upcall) { taken.push_back(std::move(*upcall)); })) {
  }
  if (!taken.empty() || most == 0) return taken;
  eventfd_t ignored = 0;
  eventfd_read(event_.get(), &ignored);
  // The loop's next Signal writes again. What it pushed before this it has not signalled: look once more.
  signalled_.exchange(false, std::memory_order_acq_rel);
  if (queue_.read_available() > 0) SignalOnce();
  return taken;
}

}  // namespace sluice::rteflow
