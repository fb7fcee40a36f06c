// SPDX-License-Identifier: Apache-2.0
// A sluiced of one test's own: own run directory, in a namespace if wanted, stopped with its owner.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "sluice/sluice.pb.h"
#include "support/netns.h"
#include "support/process.h"
#include "support/temp_dir.h"

namespace sluice::test {

// Where the build put sluiced, sluicectl and sluice-plugin-host; SLUICE_TEST_BIN_DIR in the environment overrides it.
std::string BinDir();

class Daemon {
 public:
  // `sluiced --run-dir DIR args...`; returns when its control endpoint answers. Throws std::runtime_error with what the
  // daemon wrote if it does not within 10 s.
  explicit Daemon(const std::vector<std::string>& args, const Netns* netns = nullptr);
  // Another in the same run directory, when the one before has ended. Throws as the constructor does.
  void StartAgain(const std::vector<std::string>& args);
  // SIGTERM, SIGKILL after 10 s.
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  [[nodiscard]] const std::string& run_dir() const { return dir_.path(); }
  [[nodiscard]] Process& process() { return *process_; }
  [[nodiscard]] pid_t pid() const { return process_->pid(); }

  // One request on the control endpoint, on a socket of its own. Throws std::runtime_error without an answer in 10 s.
  v1::Reply Ask(const v1::Request& request) const;  // NOLINT(modernize-use-nodiscard)
  // `sluicectl words...` against this daemon.
  Completed Ctl(const std::vector<std::string>& words) const;  // NOLINT(modernize-use-nodiscard)

 private:
  TempDir dir_;
  const Netns* netns_;
  std::unique_ptr<Process> process_;
};

}  // namespace sluice::test
