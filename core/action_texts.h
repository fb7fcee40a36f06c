// SPDX-License-Identifier: Apache-2.0
// Action lists in canonical form, kept by the text that they came as: whoever answers packets says the same few again
// and again, and to read one costs more than all else that is done to a packet. The loop's thread only.
#pragma once

#include <string>
#include <unordered_map>

#include "flow_spec.h"
#include "ports.h"

namespace sluice::core {

class ActionTexts {
 public:
  explicit ActionTexts(const Ports& ports) : ports_(ports) {}

  // As ReadActions. Valid until the next call.
  Result<const std::string*> Canonical(const std::string& text) {
    if (generation_ != ports_.generation() || known_.size() >= kMost) known_.clear();
    generation_ = ports_.generation();
    if (const auto found = known_.find(text); found != known_.end()) return &found->second;
    auto read = ReadActions(text, ports_);
    if (!read) return read.error();
    if (text.size() <= kLongest) return &(known_[text] = *std::move(read));
    long_ = *std::move(read);
    return &long_;
  }

 private:
  static constexpr size_t kMost = 1024;
  static constexpr size_t kLongest = 1024;  // bytes

  const Ports& ports_;
  uint64_t generation_ = 0;
  std::unordered_map<std::string, std::string> known_;
  std::string long_;  // one that is not kept
};

}  // namespace sluice::core
