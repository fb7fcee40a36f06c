// SPDX-License-Identifier: Apache-2.0
// A child process whose output is collected and that does not outlive its owner.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace sluice::test {

class Netns;

struct ProcessOptions {
  std::vector<std::pair<std::string, std::string>> env{};  // added to our own
  const Netns* netns = nullptr;                            // run in there (network namespace only)
  std::string input{};                                     // its standard input
};

// How a process ended: its exit code, or 128 + the signal that killed it, as in a shell.
struct Completed {
  int exit_code = -1;
  std::string out;
  std::string err;
};

class Process {
 public:
  using Options = ProcessOptions;

  // argv[0] is looked up in PATH. The child gets SIGKILL when the thread that started it ends. Throws
  // std::system_error where no child could be made; a program that cannot be executed ends with 127.
  explicit Process(const std::vector<std::string>& argv, const Options& options = {});
  // Kills it (SIGKILL) if it still runs.
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  [[nodiscard]] pid_t pid() const;
  [[nodiscard]] std::string Out() const;  // so far
  [[nodiscard]] std::string Err() const;
  // False if `text` did not come on either stream in time, or the process ended without having written it.
  bool WaitForOutput(const std::string& text, std::chrono::milliseconds timeout = std::chrono::seconds(10));
  void Signal(int signal) const;
  // nullopt: it still runs.
  std::optional<int> Wait(std::chrono::milliseconds timeout = std::chrono::seconds(10));
  // SIGTERM, then Wait.
  std::optional<int> Terminate(std::chrono::milliseconds timeout = std::chrono::seconds(10));

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// Runs to the end. Throws std::runtime_error if it is not over in time.
Completed RunCommand(const std::vector<std::string>& argv, const ProcessOptions& options = {},
                     std::chrono::milliseconds timeout = std::chrono::seconds(60));

// The same, and throws std::runtime_error with what it wrote if the exit code is not 0. Returns standard output.
std::string RunOrThrow(const std::vector<std::string>& argv, const ProcessOptions& options = {});

}  // namespace sluice::test
