// SPDX-License-Identifier: Apache-2.0
// Action lists that have been read, kept by the text that they came as: thousands of flows have the same few, whoever
// answers packets says the same again and again, and to read one costs more than all else that is done with it. The
// loop's thread only.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "ports.h"
#include "sluice/error.h"

namespace sluice::core {

struct ActionList {
  std::string text;             // canonical, ports by name
  std::vector<uint32_t> ports;  // numbers that it refers to, each once, in order
  bool floods = false;
};

class ActionTexts {
 public:
  explicit ActionTexts(const Ports& ports) : ports_(ports) {}

  // Valid until the next call. Errors: "bad_actions", "unknown_port".
  Result<const ActionList*> Read(const std::string& text);

 private:
  static constexpr size_t kMost = 1024;
  static constexpr size_t kLongest = 1024;  // bytes

  const Ports& ports_;
  uint64_t generation_ = 0;
  std::unordered_map<std::string, ActionList> known_;
  ActionList long_;  // one that is not kept
};

}  // namespace sluice::core
