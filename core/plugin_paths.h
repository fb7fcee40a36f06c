// SPDX-License-Identifier: Apache-2.0
// Where plugins and BPF objects are: relative to the program, so that a build tree and a prefix can be moved.
#pragma once

#include <string>
#include <vector>

#include "sluice/error.h"

namespace sluice::core {

class PluginPaths {
 public:
  struct Place {
    std::string name;
    std::string path;
  };

  explicit PluginPaths(std::vector<std::string> dirs) : dirs_(std::move(dirs)) {}

  // `name_or_path`: "xdp", or a path to a shared object, named for its file. Errors: "no_such_plugin",
  // "bad_plugin_name".
  [[nodiscard]] Result<Place> Find(const std::string& name_or_path) const;

 private:
  std::vector<std::string> dirs_;
};

// Whether the plugin's file says that it must not be loaded into the daemon (SLUICE_PLUGIN_NEEDS_PROCESS in plugin.h).
// Reads the file, loads nothing; a file that is no shared object says nothing.
bool NeedsProcess(const std::string& path);

// The directory of the running program.
std::string ProgramDir();
// Candidates, the first that the user gave alone: `configured`, the environment's `variable`, or those by the program.
std::vector<std::string> InstalledDirs(const std::string& configured, const char* variable, const std::string& leaf);
// The first that is there, else the first.
std::string FirstExisting(const std::vector<std::string>& dirs);

}  // namespace sluice::core
