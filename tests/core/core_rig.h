// SPDX-License-Identifier: Apache-2.0
// The core without sockets, processes or time of its own, and plugins that are made of messages.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core.h"

namespace sluice::core::test {

// Launches nothing, and remembers what for.
class FakeLauncher : public Launcher {
 public:
  struct Launched {
    PluginSpec spec;
    std::string token;
    RunEvents events;
    bool stopped = false;
    bool killed = false;
    bool gone = false;  // the core let go of it
  };
  Result<std::unique_ptr<PluginRun>> Launch(const PluginSpec& spec, const std::string& token,
                                            RunEvents events) override;
  Result<std::unique_ptr<PluginRun>> Adopt(const Orphan& orphan, RunEvents events) override;
  Launched& last() { return *launched.back(); }
  std::vector<std::shared_ptr<Launched>> launched;
};

class CoreRig {
 public:
  explicit CoreRig(CoreSettings settings = Settings());
  static CoreSettings Settings();

  // Whole life of a plugin until it runs. Its identity on the bus is its name.
  void LoadPlugin(const std::string& name, bool process = false, const v1::Capabilities& capabilities = {});
  // Only what a request does.
  void RequestLoad(const std::string& name, bool process = false);
  void SayHello(const std::string& name, const std::string& token, const v1::Capabilities& capabilities = {});
  void AddPort(const std::string& name, const std::string& plugin);

  // Batches for that plugin that were not looked at, acknowledged on the way where `ack`.
  std::vector<v1::ToPlugin> Batches(const std::string& plugin, bool ack = true);
  std::vector<v1::Change> Changes(const std::string& plugin);
  void Say(const std::string& plugin, const v1::FromPlugin& message);
  void Judge(const std::string& plugin, const v1::Change& change, v1::OffloadState state,
             const std::string& reason = "");
  void ConfirmDelete(const std::string& plugin, const v1::Change& change);
  void Count(const std::string& plugin, const v1::Change& put, uint64_t packets);

  v1::Reply Ask(const v1::Request& request);   // must be answered at once
  void AskLater(const v1::Request& request);   // the answer goes to late_replies
  v1::Plugin Plugin(const std::string& name);  // as listed; empty: it is not
  v1::Reply AskJson(const std::string& json);
  v1::Reply Put(const std::string& match, const std::string& actions = "", const std::string& ufid = "");
  v1::Flow Get(const std::string& ufid);
  void Pass(uint64_t ms);  // time
  std::vector<v1::Event> Events();
  std::vector<std::string> Topics();  // of Events()

  uint64_t now_ns = 1'000'000'000'000;
  FakeLauncher launcher;
  std::deque<v1::Event> events;
  std::map<std::string, std::deque<v1::ToPlugin>> to_plugins;
  std::vector<v1::Reply> late_replies;
  bool plugins_reachable = true;
  std::unique_ptr<Core> core;
};

}  // namespace sluice::core::test
