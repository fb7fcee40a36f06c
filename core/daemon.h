// SPDX-License-Identifier: Apache-2.0
// The loop: takes turns at the sockets, a bounded number of messages each, and lets the core speak at the end of a
// turn.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bus.h"
#include "config.h"
#include "core.h"
#include "launchers.h"
#include "reactor.h"
#include "run_dir.h"
#include "sluice/unique_fd.h"

namespace sluice::core {

class Daemon {
 public:
  // Takes the run directory, binds the sockets, loads what the configuration names. TERM and INT must be blocked in all
  // threads. Errors: those of RunDir::Take and Bus::Open.
  static Result<std::unique_ptr<Daemon>> Start(const Config& config);
  ~Daemon() = default;
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  // Until TERM or INT; plugins are told to stop, for a bounded time.
  void Run();
  // Plugin threads that did not end hold what this object owns: it must not be destroyed, but the process ended.
  [[nodiscard]] bool LostThreads() const { return core_->plugins().LostThreads(); }

 private:
  Daemon(const Config& config, RunDir run_dir, std::unique_ptr<Bus> bus, UniqueFd signals);

  void TakeOver(const Orphan& orphan, const std::vector<std::pair<std::string, Result<PluginSpec>>>& wanted,
                uint32_t stop_ms);
  void Turn();
  void Wait(std::vector<zmq::pollitem_t>& items);
  void TakeSignals();
  void TakeSubscriptions();
  void TakePlugins();
  void TakeControl();
  void TakeIngress();
  void CountConnections();
  void CallWatches(const std::vector<zmq::pollitem_t>& items);
  void Answer(const std::vector<std::string>& envelope, bool json, const v1::Reply& reply);

  RunDir run_dir_;
  std::unique_ptr<Bus> bus_;
  UniqueFd signals_;
  std::shared_ptr<Mailbox> mailbox_ = std::make_shared<Mailbox>();
  Watches watches_;
  std::unique_ptr<Launcher> launcher_;
  std::unique_ptr<Core> core_;
  uint64_t count_at_ns_ = 0;  // CLOCK_MONOTONIC, connections
  uint64_t warned_ns_ = 0;    // that some were refused
  uint64_t drain_ns_;
  uint64_t drain_until_ = 0;  // CLOCK_MONOTONIC; 0: not draining
  bool drained_ = false;
};

}  // namespace sluice::core
