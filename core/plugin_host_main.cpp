// SPDX-License-Identifier: Apache-2.0
// sluice-plugin-host: one plugin in a process of its own. Started by sluiced, never by hand; ends with it.
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/prctl.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>

#include "launchers.h"
#include "plugin_module.h"

namespace {

using sluice::core::PluginHostData;
using sluice::core::PluginModule;

// A plugin that does not return from stop() is not waited for longer.
constexpr unsigned kStopSeconds = 10;

// Goes with the daemon, also where that died before this process could ask to be told.
void DieWith(pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) std::_Exit(EXIT_FAILURE);
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
  DieWith(description.at("parent").get<pid_t>());

  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);

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
  Report("started " + (*module)->version());
  int signal = 0;
  sigwait(&ends, &signal);
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
