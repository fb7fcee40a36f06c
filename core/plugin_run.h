// SPDX-License-Identifier: Apache-2.0
// One run of a plugin's code, in a thread or in a process of its own. The bus is not its business.
#pragma once

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
};

}  // namespace sluice::core
