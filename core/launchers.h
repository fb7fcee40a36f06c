// SPDX-License-Identifier: Apache-2.0
// Where plugins run: a thread of this process, or sluice-plugin-host beside it.
#pragma once

#include <memory>
#include <string>

#include "plugin_run.h"
#include "reactor.h"

namespace sluice::core {

struct LaunchPlace {
  std::string run_dir;
  std::string copy_dir;
  std::string object_dir;
  std::string endpoint;         // for processes
  std::string thread_endpoint;  // for threads, on zmq_context
  void* zmq_context = nullptr;
  std::string host_program;  // sluice-plugin-host
  std::string log_level;
  uint32_t orphan_ms = 0;  // how long an orphan waits for another daemon; 0: for ever
};

std::unique_ptr<PluginRun> RunInThread(const PluginSpec& spec, const std::string& token, RunEvents events,
                                       const LaunchPlace& place, std::shared_ptr<Mailbox> mailbox);

// Errors: "start_failed".
Result<std::unique_ptr<PluginRun>> RunInProcess(const PluginSpec& spec, const std::string& token, RunEvents events,
                                                const LaunchPlace& place, Watches& watches);

// Errors: "start_failed".
Result<std::unique_ptr<PluginRun>> AdoptProcess(const Orphan& orphan, RunEvents events, const LaunchPlace& place,
                                                Watches& watches);

class PlaceLauncher : public Launcher {
 public:
  PlaceLauncher(LaunchPlace place, std::shared_ptr<Mailbox> mailbox, Watches& watches)
      : place_(std::move(place)), mailbox_(std::move(mailbox)), watches_(watches) {}

  Result<std::unique_ptr<PluginRun>> Launch(const PluginSpec& spec, const std::string& token,
                                            RunEvents events) override {
    if (spec.process) return RunInProcess(spec, token, std::move(events), place_, watches_);
    return RunInThread(spec, token, std::move(events), place_, mailbox_);
  }
  Result<std::unique_ptr<PluginRun>> Adopt(const Orphan& orphan, RunEvents events) override {
    return AdoptProcess(orphan, std::move(events), place_, watches_);
  }

 private:
  LaunchPlace place_;
  std::shared_ptr<Mailbox> mailbox_;
  Watches& watches_;
};

// How sluiced tells sluice-plugin-host what to run: a JSON object in the environment, not to be seen by others in `ps`.
inline constexpr const char* kHostEnvironment = "SLUICE_PLUGIN_HOST";
// Where the host reports, a line each: "started VERSION", "error SENTENCE".
inline constexpr int kHostStatusFd = 3;

}  // namespace sluice::core
