// SPDX-License-Identifier: Apache-2.0
#include "orphans.h"

#include <fcntl.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <system_error>

#include "pidfd.h"

namespace sluice::core {
namespace fs = std::filesystem;
namespace {

constexpr int kForceMs = 2'000;

std::string DirOf(const std::string& run_dir) { return run_dir + "/hosts"; }
std::string PathOf(const std::string& run_dir, const std::string& plugin) {
  return DirOf(run_dir) + "/" + plugin + ".json";
}

Error Failed(const std::string& what) { return Error{"run_dir", what + ": " + std::strerror(errno), 0, 0}; }

// Whoever wrote the file holds its lock.
bool WriterLives(const std::string& path) {
  const UniqueFd file(open(path.c_str(), O_RDWR | O_CLOEXEC));
  return file && flock(file.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

Orphan ReadOrphan(const std::string& path) {
  const auto json = nlohmann::json::parse(std::ifstream(path));
  Orphan orphan;
  orphan.spec.name = json.at("name");
  orphan.spec.path = json.at("path");
  orphan.spec.process = true;
  orphan.spec.options = json.at("options").get<std::map<std::string, std::string>>();
  orphan.spec.keep_orphaned = true;
  orphan.token = json.at("token");
  orphan.version = json.at("version");
  orphan.pid = json.at("pid");
  return orphan;
}

bool EndsWithin(const UniqueFd& pidfd, int ms) {
  pollfd ended{pidfd.get(), POLLIN, 0};
  return poll(&ended, 1, ms) > 0;
}

}  // namespace

Result<HostFile> HostFile::Write(const std::string& run_dir, const Orphan& self) {
  const std::string dir = DirOf(run_dir);
  if (mkdir(dir.c_str(), 0750) != 0 && errno != EEXIST) return Failed(dir + " cannot be made");
  const std::string path = PathOf(run_dir, self.spec.name);
  // Under another name until it is whole and locked.
  const std::string fresh = path + "." + std::to_string(self.pid);
  UniqueFd lock(open(fresh.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0640));
  if (!lock || flock(lock.get(), LOCK_EX | LOCK_NB) != 0) return Failed(fresh + " cannot be made and locked");
  const nlohmann::json json = {{"name", self.spec.name}, {"path", self.spec.path}, {"options", self.spec.options},
                               {"token", self.token},    {"pid", self.pid},        {"version", self.version}};
  const std::string text = json.dump(2) + "\n";
  const bool written = write(lock.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
  if (!written || rename(fresh.c_str(), path.c_str()) != 0) {
    const Error error = Failed(path + " cannot be written");
    unlink(fresh.c_str());
    return error;
  }
  return HostFile(path, std::move(lock));
}

HostFile::~HostFile() {
  if (!lock_) return;
  struct stat ours {};
  struct stat there {};
  // The next one of that name may have put its own in its place.
  const bool same = fstat(lock_.get(), &ours) == 0 && stat(path_.c_str(), &there) == 0 && ours.st_ino == there.st_ino;
  if (same) unlink(path_.c_str());
}

std::vector<Orphan> FindOrphans(const std::string& run_dir) {
  std::vector<Orphan> orphans;
  std::error_code failed;
  for (const auto& entry : fs::directory_iterator(DirOf(run_dir), failed)) {
    const std::string path = entry.path();
    if (!WriterLives(path)) {
      unlink(path.c_str());
      continue;
    }
    try {
      Orphan orphan = ReadOrphan(path);
      if (path != PathOf(run_dir, orphan.spec.name)) continue;  // not finished
      orphans.push_back(std::move(orphan));
    } catch (const nlohmann::json::exception& error) {
      spdlog::error("{} cannot be read: {}", path, error.what());
    }
  }
  return orphans;
}

Result<UniqueFd> OpenOrphan(const std::string& run_dir, const Orphan& orphan) {
  UniqueFd pidfd = OpenPidfd(orphan.pid);
  // It lived after the descriptor was had: that is of no other process.
  if (pidfd && WriterLives(PathOf(run_dir, orphan.spec.name))) return pidfd;
  const std::string why = pidfd ? "it has just ended" : std::strerror(errno);
  return Error{
      "start_failed",
      "plugin " + orphan.spec.name + ": its process " + std::to_string(orphan.pid) + " cannot be taken over: " + why, 0,
      0};
}

void EndOrphan(const std::string& run_dir, const Orphan& orphan, uint32_t stop_ms) {
  const auto pidfd = OpenOrphan(run_dir, orphan);
  if (!pidfd) return;
  syscall(SYS_pidfd_send_signal, pidfd->get(), SIGTERM, nullptr, 0);
  if (EndsWithin(*pidfd, static_cast<int>(stop_ms))) return;
  spdlog::warn("plugin {}: its process {} has not ended within {} ms and is killed", orphan.spec.name, orphan.pid,
               stop_ms);
  syscall(SYS_pidfd_send_signal, pidfd->get(), SIGKILL, nullptr, 0);
  EndsWithin(*pidfd, kForceMs);
}

}  // namespace sluice::core
