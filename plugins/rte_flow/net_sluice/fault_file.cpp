// SPDX-License-Identifier: Apache-2.0
#include "fault_file.h"

#include <fstream>

#include "log.h"

namespace sluice::netsluice {

Faults FaultFile::Now() {
  if (path_.empty()) return base_;
  const std::lock_guard lock(mutex_);
  struct stat now {};
  if (stat(path_.c_str(), &now) != 0) now = {};
  const bool same = now.st_mtim.tv_sec == seen_.st_mtim.tv_sec && now.st_mtim.tv_nsec == seen_.st_mtim.tv_nsec &&
                    now.st_ino == seen_.st_ino && now.st_size == seen_.st_size;
  if (!same) {
    seen_ = now;
    Read();
  }
  return now_;
}

void FaultFile::Read() {
  now_ = base_;
  std::ifstream file(path_);
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line.front() == '#') continue;
    const size_t equals = line.find('=');
    if (equals == std::string::npos) {
      NET_SLUICE_LOG(ERR, "%s: \"%s\" is no key=value", path_.c_str(), line.c_str());
      continue;
    }
    const auto applied = now_.Apply(line.substr(0, equals), line.substr(equals + 1));
    if (!applied) {
      NET_SLUICE_LOG(ERR, "%s: %s", path_.c_str(), applied.error().detail.c_str());
    } else if (!*applied) {
      NET_SLUICE_LOG(ERR, "%s: %s is no fault", path_.c_str(), line.c_str());
    }
  }
}

}  // namespace sluice::netsluice
