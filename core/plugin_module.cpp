// SPDX-License-Identifier: Apache-2.0
#include "plugin_module.h"

#include <dlfcn.h>
#include <link.h>
#include <spdlog/spdlog.h>
#include <sys/mman.h>
#include <sys/statvfs.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>

namespace sluice::core {
namespace {

std::atomic<uint64_t> copies = 0;

Error Bad(std::string detail) { return Error{"bad_plugin", std::move(detail), 0, 0}; }

bool MountForbidsExecution(const std::string& dir) {
  struct statvfs info {};
  return statvfs(dir.c_str(), &info) == 0 && (info.f_flag & ST_NOEXEC) != 0;
}

bool IsMapped(const std::string& path) {
  struct Search {
    const std::string& path;
    bool found;
  } search{path, false};
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* arg) {
        auto* wanted = static_cast<Search*>(arg);
        wanted->found = wanted->found || wanted->path == info->dlpi_name;
        return wanted->found ? 1 : 0;
      },
      &search);
  return search.found;
}

void LogLine(void* arg, int level, const char* line) {
  static constexpr std::array kLevels = {spdlog::level::debug, spdlog::level::info, spdlog::level::warn,
                                         spdlog::level::err};
  const auto known = level >= 0 && level < static_cast<int>(kLevels.size());
  try {
    spdlog::log(known ? kLevels[static_cast<size_t>(level)] : spdlog::level::info, "[{}] {}",
                static_cast<const char*>(arg), line != nullptr ? line : "");
  } catch (...) {  // NOLINT(bugprone-empty-catch): a line is lost, nothing crosses into the plugin
  }
}

}  // namespace

Result<std::unique_ptr<PluginModule>> PluginModule::Load(const std::string& name, const std::string& path,
                                                         const std::string& copy_dir) {
  std::unique_ptr<PluginModule> module(new PluginModule(name));
  if (auto copied = module->Copy(path, copy_dir); !copied) return copied.error();
  if (auto opened = module->Open(path); !opened) return opened.error();
  if (auto valid = module->Check(); !valid) return valid.error();
  return module;
}

PluginModule::~PluginModule() { Unload(); }

Result<void> PluginModule::Copy(const std::string& path, const std::string& copy_dir) {
  std::error_code failed;
  if (!std::filesystem::is_regular_file(path, failed)) {
    return Error{"no_such_plugin", "plugin " + name_ + ": there is no file " + path, 0, 0};
  }
  const std::string number = std::to_string(++copies);
  if (MountForbidsExecution(copy_dir)) {
    memory_.Reset(memfd_create((name_ + "-" + number).c_str(), MFD_CLOEXEC));
    copy_ = "/proc/self/fd/" + std::to_string(memory_.get());
    std::ifstream from(path, std::ios::binary);
    std::ofstream to(copy_, std::ios::binary);
    to << from.rdbuf();
    if (memory_ && from && to) return {};
    return Bad("plugin " + name_ + ": " + path + " cannot be copied into memory: " + std::strerror(errno));
  }
  copy_ = copy_dir + "/" + name_ + "-" + std::to_string(getpid()) + "-" + number + ".so";
  std::filesystem::copy_file(path, copy_, std::filesystem::copy_options::overwrite_existing, failed);
  if (failed) return Bad("plugin " + name_ + ": " + path + " cannot be copied to " + copy_ + ": " + failed.message());
  return {};
}

Result<void> PluginModule::Open(const std::string& path) {
  std::string why;
  try {
    std::error_code failed;
    dlerror();
    library_.load(copy_, failed, boost::dll::load_mode::rtld_now | boost::dll::load_mode::rtld_local);
    if (failed) {
      const char* said = dlerror();
      why = said != nullptr ? said : failed.message();
    }
  } catch (const std::exception& thrown) {
    why = std::string("its initialisation threw: ") + thrown.what();
  } catch (...) {
    why = "its initialisation threw";
  }
  // The mapping keeps the file; the name is of no more use.
  std::error_code ignored;
  if (!memory_) std::filesystem::remove(copy_, ignored);
  if (why.empty()) return {};
  if (const auto at = why.find(copy_); at != std::string::npos) why.replace(at, copy_.size(), path);
  return Bad("plugin " + name_ + ": " + path + " cannot be loaded: " + why);
}

Result<void> PluginModule::Check() {
  if (!library_.has(SLUICE_PLUGIN_SYMBOL)) {
    return Bad("plugin " + name_ + " is no Sluice plugin: it has no symbol " SLUICE_PLUGIN_SYMBOL);
  }
  const auto& found = library_.get<const sluice_plugin_descriptor>(SLUICE_PLUGIN_SYMBOL);
  if (found.magic != SLUICE_PLUGIN_MAGIC) {
    return Bad("plugin " + name_ + " is no Sluice plugin: its descriptor has a wrong magic number");
  }
  if (found.abi_version != SLUICE_PLUGIN_ABI) {
    return Bad("plugin " + name_ + " has ABI " + std::to_string(found.abi_version) + ", this daemon speaks " +
               std::to_string(SLUICE_PLUGIN_ABI));
  }
  if (found.struct_size < sizeof(sluice_plugin_descriptor)) {
    return Bad("plugin " + name_ + " has a descriptor of " + std::to_string(found.struct_size) + " bytes, ABI " +
               std::to_string(SLUICE_PLUGIN_ABI) + " has " + std::to_string(sizeof(sluice_plugin_descriptor)));
  }
  if (found.start == nullptr || found.stop == nullptr) return Bad("plugin " + name_ + " has no start() or no stop()");
  descriptor_ = &found;
  return {};
}

std::string PluginModule::version() const {
  return descriptor_ != nullptr && descriptor_->version != nullptr ? descriptor_->version : "";
}

Result<void> PluginModule::Start(const sluice_plugin_host& host) {
  std::array<char, 1024> said{};
  std::string why;
  try {
    const int result = descriptor_->start(&host, &instance_, said.data(), said.size() - 1);
    if (result == 0) {
      started_ = true;
      return {};
    }
    why = said.front() != '\0' ? said.data() : std::strerror(result < 0 ? -result : result);
  } catch (const std::exception& thrown) {
    why = std::string("its start() threw: ") + thrown.what();
  } catch (...) {
    why = "its start() threw";
  }
  return Error{"start_failed", "plugin " + name_ + " could not start: " + why, 0, 0};
}

Result<void> PluginModule::Stop() {
  if (!std::exchange(started_, false)) return {};
  try {
    descriptor_->stop(instance_);
    return {};
  } catch (...) {
    return Error{"stop_failed", "plugin " + name_ + ": its stop() threw", 0, 0};
  }
}

bool PluginModule::Unload() {
  descriptor_ = nullptr;
  if (!library_.is_loaded()) return true;
  library_.unload();
  const bool gone = !IsMapped(copy_);
  memory_.Reset();
  return gone;
}

PluginHostData::PluginHostData(Strings strings, void* zmq_context) : strings_(std::move(strings)) {
  host_.struct_size = sizeof(host_);
  host_.name = strings_.name.c_str();
  host_.options = strings_.options.c_str();
  host_.endpoint = strings_.endpoint.c_str();
  host_.token = strings_.token.c_str();
  host_.run_dir = strings_.run_dir.c_str();
  host_.object_dir = strings_.object_dir.c_str();
  host_.zmq_context = zmq_context;
  host_.log_arg = const_cast<char*>(strings_.name.c_str());
  host_.log = LogLine;
}

}  // namespace sluice::core
