// SPDX-License-Identifier: Apache-2.0
// A plugin's shared object: loaded from a private copy, so that the same path loads the file that is there now;
// checked; started, stopped and unloaded. Of one thread at a time.
#pragma once

#include <boost/dll/shared_library.hpp>
#include <memory>
#include <string>

#include "sluice/error.h"
#include "sluice/plugin.h"
#include "sluice/unique_fd.h"

namespace sluice::core {

class PluginModule {
 public:
  // `copy_dir` must exist. Errors: "no_such_plugin" (no file), "bad_plugin" (the file is none).
  static Result<std::unique_ptr<PluginModule>> Load(const std::string& name, const std::string& path,
                                                    const std::string& copy_dir);
  // Unloads; stop it before.
  ~PluginModule();
  PluginModule(const PluginModule&) = delete;
  PluginModule& operator=(const PluginModule&) = delete;

  [[nodiscard]] std::string version() const;
  // `host` must live until Stop() has returned. Errors: "start_failed".
  Result<void> Start(const sluice_plugin_host& host);
  Result<void> Stop();
  // False: something keeps the object in memory.
  bool Unload();

 private:
  explicit PluginModule(std::string name) : name_(std::move(name)) {}
  Result<void> Copy(const std::string& path, const std::string& copy_dir);
  Result<void> Open(const std::string& path);
  Result<void> Check();

  std::string name_;
  std::string copy_;  // the path that it was opened by
  UniqueFd memory_;   // holds the copy where the directory's mount forbids execution
  boost::dll::shared_library library_;
  const sluice_plugin_descriptor* descriptor_ = nullptr;
  void* instance_ = nullptr;
  bool started_ = false;
};

// What a plugin's start() is given, with the strings that it points to. Not movable: the struct points into it.
class PluginHostData {
 public:
  struct Strings {
    std::string name;
    std::string options;  // JSON
    std::string endpoint;
    std::string token;
    std::string run_dir;
    std::string object_dir;
  };
  PluginHostData(Strings strings, void* zmq_context);
  PluginHostData(const PluginHostData&) = delete;
  PluginHostData& operator=(const PluginHostData&) = delete;
  [[nodiscard]] const sluice_plugin_host& get() const { return host_; }

 private:
  Strings strings_;
  sluice_plugin_host host_{};
};

}  // namespace sluice::core
