// SPDX-License-Identifier: Apache-2.0
#include "reactor.h"

#include <sys/eventfd.h>

#include <cerrno>
#include <system_error>
#include <utility>

namespace sluice::core {

Mailbox::Mailbox() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!fd_) throw std::system_error(errno, std::generic_category(), "eventfd");
}

void Mailbox::Post(std::function<void()> call) {
  const std::lock_guard lock(mutex_);
  calls_.push_back(std::move(call));
  // A full counter is a wake-up that is still to come.
  (void)eventfd_write(fd_.get(), 1);
}

void Mailbox::Run() {
  eventfd_t count = 0;
  (void)eventfd_read(fd_.get(), &count);
  std::vector<std::function<void()>> calls;
  {
    const std::lock_guard lock(mutex_);
    calls.swap(calls_);
  }
  for (const auto& call : calls) call();
}

}  // namespace sluice::core
