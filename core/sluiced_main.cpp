// SPDX-License-Identifier: Apache-2.0
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "daemon.h"

namespace {

int Run(const sluice::core::Config& config) {
  spdlog::set_default_logger(spdlog::stderr_logger_mt("sluiced"));
  spdlog::set_pattern("%Y-%m-%d %H:%M:%S.%e %l %v");
  spdlog::set_level(spdlog::level::from_str(config.log_level));
  spdlog::flush_on(spdlog::level::info);
  // Before the first thread, so that all inherit it: the loop reads these from a descriptor.
  sigset_t blocked;
  sigemptyset(&blocked);
  for (const int signal : {SIGTERM, SIGINT, SIGPIPE}) sigaddset(&blocked, signal);
  pthread_sigmask(SIG_BLOCK, &blocked, nullptr);
  auto daemon = sluice::core::Daemon::Start(config);
  if (!daemon) {
    std::fprintf(stderr, "sluiced: %s\n", daemon.error().detail.c_str());
    return EXIT_FAILURE;
  }
  (*daemon)->Run();
  if ((*daemon)->LostThreads()) {
    spdlog::shutdown();
    std::_Exit(EXIT_SUCCESS);
  }
  return EXIT_SUCCESS;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const auto line = sluice::core::ReadCommandLine(argc, argv);
    return line.config ? Run(*line.config) : line.status;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "sluiced: %s\n", error.what());
    return EXIT_FAILURE;
  }
}
