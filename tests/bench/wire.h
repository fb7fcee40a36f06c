// SPDX-License-Identifier: Apache-2.0
// The devices between which benchmarks send, in the calling process's network namespace. All throw std::runtime_error.
#pragma once

#include <string>
#include <vector>

namespace sluice::bench {

// ip(8).
void Ip(std::vector<std::string> words);
// Both ends up, without IPv6.
void MakeVeth(const std::string& a, const std::string& b);
// In native mode, in the place of what is there; -1: none.
void Attach(const char* device, int program_fd);

}  // namespace sluice::bench
