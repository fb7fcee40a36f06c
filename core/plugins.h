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
#include <optional>
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
  uint64_t silence_ms = 800;    // without a word: shown as failed
  uint64_t hang_ms = 1'000;     // more, and its process is killed
  uint64_t ports_ms = 5'000;    // until its ports are reported; flows wait for that
  uint64_t restart_ms = 100;    // before the first restart; doubles
  uint32_t restarts = 8;        // without a minute's run between; then it is parked
  uint64_t resync_ms = 1'000;   // between two times that it is told everything anew
  uint64_t rejoin_ms = 10'000;  // that publishers have to put again what an adopted one is to keep
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
  // A process that another daemon had started. It keeps what it has until `rejoin_ms` have passed; then it withdraws
  // what has not been put again.
  Result<void> Adopt(const Orphan& orphan);
  // Errors: "no_such_plugin", "busy", "stop_failed".
  void Unload(const std::string& name, bool keep, Done done);
  // `done` when the new one has every flow again, or is not as far within `start_ms`. Errors: those of both.
  void Reload(const std::string& name, const Done& done);
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
  void ShowQueues(google::protobuf::RepeatedPtrField<v1::Queue>& out) const;

 private:
  enum class State : uint8_t { starting, running, stopping, failed, parked };
  // From its end to its return.
  struct Away {
    v1::Absence absence;
    uint64_t since_ns = 0;
  };
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
    uint64_t busy_until_ns = 0;  // until then, silence is no failure
    uint64_t running_since_ns = 0;
    uint64_t resynced_ns = 0;
    bool silent = false;
    bool stays = false;
    bool reloading = false;  // the next one of its name is to take its place
    bool kept = false;       // what it leaves in devices stays, and what it brings for others with it
    bool adopted = false;
    uint32_t restarts = 0;  // since it last ran for a minute
    uint32_t all_restarts = 0;
    std::shared_ptr<Away> away;  // null: it is here
    std::optional<v1::Absence> absence;
    Timers::Id timer;
    Timers::Id ports_timer;
    Timers::Id resync_timer;
    Timers::Id rejoin_timer;
    Done done;  // who waits for the load or the unload
    std::unique_ptr<Feed> feed;
  };

  Slot* Find(const std::string& name);
  Result<Slot*> MakeSlot(PluginSpec spec);
  void Launch(Slot& slot);
  void Watch(Slot& slot, uint64_t start_ms);
  [[nodiscard]] RunEvents EventsOf(const std::string& token);
  void OnStarted(const std::string& token, const std::string& version);
  void OnEnded(const std::string& token, const std::string& error);
  void OnHello(Slot& slot, const std::string& identity, v1::FromPlugin& message);
  void OnBye(Slot& slot, const std::string& error);
  void Stranger(const std::string& identity, const v1::FromPlugin& message);
  void Take(Slot& slot, v1::FromPlugin& message);
  void TakeAck(Slot& slot, uint64_t batch);
  void RunWhenReady(Slot& slot);
  void StartFeed(Slot& slot, bool resync, bool wait = false);
  void OnFeedStarted(Slot& slot);
  void Resync(Slot& slot, const std::string& why);
  void Repeat(Slot& slot);
  void AtItsInterval(Slot& slot, std::function<void(Slot& again)> resync);
  void Announce(const Slot& slot);
  void Withdraw(const std::string& name);
  void TellOthers(const v1::Extension& extension);
  void OnCaughtUp(Slot& slot);
  void StartTimeout(const std::string& token);
  void EndCode(Slot& slot);
  void EndTimeout(const std::string& token);
  void Fail(Slot& slot, const std::string& why);
  void Gone(Slot& slot);
  void Erase(Slot& slot);
  void StartFailed(Slot& slot, const Error& error);
  void RestartLater(Slot& slot);
  void Park(Slot& slot);
  void CheckSilence();
  void CheckSilence(Slot& slot, uint64_t now);
  void Answer(Slot& slot, Result<void> result);
  void Tell(Topic topic, const Slot& slot);
  void ShowOne(const Slot& slot, v1::Plugin& out) const;
  Slot* ByToken(const std::string& token);

  Parts parts_;
  PluginTimes times_;
  FeedLimits feed_limits_;
  std::map<std::string, std::unique_ptr<Slot>> slots_;
  std::map<std::string, std::string> identities_;  // to names
  // What plugins bring for others, by their names: from when they run until they are gone for good.
  std::map<std::string, v1::Extension> extensions_;
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
