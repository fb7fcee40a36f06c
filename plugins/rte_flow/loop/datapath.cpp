// SPDX-License-Identifier: Apache-2.0
#include "datapath.h"

#include <pthread.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <sched.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <future>
#include <map>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "buffers.h"
#include "command_queue.h"
#include "loop.h"
#include "single_writer.h"
#include "sluice/signals_blocked.h"
#include "upcall_queue.h"

namespace sluice::rteflow {
namespace {

constexpr size_t kCpuSetBytes = CPU_ALLOC_SIZE(4096);

// Puts this thread on `cpu`, or, with -1, on all that the process may have: who starts a thread may be pinned.
Result<void> PinTo(int cpu) {
  std::vector<uint8_t> bytes(kCpuSetBytes, cpu < 0 ? 0xff : 0);
  auto* cpus = reinterpret_cast<cpu_set_t*>(bytes.data());
  if (cpu >= 0) CPU_SET_S(static_cast<size_t>(cpu), kCpuSetBytes, cpus);
  if (sched_setaffinity(0, kCpuSetBytes, cpus) == 0 || cpu < 0) return {};
  return Error{"no_thread", "the loop cannot run on CPU " + std::to_string(cpu) + ": " + std::strerror(errno)};
}

// As one of DPDK's threads, which have caches of packet buffers.
Result<void> BecomeLoopThread(int cpu) {
  pthread_setname_np(pthread_self(), "sluice-poll");
  // Else each sleep of 50 us takes 100.
  prctl(PR_SET_TIMERSLACK, 1);
  if (auto pinned = PinTo(cpu); !pinned) return pinned;
  if (rte_thread_register() == 0) return {};
  return Error{"no_thread", std::string("DPDK does not take the loop's thread: ") + rte_strerror(rte_errno)};
}

}  // namespace

class Datapath::Impl {
 public:
  Impl(const Settings& settings, std::unique_ptr<Buffers> buffers)
      : buffers_(std::move(buffers)),
        upcalls_(std::max(settings.upcall_queue, 1U)),
        loop_(settings, *buffers_, commands_, upcalls_, shared_) {}
  ~Impl() {
    stop_.store(true, std::memory_order_release);
    commands_.Wake();
    if (thread_.joinable()) thread_.join();
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  Result<void> StartThread(int cpu);

  std::shared_ptr<DatapathPortCounters> MakeCounters(uint32_t port);
  void ForgetCounters(uint32_t port);
  [[nodiscard]] DatapathPortCounters ReadCounters(uint32_t port) const;

  std::unique_ptr<Buffers> buffers_;
  CommandQueue commands_;
  UpcallQueue upcalls_;
  Loop::Shared shared_;
  uint64_t last_fence_ = 0;

 private:
  void Run(int cpu, std::promise<Result<void>>& started);

  Loop loop_;
  std::atomic<bool> stop_{false};
  mutable std::mutex counters_mutex_;
  std::map<uint32_t, std::shared_ptr<DatapathPortCounters>> counters_;
  std::thread thread_;
};

void Datapath::Impl::Run(int cpu, std::promise<Result<void>>& started) {
  const auto ready = BecomeLoopThread(cpu);
  started.set_value(ready);
  if (!ready) return;
  loop_.Run(stop_);
  rte_thread_unregister();
}

Result<void> Datapath::Impl::StartThread(int cpu) {
  if (commands_.fd() < 0 || upcalls_.fd() < 0) {
    return Error{"no_thread", "the system gave the loop no event descriptor"};
  }
  std::promise<Result<void>> started;
  try {
    const SignalsBlocked blocked;
    thread_ = std::thread([this, cpu, &started] { Run(cpu, started); });
  } catch (const std::system_error& error) {
    return Error{"no_thread", std::string("the system gave the loop no thread: ") + error.what()};
  }
  return started.get_future().get();
}

std::shared_ptr<DatapathPortCounters> Datapath::Impl::MakeCounters(uint32_t port) {
  const std::lock_guard lock(counters_mutex_);
  auto& counters = counters_[port];
  if (counters == nullptr) counters = std::make_shared<DatapathPortCounters>();
  return counters;
}

void Datapath::Impl::ForgetCounters(uint32_t port) {
  const std::lock_guard lock(counters_mutex_);
  counters_.erase(port);
}

DatapathPortCounters Datapath::Impl::ReadCounters(uint32_t port) const {
  const std::lock_guard lock(counters_mutex_);
  const auto found = counters_.find(port);
  return found == counters_.end() ? DatapathPortCounters{} : Snapshot(*found->second);
}

Datapath::Datapath(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Datapath::~Datapath() = default;

Result<std::unique_ptr<Datapath>> Datapath::Start(const Settings& settings) {
  auto buffers = Buffers::Make(settings.copies, settings.copy_bytes);
  if (!buffers) return buffers.error();
  auto impl = std::make_unique<Impl>(settings, *std::move(buffers));
  if (auto started = impl->StartThread(settings.cpu); !started) return started.error();
  return std::unique_ptr<Datapath>(new Datapath(std::move(impl)));
}

void Datapath::AddPort(const Port& port) {
  impl_->commands_.Push(command::AddPort{port, impl_->MakeCounters(port.number)});
}

void Datapath::RemovePort(uint32_t number) {
  impl_->ForgetCounters(number);
  impl_->commands_.Push(command::RemovePort{number});
}

void Datapath::Insert(DatapathFlow& flow) { impl_->commands_.Push(command::Insert{&flow}); }
void Datapath::Remove(DatapathFlow& flow) { impl_->commands_.Push(command::Remove{&flow}); }

void Datapath::PacketOut(uint32_t port, std::vector<uint8_t> frame, std::optional<Actions> actions) {
  impl_->commands_.Push(command::PacketOut{
      std::make_shared<const PacketOutRequest>(PacketOutRequest{port, std::move(frame), std::move(actions)})});
}

uint64_t Datapath::Fence() {
  impl_->commands_.Push(command::Fence{++impl_->last_fence_});
  return impl_->last_fence_;
}

uint64_t Datapath::passed_fence() const { return impl_->shared_.passed.load(std::memory_order_acquire); }

void Datapath::WaitFor(uint64_t fence) {
  for (uint64_t passed = passed_fence(); passed < fence; passed = passed_fence()) {
    impl_->shared_.passed.wait(passed, std::memory_order_acquire);
  }
}

uint64_t Datapath::drained_fence() const { return impl_->shared_.drained.load(std::memory_order_acquire); }

int Datapath::upcall_fd() const { return impl_->upcalls_.fd(); }
std::vector<DatapathUpcall> Datapath::TakeUpcalls(size_t most) { return impl_->upcalls_.Take(most); }
DatapathPortCounters Datapath::Counters(uint32_t port) const { return impl_->ReadCounters(port); }
DatapathLoad Datapath::Load() const { return Snapshot(impl_->shared_.load); }

}  // namespace sluice::rteflow
