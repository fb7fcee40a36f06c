// SPDX-License-Identifier: Apache-2.0
#include "run_dir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>

namespace sluice::core {
namespace {

constexpr mode_t kDirMode = 0750;

Error Failed(const std::string& what) { return Error{"run_dir", what + ": " + std::strerror(errno), 0, 0}; }

std::string HolderOf(int lock) {
  std::array<char, 32> text{};
  const ssize_t got = pread(lock, text.data(), text.size() - 1, 0);
  const long pid = got > 0 ? std::strtol(text.data(), nullptr, 10) : 0;
  return pid > 0 ? " (pid " + std::to_string(pid) + ")" : "";
}

}  // namespace

Result<RunDir> RunDir::Take(const std::string& given) {
  std::error_code failed;
  const std::string path = std::filesystem::absolute(given, failed).lexically_normal();
  if (mkdir(path.c_str(), kDirMode) != 0 && errno != EEXIST) {
    return Failed("the run directory " + path + " cannot be made");
  }
  const std::string lock_path = path + "/sluiced.lock";
  UniqueFd lock(open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0640));
  if (!lock) return Failed("the run directory " + path + " cannot be used: " + lock_path);
  if (flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return Failed(lock_path + " cannot be locked");
    return Error{"running", "another sluiced" + HolderOf(lock.get()) + " is running in " + path, 0, 0};
  }
  const std::string pid = std::to_string(getpid()) + "\n";
  if (ftruncate(lock.get(), 0) != 0 || pwrite(lock.get(), pid.data(), pid.size(), 0) < 0) {
    return Failed(lock_path + " cannot be written");
  }
  RunDir dir(path, std::move(lock));
  // What a daemon that was killed left behind.
  std::filesystem::remove_all(dir.ModuleDir(), failed);
  if (mkdir(dir.ModuleDir().c_str(), kDirMode) != 0) return Failed(dir.ModuleDir() + " cannot be made");
  return dir;
}

RunDir::~RunDir() {
  std::error_code ignored;
  if (lock_) std::filesystem::remove_all(ModuleDir(), ignored);
}

}  // namespace sluice::core
