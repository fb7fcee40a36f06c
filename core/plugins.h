// SPDX-License-Identifier: Apache-2.0
// The plugins: their life from load to unload, and what each says on the bus.
//
// A plugin runs when its start() has returned and it has said hello. What it said of flows and ports is void when it is
// gone; the table stays. The loop's thread only.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "counters.h"
#include "event_stream.h"
#include "feed.h"
#include "plugin_run.h"
#include "port_service.h"
#include "timers.h"

namespace sluice::core {

struct PluginTimes {
  uint64_t start_ms = 10'000;   // until it has said hello
  uint64_t stop_ms = 5'000;     // until it has said bye; then the same again until its code has ended
  uint64_t silence_ms = 3'000;  // without a word: failed
  uint64_t ports_ms = 5'000;    // until its ports are reported; flows wait for that
  uint64_t restart_ms = 500;    // before the first restart; doubles
  uint32_t restarts = 5;        // without a minute's run between
};

class Plugins {
 public:
  using Done = std::function<void(Result<void>)>;
  using Send = std::function<bool(const std::string& identity, const v1::ToPlugin& message)>;

  struct Parts {
    Journal& journal;
    FlowTable& table;
    Ports& ports;
    PortService& port_service;
    EventStream& events;
    Counters& counters;
    Timers& timers;
    Launcher& launcher;
    Send send;
    std::string epoch;
  };

  Plugins(Parts parts, PluginTimes times, FeedLimits feed_limits);
  ~Plugins();
  Plugins(const Plugins&) = delete;
  Plugins& operator=(const Plugins&) = delete;

  // `done` is called once, maybe at once. Errors: "already_loaded", "start_failed", "too_many_plugins", "timeout".
  // `stays`: a plugin that does not start remains on the list as failed.
  void Load(PluginSpec spec, bool stays, Done done);
  // Errors: "no_such_plugin", "busy", "stop_failed".
  void Unload(const std::string& name, bool keep, Done done);
  void Reload(const std::string& name, Done done);
  // Stops all; `done` when none is left.
  void StopAll(std::function<void()> done);

  void OnMessage(const std::string& identity, v1::FromPlugin& message);
  // Sends what there is to send.
  void Pump();
  // Errors: "no_such_plugin", "busy" (its queue is full).
  Result<void> PacketOut(const std::string& plugin, v1::PacketOut packet, uint64_t seq);

  // By index, empty where none runs.
  [[nodiscard]] const std::vector<std::string>& names() const { return names_; }
  [[nodiscard]] bool Has(const std::string& name) const;
  [[nodiscard]] bool Holding(const std::string& name) const;
  [[nodiscard]] bool empty() const { return slots_.empty(); }
  // Threads that would not end: they may still use what they were given.
  [[nodiscard]] bool LostThreads() const { return !lost_.empty(); }
  void Show(google::protobuf::RepeatedPtrField<v1::Plugin>& out) const;

 private:
  enum class State : uint8_t { starting, running, stopping, failed };
  struct Slot {
    PluginSpec spec;
    uint8_t index = 0;
    State state = State::starting;
    std::string detail;
    std::string version;
    std::string token;
    v1::Capabilities capabilities;
    std::unique_ptr<PluginRun> run;
    bool started = false;
    std::string identity;  // on the bus; empty: no hello yet
    uint64_t heard_ns = 0;
    uint64_t running_since_ns = 0;
    bool silent = false;
    bool stays = false;
    uint32_t restarts = 0;
    Timers::Id timer;
    Timers::Id ports_timer;
    Done done;  // who waits for the load or the unload
    std::unique_ptr<Feed> feed;
  };

  Slot* Find(const std::string& name);
  void Launch(Slot& slot);
  void OnStarted(const std::string& token, const std::string& version);
  void OnEnded(const std::string& token, const std::string& error);
  void OnHello(Slot& slot, const std::string& identity, v1::FromPlugin& message);
  void OnBye(Slot& slot, const std::string& error);
  void Stranger(const std::string& identity, const v1::FromPlugin& message);
  void Take(Slot& slot, v1::FromPlugin& message);
  void TakeAck(Slot& slot, uint64_t batch);
  void RunWhenReady(Slot& slot);
  void StartFeed(Slot& slot, bool resync);
  void StartTimeout(const std::string& token);
  void EndCode(Slot& slot);
  void EndTimeout(const std::string& token);
  void Fail(Slot& slot, const std::string& why);
  void Gone(Slot& slot);
  void Erase(Slot& slot);
  void StartFailed(Slot& slot, const Error& error);
  void RestartLater(Slot& slot);
  void CheckSilence();
  void Answer(Slot& slot, Result<void> result);
  void Tell(Topic topic, const Slot& slot);
  void ShowOne(const Slot& slot, v1::Plugin& out) const;
  Slot* ByToken(const std::string& token);

  Parts parts_;
  PluginTimes times_;
  FeedLimits feed_limits_;
  std::map<std::string, std::unique_ptr<Slot>> slots_;
  std::map<std::string, std::string> identities_;  // to names
  std::vector<std::string> names_;
  std::array<bool, kMaxPlugins> taken_{};
  std::vector<std::unique_ptr<PluginRun>> lost_;  // code that would not end
  bool stopping_ = false;
  std::function<void()> all_stopped_;
  uint64_t tokens_ = 0;
  uint64_t last_check_ns_;
  v1::ToPlugin batch_;
};

}  // namespace sluice::core
