// SPDX-License-Identifier: Apache-2.0
// One run of a plugin's code, in a thread or in a process of its own. The bus is not its business.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "sluice/error.h"

namespace sluice::core {

struct PluginSpec {
  std::string name;
  std::string path;
  bool process = false;
  std::map<std::string, std::string> options;
  bool keep_orphaned = false;  // its process outlives this one, and leaves what is in the device forwarding

  bool operator==(const PluginSpec&) const = default;
};

// A process that outlived the daemon which started it, and still runs its plugin.
struct Orphan {
  PluginSpec spec;
  std::string token;  // what the plugin says in its hello
  std::string version;
  pid_t pid = 0;
};

// Both are called on the loop's thread, never from within a call of PluginRun or Launcher.
struct RunEvents {
  // start() has returned and said yes.
  std::function<void(const std::string& version)> started;
  // The last word: nothing of it is left. `error` is empty after Stop(), else says what went wrong.
  std::function<void(const std::string& error)> ended;
};

class PluginRun {
 public:
  PluginRun() = default;
  virtual ~PluginRun() = default;
  PluginRun(const PluginRun&) = delete;
  PluginRun& operator=(const PluginRun&) = delete;

  // Asks it to stop and unload; `ended` follows.
  virtual void Stop() = 0;
  // It had its time. False: it cannot be ended by force.
  virtual bool Kill() = 0;
  [[nodiscard]] virtual uint32_t pid() const { return 0; }
};

class Launcher {
 public:
  Launcher() = default;
  virtual ~Launcher() = default;
  Launcher(const Launcher&) = delete;
  Launcher& operator=(const Launcher&) = delete;

  // `token` is what the plugin will say in its hello.
  virtual Result<std::unique_ptr<PluginRun>> Launch(const PluginSpec& spec, const std::string& token,
                                                    RunEvents events) = 0;
  // The orphan is this daemon's from now on. Its `started` is not told.
  virtual Result<std::unique_ptr<PluginRun>> Adopt(const Orphan& orphan, RunEvents events) = 0;
};

}  // namespace sluice::core
