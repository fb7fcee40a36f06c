// SPDX-License-Identifier: Apache-2.0
#include <pthread.h>
#include <spdlog/spdlog.h>

#include <condition_variable>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "launchers.h"
#include "plugin_module.h"
#include "sluice/signals_blocked.h"

namespace sluice::core {
namespace {

// Shared with the thread, which may outlast the run where a plugin does not return.
struct Shared {
  PluginSpec spec;
  std::string copy_dir;
  PluginHostData::Strings strings;
  void* zmq_context = nullptr;
  RunEvents events;
  std::shared_ptr<Mailbox> mailbox;

  std::mutex mutex;
  std::condition_variable changed;
  bool stop = false;
  bool ended = false;
};

// Loads, starts, waits, stops, unloads. Returns what went wrong, "" where nothing did.
std::string RunPlugin(Shared& shared) {
  const PluginHostData host(shared.strings, shared.zmq_context);
  auto module = PluginModule::Load(shared.spec.name, shared.spec.path, shared.copy_dir);
  if (!module) return module.error().detail;
  if (auto started = (*module)->Start(host.get()); !started) return started.error().detail;
  shared.mailbox->Post([started = shared.events.started, version = (*module)->version()] { started(version); });
  {
    std::unique_lock lock(shared.mutex);
    shared.changed.wait(lock, [&] { return shared.stop; });
  }
  const auto stopped = (*module)->Stop();
  if (!(*module)->Unload()) {
    return "plugin " + shared.spec.name + " has stopped, but its shared object does not leave memory";
  }
  return stopped ? "" : stopped.error().detail;
}

void ThreadMain(const std::shared_ptr<Shared>& shared) {
  pthread_setname_np(pthread_self(), ("host-" + shared->spec.name).substr(0, 15).c_str());
  std::string error;
  try {
    error = RunPlugin(*shared);
  } catch (const std::exception& thrown) {
    error = "plugin " + shared->spec.name + ": " + thrown.what();
  }
  const std::lock_guard lock(shared->mutex);
  shared->ended = true;
  shared->mailbox->Post([ended = shared->events.ended, error] { ended(error); });
}

class ThreadRun : public PluginRun {
 public:
  explicit ThreadRun(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {
    const SignalsBlocked blocked;
    thread_ = std::thread([shared = shared_] { ThreadMain(shared); });
  }
  ~ThreadRun() override {
    ThreadRun::Stop();
    bool ended = false;
    {
      const std::lock_guard lock(shared_->mutex);
      ended = shared_->ended;
    }
    if (ended) {
      thread_.join();
    } else {
      thread_.detach();
    }
  }
  ThreadRun(const ThreadRun&) = delete;
  ThreadRun& operator=(const ThreadRun&) = delete;

  void Stop() override {
    const std::lock_guard lock(shared_->mutex);
    shared_->stop = true;
    shared_->changed.notify_all();
  }
  bool Kill() override { return false; }

 private:
  std::shared_ptr<Shared> shared_;
  std::thread thread_;
};

}  // namespace

std::unique_ptr<PluginRun> RunInThread(const PluginSpec& spec, const std::string& token, RunEvents events,
                                       const LaunchPlace& place, std::shared_ptr<Mailbox> mailbox) {
  auto shared = std::make_shared<Shared>();
  shared->spec = spec;
  shared->copy_dir = place.copy_dir;
  shared->strings = {.name = spec.name,
                     .options = nlohmann::json(spec.options).dump(),
                     .endpoint = place.thread_endpoint,
                     .token = token,
                     .run_dir = place.run_dir,
                     .object_dir = place.object_dir};
  shared->zmq_context = place.zmq_context;
  shared->events = std::move(events);
  shared->mailbox = std::move(mailbox);
  return std::make_unique<ThreadRun>(std::move(shared));
}

}  // namespace sluice::core
