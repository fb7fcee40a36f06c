// SPDX-License-Identifier: Apache-2.0
// Plugin hosts that outlive their daemon, and how the next one in the same run directory finds them.
//
// Such a host says in RUN_DIR/hosts/NAME.json what it runs, and holds a lock on that file for as long as it lives: so
// the file names a process for good, whatever has become of its number.
#pragma once

#include <csignal>
#include <string>
#include <vector>

#include "plugin_run.h"
#include "sluice/error.h"
#include "sluice/unique_fd.h"

namespace sluice::core {

// Sent to a host by the daemon that takes it over; its sender is whom the host watches from then on.
inline constexpr int kAdoptSignal = SIGUSR1;

// The host's side.
class HostFile {
 public:
  // Errors: "run_dir".
  static Result<HostFile> Write(const std::string& run_dir, const Orphan& self);
  ~HostFile();  // removes it
  HostFile(HostFile&&) = default;
  HostFile& operator=(HostFile&&) = delete;

 private:
  HostFile(std::string path, UniqueFd lock) : path_(std::move(path)), lock_(std::move(lock)) {}

  std::string path_;
  UniqueFd lock_;
};

// The daemon's side, under the run directory's lock. Removes the files of the dead.
std::vector<Orphan> FindOrphans(const std::string& run_dir);
// A pidfd of the living one. Errors: "start_failed".
Result<UniqueFd> OpenOrphan(const std::string& run_dir, const Orphan& orphan);
// Has it withdraw and end, by force where it has not within `stop_ms`. Waits for that.
void EndOrphan(const std::string& run_dir, const Orphan& orphan, uint32_t stop_ms);

}  // namespace sluice::core
