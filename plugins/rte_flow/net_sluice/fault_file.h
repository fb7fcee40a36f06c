// SPDX-License-Identifier: Apache-2.0
// Faults that change while the device runs: a file of key=value lines, read again when it has changed.
#pragma once

#include <sys/stat.h>

#include <mutex>
#include <string>

#include "config.h"

namespace sluice::netsluice {

// Any thread.
class FaultFile {
 public:
  // `from_devargs`: those where the file says nothing. `path` may be empty: there is no file.
  FaultFile(Faults from_devargs, std::string path) : base_(from_devargs), path_(std::move(path)), now_(from_devargs) {}

  // A line that is wrong is logged and counts for nothing. Without a file: those of the devargs.
  Faults Now();

 private:
  void Read();

  const Faults base_;
  const std::string path_;
  std::mutex mutex_;
  Faults now_;
  struct stat seen_ {};
};

}  // namespace sluice::netsluice
