// SPDX-License-Identifier: Apache-2.0
#include "sluice/process_mutex.h"

#include <map>

namespace sluice {

std::mutex& ProcessMutex(const std::string& name) {
  // Never freed: threads may outlive static variables.
  static auto& guard = *new std::mutex;
  static auto& mutexes = *new std::map<std::string, std::mutex>;
  const std::lock_guard lock(guard);
  return mutexes[name];
}

}  // namespace sluice
