// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <spawn.h>
#include <spdlog/spdlog.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <exception>
#include <nlohmann/json.hpp>
#include <vector>

#include "launchers.h"
#include "orphans.h"
#include "pidfd.h"

namespace sluice::core {
namespace {

constexpr size_t kMaxStatus = 65'536;

class ProcessRun : public PluginRun {
 public:
  // `status`: -1 where it is not this daemon's child.
  ProcessRun(PluginSpec spec, pid_t pid, UniqueFd pidfd, UniqueFd status, RunEvents events, Watches& watches)
      : spec_(std::move(spec)),
        pid_(pid),
        child_(status),
        pidfd_(std::move(pidfd)),
        status_(std::move(status)),
        events_(std::move(events)),
        watches_(watches) {
    if (status_) watches_.Add(status_.get(), [this] { OnStatus(); });
    watches_.Add(pidfd_.get(), [this] { OnExit(); });
  }
  ~ProcessRun() override {
    if (status_) watches_.Remove(status_.get());
    if (!pidfd_) return;
    watches_.Remove(pidfd_.get());
    // A daemon that ends by an exception is one that died: who outlives it is left alone.
    if (spec_.keep_orphaned && std::uncaught_exceptions() != 0) return;
    Signal(SIGKILL);
    if (child_) waitpid(pid_, nullptr, 0);
  }
  ProcessRun(const ProcessRun&) = delete;
  ProcessRun& operator=(const ProcessRun&) = delete;

  void Stop() override {
    stopping_ = true;
    Signal(SIGTERM);
  }
  bool Kill() override {
    Signal(SIGKILL);
    return true;
  }
  [[nodiscard]] uint32_t pid() const override { return static_cast<uint32_t>(pid_); }

 private:
  void Signal(int signal) {
    if (pidfd_) syscall(SYS_pidfd_send_signal, pidfd_.get(), signal, nullptr, 0);
  }

  void OnStatus() {
    std::array<char, 4096> bytes{};
    const ssize_t got = read(status_.get(), bytes.data(), bytes.size());
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0 || said_.size() > kMaxStatus) {
      watches_.Remove(status_.get());
      status_.Reset();
      return;
    }
    said_.append(bytes.data(), static_cast<size_t>(got));
    for (size_t end = said_.find('\n'); end != std::string::npos; end = said_.find('\n')) {
      const std::string line = said_.substr(0, end);
      said_.erase(0, end + 1);
      if (line.starts_with("started ")) {
        events_.started(line.substr(8));
      } else if (line.starts_with("error ")) {
        error_ = line.substr(6);
      }
    }
  }

  // How it ended, "" where nothing is to be said of that.
  [[nodiscard]] std::string Outcome(int status) const {
    if (WIFSIGNALED(status)) {
      return "its process was killed by signal " + std::to_string(WTERMSIG(status)) + " (" +
             strsignal(WTERMSIG(status)) + ")";
    }
    if (!error_.empty()) return error_;
    if (WEXITSTATUS(status) == 0 && stopping_) return "";
    return "its process exited with status " + std::to_string(WEXITSTATUS(status));
  }

  void OnExit() {
    int status = 0;
    if (child_ && waitpid(pid_, &status, WNOHANG) != pid_) return;
    while (status_) OnStatus();
    watches_.Remove(pidfd_.get());
    pidfd_.Reset();
    std::string error = child_       ? Outcome(status)
                        : !stopping_ ? "its process ended; how is not known, as another daemon had started it"
                                     : "";
    if (stopping_ && !error.empty()) {
      spdlog::warn("plugin {}: {}", spec_.name, error);
      error.clear();
    }
    const auto ended = events_.ended;
    ended(error);  // this object may be gone when it returns
  }

  PluginSpec spec_;
  pid_t pid_;
  bool child_;
  UniqueFd pidfd_;  // -1: it has ended
  UniqueFd status_;
  RunEvents events_;
  Watches& watches_;
  std::string said_;
  std::string error_;
  bool stopping_ = false;
};

std::vector<std::string> EnvironmentWith(const std::string& description) {
  std::vector<std::string> environment;
  for (char** variable = environ; *variable != nullptr; ++variable) environment.emplace_back(*variable);
  environment.push_back(std::string(kHostEnvironment) + "=" + description);
  return environment;
}

// posix_spawn's attributes and file actions, released with it.
class SpawnSettings {
 public:
  explicit SpawnSettings(int status_fd) {
    posix_spawn_file_actions_init(&actions_);
    posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions_, status_fd, kHostStatusFd);
    // What plugins that run in this process have opened without thinking of children: it would be held by the child.
    posix_spawn_file_actions_addclosefrom_np(&actions_, kHostStatusFd + 1);
    posix_spawnattr_init(&attributes_);
    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setsigdefault(&attributes_, &all);
    posix_spawnattr_setpgroup(&attributes_, 0);  // a terminal's ^C is for the daemon, which stops its plugins in order
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  }
  ~SpawnSettings() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  SpawnSettings(const SpawnSettings&) = delete;
  SpawnSettings& operator=(const SpawnSettings&) = delete;

  int Spawn(pid_t& pid, const std::string& program, const std::vector<std::string>& environment) {
    std::vector<char*> variables;
    variables.reserve(environment.size() + 1);
    for (const std::string& variable : environment) variables.push_back(const_cast<char*>(variable.c_str()));
    variables.push_back(nullptr);
    std::array<char*, 2> arguments = {const_cast<char*>(program.c_str()), nullptr};
    return posix_spawn(&pid, program.c_str(), &actions_, &attributes_, arguments.data(), variables.data());
  }

 private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
};

}  // namespace

Result<std::unique_ptr<PluginRun>> RunInProcess(const PluginSpec& spec, const std::string& token, RunEvents events,
                                                const LaunchPlace& place, Watches& watches) {
  const auto failed = [&](const std::string& what, int error_number) {
    return Error{"start_failed", "plugin " + spec.name + ": " + what + ": " + std::strerror(error_number), 0, 0};
  };
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) return failed("no pipe", errno);
  UniqueFd ours(ends[0]);
  // Away from the number that it gets in the child: dup2 onto itself would leave it close-on-exec.
  UniqueFd theirs(fcntl(ends[1], F_DUPFD_CLOEXEC, kHostStatusFd + 1));
  close(ends[1]);
  const nlohmann::json description = {{"name", spec.name},
                                      {"path", spec.path},
                                      {"options", spec.options},
                                      {"endpoint", place.endpoint},
                                      {"token", token},
                                      {"run_dir", place.run_dir},
                                      {"copy_dir", place.copy_dir},
                                      {"object_dir", place.object_dir},
                                      {"log_level", place.log_level},
                                      {"keep_orphaned", spec.keep_orphaned},
                                      {"orphan_ms", place.orphan_ms},
                                      {"parent", getpid()}};
  pid_t pid = 0;
  const int spawned = SpawnSettings(theirs.get()).Spawn(pid, place.host_program, EnvironmentWith(description.dump()));
  if (spawned != 0) return failed(place.host_program + " cannot be run", spawned);
  UniqueFd pidfd = OpenPidfd(pid);
  if (!pidfd) {
    const int why = errno;
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    return failed("its process cannot be watched", why);
  }
  return std::unique_ptr<PluginRun>(
      std::make_unique<ProcessRun>(spec, pid, std::move(pidfd), std::move(ours), std::move(events), watches));
}

Result<std::unique_ptr<PluginRun>> AdoptProcess(const Orphan& orphan, RunEvents events, const LaunchPlace& place,
                                                Watches& watches) {
  auto pidfd = OpenOrphan(place.run_dir, orphan);
  if (!pidfd) return pidfd.error();
  // It learns from it whom to watch now.
  if (syscall(SYS_pidfd_send_signal, pidfd->get(), kAdoptSignal, nullptr, 0) != 0) {
    return Error{"start_failed", "plugin " + orphan.spec.name + ": its process cannot be told: " + std::strerror(errno),
                 0, 0};
  }
  return std::unique_ptr<PluginRun>(
      std::make_unique<ProcessRun>(orphan.spec, orphan.pid, std::move(*pidfd), UniqueFd(), std::move(events), watches));
}

}  // namespace sluice::core
