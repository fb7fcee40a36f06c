// SPDX-License-Identifier: Apache-2.0
#include "kept_state.h"

#include <bpf/bpf.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>

#include "system.h"

namespace sluice::xdp {
namespace {

constexpr const char* kBpffs = "/sys/fs/bpf";
constexpr const char* kPins = "/sys/fs/bpf/sluice";
constexpr const char* kPassPin = "passes_";  // and the map's id

bool IsBpffs() {
  struct statfs status {};
  return statfs(kBpffs, &status) == 0 && status.f_type == static_cast<decltype(status.f_type)>(BPF_FS_MAGIC);
}

// FNV-1a: a name for the directory that is the same at every start.
std::string Hash(const std::string& text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  char hex[17];
  std::snprintf(hex, sizeof(hex), "%016llx", static_cast<unsigned long long>(hash));
  return hex;
}

std::string RealPath(const std::string& path) {
  const std::unique_ptr<char, decltype(&free)> real(realpath(path.c_str(), nullptr), free);
  return real == nullptr ? path : real.get();
}

}  // namespace

Result<void> EnsureBpffs() {
  if (IsBpffs()) return {};
  if (mount("bpf", kBpffs, "bpf", 0, "mode=0700") != 0) {
    return SystemErrorNeeding("there is no bpffs at " + std::string(kBpffs) + " and mounting one failed", errno,
                              {kCapSysAdmin});
  }
  return {};
}

KeptState::KeptState(const std::string& run_dir, const std::string& name)
    : file_(run_dir + "/" + name + "-ports.json"),
      counts_(run_dir + "/" + name + "-counts-"),
      pin_directory_(std::string(kPins) + "/" + Hash(RealPath(run_dir) + "/" + name)) {
  Read();
}

const KeptState::Entry* KeptState::Find(const std::string& port, int ifindex) const {
  const auto found = entries_.find(port);
  return found == entries_.end() || found->second.ifindex != ifindex ? nullptr : &found->second;
}

void KeptState::Set(const std::string& port, Entry entry) {
  entries_[port] = std::move(entry);
  Write();
}

void KeptState::Erase(const std::string& port) {
  if (entries_.erase(port) != 0) Write();
}

Result<void> KeptState::Withdraw(const std::string& port) {
  const auto found = entries_.find(port);
  if (found == entries_.end()) return {};
  const Entry entry = std::move(found->second);
  if (entry.pinned) RemovePin(entry.ifindex);
  Erase(port);
  const auto device = QueryDevice(port);
  return device && device->ifindex == entry.ifindex ? UndoChanges(port, entry.changes) : Result<void>{};
}

std::string KeptState::PinPath(int ifindex) const { return pin_directory_ + "/link_" + std::to_string(ifindex); }

std::string KeptState::CountsPath(int ifindex) const { return counts_ + std::to_string(ifindex); }

Result<void> KeptState::MakePinDirectory() const {
  auto bpffs = EnsureBpffs();
  if (!bpffs) return bpffs;
  for (const std::string& directory : {std::string(kPins), pin_directory_}) {
    if (mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) return SystemError("making " + directory, errno);
  }
  return {};
}

void KeptState::RemovePin(int ifindex) const {
  unlink(PinPath(ifindex).c_str());
  unlink(TailCallsPath(ifindex).c_str());
  unlink(CountsPath(ifindex).c_str());
  if (rmdir(pin_directory_.c_str()) == 0) rmdir(kPins);  // fail while others have pins there
}

Result<void> KeptState::PinPasses(std::span<const int> program_arrays, int stats) const {
  auto made = MakePinDirectory();
  if (!made) return made;
  unlink(PassStatsPath().c_str());
  const auto pin = [&](int map, const std::string& path) -> Result<void> {
    if (bpf_obj_pin(map, path.c_str()) == 0) return {};
    Error error = SystemError("pinning " + path, errno);
    RemovePasses();
    return error;
  };
  for (const int map : program_arrays) {
    bpf_map_info info{};
    uint32_t size = sizeof(info);
    if (bpf_obj_get_info_by_fd(map, &info, &size) != 0) return SystemError("asking for a program array's id", errno);
    if (auto pinned = pin(map, pin_directory_ + "/" + kPassPin + std::to_string(info.id)); !pinned) return pinned;
  }
  return pin(stats, PassStatsPath());
}

void KeptState::RemovePasses() const {
  std::error_code failed;
  for (const auto& entry : std::filesystem::directory_iterator(pin_directory_, failed)) {
    if (entry.path().filename().string().starts_with(kPassPin)) unlink(entry.path().c_str());
  }
  unlink(PassStatsPath().c_str());
  unlink(PassCountsPath().c_str());
  if (rmdir(pin_directory_.c_str()) == 0) rmdir(kPins);  // fail while others have pins there
}

bool KeptState::HasPins() const {
  return std::any_of(entries_.begin(), entries_.end(), [](const auto& entry) { return entry.second.pinned; });
}

// A file that cannot be read is as good as none: it is ours alone, and what it is for is to be thorough.
void KeptState::Read() {
  const auto json = nlohmann::json::parse(std::ifstream(file_), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return;
  try {
    for (const auto& [port, from] : json.items()) {
      Entry entry;
      entry.ifindex = from.at("ifindex");
      entry.pinned = from.at("pinned");
      for (const auto& change : from.at("changes")) {
        entry.changes.push_back({change.at("peer"), change.at("feature"), change.at("on")});
      }
      entries_[port] = std::move(entry);
    }
  } catch (const nlohmann::json::exception&) {
    entries_.clear();
  }
}

void KeptState::Write() const {
  if (entries_.empty()) {
    unlink(file_.c_str());
    return;
  }
  nlohmann::json json = nlohmann::json::object();
  for (const auto& [port, entry] : entries_) {
    auto changes = nlohmann::json::array();
    for (const auto& change : entry.changes) {
      changes.push_back({{"peer", change.peer}, {"feature", change.feature}, {"on", change.on}});
    }
    json[port] = {{"ifindex", entry.ifindex}, {"pinned", entry.pinned}, {"changes", changes}};
  }
  const std::string fresh = file_ + ".new";
  std::ofstream(fresh) << json.dump(2) << "\n";
  std::rename(fresh.c_str(), file_.c_str());
}

}  // namespace sluice::xdp
