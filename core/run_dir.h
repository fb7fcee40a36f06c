// SPDX-License-Identifier: Apache-2.0
// The run directory: one daemon at a time.
#pragma once

#include <string>

#include "sluice/error.h"
#include "sluice/unique_fd.h"

namespace sluice::core {

class RunDir {
 public:
  // Makes the directory where it is not there (its parent must be) and takes its lock. Errors: "run_dir" (with path and
  // the system's reason), "running" (another daemon has it; names its pid).
  static Result<RunDir> Take(const std::string& path);
  // Leaves the lock file: one that is removed could be held twice.
  ~RunDir();
  RunDir(RunDir&&) = default;
  RunDir& operator=(RunDir&&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }  // absolute
  // Where shared objects are copied to.
  [[nodiscard]] std::string ModuleDir() const { return path_ + "/modules"; }

 private:
  RunDir(std::string path, UniqueFd lock) : path_(std::move(path)), lock_(std::move(lock)) {}

  std::string path_;
  UniqueFd lock_;
};

}  // namespace sluice::core
