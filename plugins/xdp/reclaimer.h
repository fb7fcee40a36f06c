// SPDX-License-Identifier: Apache-2.0
// The thread that waits for the kernel, so that the session thread need not.
//
// Two kinds of waiting: a grace period (every packet that was in a BPF program when it was asked for has left it), and
// system calls that wait for one themselves (changing an element of a map of maps). What is to happen then happens on
// the session thread, in Poll(). One Reclaimer serves all ports of a plugin.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "sluice/error.h"
#include "sluice/unique_fd.h"

namespace sluice::xdp {

class Reclaimer {
 public:
  static Result<std::unique_ptr<Reclaimer>> Start();
  // Joins the thread, after what it is at; the rest is neither run nor called back.
  ~Reclaimer();
  Reclaimer(const Reclaimer&) = delete;
  Reclaimer& operator=(const Reclaimer&) = delete;

  // Everything below: session thread.

  // Readable while Poll() has something to do.
  [[nodiscard]] int fd() const { return event_.get(); }
  // Runs the callbacks that are due. They may ask for more.
  void Poll();

  // `done` is called from Poll() when a grace period that began after this call is over. `owner`: nothing is called
  // once that is gone.
  void AfterGrace(std::weak_ptr<void> owner, std::function<void()> done);
  // Runs `work` on the thread, then `done` from Poll(). `work` must not touch what the session thread owns.
  void Run(std::weak_ptr<void> owner, std::function<void()> work, std::function<void()> done);
  // Grows with each callback: what had to wait may now find what it waits for.
  [[nodiscard]] uint64_t called_back() const { return called_back_; }
  // Waits until everything asked for so far, and by the callbacks meanwhile, is done, and calls back.
  void Drain();
  // Waits until at least one callback is due, and calls back; false at once if nothing is under way.
  bool WaitOne();

 private:
  struct Task {
    std::weak_ptr<void> owner;
    std::function<void()> work;  // empty: a grace period
    std::function<void()> done;
  };

  Reclaimer() = default;
  void Loop();
  void Add(Task task);
  void Finish(std::vector<Task> tasks);
  void WaitForReaders();

  UniqueFd event_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Task> asked_;
  std::vector<Task> finished_;
  bool stop_ = false;
  // The session thread's:
  std::deque<Task> due_;  // taken from finished_
  size_t under_way_ = 0;  // asked for and not yet called back
  uint64_t called_back_ = 0;
  // A map of maps: the kernel waits for running programs whenever user space changes one.
  UniqueFd outer_, inner_;
  std::thread thread_;
};

}  // namespace sluice::xdp
