// SPDX-License-Identifier: Apache-2.0
// Read-copy-update (rte_rcu_qsbr) between the threads that match packets and those that change rules: a matching thread
// reads rules and devices without a lock; what was taken away is freed when no thread can see it any more.
#pragma once

#include <rte_rcu_qsbr.h>

#include <bitset>
#include <memory>
#include <mutex>

namespace sluice::netsluice {

// One for all devices of the process, since a rule of one may send to another.
class Readers {
 public:
  static constexpr unsigned kMost = 1024;
  static constexpr unsigned kNone = kMost;

  static Readers& Get();

  // A reader's number; kNone: all are taken.
  unsigned Add();
  void Remove(unsigned reader);

  // Around each burst, by the one thread that uses the reader's number now.
  void Enter(unsigned reader) { rte_rcu_qsbr_thread_online(state_.get(), reader); }
  void Leave(unsigned reader) { rte_rcu_qsbr_thread_offline(state_.get(), reader); }

  // Waits until every burst is over that was going on when it was called. Not from within one.
  void Synchronize();

 private:
  Readers();

  struct Free {
    void operator()(rte_rcu_qsbr* state) const;
  };
  std::mutex mutex_;
  std::bitset<kMost> taken_;
  std::unique_ptr<rte_rcu_qsbr, Free> state_;
};

}  // namespace sluice::netsluice
