// SPDX-License-Identifier: Apache-2.0
#include "reclaimer.h"

#include <bpf/bpf.h>
#include <pthread.h>
#include <sys/eventfd.h>

#include <cerrno>
#include <iterator>

#include "system.h"

namespace sluice::xdp {

Result<std::unique_ptr<Reclaimer>> Reclaimer::Start() {
  std::unique_ptr<Reclaimer> reclaimer(new Reclaimer());  // NOLINT: the constructor is private
  reclaimer->event_ = UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!reclaimer->event_) return SystemError("eventfd", errno);
  reclaimer->inner_ = UniqueFd(bpf_map_create(BPF_MAP_TYPE_ARRAY, "sluice_grace", 4, 4, 1, nullptr));
  if (!reclaimer->inner_) return SystemErrorNeeding("Creating a BPF array map", errno, {kCapBpf});
  LIBBPF_OPTS(bpf_map_create_opts, options, .inner_map_fd = static_cast<uint32_t>(reclaimer->inner_.get()));
  reclaimer->outer_ = UniqueFd(bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, "sluice_graces", 4, 4, 1, &options));
  if (!reclaimer->outer_) return SystemErrorNeeding("Creating a BPF map of maps", errno, {kCapBpf});
  reclaimer->thread_ = std::thread([raw = reclaimer.get()] { raw->Loop(); });
  pthread_setname_np(reclaimer->thread_.native_handle(), "sluice-reclaim");
  return reclaimer;
}

Reclaimer::~Reclaimer() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Reclaimer::AfterGrace(std::weak_ptr<void> owner, std::function<void()> done) {
  Add({std::move(owner), nullptr, std::move(done)});
}

void Reclaimer::Run(std::weak_ptr<void> owner, std::function<void()> work, std::function<void()> done) {
  Add({std::move(owner), std::move(work), std::move(done)});
}

void Reclaimer::Add(Task task) {
  ++under_way_;
  {
    const std::lock_guard lock(mutex_);
    asked_.push_back(std::move(task));
  }
  changed_.notify_all();
}

void Reclaimer::Poll() {
  uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = read(event_.get(), &count, sizeof count);
  {
    const std::lock_guard lock(mutex_);
    due_.insert(due_.end(), std::make_move_iterator(finished_.begin()), std::make_move_iterator(finished_.end()));
    finished_.clear();
  }
  // One by one: a callback may come back here.
  while (!due_.empty()) {
    Task task = std::move(due_.front());
    due_.pop_front();
    --under_way_;
    ++called_back_;
    if (!task.owner.expired() && task.done) task.done();
  }
}

bool Reclaimer::WaitOne() {
  if (under_way_ == 0) return false;
  if (due_.empty()) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !finished_.empty(); });
  }
  Poll();
  return true;
}

void Reclaimer::Drain() {
  while (WaitOne()) {
  }
}

void Reclaimer::Finish(std::vector<Task> tasks) {
  {
    const std::lock_guard lock(mutex_);
    finished_.insert(finished_.end(), std::make_move_iterator(tasks.begin()), std::make_move_iterator(tasks.end()));
  }
  const uint64_t one = 1;
  // Fails only where the counter is full, and the descriptor readable then.
  [[maybe_unused]] const ssize_t written = write(event_.get(), &one, sizeof one);
  changed_.notify_all();
}

// bpf(2) gives no name to this, but promises it since commit 1ae80cf31938 (maybe_wait_bpf_programs): when the update of
// a map of maps returns, every program that might have seen the old element is done. Unlike membarrier() it does so on
// one CPU and with nohz_full, too.
void Reclaimer::WaitForReaders() {
  const uint32_t key = 0;
  const int inner = inner_.get();
  // It can fail for lack of memory only; the readers are not waited for then, so try on.
  while (bpf_map_update_elem(outer_.get(), &key, &inner, BPF_ANY) != 0) std::this_thread::yield();
}

void Reclaimer::Loop() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stop_ || !asked_.empty(); });
    if (stop_) return;
    std::vector<Task> tasks = std::move(asked_);
    asked_.clear();
    lock.unlock();

    std::vector<Task> graces;
    std::vector<Task> works;
    for (Task& task : tasks) (task.work ? works : graces).push_back(std::move(task));
    if (!graces.empty()) {
      WaitForReaders();
      Finish(std::move(graces));
    }
    for (Task& task : works) {
      if (!task.owner.expired()) task.work();
      std::vector<Task> one;
      one.push_back(std::move(task));
      Finish(std::move(one));
    }
    lock.lock();
  }
}

}  // namespace sluice::xdp
