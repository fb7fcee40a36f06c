// SPDX-License-Identifier: Apache-2.0
#include "plugin_paths.h"

#include <algorithm>
#include <array>
#include <boost/dll/library_info.hpp>
#include <cctype>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <system_error>

#include "sluice/plugin.h"

namespace sluice::core {
namespace fs = std::filesystem;
namespace {

constexpr size_t kMaxName = 32;

Result<void> CheckName(const std::string& name) {
  const bool good = !name.empty() && name.size() <= kMaxName && std::all_of(name.begin(), name.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-';
  });
  if (good) return {};
  return Error{"bad_plugin_name",
               "plugin name '" + name.substr(0, kMaxName) + "' has to have 1 to " + std::to_string(kMaxName) +
                   " letters, digits, _ or -",
               0, 0};
}

}  // namespace

Result<PluginPaths::Place> PluginPaths::Find(const std::string& name_or_path) const {
  std::error_code failed;
  if (name_or_path.find('/') != std::string::npos) {
    const std::string name = fs::path(name_or_path).stem();
    if (auto valid = CheckName(name); !valid) return valid.error();
    if (!fs::exists(name_or_path, failed)) {
      return Error{"no_such_plugin", "there is no file " + name_or_path, 0, 0};
    }
    return Place{name, fs::absolute(name_or_path, failed)};
  }
  if (auto valid = CheckName(name_or_path); !valid) return valid.error();
  std::string looked;
  for (const std::string& dir : dirs_) {
    const std::string path = fs::path(dir) / (name_or_path + ".so");
    if (fs::exists(path, failed)) return Place{name_or_path, path};
    looked.append(looked.empty() ? "" : ", ").append(path);
  }
  return Error{"no_such_plugin", "there is no plugin " + name_or_path + " (looked for " + looked + ")", 0, 0};
}

bool NeedsProcess(const std::string& path) {
  try {
    const auto sections = boost::dll::library_info(path).sections();
    return std::find(sections.begin(), sections.end(), SLUICE_PLUGIN_PROCESS_SECTION) != sections.end();
  } catch (const std::exception&) {  // not ELF, or cut short: loading it will say so
    return false;
  }
}

std::string ProgramDir() {
  std::error_code failed;
  return fs::read_symlink("/proc/self/exe", failed).parent_path();
}

std::vector<std::string> InstalledDirs(const std::string& configured, const char* variable, const std::string& leaf) {
  if (!configured.empty()) return {configured};
  const char* given = std::getenv(variable);
  if (given != nullptr && *given != '\0') return {given};
  std::vector<std::string> dirs;
  for (const char* relative : {SLUICE_RELATIVE_DIRS, SLUICE_RELATIVE_LIBDIR}) {
    const std::string dir = fs::path(ProgramDir() + "/" + relative + "/" + leaf).lexically_normal();
    if (std::find(dirs.begin(), dirs.end(), dir) == dirs.end()) dirs.push_back(dir);
  }
  return dirs;
}

std::string FirstExisting(const std::vector<std::string>& dirs) {
  std::error_code failed;
  for (const std::string& dir : dirs) {
    if (fs::is_directory(dir, failed)) return dir;
  }
  return dirs.front();
}

}  // namespace sluice::core
