// SPDX-License-Identifier: Apache-2.0
#include "readers.h"

#include <sched.h>

#include <cstdlib>
#include <new>

namespace sluice::netsluice {

Readers& Readers::Get() {
  static Readers readers;
  return readers;
}

Readers::Readers() {
  const size_t size = rte_rcu_qsbr_get_memsize(kMost);
  void* memory = std::aligned_alloc(RTE_CACHE_LINE_SIZE, RTE_ALIGN_CEIL(size, RTE_CACHE_LINE_SIZE));
  if (memory == nullptr) throw std::bad_alloc();
  state_.reset(static_cast<rte_rcu_qsbr*>(memory));
  rte_rcu_qsbr_init(state_.get(), kMost);
}

void Readers::Free::operator()(rte_rcu_qsbr* state) const { std::free(state); }

unsigned Readers::Add() {
  const std::lock_guard lock(mutex_);
  for (unsigned reader = 0; reader < kMost; ++reader) {
    if (taken_[reader]) continue;
    taken_[reader] = true;
    rte_rcu_qsbr_thread_register(state_.get(), reader);
    return reader;
  }
  return kNone;
}

void Readers::Remove(unsigned reader) {
  if (reader == kNone) return;
  const std::lock_guard lock(mutex_);
  rte_rcu_qsbr_thread_unregister(state_.get(), reader);
  taken_[reader] = false;
}

// Not rte_rcu_qsbr_synchronize, which never yields: the thread that it waits for may be one for this very core.
void Readers::Synchronize() {
  const uint64_t token = rte_rcu_qsbr_start(state_.get());
  while (rte_rcu_qsbr_check(state_.get(), token, false) == 0) sched_yield();
}

}  // namespace sluice::netsluice
