// SPDX-License-Identifier: Apache-2.0
// Plugins are loaded each by itself, with a copy of every static variable of what is linked into them. What is one for
// the process all the same, as settings of a library that they share, is guarded from here.
#pragma once

#include <mutex>
#include <string>

namespace sluice {

// The process's mutex of that name, for good.
std::mutex& ProcessMutex(const std::string& name);

}  // namespace sluice
