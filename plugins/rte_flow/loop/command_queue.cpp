// SPDX-License-Identifier: Apache-2.0
#include "command_queue.h"

#include <poll.h>
#include <sys/eventfd.h>

#include <ctime>

namespace sluice::rteflow {
namespace {

constexpr size_t kCapacity = 16384;

}  // namespace

CommandQueue::CommandQueue() : queue_(kCapacity), event_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}

void CommandQueue::Push(const Command& command) {
  while (!queue_.push(command)) {
    const uint32_t seen = taken_.load(std::memory_order_acquire);
    if (queue_.write_available() == 0) taken_.wait(seen, std::memory_order_acquire);
  }
  // An exchange, so that either this sees that the loop is about to sleep, or the loop sees the command.
  if (sleeping_.exchange(false, std::memory_order_acq_rel)) Wake();
}

void CommandQueue::Wake() { eventfd_write(event_.get(), 1); }

void CommandQueue::Taken() {
  taken_.fetch_add(1, std::memory_order_release);
  taken_.notify_all();
}

void CommandQueue::Sleep(uint32_t us) {
  sleeping_.exchange(true, std::memory_order_acq_rel);
  if (queue_.read_available() == 0) {
    pollfd event{event_.get(), POLLIN, 0};
    const timespec time{us / 1'000'000, static_cast<long>(us % 1'000'000) * 1000};
    if (ppoll(&event, 1, &time, nullptr) > 0) {
      eventfd_t ignored = 0;
      eventfd_read(event_.get(), &ignored);
    }
  }
  sleeping_.exchange(false, std::memory_order_acq_rel);
}

}  // namespace sluice::rteflow
