// SPDX-License-Identifier: Apache-2.0
// sluice-plugin-host: one plugin in a process of its own. Started by sluiced, never by hand; ends with it, or outlives
// it and waits for the next.
#include <poll.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <system_error>

#include "clock.h"
#include "launchers.h"
#include "orphans.h"
#include "pidfd.h"
#include "plugin_module.h"

namespace {

using sluice::UniqueFd;
using sluice::core::HostFile;
using sluice::core::Orphan;
using sluice::core::PluginHostData;
using sluice::core::PluginModule;

// A plugin that does not return from stop() is not waited for longer.
constexpr unsigned kStopSeconds = 10;

// Goes with the daemon, also where that died before this process could ask to be told.
void DieWith(pid_t parent, int signal) {
  prctl(PR_SET_PDEATHSIG, signal);
  if (getppid() != parent) std::_Exit(EXIT_FAILURE);
}

// TERM and INT end it, kAdoptSignal tells of another daemon: read from a descriptor, blocked in every thread. Nobody
// may be left to read what it reports.
UniqueFd TakeSignals() {
  std::signal(SIGPIPE, SIG_IGN);
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, sluice::core::kAdoptSignal}) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  UniqueFd fd(signalfd(-1, &signals, SFD_CLOEXEC));
  if (!fd) throw std::system_error(errno, std::generic_category(), "signalfd");
  return fd;
}

// The daemon that this process belongs to, where it is to outlive it.
class Lifeline {
 public:
  // `patience_ms` without a daemon are the end; 0: for ever.
  Lifeline(UniqueFd daemon, uint64_t patience_ms) : daemon_(std::move(daemon)), patience_ms_(patience_ms) {
    if (!daemon_) OnOrphaned();
  }

  // For poll(); -1: nobody is there.
  [[nodiscard]] int fd() const { return daemon_.get(); }
  [[nodiscard]] int TimeoutMs() const {
    if (daemon_ || patience_ms_ == 0) return -1;
    const uint64_t now = sluice::core::MonotonicNs();
    return until_ns_ <= now ? 0 : static_cast<int>(std::min<uint64_t>((until_ns_ - now) / 1'000'000 + 1, INT_MAX));
  }
  void OnOrphaned() {
    daemon_.Reset();
    until_ns_ = sluice::core::MonotonicNs() + patience_ms_ * 1'000'000;
    spdlog::warn("the daemon is gone: what is in the device stays, {}",
                 patience_ms_ == 0 ? "until another comes" : fmt::format("for {} ms without another", patience_ms_));
  }
  void OnAdopted(pid_t daemon) {
    daemon_ = sluice::core::OpenPidfd(daemon);
    if (!daemon_) return OnOrphaned();  // gone as soon as it came
    spdlog::info("sluiced {} has taken it over", daemon);
  }

 private:
  UniqueFd daemon_;
  uint64_t patience_ms_;
  uint64_t until_ns_ = 0;
};

// No longer goes with `parent`. The descriptor is empty where that has gone already.
UniqueFd Outlive(pid_t parent) {
  UniqueFd daemon = sluice::core::OpenPidfd(parent);
  prctl(PR_SET_PDEATHSIG, 0);
  if (getppid() != parent) daemon.Reset();
  return daemon;
}

// Returns when the plugin is to stop.
void Wait(const UniqueFd& signals, std::optional<Lifeline>& lifeline) {
  for (;;) {
    std::array<pollfd, 2> items = {{{signals.get(), POLLIN, 0}, {lifeline ? lifeline->fd() : -1, POLLIN, 0}}};
    const int ready = poll(items.data(), items.size(), lifeline ? lifeline->TimeoutMs() : -1);
    if (ready < 0 && errno != EINTR) throw std::system_error(errno, std::generic_category(), "poll");
    if (ready == 0) {
      spdlog::warn("no other daemon came: withdrawing");
      return;
    }
    signalfd_siginfo info{};
    if (items[0].revents != 0 && read(signals.get(), &info, sizeof(info)) == sizeof(info)) {
      if (info.ssi_signo != static_cast<uint32_t>(sluice::core::kAdoptSignal)) return;
      if (lifeline) lifeline->OnAdopted(static_cast<pid_t>(info.ssi_pid));
    } else if (items[1].revents != 0) {
      lifeline->OnOrphaned();
    }
  }
}

void Report(std::string line) {
  for (char& c : line) {
    if (c == '\n') c = ' ';
  }
  line += '\n';
  if (write(sluice::core::kHostStatusFd, line.data(), line.size()) < 0) spdlog::error("the daemon does not listen");
}

int Run(const nlohmann::json& description) {
  const auto text = [&](const char* key) { return description.at(key).get<std::string>(); };
  const std::string name = text("name");
  spdlog::set_default_logger(spdlog::stderr_logger_mt("sluiced"));
  spdlog::set_pattern("%Y-%m-%d %H:%M:%S.%e %l %v");
  spdlog::set_level(spdlog::level::from_str(text("log_level")));
  const auto parent = description.at("parent").get<pid_t>();
  DieWith(parent, SIGKILL);  // a start() that hangs would not hear of another
  const UniqueFd signals = TakeSignals();

  const PluginHostData host({.name = name,
                             .options = description.at("options").dump(),
                             .endpoint = text("endpoint"),
                             .token = text("token"),
                             .run_dir = text("run_dir"),
                             .object_dir = text("object_dir")},
                            nullptr);
  auto module = PluginModule::Load(name, text("path"), text("copy_dir"));
  if (!module) {
    Report("error " + module.error().detail);
    return EXIT_FAILURE;
  }
  if (auto started = (*module)->Start(host.get()); !started) {
    Report("error " + started.error().detail);
    return EXIT_FAILURE;
  }
  DieWith(parent, SIGTERM);
  std::optional<HostFile> file;
  std::optional<Lifeline> lifeline;
  if (description.at("keep_orphaned").get<bool>()) {
    Orphan self;
    self.spec.name = name;
    self.spec.path = text("path");
    self.spec.process = true;
    self.spec.options = description.at("options").get<std::map<std::string, std::string>>();
    self.spec.keep_orphaned = true;
    self.token = text("token");
    self.version = (*module)->version();
    self.pid = getpid();
    auto written = HostFile::Write(text("run_dir"), self);
    if (!written) {
      Report("error plugin " + name + " cannot outlive the daemon: " + written.error().detail);
      (void)(*module)->Stop();
      return EXIT_FAILURE;
    }
    file.emplace(std::move(*written));
    lifeline.emplace(Outlive(parent), description.at("orphan_ms").get<uint64_t>());
  }
  Report("started " + (*module)->version());
  Wait(signals, lifeline);
  file.reset();  // nobody is to take over what is about to stop
  alarm(kStopSeconds);
  if (auto stopped = (*module)->Stop(); !stopped) Report("error " + stopped.error().detail);
  return EXIT_SUCCESS;
}

}  // namespace

int main() {
  const char* description = std::getenv(sluice::core::kHostEnvironment);
  if (description == nullptr) {
    std::fputs("sluice-plugin-host is started by sluiced, for plugins with isolation \"process\"\n", stderr);
    return 2;
  }
  try {
    return Run(nlohmann::json::parse(description));
  } catch (const std::exception& error) {
    Report(std::string("error ") + error.what());
    return EXIT_FAILURE;
  }
}
