// SPDX-License-Identifier: Apache-2.0
// Keeps signals from threads that are made while it lives: a thread inherits the mask of its maker, and signals are
// the business of the process's own threads.
#pragma once

#include <pthread.h>

#include <csignal>

namespace sluice {

class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};

}  // namespace sluice
